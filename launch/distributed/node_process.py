"""Prepares the process of a node.

Only the standard library is imported before the process has its title.
"""

import atexit
import ctypes
import gc
import os
import signal
import sys
from typing import Any

_PR_SET_PDEATHSIG = 1


def prepare(title: str, launcher: int) -> None:
  """Prepares this process for a node; arguments as for `tie`."""
  tie(title, launcher)
  _leave_without_finalizing()
  # A fifth of the time would go to looking for garbage among what stays.
  gc.disable()
  # Repairs Acme before a node's class is looked for.
  import skills.agents  # noqa: F401

  gc.freeze()
  gc.enable()


def tie(title: str, launcher: int) -> None:
  """Sets this process's title and makes it end with its launcher.

  Args:
    title: shown by `ps`.
    launcher: id of the launcher's process.
  """
  import setproctitle

  setproctitle.setproctitle(title)
  ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
  if os.getppid() != launcher:
    # The launcher died before the signal was requested.
    os._exit(1)


def _leave_without_finalizing() -> None:
  """Ends this process after its exit handlers, before Python takes itself down.

  An answer of Courier or Reverb that arrives while the interpreter finalizes
  aborts the process, as if the node had failed.
  """
  status = 0
  show = sys.excepthook

  def failed(*error: Any) -> None:
    nonlocal status
    status = 1
    show(*error)

  def leave() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

  sys.excepthook = failed
  atexit.register(leave)
