"""Priorities of trajectories, sent back to Reverb servers."""

import atexit
from collections.abc import Sequence
import contextlib
import queue
import threading
import time
from typing import Any
import weakref

import numpy as np
import reverb

from skills.agents.replay import reader as replay_reader
from skills.agents.replay import stalls
from skills.agents.replay import tables as replay_tables

# Batches whose priorities a server has not taken yet, before some are dropped.
_MAX_WAITING = 8


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
      clients: of the replay servers, in the order of a `SampleIterator`.
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
    atexit.register(replay_reader.close, weakref.ref(self))

  def write(self, keys: np.ndarray, priorities: Sequence[Any]) -> None:
    """Sends the priorities of what an iterator gave; returns at once.

    Args:
      keys: `[F, 2]`, the extra `replay_reader.KEY` of it.
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
    deadline = time.monotonic() + 2 * stalls.POLL_S
    for thread in self._threads:
      thread.join(max(0.0, deadline - time.monotonic()))


def _write_priorities(
  client: reverb.Client,
  index: int,
  num_clients: int,
  waiting: queue.Queue[tuple[np.ndarray, Sequence[Any]]],
  is_closed: stalls.ShouldStop,
) -> None:
  """Sends one server's part of all priorities, until closed."""
  largest = 0.0
  while not is_closed():
    try:
      keys, parts = waiting.get(timeout=stalls.POLL_S)
    except queue.Empty:
      continue
    # Items of all servers alternate, as the iterator put them.
    own = np.ascontiguousarray(keys).view(np.uint64)[index::num_clients, 0]
    new = np.concatenate([np.asarray(part) for part in parts], axis=1)
    new = new.reshape(-1)[index::num_clients]
    # What has diverged is told by whoever looks at the parameters.
    if np.isfinite(new).all() and (largest := max(largest, new.max())) > 0:
      with contextlib.suppress(*stalls.CONNECTION_ERRORS, RuntimeError):
        client.mutate_priorities(
          replay_tables.TABLE,
          dict(zip(own.tolist(), (new / largest).tolist(), strict=True)),
        )
    waiting.task_done()
