"""One of two processes, with two devices each, that learn alone and together.

  python -m tests.programs.devices_program FOLDER PROCESS PORT

Writes what came out to FOLDER/PROCESS.pickle.
"""

import dataclasses
import os
import pathlib
import pickle
import signal
import sys
import time

import jax
import numpy as np

from skills import presets
from skills import registry
from skills.agents import acme_api
from skills.agents import builder as builder_lib
from skills.agents import learning
from skills.agents import sharding
from skills.agents.replay import reader as replay_reader
from skills.agents.replay import stalls
from tests import problems
from tests.programs import counting

BATCH = 8
UPDATES = 2
STEPS = 3
# Steps of the process that is told to stop, before that.
STEPS_BEFORE_STOP = 4


def items(seed):
  return counting.item(problems.TABLE, BATCH * UPDATES, seed)


def part(item, process):
  """What one of two processes gives of each update's batch."""

  def half(x):
    x = x.reshape((UPDATES, 2, BATCH // 2) + x.shape[1:])
    return x[:, process].reshape((-1,) + x.shape[3:])

  return jax.tree.map(half, item)


class Learning:
  """A learner, what it logs and counts, and batches that a test chooses."""

  def __init__(self, name, devices):
    config = dataclasses.replace(
      presets.make(name, 'some:task', problems.TABLE),
      batch_size=BATCH,
      updates_per_step=UPDATES,
    )
    self.log = counting.Log()
    self.counter = acme_api.counting.Counter()
    self.builder = builder_lib.SkillBuilder(
      config, logger_fn=lambda: self.log, devices=devices
    )
    self.learner = self.builder.make_learner(
      jax.random.PRNGKey(5),
      registry.make_agent(config, problems.TABLE),
      iter([]),
      counter=self.counter,
    )

  def run(self, batches):
    self.learner._iterator = iter(batches)
    for _ in batches:
      self.learner.step()
    return self.result()

  def result(self):
    return {
      'state': self.learner.save(),
      'variables': self.learner.get_variables(
        [learning.POLICY, learning.OBJECTIVE]
      ),
      'log': list(self.log.rows),
      'counts': self.counter.get_counts(),
    }


def alone():
  """The same batches on one device and on two, and one that is altered."""
  results = {}
  batches = [items(seed) for seed in range(STEPS)]
  for name in ('counts', 'disdain', 'rnd'):
    results[f'{name}-1'] = Learning(name, jax.local_devices()[:1]).run(batches)
    two = Learning(name, jax.local_devices())
    start = two.learner.save()
    results[f'{name}-2'] = two.run(batches)
    two.learner.restore(start)
    altered = items(STEPS - 1)
    # The last skill of the last batch, which the second device learns from.
    altered.extras['skill'][-1] += 1
    altered.extras['skill'][-1] %= problems.NUM_SKILLS
    results[f'{name}-altered'] = two.run([*batches[:-1], altered])
  return results


def together(process):
  """Each process gives its part of the same batches."""
  both = Learning('disdain', None)
  batches = [part(items(seed), process) for seed in range(STEPS)]
  both.run(batches[:1])
  both.learner.restore(both.learner.save())
  # It connects once it is asked.
  client = acme_api.reverb.Client('localhost:1')
  return {
    **both.run(batches[1:]),
    'fetched': both.builder.make_dataset_iterator(client).fetch_size,
  }


class PriorityWriter:
  """Keeps the newest priority of each key."""

  def __init__(self):
    self.priorities = {}

  def write(self, keys, priorities):
    whole = np.concatenate([np.asarray(x) for x in priorities], axis=1)
    keys = keys[:, 0].tolist()
    self.priorities |= dict(zip(keys, whole.reshape(-1).tolist(), strict=True))


def prioritized(devices, process=None):
  """Priorities by key; of batches, or of a process's part of each."""
  config = presets.make('vic', 'some:task', problems.TABLE)
  writer = PriorityWriter()
  learner = learning.SkillLearner(
    registry.make_agent(config, problems.TABLE).learner,
    iter([]),
    jax.random.PRNGKey(5),
    updates_per_step=UPDATES,
    importance_exponent=0.5,
    priority_writer=writer,
    devices=devices,
  )
  batches = []
  for seed in range(STEPS):
    item = items(seed)
    key = np.arange(2 * BATCH * UPDATES, dtype=np.uint32).reshape(-1, 2)
    # Not in the order of the keys.
    item.extras[replay_reader.KEY] = 1000 * seed + key[::-1]
    item.extras[replay_reader.ODDS] = np.linspace(
      0.5, 3, len(key), dtype=np.float32
    )
    batches.append(item if process is None else part(item, process))
  learner._iterator = iter(batches)
  for _ in batches:
    learner.step()
  return writer.priorities


def until_stopped(batches):
  """Learns until there are no more batches or another process stops."""
  both = Learning('vic', None)
  both.learner._iterator = batches
  error = None
  while error is None:
    try:
      both.learner.step()
    except Exception as caught:
      error = caught
  begin = time.monotonic()
  result = {**both.result(), 'error': repr(error)}
  # It stays so, without the others.
  try:
    both.learner.step()
  except Exception as caught:
    result['again'] = repr(caught)
  return {**result, 'seconds': time.monotonic() - begin}


class Ending:
  """A process's part of so many batches, and then an error."""

  def __init__(self, process, number, error):
    self._process = process
    self._left = number
    self._error = error

  def __next__(self):
    if not self._left:
      raise self._error
    self._left -= 1
    # Neither process is always the first.
    time.sleep(0.05 * ((self._left + self._process) % 2))
    return part(items(self._left), self._process)


def main(argv):
  folder, process, port = pathlib.Path(argv[1]), int(argv[2]), argv[3]
  signals = []
  signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
  sharding.join(
    f'127.0.0.1:{port}', 2, process, host=('localhost', '127.0.0.2')[process]
  )
  os.kill(os.getpid(), signal.SIGTERM)
  results = {
    'signals': signals,
    'devices': [len(jax.devices()), len(jax.local_devices())],
    'together': together(process),
    'priorities': prioritized(jax.devices(), process),
  }
  stop, mistake = stalls.StoppedError(), RuntimeError('no data')
  told = process == 1
  results['stopped'] = until_stopped(
    Ending(process, STEPS_BEFORE_STOP if told else 1000, stop)
  )
  results['failed'] = until_stopped(
    Ending(process, 1000 if told else 0, mistake)
  )
  if process == 0:
    results.update(alone())
    for number in (1, 2):
      devices = jax.local_devices()[:number]
      results[f'priorities-{number}'] = prioritized(devices)
  with open(folder / f'{process}.pickle', 'wb') as file:
    pickle.dump(results, file)


if __name__ == '__main__':
  main(sys.argv)
