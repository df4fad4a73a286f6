"""Tests of launch/training/sweep_jobs.py and of launch/sweep.py."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from launch.training import sweep_jobs

RUN = (
  'run_on_device',
  '--',
  '--agent=diayn',
  '--env=grid:disdain_release',
  '--num_steps=20000',
)


def test_values_are_split_at_commas_outside_parentheses():
  assert sweep_jobs.split_values('0.9,0.99') == ['0.9', '0.99']
  assert sweep_jobs.split_values('(64,64), (256,256),none') == [
    '64,64',
    '256,256',
    'none',
  ]


def test_grid_has_every_combination_once():
  found = sweep_jobs.grid({'a': ['1', '2'], 'b': ['x', 'y', 'z']})
  assert len({tuple(row.items()) for row in found}) == len(found) == 6
  assert {'a': '2', 'b': 'y'} in found
  assert sweep_jobs.grid({}) == [{}]


def test_sample_draws_without_replacement_and_by_seed():
  drawn = sweep_jobs.sample(range(20), 7, 0)
  assert len(set(drawn)) == 7
  assert drawn == sweep_jobs.sample(range(20), 7, 0)
  assert drawn != sweep_jobs.sample(range(20), 7, 1)
  assert sweep_jobs.sample(range(3), 7, 0) == [0, 1, 2]


def test_jobs_differ_in_folder_and_share_arguments(tmp_path):
  jobs = sweep_jobs.make_jobs(
    sweep_jobs.grid({'learner.discount': ['0.9', '0.99']}), [3, 4], tmp_path
  )
  assert len({job.folder for job in jobs}) == 4
  assert [job.seed for job in jobs] == [3, 3, 4, 4]
  line = jobs[1].arguments('run_local', ['--agent=vic'])
  assert line[1:3] == ['-m', 'launch.run_local']
  assert '--agent=vic' in line
  assert '--set=learner.discount=0.99' in line
  assert '--seed=3' in line
  jobs[1].folder.mkdir()
  (jobs[1].folder / 'config.json').write_text('{}')
  line = jobs[1].arguments('run_local', ['--agent=vic'])
  assert line[3:] == [f'--output_dir={jobs[1].folder}', '--resume']


def write_evaluations(folder, *values):
  path = folder / 'evaluator' / 'metrics.csv'
  path.parent.mkdir(parents=True)
  rows = ['actor_steps,skills_learned', *(f'1,{value}' for value in values)]
  path.write_text('\n'.join(rows) + '\n')


def test_score_is_the_mean_of_the_last_three_evaluations(tmp_path):
  write_evaluations(tmp_path, 100.0, 1.0, 2.0, 6.0)
  assert sweep_jobs.score(tmp_path, 'skills_learned') == pytest.approx(3.0)
  with pytest.raises(ValueError, match="skills_learned.*got 'episode_return'"):
    sweep_jobs.score(tmp_path, 'episode_return')


def test_results_of_another_sweep_are_refused(tmp_path):
  job = sweep_jobs.Job(settings={'a': '1'}, seed=0, folder=tmp_path / 'one')
  results = sweep_jobs.Results(tmp_path, {'command': 'run_local'})
  results.add(job, 0, cpu_s=2.0, wall_s=3.0)
  results.add(job, 0, cpu_s=1.0, wall_s=1.0)
  again = sweep_jobs.Results(tmp_path, {'command': 'run_local'})
  assert again.is_complete(job)
  assert again.runs['one']['cpu_s'] == pytest.approx(3.0)
  with pytest.raises(ValueError, match="'run_local'; got 'run_on_device'"):
    sweep_jobs.Results(tmp_path, {'command': 'run_on_device'})


def sweep(folder, *arguments):
  return [
    sys.executable,
    '-m',
    'launch.sweep',
    f'--sweep_dir={folder}',
    '--processes=2',
    *arguments,
    *RUN,
  ]


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on_and_compares(tmp_path):
  folder = tmp_path / 'sweep'
  line = sweep(folder, '--over=learner.discount=0.9,0.99', '--seeds=5')
  # Ended as soon as its runs have begun.
  with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
    while len(list(folder.glob('*/config.json'))) < 2:
      assert process.poll() is None
      time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate()
  assert process.returncode == 130
  assert 'the same command again' in output
  found = subprocess.run(line, capture_output=True, text=True, check=False)
  assert found.returncode == 0, found.stdout + found.stderr
  assert 'skills_learned, mean of the last evaluations' in found.stdout
  runs = json.loads((folder / 'sweep.json').read_text())['runs']
  assert len(runs) == 2
  assert all(run['status'] == 0 and run['cpu_s'] > 0 for run in runs.values())
  assert os.path.getsize(folder / 'report.html') > 1000
  # Nothing is run twice.
  logs = {path: path.stat().st_size for path in folder.glob('*.log')}
  subprocess.run(line, capture_output=True, check=True)
  assert logs == {path: path.stat().st_size for path in folder.glob('*.log')}


def test_a_run_that_fails_is_named_with_its_log(tmp_path):
  line = sweep(tmp_path, '--over=learner.discount=0.9,7', '--seeds=1')
  found = subprocess.run(line, capture_output=True, text=True, check=False)
  assert found.returncode == 1
  assert 'failed (2); see' in found.stdout
  # What it said stands there too.
  assert '\n  error: ' in found.stdout and 'got 7' in found.stdout
  log = next(tmp_path.glob('*discount=7*.log'))
  assert 'discount' in log.read_text()
  assert 'got 7' in log.read_text()
