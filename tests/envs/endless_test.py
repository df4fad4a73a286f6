"""Tests of envs/endless.py."""

import json

from absl.testing import absltest
from dm_env import test_utils
import numpy as np
import pytest

from envs import endless
from envs import factory
from envs import gridworlds

UP, LEFT = (gridworlds.ACTIONS.index(name) for name in ('up', 'left'))


def make(num_steps=3, **options):
  return endless.Segments(factory.make('grid:open_11', **options), num_steps)


class ConformanceTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    return make()

  def make_action_sequence(self):
    rng = np.random.default_rng(0)
    for _ in range(30):
      yield np.int32(rng.integers(5))


def test_an_episode_ends_after_its_steps_and_the_next_begins_there():
  environment = make()
  first = environment.reset()
  assert first.first() and first.observation == 60  # The center of 11 by 11.
  seen = [environment.step(UP) for _ in range(3)]
  assert [timestep.last() for timestep in seen] == [False, False, True]
  # Cut off, and not terminal.
  assert [timestep.discount for timestep in seen] == [1.0, 1.0, 1.0]
  assert seen[-1].observation == 60 - 3 * 11
  again = environment.step(UP)  # Begins the next one, and does not move.
  assert again.first()
  assert (again.reward, again.discount) == (None, None)
  assert again.observation == 60 - 3 * 11
  assert environment.step(LEFT).observation == 60 - 3 * 11 - 1
  # Within an episode, too.
  assert environment.reset().observation == 60 - 3 * 11 - 1


def test_an_environment_that_ends_is_reset():
  grid = gridworlds.from_ascii('two', 'SG')
  environment = endless.Segments(gridworlds.GridworldEnvironment(grid), 5)
  assert environment.reset().observation == 0
  end = environment.step(gridworlds.ACTIONS.index('right'))
  assert end.last() and end.discount == 0.0 and end.reward == 1.0
  assert environment.step(UP).observation == 0


@pytest.mark.parametrize('made', [1, 2, 3, 4])
def test_saved_state_continues_within_and_between_episodes(made):
  environment = make(num_steps=2)
  environment.reset()
  for _ in range(made):
    environment.step(UP)
  saved = json.loads(json.dumps(environment.save()))
  other = make(num_steps=2)
  other.restore(saved)
  for action in (UP, LEFT, LEFT, UP, UP):
    mine, theirs = environment.step(action), other.step(action)
    assert mine.step_type == theirs.step_type
    assert mine.observation == theirs.observation
    assert np.asarray(theirs.observation).dtype == np.int32


def test_the_map_is_passed_on():
  environment = make()
  assert environment.grid.name == 'open_11'
  assert environment.is_endless
  assert not factory.make('grid:four_rooms').is_endless
  with pytest.raises(AttributeError):
    _ = environment.nothing_of_this_name


def test_episodes_without_steps_are_refused():
  with pytest.raises(ValueError, match='num_steps'):
    make(num_steps=0)
