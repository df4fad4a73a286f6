"""Trajectories through Reverb: tables, writers, readers, and a watchdog.

An item is one skill: T steps and the T + 1 observations around them, and before
them the `ReplayConfig.burn_in` steps that led to it. Where an episode begins,
these are rows of zeros, whose 'skill_step' is 0 as that of all padding.

Nothing here waits for ever: whoever is blocked while nothing moves for longer
than `ReplayConfig.timeout_s` gets a `ReplayStalledError` that says what replay
holds and what it waits for. A server that was killed is waited for just as
long; if it is back by then, at the same address, reading and writing go on.
"""

import atexit
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import queue
import threading
import time
from typing import Any
from typing import NamedTuple
import weakref

from acme import specs
from acme.adders import reverb as adders
import dm_env
import jax
import jax.numpy as jnp
import numpy as np
import reverb
import tensorflow as tf

from skills import acting
from skills import config as config_lib
from skills import types

TABLE = 'trajectories'

# How long Reverb's C++ code may keep a thread before it looks around. A thread
# inside it runs no Python, so it neither stops nor complains.
_POLL_S = 0.5

# How long a server may take to tell about itself; Reverb knows whole seconds
# only.
_ANSWER_S = 1

# What a dataset ends with where its server goes or does not come. Most of the
# time it waits inside Reverb instead.
_CONNECTION_ERRORS = (
  reverb.DeadlineExceededError,
  tf.errors.CancelledError,
  tf.errors.DeadlineExceededError,
  tf.errors.UnavailableError,
)

# Batches whose priorities a server has not taken yet, before some are dropped.
_MAX_WAITING = 8

# Extras of an item of a replay with priorities.
KEY = 'replay_key'
ODDS = 'replay_odds'

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
    environment_spec, extras_spec, _sequence_length(config)
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
      sampler=(
        reverb.selectors.Uniform()
        if replay.priority_exponent is None
        else reverb.selectors.Prioritized(replay.priority_exponent)
      ),
      remover=reverb.selectors.Fifo(),
      max_size=replay.capacity,
      rate_limiter=rate_limiter,
      signature=signature,
    )
  ]


def _sequence_length(config: config_lib.SkillAgentConfig) -> int:
  return config.replay.burn_in + config.skill_length + 1


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
    self._stats: Stats | None = None

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
    now = stats(self._client)
    if self._should_stop():
      raise StoppedError
    if self._waiting_since is None:
      self._waiting_since, self._stats = since, now
    elif now is not None and now != self._stats:
      # The other side is slow, and not stuck; or the server is back.
      self._waiting_since, self._stats = time.monotonic(), now
    waited = time.monotonic() - self._waiting_since
    if waited >= self._timeout_s:
      raise ReplayStalledError(
        f'the {self._who} has waited {waited:.0f} s for replay at '
        f'{self._client.server_address}. {describe(self._client)} Look for '
        'what keeps the other side from its work, or change replay.timeout_s.'
      )


class Stats(NamedTuple):
  """What went through a replay server.

  Attributes:
    size: trajectories that it holds.
    inserts: trajectories that were written.
    samples: trajectories that were read, each as often as it was.
  """

  size: int
  inserts: int
  samples: int


def stats(client: reverb.Client) -> Stats | None:
  """What went through a server; None if it does not answer within a second."""
  try:
    table = _table_info(client)
  except Exception:  # Whatever it is, nothing moves.
    return None
  limiter = table.rate_limiter_info
  return Stats(
    table.current_size,
    limiter.insert_stats.completed,
    limiter.sample_stats.completed,
  )


def _table_info(client: reverb.Client) -> Any:
  return client.server_info(timeout=_ANSWER_S)[TABLE]


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
  """A trajectory writer whose blocking calls come back to look around.

  While its server is away, these calls time out as they do at a full table, and
  Reverb keeps what was written. Once the server is back, Reverb sends all that
  it had not confirmed: nothing is lost but what the server itself forgot, and
  an item whose confirmation was on its way may come twice.
  """

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
    while True:
      since = time.monotonic()
      try:
        call(argument, timeout_ms=int(1000 * _POLL_S))
        self._watchdog.served()
        return
      except reverb.DeadlineExceededError:
        pass
      except RuntimeError:
        if self._is_closed:  # By somebody else, to end this call.
          raise StoppedError from None
        raise
      self._watchdog.still_waiting(since)


