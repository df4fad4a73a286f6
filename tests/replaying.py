"""Real replay servers, and actors and learners that use them, for tests."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import portpicker
import pytest

from skills.agents import acme_api
from skills.agents.replay import reader as replay_reader
from skills.agents.replay import stalls
from skills.agents.replay import tables as replay_tables
from skills.agents.replay import writer as replay_writer
from tests.programs import counting

ROOT = pathlib.Path(__file__).resolve().parents[1]
T = counting.SKILL_LENGTH

# Lengths of episodes in steps.
LENGTHS = {
  'one skill': [T] * 4,
  'several skills': [2 * T, 3 * T, 3 * T],
  'cut short': [1, T - 1, 2],
  'several and a rest': [T + 1, 2 * T - 1, 3 * T + 2],
  'mixed': [2 * T, 1, T, T + 3, 3 * T, T - 1, 5 * T + 1],
}


def write_items(adder, number, *, skill=0, pause_s=0.0):
  """Writes trajectories of one step, without an actor."""
  environment = counting.CountingEnvironment([1])
  extras = {
    'skill': np.int32(skill),
    'skill_step': np.int32(1),
    'learner_step': np.int32(0),
  }
  for _ in range(number):
    time.sleep(pause_s)
    adder.add_first(environment.reset())
    adder.add(np.int32(0), environment.step(0), extras)


def read_all(iterator, number, size):
  """So many skills from batches of `size`."""
  assert number % size == 0
  skills = []
  for _ in range(number // size):
    item = next(iterator)
    assert item.reward.shape == (size, T + 1)
    skills += counting.read(replay_reader.to_trajectory(item))
  return skills


def wait_until_stalled(call, timeout_s):
  """The message with which a call gives up, in time."""
  begin = time.monotonic()
  with pytest.raises(stalls.ReplayStalledError) as error:
    call()
  waited = time.monotonic() - begin
  assert timeout_s <= waited < timeout_s + 2
  message = str(error.value)
  assert '\n' not in message
  assert 'replay.timeout_s' in message
  return message


def reader_threads(*clients):
  """The threads that read from these servers now."""
  names = {f'replay {client.server_address}' for client in clients}
  return [thread for thread in threading.enumerate() if thread.name in names]


def wait_until(condition, seconds):
  """Returns once it is so; fails if that takes longer."""
  deadline = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < deadline
    time.sleep(0.02)


class KillableServer:
  """A replay server in a process of its own, always at the same address."""

  def __init__(self, program, folder):
    self._program = program
    self._folder = folder
    self._port = portpicker.pick_unused_port()
    self._pid = None
    self.fields = {'min_size': 2, 'updates_per_environment_step': None}
    self.client = acme_api.reverb.Client(f'localhost:{self._port}')

  def config(self, **fields):
    return counting.make_config(replay={**self.fields, **fields})

  def start(self):
    """Starts it, from its checkpoint if there is one."""
    order = [self._port, str(self._folder), self.fields]
    print(json.dumps(order), file=self._program.stdin, flush=True)
    self._pid = int(self._program.stdout.readline())

  def kill(self):
    if self._pid is not None:
      os.kill(self._pid, signal.SIGKILL)
      self._pid = None


def start_python(*arguments, **streams):
  """A Python program with this repository's packages."""
  return subprocess.Popen(
    [sys.executable, *arguments],
    cwd=ROOT,
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
    **streams,
  )


class Doing(threading.Thread):
  """Does something over and over, and keeps what it ends with."""

  def __init__(self, what, stop):
    super().__init__(daemon=True)
    self._what = what
    self._stop_event = stop
    self.times = 0
    self.error = None
    self.start()

  def run(self):
    try:
      while not self._stop_event.is_set():
        self._what()
        self.times += 1
        time.sleep(0.01)
    except BaseException as error:
      self.error = error

  def go_on(self, seconds):
    """Waits until it was done twice more."""
    times = self.times
    wait_until(lambda: self.times >= times + 2 or self.error, seconds)
    assert self.error is None

  def end(self, seconds):
    """What it ends with, within so long."""
    self.join(seconds)
    assert not self.is_alive()
    return self.error


@contextlib.contextmanager
def working(server, **fields):
  """A learner and an actor at work, and what stops them."""
  config = server.config(**fields)
  stop = threading.Event()
  adder = replay_writer.make_adder(config, server.client, stop.is_set)
  iterator = replay_reader.SampleIterator(config, [server.client], stop.is_set)
  actor = Doing(lambda: write_items(adder, 1), stop)
  learner = Doing(lambda: next(iterator), stop)
  yield learner, actor, stop
  stop.set()
  learner.end(5)
  actor.end(5)
  begin = time.monotonic()
  adder.close()
  iterator.close()
  assert time.monotonic() - begin < 2


def prioritized(exponent=1.0, **fields):
  return counting.make_config(
    batch_size=8,
    replay={
      'priority_exponent': exponent,
      'min_size': 1,
      'updates_per_environment_step': None,
      **fields,
    },
  )


def priorities_in(client, num_samples):
  """The priorities of items by their keys, as far as they are drawn."""
  infos = [
    steps[0].info for steps in client.sample(replay_tables.TABLE, num_samples)
  ]
  return {int(info.key): info.priority for info in infos}
