"""Tests of envs/classics.py."""

import numpy as np
import pytest

from envs import classics
from envs import factory


def test_following_the_ball_catches_it():
  environment = factory.make('classic:catch', observation='board', seed=3)
  for _ in range(5):
    timestep = environment.reset()
    [[row, ball], [bottom, paddle]] = np.argwhere(timestep.observation)
    assert (row, bottom, paddle) == (0, 9, 2)
    for step in range(1, 10):
      timestep = environment.step(1 + np.sign(ball - paddle))
      paddle += np.sign(ball - paddle)
      assert timestep.last() == (step == 9)
      assert timestep.observation[step, ball] == 1
      assert timestep.observation[9, paddle] == 1
    assert (timestep.reward, timestep.discount) == (1, 0)


def test_catch_s_values_are_exact():
  mdp = classics.catch().mdp
  # 9 steps, of which the last pays; the farthest column is 2 away.
  start = mdp.initial > 0
  assert start.sum() == 5
  np.testing.assert_allclose(mdp.optimal_values(0.9)[start], 0.9**8)
  # A paddle that stays catches one ball of five.
  stay = np.tile([0.0, 1.0, 0.0], (mdp.num_states, 1))
  np.testing.assert_allclose(
    mdp.initial @ mdp.state_values(stay, 0.9), -0.6 * 0.9**8
  )


@pytest.mark.parametrize('instance', [0, 1])
def test_only_steps_to_the_right_reach_the_reward_of_deep_sea(instance):
  mdp = classics.deep_sea(6, instance).mdp
  # Six steps to the right at .01 / 6 each, the last of which pays 1.
  best = 0.9**5 - 0.01 / 6 * sum(0.9**t for t in range(6))
  np.testing.assert_allclose(mdp.initial @ mdp.optimal_values(0.9), best)
  # By chance: each way of six steps has probability 2^-6; on average half of
  # the steps go to the right.
  uniform = np.full((mdp.num_states, 2), 0.5)
  by_chance = 2**-6 * 0.9**5 - 0.005 / 6 * sum(0.9**t for t in range(6))
  np.testing.assert_allclose(
    mdp.initial @ mdp.state_values(uniform, 0.9), by_chance
  )


def test_meanings_of_actions_differ_between_cells_and_instances():
  first, other = (classics.deep_sea(6, instance).mdp for instance in (0, 1))
  is_right = first.rewards[:-1, 1] != 0
  assert 0 < is_right.sum() < 36
  assert (first.successors != other.successors).any()


def test_the_board_shows_the_diver_until_the_end():
  environment = factory.make('classic:deep_sea', size=4, observation='board')
  seen = [environment.reset().observation]
  for _ in range(4):
    timestep = environment.step(0)
    seen.append(timestep.observation)
  assert timestep.last() and timestep.discount == 0
  for row, picture in enumerate(seen[:-1]):
    [place] = np.argwhere(picture)
    assert place[0] == row
  assert not seen[-1].any()


def test_invalid_sizes_are_refused():
  with pytest.raises(ValueError, match='rows must be an integer >= 2, got 1'):
    classics.catch(rows=1)
  with pytest.raises(ValueError, match='size must be an integer >= 2, got 0'):
    classics.deep_sea(0)
  with pytest.raises(ValueError, match="observation 'pixels' is unknown"):
    factory.make('classic:catch', observation='pixels')
  with pytest.raises(ValueError, match='size is of deep_sea alone'):
    factory.make('classic:catch', size=4)
