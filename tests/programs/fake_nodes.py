"""Nodes that do next to nothing, and import next to nothing."""

import contextlib
import os
import pathlib
import signal
import threading
import time

import launchpad as lp


def note(folder, text):
  """Adds a line, whole, to what all nodes note."""
  with open(pathlib.Path(folder) / 'notes', 'ab', buffering=0) as file:
    file.write(f'{text}\n'.encode())


def notes(folder):
  """The lines, oldest first."""
  with contextlib.suppress(FileNotFoundError):
    return (pathlib.Path(folder) / 'notes').read_text().splitlines()
  return []


# What nodes do.


def serve(folder, name, leave_s=0.0):
  """Works until it is asked to leave, and takes its time for that."""
  # Which is its name, too.
  note(folder, f'{os.environ["FAKE_NODE"]} begins')
  lp.wait_for_stop()
  note(folder, f'{name} is asked')
  time.sleep(leave_s)
  note(folder, f'{name} leaves')


def fail(folder, name, after=None):
  """Raises, once this was noted."""
  note(folder, f'{name} begins')
  while after is not None and after not in notes(folder):
    time.sleep(0.1)
  raise RuntimeError(f'{name} broke down')


def fail_at_the_end(folder, name):
  serve(folder, name)
  raise RuntimeError(f'{name} could not save')


def end(folder, name):
  note(folder, f'{name} begins')


def die(folder, name, times=1000):
  """Is killed, the first few times."""
  note(folder, f'{name} begins')
  if notes(folder).count(f'{name} begins') <= times:
    os.kill(os.getpid(), signal.SIGKILL)
  lp.wait_for_stop()


def stay(folder, name):
  """Heeds no signal, like a thread inside of C++ code."""
  note(folder, f'{name} begins')
  threading.Event().wait()


def stop(folder, name, after):
  """Stops the program from within, once this was noted."""
  while after not in notes(folder):
    time.sleep(0.1)
  lp.stop()
  lp.wait_for_stop()
