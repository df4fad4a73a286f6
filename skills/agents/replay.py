"""Trajectories through Reverb: tables, writers, readers, and a watchdog.

An item is one skill: T steps and the T + 1 observations around them. Nothing
here waits for ever: whoever is blocked while nothing moves for longer than
`ReplayConfig.timeout_s` gets a `ReplayStalledError` that says what replay holds
and what it waits for.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import time
from typing import Any

from acme import specs
from acme.adders import reverb as adders
import jax
import jax.numpy as jnp
import numpy as np
import reverb

from skills import config as config_lib
from skills import types

TABLE = 'trajectories'

# How long Reverb's C++ code may keep a thread before it looks around. A thread
# inside it runs no Python, so it neither stops nor complains.
_POLL_S = 0.5

ShouldStop = Callable[[], bool]


class ReplayStalledError(RuntimeError):
  """Replay let nobody through for too long."""


class StoppedError(Exception):
  """The program is stopping, so what was waited for will not come."""


def never_stop() -> bool:
  """For programs that end by themselves."""
  return False


def error_buffer(
  config: config_lib.SkillAgentConfig, samples_per_insert: float
) -> float:
  """How far, in samples, actors and learner may run ahead of their ratio."""
  replay = config.replay
  if replay.error_buffer is not None:
    return replay.error_buffer
  return max(
    0.1 * replay.min_size * samples_per_insert,
    2.0 * config.fetch_size,
    samples_per_insert,
  )


def make_tables(
  config: config_lib.SkillAgentConfig,
  environment_spec: specs.EnvironmentSpec,
  extras_spec: Any,
) -> list[reverb.Table]:
  """Makes the one table, with a rate limiter of its own.

  Args:
    config: of the agent.
    environment_spec: of what actors write.
    extras_spec: shapes and dtypes of what they write beside it.
  """
  replay = config.replay
  signature = adders.SequenceAdder.signature(
    environment_spec, extras_spec, config.skill_length + 1
  )
  if replay.kind == 'queue':
    return [reverb.Table.queue(TABLE, replay.capacity, signature=signature)]
  if replay.samples_per_insert is None:
    rate_limiter = reverb.rate_limiters.MinSize(replay.min_size)
  else:
    rate_limiter = reverb.rate_limiters.SampleToInsertRatio(
      replay.samples_per_insert,
      replay.min_size,
      error_buffer(config, replay.samples_per_insert),
    )
  return [
    reverb.Table(
      TABLE,
      sampler=reverb.selectors.Uniform(),
      remover=reverb.selectors.Fifo(),
      max_size=replay.capacity,
      rate_limiter=rate_limiter,
      signature=signature,
    )
  ]


class Watchdog:
  """Bounds how long replay may keep somebody waiting."""

  def __init__(
    self,
    client: reverb.Client,
    who: str,
    timeout_s: float,
    should_stop: ShouldStop,
  ):
    """Initialises the watchdog.

    Args:
      client: of the replay server, asked what is wrong.
      who: 'learner' or 'actor', for the message.
      timeout_s: seconds of waiting after which to give up.
      should_stop: whether the program is stopping.
    """
    self._client = client
    self._who = who
    self._timeout_s = timeout_s
    self._should_stop = should_stop
    self._waiting_since: float | None = None
    self._traffic: tuple[int, int] | None = None

  def served(self) -> None:
    """Tells that replay answered."""
    self._waiting_since = None

  def still_waiting(self, since: float) -> None:
    """Tells that replay has not answered yet.

    Args:
      since: when the current call began, by `time.monotonic`.

    Raises:
      StoppedError: if the program is stopping.
      ReplayStalledError: if the wait has become too long.
    """
    if self._should_stop():
      raise StoppedError
    if self._waiting_since is None:
      self._waiting_since = since
      self._traffic = traffic(self._client)
    waited = time.monotonic() - self._waiting_since
    if waited < self._timeout_s:
      return
    now = traffic(self._client)
    if now != self._traffic:
      # The other side is slow, and not stuck.
      self._waiting_since, self._traffic = time.monotonic(), now
      return
    raise ReplayStalledError(
      f'the {self._who} has waited {waited:.0f} s for replay. '
      f'{describe(self._client)} Look for what keeps the other side from '
      'its work, or change replay.timeout_s.'
    )


def _table_info(client: reverb.Client) -> Any:
  return client.server_info(timeout=2)[TABLE]


def traffic(client: reverb.Client) -> tuple[int, int] | None:
  """How many inserts and samples there were; None if nobody answers."""
  try:
    limiter = _table_info(client).rate_limiter_info
  except Exception:  # Whatever it is, nothing moves.
    return None
  return limiter.insert_stats.completed, limiter.sample_stats.completed


def describe(client: reverb.Client) -> str:
  """What the table holds, and what its rate limiter waits for."""
  try:
    table = _table_info(client)
  except Exception as error:  # Whatever it is, the wait is the news.
    return f'Its server does not answer ({type(error).__name__}).'
  limiter = table.rate_limiter_info
  inserts = limiter.insert_stats.completed
  samples = limiter.sample_stats.completed
  state = (
    f'Table {TABLE!r} holds {table.current_size} of at most {table.max_size} '
    f'trajectories, after {inserts} inserts and {samples} samples.'
  )
  if table.current_size < limiter.min_size_to_sample:
    return (
      f'{state} The learner may sample from {limiter.min_size_to_sample} '
      'on: it waits for inserts.'
    )
  ahead = inserts * limiter.samples_per_insert - samples
  if ahead > limiter.max_diff - limiter.samples_per_insert:
    return f'{state} Actors are ahead of the learner: it waits for samples.'
  if ahead - 1 < limiter.min_diff:
    return f'{state} The learner is ahead of the actors: it waits for inserts.'
  return f'{state} Its rate limiter lets both sides through.'


class _PatientWriter:
  """A trajectory writer whose blocking calls come back to look around."""

  def __init__(self, writer: reverb.TrajectoryWriter, watchdog: Watchdog):
    self._writer = writer
    self._watchdog = watchdog
    self._is_closed = False

  def __getattr__(self, name: str) -> Any:
    return getattr(self._writer, name)

  def flush(
    self, block_until_num_items: int = 0, timeout_ms: int | None = None
  ):
    if timeout_ms is None:
      self._patiently(self._writer.flush, block_until_num_items)
      return
    # Only an adder that is deleted bounds its wait. It must not wait for long,
    # nor fail: whoever stalled has said so before.
    if not self._is_closed:
      with contextlib.suppress(reverb.DeadlineExceededError):
        self._writer.flush(
          block_until_num_items, timeout_ms=int(1000 * _POLL_S)
        )

  def end_episode(
    self, clear_buffers: bool = True, timeout_ms: int | None = None
  ):
    del timeout_ms
    self._patiently(self._writer.end_episode, clear_buffers)

  def close(self) -> None:
    # The adder flushes and closes once more when it is deleted.
    if not self._is_closed:
      self._is_closed = True
      self._writer.close()

  def _patiently(self, call: Callable[..., None], argument: Any) -> None:
    while not self._is_closed:
      since = time.monotonic()
      try:
        call(argument, timeout_ms=int(1000 * _POLL_S))
        self._watchdog.served()
        return
      except reverb.DeadlineExceededError:
        self._watchdog.still_waiting(since)


class _PatientClient(reverb.Client):
  """A Reverb client that hands out patient writers."""

  def __init__(self, client: reverb.Client, watchdog: Watchdog):
    super().__init__(client.server_address)
    self._watchdog = watchdog
    self._newest: _PatientWriter | None = None

  def trajectory_writer(self, *args: Any, **kwargs: Any) -> Any:
    writer = super().trajectory_writer(*args, **kwargs)
    self._newest = _PatientWriter(writer, self._watchdog)
    return self._newest

  def close(self) -> None:
    if self._newest is not None:
      self._newest.close()


class SkillAdder(adders.SequenceAdder):
  """Acme's adder, which can be closed."""

  def __init__(self, client: _PatientClient, **kwargs: Any):
    """Takes what Acme's adder takes."""
    super().__init__(client=client, **kwargs)
    self._patient_client = client

  def close(self) -> None:
    """Ends the connection, for which a server that stops would wait long.

    What was not yet written is lost.
    """
    self._patient_client.close()


