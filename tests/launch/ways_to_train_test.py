"""One run from end to end for each way to train."""

import json
import pathlib
import subprocess
import sys

from absl import flags
from absl.testing import flagsaver
import pytest

from launch import run_local
from launch import run_on_device
from launch.runs import run_files
from skills.evaluation.figures import figure_types

ROOT = pathlib.Path(__file__).resolve().parents[2]
NUM_STEPS = 640
SMALL = (
  '--env=grid:disdain_release',
  f'--num_steps={NUM_STEPS}',
  '--evaluation_episodes=2',
  '--set=replay.min_size=8',
  '--set=batch_size=4',
)


pytestmark = pytest.mark.integration


def check_files(folder):
  """Checks what a run leaves."""
  summary = json.loads((folder / run_files.SUMMARY_FILE).read_text())
  assert summary['complete']
  assert summary['environment_steps'] >= NUM_STEPS
  assert summary['learner_steps'] > 0
  assert 0 < summary['skills_learned'] <= 24
  for name in (
    'config.json',
    run_files.LEARNING_CURVE,
    run_files.SKILL_MAP,
    run_files.REPORT_FILE,
    figure_types.FIGURES_FILE,
  ):
    assert (folder / name).stat().st_size > 0, name
  rows = run_files.read_metrics(folder / 'evaluator' / 'metrics.csv')
  assert rows and float(rows[-1]['skills_learned']) > 0


@pytest.mark.parametrize(
  'command', [run_local, run_on_device], ids=['local', 'on_device']
)
def test_a_run_trains_evaluates_and_leaves_its_files(tmp_path, command):
  folder = tmp_path / 'run'
  with flagsaver.flagsaver():
    rest = flags.FLAGS(['command', *SMALL, f'--output_dir={folder}'])
    assert command.main(rest) == 0
  check_files(folder)


def test_a_program_of_nodes_does_the_same_from_the_shell(tmp_path):
  folder = tmp_path / 'run'
  result = subprocess.run(
    [
      *(sys.executable, '-m', 'launch.run_distributed', *SMALL),
      *('--lp_launch_type=local_mt', '--num_actors=1'),
      f'--output_dir={folder}',
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=240,
    check=False,
  )
  assert result.returncode == 0, result.stderr[-4000:]
  check_files(folder)
