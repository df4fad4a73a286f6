"""Several devices, and several processes, learn what one device learns."""

import os
import pathlib
import pickle
import socket
import subprocess
import sys

import chex
import jax
import numpy as np
import pytest

from tests.programs import devices_program

pytestmark = pytest.mark.integration

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMES = ('counts', 'disdain', 'rnd')
UPDATES = devices_program.UPDATES


@pytest.fixture(scope='module')
def results(tmp_path_factory):
  """What two processes with two devices each wrote."""
  folder = tmp_path_factory.mktemp('devices')
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  processes = [
    subprocess.Popen(
      [
        *(sys.executable, '-m', 'tests.programs.devices_program'),
        *(str(folder), str(process), str(port)),
      ],
      cwd=ROOT,
      env={
        **os.environ,
        'JAX_PLATFORMS': 'cpu',
        # Devices wait for each other in threads of XLA's pool.
        'NPROC': '4',
        'XLA_FLAGS': '--xla_force_host_platform_device_count=2',
      },
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for process in range(2)
  ]
  try:
    outputs = [process.communicate(timeout=300)[0] for process in processes]
  finally:
    for process in processes:
      process.kill()
      process.wait()
  for process, output in zip(processes, outputs):
    assert process.returncode == 0, output[-4000:]
  return [
    pickle.loads((folder / f'{process}.pickle').read_bytes())
    for process in range(2)
  ]


def assert_close(one, other):
  assert one['counts'] == other['counts']
  for part in ('state', 'variables', 'log'):
    chex.assert_trees_all_close(one[part], other[part], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('name', NAMES)
def test_two_devices_learn_what_one_does(results, name):
  one, two = results[0][f'{name}-1'], results[0][f'{name}-2']
  assert one['counts'] == {'steps': devices_program.STEPS * UPDATES}
  assert len(one['log']) == devices_program.STEPS
  assert_close(one, two)


@pytest.mark.parametrize('name', NAMES)
def test_the_second_device_s_part_of_a_batch_matters(results, name):
  two, altered = results[0][f'{name}-2'], results[0][f'{name}-altered']
  for part in ('params', 'objective'):
    pairs = zip(
      jax.tree.leaves(getattr(two['state'], part)),
      jax.tree.leaves(getattr(altered['state'], part)),
    )
    assert any(not np.allclose(x, y, rtol=1e-3) for x, y in pairs)


def test_two_processes_learn_what_one_does(results):
  one, other = (result['together'] for result in results)
  assert [result['devices'] for result in results] == [[4, 2], [4, 2]]
  chex.assert_trees_all_equal(one, other)
  assert one['fetched'] == UPDATES * devices_program.BATCH // 2
  # A step is reported by the one after it.
  alone = results[0]['disdain-1']
  for part in ('state', 'variables'):
    chex.assert_trees_all_close(one[part], alone[part], rtol=1e-4, atol=1e-6)
  chex.assert_trees_all_close(one['log'], alone['log'][:-1], rtol=1e-4)
  assert one['counts'] == {'steps': (devices_program.STEPS - 1) * UPDATES}


def test_priorities_of_every_item_are_those_of_one_device(results):
  one, two = (results[0][f'priorities-{number}'] for number in (1, 2))
  assert len(one) == devices_program.STEPS * UPDATES * devices_program.BATCH
  # Each process knows those of its own items.
  parts = [result['priorities'] for result in results]
  assert not set(parts[0]) & set(parts[1])
  for other in (two, parts[0] | parts[1]):
    assert set(other) == set(one)
    for key, priority in one.items():
      np.testing.assert_allclose(other[key], priority, rtol=1e-3, atol=1e-6)
  assert len(set(one.values())) > len(one) / 2


def test_both_stop_after_the_same_update_when_one_is_told_to(results):
  free, told = (result['stopped'] for result in results)
  number = devices_program.STEPS_BEFORE_STOP
  for result in (free, told):
    assert result['error'] == result['again'] == 'StoppedError()'
    assert result['counts'] == {'steps': number * UPDATES}
    assert len(result['log']) == number
    assert result['state'].steps == number * UPDATES
    assert result['seconds'] < 10
  for part in ('state', 'variables', 'log'):
    chex.assert_trees_all_equal(free[part], told[part])


def test_a_process_that_fails_before_its_first_batch_stops_the_other(results):
  failed, free = (result['failed'] for result in results)
  assert failed['error'] == failed['again'] == "RuntimeError('no data')"
  assert free['error'] == free['again'] == 'StoppedError()'
  assert failed['state'].steps == free['state'].steps == 0
  chex.assert_trees_all_equal(failed['state'], free['state'])


def test_joining_leaves_sigterm_to_the_program(results):
  assert [result['signals'] for result in results] == [[15], [15]]
