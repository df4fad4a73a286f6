"""Reads batches of trajectories from one or several Reverb servers."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import queue
import threading
import time
from typing import Any

from acme.adders import reverb as adders
import jax
import jax.numpy as jnp
import numpy as np
import reverb

from skills import acting
from skills import config as config_lib
from skills import types
from skills.agents.replay import stalls
from skills.agents.replay import tables as replay_tables
from skills.agents.replay import threads as replay_threads

# Extras of items from a replay with priorities: the item's key in its table,
# and its sampling probability relative to that of uniform sampling.
KEY = 'replay_key'
ODDS = 'replay_odds'


class _Reader:
  """A thread that fetches parts of batches from one server, on request.

  Calls into Reverb may block for long, hence the thread. Reverb ends a dataset
  whose rate limiter lets nothing through for a while; the thread then opens
  another one and keeps the items that it has.
  """

  def __init__(
    self,
    client: reverb.Client,
    size: int,
    *,
    is_queue: bool,
    has_priorities: bool,
    threads: replay_threads.Threads,
    watchdog: stalls.Watchdog,
    is_stopping: stalls.ShouldStop,
  ):
    """Initializes the reader; its first `ask` starts the thread.

    Args:
      client: of the server.
      size: items of a part.
      is_queue: whether a fetched item that is not used is lost, so that nothing
        may be fetched ahead.
      has_priorities: whether to add the extras `KEY` and `ODDS`.
      threads: to which the reader's thread belongs.
      watchdog: bounds the wait for a part.
      is_stopping: whether to stop.
    """
    self._client = client
    self._size = size
    self._watchdog = watchdog
    self._is_stopping = is_stopping
    self._is_queue = is_queue
    self._has_priorities = has_priorities
    # Parts to fetch. Except from a queue, one is fetched ahead.
    self._wanted = threading.Semaphore(0 if is_queue else 1)
    self._fetched: queue.SimpleQueue[adders.base.Trajectory | BaseException] = (
      queue.SimpleQueue()
    )
    self._thread = threads.add(f'replay {client.server_address}', self._run)
    self._is_asked = False
    self._part: adders.base.Trajectory | None = None
    # Used by the thread alone.
    self._source: Iterator[Any] | None = None
    self._rest: list[adders.base.Trajectory] = []

  def ask(self) -> None:
    """Requests a part, unless one is requested already."""
    if not self._is_asked:
      self._is_asked = True
      self._wanted.release()
      if self._thread.ident is None:
        self._thread.start()

  def wait(self) -> None:
    """Waits for the requested part; raises the thread's error, if any."""
    while self._part is None:
      if self._is_stopping():
        raise stalls.StoppedError
      since = time.monotonic()
      fetched = None
      with contextlib.suppress(queue.Empty):
        fetched = self._fetched.get(timeout=stalls.POLL_S)
      if fetched is None:
        self._watchdog.still_waiting(since)
        continue
      if isinstance(fetched, BaseException):
        self._fetched.put(fetched)  # For the next call.
        raise fetched
      self._watchdog.served()
      self._part = fetched

  def pop(self) -> adders.base.Trajectory:
    """Returns the part that `wait` waited for."""
    assert self._part is not None
    part, self._part, self._is_asked = self._part, None, False
    return part

  def _run(self) -> None:
    """Fetches what is requested; runs in the thread."""
    try:
      while not self._is_stopping():
        if self._wanted.acquire(timeout=stalls.POLL_S):
          self._fetched.put(self._fetch())
    except stalls.StoppedError:
      pass
    except BaseException as error:
      self._fetched.put(error)
    finally:
      self._source = None

  def _fetch(self) -> adders.base.Trajectory:
    missing = self._size - sum(len(part.reward) for part in self._rest)
    while missing > 0:
      if self._is_stopping():
        raise stalls.StoppedError
      try:
        self._source = self._source or self._open(missing)
        # `_read` converts items: each dataset has a class of its own for them,
        # for each of which a learner would be compiled again.
        part = self._read(next(self._source))
      except StopIteration:
        self._source = None
        continue
      except stalls.CONNECTION_ERRORS:
        self._source = None
        time.sleep(stalls.POLL_S)
        continue
      self._rest.append(part)
      missing -= len(part.reward)
    whole = self._rest[0]
    if len(self._rest) > 1:
      whole = jax.tree.map(lambda *parts: np.concatenate(parts), *self._rest)
    self._rest = []
    if missing < 0:  # The surplus begins the next part.
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
        table=replay_tables.TABLE,
        # A queue forgets an item once it is sent: nothing may be sent ahead,
        # and the dataset ends with the part.
        max_in_flight_samples_per_worker=1 if self._is_queue else self._size,
        max_samples=missing if self._is_queue else -1,
        rate_limiter_timeout_ms=int(1000 * stalls.POLL_S),
        get_signature_timeout_secs=replay_tables.ANSWER_S,
      )
    except RuntimeError as error:  # The server died during the call.
      raise reverb.DeadlineExceededError(str(error)) from error
    # The last batch of a dataset may be smaller; its items are not lost.
    return dataset.batch(self._size).as_numpy_iterator()


