"""Speeds of whole runs: how they are read, and runs in one process."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import itertools
import time
from typing import Any
from typing import NamedTuple

from launch.runs import experiment as experiment_lib
from launch.training import local
from skills.agents import acme_api
from skills.agents.replay import tables as replay_tables

# A run is measured for so long, once its learner has made so many updates.
RUN_S = 10.0
WARM_UPDATES = 1_000

_READ_EVERY_S = 0.2


class Counts(NamedTuple):
  """What a run has done; or, of speeds and limits, what it does per second.

  Attributes:
    steps: of environments.
    updates: of the learner.
    items: that were written to replay.
  """

  steps: float
  updates: float
  items: float


def endless_experiment(
  agent: str, environment: str, output_dir: str, **fields: Any
) -> experiment_lib.Experiment:
  """An experiment that neither ends nor saves while it is measured."""
  return experiment_lib.make(
    agent=agent,
    environment=environment,
    num_steps=10**9,
    checkpoint_every_s=3600.0,
    output_dir=output_dir,
    **fields,
  )


def asked_updates(experiment: experiment_lib.Experiment) -> float:
  """Updates for each environment step that the settings ask for.

  Raises:
    ValueError: if they set no limit, so that there is nothing to compare with.
  """
  asked = experiment.config.replay.updates_per_environment_step
  if asked is None:
    raise ValueError(
      'replay.updates_per_environment_step must be a positive number for a run '
      'that is measured, got None.'
    )
  return asked


def rate(readings: Sequence[tuple[float, float]]) -> float:
  """Speed of a count that is brought up to date now and then.

  Args:
    readings: seconds, and the count at that time.

  Returns:
    Per second, from the count's first change to its last.
  """
  changes = [
    new for old, new in itertools.pairwise(readings) if new[1] != old[1]
  ]
  if len(changes) < 2:
    return 0.0
  (began, first), (ended, last) = changes[0], changes[-1]
  return (last - first) / (ended - began)


class Meter:
  """Measures a run, once all its parts are at work."""

  def __init__(
    self,
    read: Callable[[], Counts | None],
    is_warm: Callable[[], bool] = lambda: True,
    seconds: float | None = None,
    warm_updates: int | None = None,
  ):
    """Initializes the meter.

    Args:
      read: what the run has done so far; None if that is not known.
      is_warm: whether all parts are at work, asked once the learner is.
      seconds: to measure; None for `RUN_S`.
      warm_updates: after which the learner counts as at work; None for
        `WARM_UPDATES`.
    """
    self._seconds = RUN_S if seconds is None else seconds
    self._warm_updates = WARM_UPDATES if warm_updates is None else warm_updates
    self._read = read
    self._is_warm = is_warm
    self._readings: list[tuple[float, Counts]] = []

  def look(self) -> bool:
    """Reads the counts; whether that was enough."""
    counts = self._read()
    if counts is None:
      return False
    if not self._readings and not (
      counts.updates >= self._warm_updates and self._is_warm()
    ):
      return False
    self._readings.append((time.perf_counter(), counts))
    return self.is_done

  @property
  def is_done(self) -> bool:
    """Whether the run was measured for long enough."""
    if not self._readings:
      return False
    return self._readings[-1][0] - self._readings[0][0] >= self._seconds

  def speeds(self) -> Counts:
    """Counts per second over all readings."""
    return Counts(
      *(
        rate([(when, counts[i]) for when, counts in self._readings])
        for i in range(len(Counts._fields))
      )
    )


def read_counts(
  counted: Mapping[str, Any], client: acme_api.reverb.Client
) -> Counts | None:
  """What a run's counter and its replay server say; None without an answer."""
  stats = replay_tables.stats(client)
  if stats is None:
    return None
  return Counts(counted['actor_steps'], counted['learner_steps'], stats.inserts)


def measure_run(
  experiment: experiment_lib.Experiment,
  seconds: float | None = None,
  warm_updates: int | None = None,
) -> Counts:
  """Speeds of Acme's loop and Reverb, in one process on all cores.

  Args:
    experiment: what to run, longer than is measured.
    seconds: to measure, as `Meter` takes it.
    warm_updates: the same.
  """
  experiment_lib.save(experiment)
  run = local.Run(experiment)
  try:
    meter = Meter(
      lambda: read_counts(run.counts(), run.client),
      seconds=seconds,
      warm_updates=warm_updates,
    )
    run.start()
    while not meter.look():
      time.sleep(_READ_EVERY_S)
    return meter.speeds()
  finally:
    run.close()