class _PatientClient(reverb.Client):
  """A Reverb client that hands out patient writers."""

  def __init__(self, client: reverb.Client, watchdog: Watchdog):
    super().__init__(client.server_address)
    self._watchdog = watchdog
    self._newest: _PatientWriter | None = None

  def trajectory_writer(
    self, *args: Any, get_signature_timeout_ms: int | None = None, **kwargs: Any
  ) -> Any:
    # It asks the server what items look like; Acme would wait 300 s for it.
    del get_signature_timeout_ms
    while True:
      since = time.monotonic()
      try:
        writer = super().trajectory_writer(
          *args, get_signature_timeout_ms=1000 * _ANSWER_S, **kwargs
        )
        self._watchdog.served()
        self._newest = _PatientWriter(writer, self._watchdog)
        return self._newest
      except RuntimeError:  # Nobody answered.
        pass
      self._watchdog.still_waiting(since)

  def close(self) -> None:
    if self._newest is not None:
      self._newest.close()


class SkillAdder(adders.SequenceAdder):
  """Acme's adder, which can be closed, and begins episodes with padding."""

  def __init__(self, client: _PatientClient, *, padding: int, **kwargs: Any):
    """Takes what Acme's adder takes.

    Args:
      client: of the replay server.
      padding: rows of zeros before an episode's first step.
      **kwargs: of Acme's adder.
    """
    super().__init__(client=client, **kwargs)
    self._padding = padding
    self._first: dm_env.TimeStep | None = None
    self._patient_client = client
    # Else it would be closed while the interpreter goes, part by part.
    weakref.finalize(self, client.close)

  def add_first(self, timestep: dm_env.TimeStep) -> None:
    """Begins an episode."""
    if not self._padding:
      super().add_first(timestep)
      return
    # What a whole row looks like is known with the first action.
    self._first = timestep

  def add(
    self, action: Any, next_timestep: dm_env.TimeStep, extras: Any = ()
  ) -> None:
    """Records a step."""
    if self._first is not None:
      first, self._first = self._first, None
      row = {
        'observation': first.observation,
        'start_of_episode': first.first(),
        'action': action,
        'reward': next_timestep.reward,
        'discount': next_timestep.discount,
        'extras': extras,
      }
      row = jax.tree.map(np.zeros_like, row)
      for _ in range(self._padding):
        self._writer.append(row)
      super().add_first(first)
    super().add(action, next_timestep, extras)

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

  Items of an episode share the observation at which one skill follows the other
  and, with `burn_in`, the steps before it; the server keeps these once. The
  last item of an episode that ends within a skill is padded, and the first ones
  have padding in place of steps before them; the extra 'skill_step' is 0 there.

  Args:
    config: of the agent.
    client: of the replay server.
    should_stop: whether the program is stopping.
  """
  watchdog = Watchdog(client, 'actor', config.replay.timeout_s, should_stop)
  return SkillAdder(
    _PatientClient(client, watchdog),
    padding=config.replay.burn_in,
    sequence_length=_sequence_length(config),
    period=config.skill_length,
    priority_fns={TABLE: None},  # 1, the largest that there is.
    max_in_flight_items=2 * config.batch_size,
    end_of_episode_behavior=adders.EndBehavior.ZERO_PAD,
  )


class _Reader:
  """A thread that fetches from one server, as it may be caught in there.

  Reverb ends a dataset whose rate limiter lets nothing through for a while; the
  thread then begins anew and keeps what had already come. It fetches what it is
  asked for and no more.
  """

  def __init__(
    self,
    client: reverb.Client,
    size: int,
    *,
    is_queue: bool,
    has_priorities: bool,
    watchdog: Watchdog,
    is_stopping: ShouldStop,
  ):
    """Initialises the reader; its first `ask` starts the thread.

    Args:
      client: of the server.
      size: items of a part.
      is_queue: whether items that nobody uses are lost, so that nothing may be
        fetched ahead.
      has_priorities: whether to tell of each item which it is and how likely it
        was drawn.
      watchdog: of whoever waits for the parts.
      is_stopping: whether to stop.
    """
    self._client = client
    self._size = size
    self._watchdog = watchdog
    self._is_stopping = is_stopping
    self._is_queue = is_queue
    self._has_priorities = has_priorities
    # How many parts to fetch. One is fetched while another one is in use.
    self._wanted = threading.Semaphore(0 if is_queue else 1)
    self._fetched: queue.SimpleQueue[adders.base.Trajectory | BaseException] = (
      queue.SimpleQueue()
    )
    self._thread = threading.Thread(
      target=self._run, name=f'replay {client.server_address}', daemon=True
    )
    self._is_asked = False
    self._part: adders.base.Trajectory | None = None
    # The thread's own.
    self._source: Iterator[Any] | None = None
    self._rest: list[adders.base.Trajectory] = []

  # The consumer's side.

  def ask(self) -> None:
    """Orders a part, unless one is on order."""
    if not self._is_asked:
      self._is_asked = True
      self._wanted.release()
      if self._thread.ident is None:
        self._thread.start()

  def wait(self) -> None:
    """Returns once the part is there; raises what the thread ended with."""
    while self._part is None:
      if self._is_stopping():
        raise StoppedError
      since = time.monotonic()
      fetched = None
      with contextlib.suppress(queue.Empty):
        fetched = self._fetched.get(timeout=_POLL_S)
      if fetched is None:
        self._watchdog.still_waiting(since)
        continue
      if isinstance(fetched, BaseException):
        self._fetched.put(fetched)  # For whoever asks again.
        raise fetched
      self._watchdog.served()
      self._part = fetched

  def pop(self) -> adders.base.Trajectory:
    """Hands over the part that was waited for."""
    assert self._part is not None
    part, self._part, self._is_asked = self._part, None, False
    return part

  def join(self, timeout_s: float) -> None:
    """Waits for the thread's end, for so long."""
    if self._thread.ident is not None:
      self._thread.join(timeout_s)

  # The thread's side.

  def _run(self) -> None:
    try:
      while not self._is_stopping():
        if self._wanted.acquire(timeout=_POLL_S):
          self._fetched.put(self._fetch())
    except StoppedError:
      pass
    except BaseException as error:
      self._fetched.put(error)
    finally:
      self._source = None

  def _fetch(self) -> adders.base.Trajectory:
    missing = self._size - sum(len(part.reward) for part in self._rest)
    while missing > 0:
      if self._is_stopping():
        raise StoppedError
      try:
        self._source = self._source or self._open(missing)
        # Every dataset makes a class of its own for its items; a learner that
        # met another one would compile anew.
        part = self._read(next(self._source))
      except StopIteration:
        self._source = None
        continue
      except _CONNECTION_ERRORS:
        self._source = None
        time.sleep(_POLL_S)
        continue
      # What is too much for this part begins the next one.
      self._rest.append(part)
      missing -= len(part.reward)
    whole = self._rest[0]
    if len(self._rest) > 1:
      whole = jax.tree.map(lambda *parts: np.concatenate(parts), *self._rest)
    self._rest = []
    if missing < 0:
      self._rest = [jax.tree.map(lambda x: x[self._size :], whole)]
      whole = jax.tree.map(lambda x: x[: self._size], whole)
    return whole

  def _read(self, sample: Any) -> adders.base.Trajectory:
    part = adders.base.Trajectory(*sample.data)
    if not self._has_priorities:
      return part
    info = sample.info
    # JAX has no integers of 64 bits.
    key = np.ascontiguousarray(info.key).view(np.uint32).reshape(-1, 2)
    odds = np.asarray(info.probability * info.table_size, np.float32)
    return part._replace(extras={**part.extras, KEY: key, ODDS: odds})

  def _open(self, missing: int) -> Iterator[Any]:
    try:
      dataset = reverb.TrajectoryDataset.from_table_signature(
        server_address=self._client.server_address,
        table=TABLE,
        # A queue's item is gone once it was sent, so nothing is sent ahead, and
        # the dataset ends where the part does.
        max_in_flight_samples_per_worker=1 if self._is_queue else self._size,
        max_samples=missing if self._is_queue else -1,
        rate_limiter_timeout_ms=int(1000 * _POLL_S),
        get_signature_timeout_secs=_ANSWER_S,
      )
    except RuntimeError as error:  # The server went while it was asked.
      raise reverb.DeadlineExceededError(str(error)) from error
    # Ends with a smaller batch, not with a lost one.
    return dataset.batch(self._size).as_numpy_iterator()


