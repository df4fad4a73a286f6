"""Runs on device, as a user starts, kills and continues them."""

import json
import pathlib
import signal
import subprocess
import sys
import time

from absl import flags
from absl.testing import flagsaver
import numpy as np
import pytest

from launch import run_on_device
from skills import checkpoints

UPDATES = 3000
STEPS = UPDATES * 16 * 8  # A batch has 16 trajectories of 8 steps.


def start(output_dir: pathlib.Path, *arguments: str) -> subprocess.Popen[str]:
  return subprocess.Popen(
    [
      sys.executable,
      '-m',
      'launch.run_on_device',
      f'--output_dir={output_dir}',
      *arguments,
    ],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def newest(output_dir: pathlib.Path) -> pathlib.Path:
  return checkpoints.latest(output_dir / checkpoints.FOLDER)


def wait_for_checkpoint(
  output_dir: pathlib.Path, process: subprocess.Popen[str]
) -> None:
  deadline = time.monotonic() + 200
  while time.monotonic() < deadline:
    assert process.poll() is None, process.communicate()
    try:
      newest(output_dir)
      return
    except checkpoints.CheckpointError:
      time.sleep(0.02)
  raise AssertionError('no checkpoint appeared.')


def run(output_dir: pathlib.Path, *arguments: str) -> None:
  """Runs the command to its end, in this process."""
  with flagsaver.flagsaver():
    rest = flags.FLAGS(
      ['run_on_device', f'--output_dir={output_dir}', *arguments]
    )
    assert run_on_device.main(rest) == 0


@pytest.mark.integration
@pytest.mark.usefixtures('without_page')
@pytest.mark.slow
def test_chained_skills_are_measured_by_information_of_states(tmp_path):
  run(
    tmp_path / 'run', '--agent=rvic', '--env=grid:open_11', '--num_steps=640000'
  )
  summary = json.loads((tmp_path / 'run' / 'summary.json').read_text())
  # Ten thousand updates gave 2.4 and 0.5 bits.
  pair, final = (summary[f'information_{part}'] for part in ('pair', 'final'))
  assert 1 < pair - final < 3
  assert 0 < summary['information_displacement'] < pair
  assert 1 < summary['effective_states'] < 121
  # The classifiers' own estimate of the same, from fewer skills: 1.4 bits.
  assert 0.7 < summary['intrinsic_return/skill'] / np.log(2) < 3


@pytest.mark.integration
@pytest.mark.usefixtures('without_page')
def test_killed_run_continues_to_the_same_parameters_bit_for_bit(
  tmp_path, capsys
):
  run(tmp_path / 'whole', f'--num_steps={STEPS}')

  arguments = (f'--num_steps={STEPS}', '--checkpoint_every_s=0.1')
  killed = start(tmp_path / 'killed', *arguments)
  wait_for_checkpoint(tmp_path / 'killed', killed)
  time.sleep(0.17)  # Into the middle of something.
  killed.send_signal(signal.SIGKILL)
  killed.communicate(timeout=30)
  assert killed.returncode == -signal.SIGKILL, 'the run ended too early.'
  assert int(newest(tmp_path / 'killed').name) < STEPS

  capsys.readouterr()
  run(tmp_path / 'killed', '--resume')
  assert 'skills learned' in capsys.readouterr().out
  with (
    np.load(newest(tmp_path / 'whole') / 'state.npz') as expected,
    np.load(newest(tmp_path / 'killed') / 'state.npz') as found,
  ):
    assert set(expected) == set(found)
    for name in expected:
      np.testing.assert_array_equal(found[name], expected[name], err_msg=name)

  summary = json.loads((tmp_path / 'killed' / 'summary.json').read_text())
  assert summary['complete']
  assert summary['environment_steps'] == STEPS
  assert summary['learner_steps'] == UPDATES
  for name in ('learning_curve.png', 'skill_map.png', 'config.json'):
    assert (tmp_path / 'killed' / name).exists()


@pytest.mark.integration
def test_ctrl_c_saves_and_says_how_to_continue(tmp_path):
  process = start(
    tmp_path / 'run', '--num_steps=2000000000', '--checkpoint_every_s=0.1'
  )
  wait_for_checkpoint(tmp_path / 'run', process)
  process.send_signal(signal.SIGINT)
  output, _ = process.communicate(timeout=60)
  assert process.returncode == 130, output
  assert '--resume' in output
  assert 'Traceback' not in output
  assert not json.loads((tmp_path / 'run' / 'summary.json').read_text())[
    'complete'
  ]