class SampleIterator(Iterator[adders.base.Trajectory]):
  """Batches of items from replay, batch-major, as NumPy arrays.

  Every server gives an equal part of each batch; their items alternate, so that
  a slice of a batch has items of all. With priorities, items have two more
  extras, without a time axis: `KEY` and `ODDS`.

  Attributes:
    fetch_size: items of a batch.
  """

  def __init__(
    self,
    config: config_lib.SkillAgentConfig,
    clients: Sequence[reverb.Client],
    should_stop: stalls.ShouldStop = stalls.never_stop,
    *,
    fetch_size: int | None = None,
  ):
    """Initializes the iterator; nothing is fetched before the first `next`.

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
    self._threads = replay_threads.Threads()
    is_closed = self._threads.is_closed

    def is_stopping() -> bool:
      return is_closed() or should_stop()

    self._readers = [
      _Reader(
        client,
        size // len(clients),
        is_queue=config.replay.kind == 'queue',
        has_priorities=config.replay.priority_exponent is not None,
        threads=self._threads,
        watchdog=stalls.Watchdog(
          client, 'learner', config.replay.timeout_s, is_stopping
        ),
        is_stopping=is_stopping,
      )
      for client in clients
    ]

  def __next__(self) -> adders.base.Trajectory:
    """The next batch.

    Raises:
      stalls.StoppedError: if the program is stopping, even if a batch is ready,
        or the iterator is closed.
      stalls.ReplayStalledError: if a server gave nothing for too long.
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
    self._threads.close()


def to_trajectory(
  item: adders.base.Trajectory,
  *,
  burn_in: int = 0,
  importance_exponent: float = 0.0,
) -> types.Trajectory:
  """Converts a batch of items, `[B, L + T + 1, ...]`, to a trajectory.

  The adder completes an episode with a row of zeros beside its last
  observation, hence the last row is dropped except from the observations.

  Args:
    item: from a `SampleIterator`.
    burn_in: L, the number of steps before the skill.
    importance_exponent: for items with `ODDS`, as in `ReplayConfig`.
  """
  extras = dict(item.extras)
  extras.pop(KEY, None)
  odds = extras.pop(ODDS, None)
  steps = jax.tree.map(
    lambda x: jnp.swapaxes(x, 0, 1), item._replace(extras=extras)
  )
  importance_weights = None
  if odds is not None:
    importance_weights = odds**-importance_exponent
    importance_weights = importance_weights / jnp.max(importance_weights)
  mask = (steps.extras['skill_step'] > 0).astype(jnp.float32)
  step_extras = acting.learner_extras(steps.extras)
  before_skill = None
  if burn_in:
    before_skill = types.BurnIn(
      observation=steps.observation[:burn_in],
      skill=steps.extras['skill'][:burn_in],
      mask=mask[:burn_in],
      extras=jax.tree.map(lambda x: x[:burn_in], step_extras),
    )
  return types.Trajectory(
    observation=steps.observation[burn_in:],
    action=steps.action[burn_in:-1],
    reward=steps.reward[burn_in:-1],
    discount=steps.discount[burn_in:-1],
    skill=steps.extras['skill'][burn_in:-1],
    mask=mask[burn_in:-1],
    extras=jax.tree.map(lambda x: x[burn_in:-1], step_extras),
    burn_in=before_skill,
    importance_weights=importance_weights,
  )