def make_adder(
  config: config_lib.SkillAgentConfig,
  client: reverb.Client,
  should_stop: ShouldStop = never_stop,
) -> SkillAdder:
  """Makes an adder that writes one item a skill.

  Items of an episode share only the observation at which one skill follows the
  other. The last item of an episode that ends within a skill is padded; the
  extra 'skill_step' is 0 there.

  Args:
    config: of the agent.
    client: of the replay server.
    should_stop: whether the program is stopping.
  """
  watchdog = Watchdog(client, 'actor', config.replay.timeout_s, should_stop)
  return SkillAdder(
    _PatientClient(client, watchdog),
    sequence_length=config.skill_length + 1,
    period=config.skill_length,
    priority_fns={TABLE: None},
    max_in_flight_items=2 * config.batch_size,
    end_of_episode_behavior=adders.EndBehavior.ZERO_PAD,
  )


class SampleIterator(Iterator[adders.base.Trajectory]):
  """Batches of items from replay, batch-major, as NumPy arrays.

  Reverb ends a dataset whose rate limiter lets nothing through for a while;
  this looks around, begins anew and keeps what had already come.
  """

  def __init__(
    self,
    config: config_lib.SkillAgentConfig,
    client: reverb.Client,
    should_stop: ShouldStop = never_stop,
  ):
    """Initialises the iterator.

    Args:
      config: of the agent; `fetch_size` items come at once.
      client: of the replay server.
      should_stop: whether the program is stopping.
    """
    self._size = config.fetch_size
    self._client = client
    self._watchdog = Watchdog(
      client, 'learner', config.replay.timeout_s, should_stop
    )
    # A queue's item is gone once it was sent, so nothing is sent ahead.
    self._in_flight = 1 if config.replay.kind == 'queue' else 2 * self._size
    self._source: Iterator[Any] | None = None
    self._rest: list[Any] = []

  def _open(self) -> Iterator[Any]:
    dataset = reverb.TrajectoryDataset.from_table_signature(
      server_address=self._client.server_address,
      table=TABLE,
      max_in_flight_samples_per_worker=self._in_flight,
      rate_limiter_timeout_ms=int(1000 * _POLL_S),
    )
    # Ends with a smaller batch, not with a lost one.
    return dataset.batch(self._size).as_numpy_iterator()

  def __next__(self) -> adders.base.Trajectory:
    """The next batch.

    Raises:
      StoppedError: if the program is stopping.
      ReplayStalledError: if replay gave nothing for too long.
    """
    missing = self._size - sum(len(part.reward) for part in self._rest)
    while missing:
      since = time.monotonic()
      self._source = self._source or self._open()
      try:
        # Every dataset makes a class of its own for its items; a learner that
        # met another one would compile anew.
        part = adders.base.Trajectory(*next(self._source).data)
      except StopIteration:
        self._source = None
        self._watchdog.still_waiting(since)
        continue
      self._watchdog.served()
      # What is too much for this batch begins the next one.
      self._rest.append(part)
      missing -= min(missing, len(part.reward))
    batch = self._rest[0]
    if len(self._rest) > 1:
      batch = jax.tree.map(lambda *parts: np.concatenate(parts), *self._rest)
    self._rest = []
    if len(batch.reward) > self._size:
      self._rest = [jax.tree.map(lambda x: x[self._size :], batch)]
      batch = jax.tree.map(lambda x: x[: self._size], batch)
    return batch


def to_trajectory(item: adders.base.Trajectory) -> types.Trajectory:
  """A batch of items, `[B, T + 1, ...]`, as the learner reads it.

  The adder completes an episode with a row of zeros beside its last
  observation, hence the last row of all but the observations goes.

  Args:
    item: as `SampleIterator` gives it.
  """
  steps = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), item)
  return types.Trajectory(
    observation=steps.observation,
    action=steps.action[:-1],
    reward=steps.reward[:-1],
    discount=steps.discount[:-1],
    skill=steps.extras['skill'][:-1],
    mask=(steps.extras['skill_step'][:-1] > 0).astype(jnp.float32),
  )
