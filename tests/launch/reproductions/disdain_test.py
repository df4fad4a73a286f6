"""Tests of launch/reproductions/disdain.py."""

import pathlib

import pytest

from launch.reproductions import disdain
from launch.reproductions import parallel
from launch.runs import run_files
from skills import files


def flag(command, name):
  [value] = [
    argument.partition('=')[2]
    for argument in command
    if argument.startswith(f'--{name}=')
  ]
  return value


@pytest.mark.parametrize(
  # Of 16 skills, 15% are 2.4.
  ('by_threads', 'verdict'),
  [(13.7, 'ok'), (13.5, 'MISSED'), (18.3, 'ok'), (18.5, 'MISSED')],
)
def test_skills_at_each_scale_must_be_within_15_percent_of_run_local(
  tmp_path, monkeypatch, by_threads, verdict
):
  commands = []

  def run(command, check):
    assert check
    commands.append(command)
    folder = pathlib.Path(flag(command, 'output_dir'))
    assert not folder.exists(), 'the command would refuse it'
    folder.mkdir(parents=True)
    offset = int(flag(command, 'seed')) - 4
    skills = by_threads if '--lp_launch_type=local_mt' in command else 16.0
    files.write_json(
      folder / run_files.SUMMARY_FILE,
      {
        'skills_learned': skills + offset,
        'environment_steps': int(flag(command, 'num_steps')),
      },
    )

  monkeypatch.setattr(disdain.subprocess, 'run', run)
  leftover = tmp_path / 'run_local-3'
  leftover.mkdir(parents=True)
  quantities, runs = disdain.release_grid_at_any_scale(
    parallel.Request(seeds=(3, 5), processes=2, folder=tmp_path)
  )
  assert [len(each) for each in runs.values()] == [2, 2, 2]
  assert len(commands) == 6
  assert len({flag(command, 'output_dir') for command in commands}) == 6
  assert len({flag(command, 'num_steps') for command in commands}) == 1
  found = {quantity.name: quantity.verdict for quantity in quantities}
  assert found.pop('skills, local_mt, 2 actors') == verdict
  assert set(found.values()) == {'ok'}


@pytest.mark.slow
@pytest.mark.launchpad
@pytest.mark.timeout(5400)
def test_disdain_learns_equally_many_skills_at_any_scale(
  tmp_path,
):
  quantities, _ = disdain.release_grid_at_any_scale(
    parallel.Request(seeds=(0, 1, 2), processes=1, folder=tmp_path)
  )
  assert 'MISSED' not in [quantity.verdict for quantity in quantities]
