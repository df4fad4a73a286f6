"""Where a run's numbers go: a CSV file per logger, and TensorBoard."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import os
import pathlib
from typing import Any

from absl import logging

from skills.agents import acme_api
from skills.objectives import domino

# Seconds between rows of loggers that are written to very often.
_EVERY_S = 1.0

METRICS_FILE = 'metrics.csv'


class _CSVLogger(acme_api.loggers.CSVLogger):
  """Acme's, which leaves a file that it was given open."""

  def close(self) -> None:
    """Closes the file."""
    super().close()
    self._file.close()


class CollapseWarning(acme_api.loggers.Logger):
  """Says once if the policies of a set all do the same."""

  # By chance distances to nearest neighbours are about 1, seldom above 2.
  LIMIT = 2.0
  # The averages are still those of the beginning.
  FIRST_UPDATES = 1000

  def __init__(self, warn: Callable[[str], None] = logging.warning):
    """Initialises the logger, which writes nothing but that."""
    self._warn = warn
    self._has_warned = False

  def write(self, data: Mapping[str, Any]) -> None:
    """Looks at a learner's row."""
    apart = data.get(domino.DISTANCE_OVER_NOISE)
    if (
      apart is None
      or self._has_warned
      or data.get('learner_steps', 0) < self.FIRST_UPDATES
      or float(apart) >= self.LIMIT
    ):
      return
    self._has_warned = True
    self._warn(
      'All policies do the same, so nothing tells them how to differ. Raise '
      'learner.entropy_weight, learner.policy_spread or (of tables) '
      'learner.table_spread, or lower objective.initial_multiplier.'
    )

  def close(self) -> None:
    """Nothing to do."""


def make(
  output_dir: str | os.PathLike[str],
  label: str,
  *,
  every_s: float = _EVERY_S,
  steps_key: str = 'actor_steps',
  beside: Sequence[acme_api.loggers.Logger] = (),
) -> acme_api.loggers.Logger:
  """Makes a logger that writes `<output_dir>/<label>/metrics.csv`.

  Args:
    output_dir: the run's folder.
    label: of the logger: 'actor', 'learner' or 'evaluator'.
    every_s: seconds between rows; rows in between are dropped unread, so that
      nobody waits for the device.
    steps_key: what TensorBoard draws numbers over.
    beside: further loggers of the same rows.
  """
  folder = pathlib.Path(output_dir) / label
  folder.mkdir(parents=True, exist_ok=True)
  # Line buffered, so that an interrupted run keeps every row.
  file = open(folder / METRICS_FILE, 'a', buffering=1)
  both = acme_api.loggers.Dispatcher(
    [
      _CSVLogger(file),
      acme_api.tf_summary.TFSummaryLogger(
        str(pathlib.Path(output_dir) / 'tensorboard' / label),
        label,
        steps_key=steps_key,
      ),
      *([CollapseWarning()] if label == 'learner' else []),
      *beside,
    ]
  )
  if not every_s:
    return both
  return acme_api.loggers.TimeFilter(both, every_s)
