"""Programs that tests start, look at, kill and wait for."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

from launch.runs import run_files

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, '-m', 'launch.run_distributed')
LOCAL = (sys.executable, '-m', 'launch.run_local')


class Started:
  """A program that runs meanwhile."""

  def __init__(self, command, log):
    self._log = log
    self._process = subprocess.Popen(
      command,
      cwd=ROOT,
      stdin=subprocess.DEVNULL,
      stdout=log,
      stderr=subprocess.STDOUT,
    )
    self.pid = self._process.pid

  def output(self):
    """All that it has printed, on both streams."""
    self._log.seek(0)
    return self._log.read()

  def send(self, number):
    """Sends it a signal."""
    self._process.send_signal(number)

  def wait(self, seconds):
    """Its exit status, which must come within so many seconds."""
    try:
      return self._process.wait(seconds)
    except subprocess.TimeoutExpired:
      raise AssertionError(f'still runs:\n{self.output()}') from None

  def wait_until(self, condition, seconds=60):
    """Waits until something happens while it runs; says how long it took."""
    begin = time.monotonic()
    while not condition():
      assert self._process.poll() is None, self.output()
      assert time.monotonic() - begin < seconds, self.output()
      time.sleep(0.1)
    return time.monotonic() - begin

  def kill(self):
    """Ends it, and with it its nodes."""
    self._process.kill()
    self._process.wait()


@contextlib.contextmanager
def started(log, *command):
  """A program that is killed if it still runs at the end."""
  with open(log, 'a+') as file:
    program = Started(command, file)
    try:
      yield program
    finally:
      program.kill()


def nodes_of(folder):
  """Process ids of a run's nodes, by name, as `ps` shows them."""
  found = {}
  for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
    try:
      title = path.read_bytes().rstrip(b'\0').decode()
    except (OSError, UnicodeDecodeError):  # It has just ended.
      continue
    name, _, rest = title.partition(' ')
    if rest == str(folder):
      found[name] = int(path.parent.name)
  return found


def kill(folder, name):
  """Kills a node; gives its process id."""
  pid = nodes_of(folder)[name]
  os.kill(pid, signal.SIGKILL)
  return pid


def wait_until_gone(folder, seconds=15):
  """Waits until no node of the run is left; says how long it took."""
  begin = time.monotonic()
  while left := nodes_of(folder):
    assert time.monotonic() - begin < seconds, left
    time.sleep(0.1)
  return time.monotonic() - begin


def last_row(folder, label):
  """The newest numbers of a logger; empty if there are none."""
  path = folder / label / 'metrics.csv'
  rows = run_files.read_metrics(path) if path.exists() else []
  return {
    name: float(value) for name, value in (rows[-1] if rows else {}).items()
  }


def number(folder, label, name):
  """The newest of one number; -1 if there is none."""
  return last_row(folder, label).get(name, -1.0)


def free_ports(count):
  """The first of so many consecutive free ports."""
  for first in range(21_000, 32_000, count):
    with contextlib.ExitStack() as stack:
      try:
        for port in range(first, first + count):
          stack.enter_context(socket.socket()).bind(('', port))
      except OSError:
        continue
      return first
  raise AssertionError('no ports are free.')