class SampleIterator(Iterator[adders.base.Trajectory]):
  """Batches of items from replay, batch-major, as NumPy arrays.

  Every server gives an equal part of each batch; their items alternate, so that
  a slice of a batch is as mixed as the whole. With priorities items have two
  extras more, without an axis of time: `KEY`, by which `PriorityWriter` knows
  them, and `ODDS`, how much more likely than by uniform chance they were drawn.

  Attributes:
    fetch_size: items of a batch.
  """

  def __init__(
    self,
    config: config_lib.SkillAgentConfig,
    clients: Sequence[reverb.Client],
    should_stop: ShouldStop = never_stop,
    *,
    fetch_size: int | None = None,
  ):
    """Initialises the iterator; nothing is fetched before the first `next`.

    Args:
      config: of the agent.
      clients: of the replay servers.
      should_stop: whether the program is stopping.
      fetch_size: items of a batch; None for the configuration's.

    Raises:
      ValueError: if servers cannot give equal parts of a batch.
    """
    size = config.fetch_size if fetch_size is None else fetch_size
    if size < 1 or size % len(clients):
      raise ValueError(
        'fetch_size must be a positive multiple of the number of replay '
        f'servers ({len(clients)}), got {size}: each gives an equal part. '
        'Change batch_size or the number of servers.'
      )
    self.fetch_size = size
    closed = threading.Event()

    def is_stopping() -> bool:
      return closed.is_set() or should_stop()

    self._readers = [
      _Reader(
        client,
        size // len(clients),
        is_queue=config.replay.kind == 'queue',
        has_priorities=config.replay.priority_exponent is not None,
        watchdog=Watchdog(
          client, 'learner', config.replay.timeout_s, is_stopping
        ),
        is_stopping=is_stopping,
      )
      for client in clients
    ]
    # Threads of an iterator that is gone end as well.
    self._stop = weakref.finalize(self, closed.set)
    atexit.register(_close, weakref.ref(self))

  def __next__(self) -> adders.base.Trajectory:
    """The next batch.

    Raises:
      StoppedError: if the program is stopping, even if a batch is there, or the
        iterator is closed.
      ReplayStalledError: if a server gave nothing for too long.
    """
    for reader in self._readers:
      reader.ask()
    for reader in self._readers:
      reader.wait()
    parts = [reader.pop() for reader in self._readers]
    if len(parts) == 1:
      return parts[0]
    return jax.tree.map(
      lambda *xs: np.stack(xs, axis=1).reshape(-1, *xs[0].shape[1:]), *parts
    )

  def close(self) -> None:
    """Stops the threads; one that is caught inside Reverb is left behind."""
    self._stop()
    deadline = time.monotonic() + 2 * _POLL_S
    for reader in self._readers:
      reader.join(max(0.0, deadline - time.monotonic()))


