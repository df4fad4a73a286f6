"""Tests of launch/benchmark.py; speed itself is not tested."""

import json

from absl import flags
from absl.testing import flagsaver
import pytest

from launch import benchmark
from launch.benchmarking import release_grid
from launch.benchmarking import runs
from launch.benchmarking import timing


@pytest.fixture(autouse=True)
def parsed_flags():
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['test'])


def test_only_requested_parts_are_measured(tmp_path, monkeypatch, capsys):
  limits = runs.Counts(1000, 5000, 400)
  answers = {
    'measure_limits': limits,
    'distributed_rows': [
      release_grid.distributed_row(1, 0, runs.Counts(500, 60, 62), limits, 2)
    ],
  }
  monkeypatch.setattr(
    timing,
    'on_cores',
    lambda cores, measure, *args: answers[measure.__name__],
  )
  path = tmp_path / 'benchmark.json'
  with flagsaver.flagsaver(only=['distributed'], json=str(path)):
    assert benchmark.main(['benchmark']) == 0
  printed = capsys.readouterr().out
  assert 'bare writer' in printed
  assert '0.5' in printed
  limits_title, launchpad_title = json.loads(path.read_text())['sections']
  assert 'limits' in limits_title
  assert 'Launchpad' in launchpad_title


def test_unknown_part_is_refused_in_one_line(capsys):
  with (
    flagsaver.flagsaver(only=['distribted']),
    pytest.raises(SystemExit) as exit_info,
  ):
    benchmark.main(['benchmark'])
  assert exit_info.value.code == 2
  error = capsys.readouterr().err
  assert "Did you mean 'distributed'" in error
  assert error.count('\n') == 1
