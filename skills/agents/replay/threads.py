"""Threads that work for an object and end with it."""

import atexit
from collections.abc import Callable
import threading
import time
import weakref

from skills.agents.replay import stalls


class Threads:
  """Daemon threads that end once their group is closed or collected.

  They must not refer to the group's owner, and must call `is_closed` at least
  every `stalls.POLL_S` seconds of Python.
  """

  def __init__(self) -> None:
    """Makes an empty group."""
    closed = threading.Event()
    self.is_closed: stalls.ShouldStop = closed.is_set
    self._close = weakref.finalize(self, closed.set)
    self._threads: list[threading.Thread] = []
    atexit.register(_close, weakref.ref(self))

  def add(self, name: str, target: Callable[[], None]) -> threading.Thread:
    """Makes a thread, to be started by the caller."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    self._threads.append(thread)
    return thread

  def close(self) -> None:
    """Ends the threads; one that is caught inside Reverb is left behind."""
    self._close()
    deadline = time.monotonic() + 2 * stalls.POLL_S
    for thread in self._threads:
      if thread.ident is not None:
        thread.join(max(0.0, deadline - time.monotonic()))


def _close(group: weakref.ref[Threads]) -> None:
  # A thread that came back from Reverb's C++ code while the interpreter
  # finalizes would abort the process.
  alive = group()
  if alive is not None:
    alive.close()
