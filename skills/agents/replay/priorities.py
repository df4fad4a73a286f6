"""Sends the priorities of trajectories to Reverb servers."""

from collections.abc import Sequence
import contextlib
import functools
import queue
import time
from typing import Any

import numpy as np
import reverb

from skills.agents.replay import stalls
from skills.agents.replay import tables as replay_tables
from skills.agents.replay import threads as replay_threads

# Batches whose priorities wait for a server; further ones are dropped.
_MAX_WAITING = 8


class PriorityWriter:
  """Updates the priorities of items in replay servers, without blocking.

  A thread for each server waits for the device that computes the priorities and
  for a server that is slow or away. If too many batches wait for a server, new
  ones are dropped.

  Priorities are divided by the largest one so far: new items have priority 1,
  which thus stays the largest.
  """

  def __init__(self, clients: Sequence[reverb.Client]):
    """Initializes the writer.

    Args:
      clients: of the replay servers, in the order of a `SampleIterator`.
    """
    self._threads = replay_threads.Threads()
    self._waiting: list[queue.Queue[tuple[np.ndarray, Sequence[Any]]]] = [
      queue.Queue(_MAX_WAITING) for _ in clients
    ]
    for i, client in enumerate(clients):
      self._threads.add(
        f'priorities {client.server_address}',
        functools.partial(
          _write_priorities,
          client,
          i,
          len(clients),
          self._waiting[i],
          self._threads.is_closed,
        ),
      ).start()

  def write(self, keys: np.ndarray, priorities: Sequence[Any]) -> None:
    """Queues the priorities of a batch of a `SampleIterator`.

    Args:
      keys: `[F, 2]`, the batch's extra `reader.KEY`.
      priorities: arrays `[U, B]` on any devices, the parts of a batch side by
        side; U times the sum of their B is F.
    """
    for waiting in self._waiting:
      with contextlib.suppress(queue.Full):
        waiting.put_nowait((keys, priorities))

  def flush(self, timeout_s: float) -> bool:
    """Waits until all priorities are sent; returns whether they are in time."""
    deadline = time.monotonic() + timeout_s
    while any(waiting.unfinished_tasks for waiting in self._waiting):
      if time.monotonic() > deadline:
        return False
      time.sleep(0.01)
    return True

  def close(self) -> None:
    """Stops the threads; one that is caught inside Reverb is left behind."""
    self._threads.close()


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
    # In an iterator's batches the items of all servers alternate.
    own = np.ascontiguousarray(keys).view(np.uint64)[index::num_clients, 0]
    new = np.concatenate([np.asarray(part) for part in parts], axis=1)
    new = new.reshape(-1)[index::num_clients]
    # Divergence is reported where the parameters are checked.
    if np.isfinite(new).all() and (largest := max(largest, new.max())) > 0:
      with contextlib.suppress(*stalls.CONNECTION_ERRORS, RuntimeError):
        client.mutate_priorities(
          replay_tables.TABLE,
          dict(zip(own.tolist(), (new / largest).tolist(), strict=True)),
        )
    waiting.task_done()
