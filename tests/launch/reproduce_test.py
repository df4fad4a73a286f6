"""Tests of launch/reproduce.py."""

import json

from absl import flags
from absl.testing import flagsaver
import pytest

from launch import reproduce
from launch.reproductions import comparison_table
from launch.reproductions import parallel
from launch.reproductions import training
from skills.evaluation.figures import figure_types


@pytest.fixture(autouse=True)
def parsed_flags():
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['test'])


def found(low=None, high=None):
  """A result whose quantity is 2 and 4."""
  return [
    comparison_table.Quantity(
      name='skills', paper='none', ours=(2.0, 4.0), low=low, high=high
    )
  ]


def test_small_reproduction_is_shown_and_written(tmp_path, monkeypatch, capsys):
  def tiny(request):
    """A few updates of the real program."""
    variant = training.Variant(
      agent='vic',
      environment='grid:disdain_release',
      settings=(('batch_size', 2),),
      num_updates=100,
    )
    runs = training.train_all({'vic': variant}, request)
    skills = comparison_table.Quantity(
      name='skills',
      paper='none',
      ours=parallel.each(runs['vic'], 'skills_learned'),
      low=0.0,
    )
    return [skills], runs

  monkeypatch.setattr(reproduce, 'REPRODUCTIONS', {'tiny': tiny})
  with flagsaver.flagsaver(seeds=['3', '5'], reproduce_dir=str(tmp_path)):
    assert reproduce.main(['reproduce', 'tiny']) == 0
  assert 'seed 5' in capsys.readouterr().out
  written = json.loads((tmp_path / 'tiny.json').read_text())
  assert written['seeds'] == [3, 5]
  assert len(written['quantities'][0]['ours']) == 2
  assert written['wall_time_s'] > 0
  table, curve = figure_types.load(tmp_path / 'tiny')
  assert len(table.rows) == 1
  assert len(curve.lines['vic'][1]) == 50
  first, second = written['quantities'][0]['ours']
  assert first != second
  assert 'jax' in written['versions']
  assert len(written['runs']['vic'][1]['curve']) == 50


@pytest.mark.parametrize(
  ('limits', 'status', 'verdict'),
  [({'low': 3.0}, 0, 'ok'), ({'high': 2.9}, 1, 'MISSED'), ({}, 0, '-')],
)
def test_status_and_json_say_whether_the_tolerance_was_met(
  tmp_path, monkeypatch, limits, status, verdict
):
  monkeypatch.setattr(
    reproduce, 'REPRODUCTIONS', {'tiny': lambda _: (found(**limits), {})}
  )
  with flagsaver.flagsaver(seeds=['3', '5'], reproduce_dir=str(tmp_path)):
    assert reproduce.main(['reproduce', 'tiny']) == status
  written = json.loads((tmp_path / 'tiny.json').read_text())
  assert written['quantities'][0]['verdict'] == verdict


@pytest.mark.parametrize(
  ('arguments', 'seeds', 'message'),
  [
    ([], ['0'], 'name one result'),
    (['disdain_relase_grid'], ['0'], "Did you mean 'disdain_release_grid'"),
    (['disdain_release_grid'], ['0', 'x'], 'seeds'),
    (['disdain_release_grid'], ['1', '1'], 'different'),
  ],
)
def test_user_errors_end_in_one_line(capsys, arguments, seeds, message):
  with (
    flagsaver.flagsaver(seeds=seeds),
    pytest.raises(SystemExit) as exit_info,
  ):
    reproduce.main(['reproduce', *arguments])
  assert exit_info.value.code == 2
  error = capsys.readouterr().err
  assert message in error
  assert error.count('\n') == 1


def test_every_reproduction_has_a_docstring():
  for reproduction in reproduce.REPRODUCTIONS.values():
    assert reproduction.__doc__