def _close(
  owner: weakref.ref[SampleIterator] | weakref.ref['PriorityWriter'],
) -> None:
  # A thread that came back from Reverb's C++ code while the interpreter goes
  # would abort the process.
  alive = owner()
  if alive is not None:
    alive.close()


def to_trajectory(
  item: adders.base.Trajectory,
  *,
  burn_in: int = 0,
  importance_exponent: float = 0.0,
) -> types.Trajectory:
  """A batch of items, `[B, L + T + 1, ...]`, as the learner reads it.

  The adder completes an episode with a row of zeros beside its last
  observation, hence the last row of all but the observations goes.

  Args:
    item: as `SampleIterator` gives it.
    burn_in: L, how many steps stand before the skill.
    importance_exponent: of items with `ODDS`, as in `ReplayConfig`.
  """
  extras = dict(item.extras)
  extras.pop(KEY, None)
  odds = extras.pop(ODDS, None)
  steps = jax.tree.map(
    lambda x: jnp.swapaxes(x, 0, 1), item._replace(extras=extras)
  )
  importance = None
  if odds is not None:
    importance = odds**-importance_exponent
    importance = importance / jnp.max(importance)
  mask = (steps.extras['skill_step'] > 0).astype(jnp.float32)
  record = acting.record(steps.extras)
  prefix = None
  if burn_in:
    prefix = types.Prefix(
      observation=steps.observation[:burn_in],
      skill=steps.extras['skill'][:burn_in],
      mask=mask[:burn_in],
      record=jax.tree.map(lambda x: x[:burn_in], record),
    )
  return types.Trajectory(
    observation=steps.observation[burn_in:],
    action=steps.action[burn_in:-1],
    reward=steps.reward[burn_in:-1],
    discount=steps.discount[burn_in:-1],
    skill=steps.extras['skill'][burn_in:-1],
    mask=mask[burn_in:-1],
    record=jax.tree.map(lambda x: x[burn_in:-1], record),
    prefix=prefix,
    importance=importance,
  )


