"""Flags of commands that train several times."""

from absl import flags
from absl.testing import flagsaver
import pytest

from launch.cli import several_runs


@pytest.fixture(autouse=True)
def parsed_flags():
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['test'])


@pytest.mark.parametrize(
  ('given', 'found'), [(None, (4, 5)), (['7'], (7,)), (['3', '0'], (3, 0))]
)
def test_seeds_that_were_given_come_before_the_default(given, found):
  with flagsaver.flagsaver(seeds=given):
    assert several_runs.seeds(default=(4, 5)) == found


@pytest.mark.parametrize(
  ('given', 'named'),
  [(['0', 'x'], '0,x'), (['-1'], '-1'), (['2', '2'], '2,2'), ([], "''")],
)
def test_seeds_that_are_no_different_numbers_are_refused(given, named):
  with (
    flagsaver.flagsaver(seeds=given),
    pytest.raises(ValueError, match=named),
  ):
    several_runs.seeds(default=(0,))


@pytest.mark.parametrize('processes', [0, -2])
def test_too_few_processes_are_refused(processes):
  with (
    flagsaver.flagsaver(processes=processes),
    pytest.raises(ValueError, match=f'processes must be >= 1, got {processes}'),
  ):
    several_runs.processes()