class PriorityWriter:
  """Tells replay servers what the learner thinks of their items.

  Each server has a thread of its own, so that nobody waits: not for the device
  that computes the priorities, nor for a server that is slow or away. What one
  has not taken when there is too much of it is dropped.

  Priorities are written relative to the largest one so far, so that the 1 which
  new items have stays the largest that there is.
  """

  def __init__(self, clients: Sequence[reverb.Client]):
    """Initialises the writer.

    Args:
      clients: of the replay servers, as `SampleIterator` has them.
    """
    closed = threading.Event()
    self._stop = weakref.finalize(self, closed.set)
    self._waiting: list[queue.Queue[tuple[np.ndarray, Sequence[Any]]]] = [
      queue.Queue(_MAX_WAITING) for _ in clients
    ]
    self._threads = [
      threading.Thread(
        target=_write_priorities,
        args=(client, i, len(clients), self._waiting[i], closed.is_set),
        name=f'priorities {client.server_address}',
        daemon=True,
      )
      for i, client in enumerate(clients)
    ]
    for thread in self._threads:
      thread.start()
    atexit.register(_close, weakref.ref(self))

  def write(self, keys: np.ndarray, priorities: Sequence[Any]) -> None:
    """Sends the priorities of what an iterator gave; returns at once.

    Args:
      keys: `[F, 2]`, the extra `KEY` of it.
      priorities: arrays `[U, B]` on any devices, the parts of a batch side by
        side; U times all their B make F.
    """
    for waiting in self._waiting:
      with contextlib.suppress(queue.Full):
        waiting.put_nowait((keys, priorities))

  def flush(self, timeout_s: float) -> bool:
    """Waits until all that was written was sent; whether it was, in time."""
    deadline = time.monotonic() + timeout_s
    while any(waiting.unfinished_tasks for waiting in self._waiting):
      if time.monotonic() > deadline:
        return False
      time.sleep(0.01)
    return True

  def close(self) -> None:
    """Stops the threads; one that is caught inside Reverb is left behind."""
    self._stop()
    deadline = time.monotonic() + 2 * _POLL_S
    for thread in self._threads:
      thread.join(max(0.0, deadline - time.monotonic()))


def _write_priorities(
  client: reverb.Client,
  index: int,
  num_clients: int,
  waiting: queue.Queue[tuple[np.ndarray, Sequence[Any]]],
  is_closed: ShouldStop,
) -> None:
  """Sends one server's part of all priorities, until closed."""
  largest = 0.0
  while not is_closed():
    try:
      keys, parts = waiting.get(timeout=_POLL_S)
    except queue.Empty:
      continue
    # Items of all servers alternate, as the iterator put them.
    own = np.ascontiguousarray(keys).view(np.uint64)[index::num_clients, 0]
    new = np.concatenate([np.asarray(part) for part in parts], axis=1)
    new = new.reshape(-1)[index::num_clients]
    # What has diverged is told by whoever looks at the parameters.
    if np.isfinite(new).all() and (largest := max(largest, new.max())) > 0:
      with contextlib.suppress(*_CONNECTION_ERRORS, RuntimeError):
        client.mutate_priorities(
          TABLE, dict(zip(own.tolist(), (new / largest).tolist(), strict=True))
        )
    waiting.task_done()
