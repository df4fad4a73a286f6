"""Tests of envs/random_mdps.py."""

import numpy as np
import pytest

from envs import factory
from envs import random_mdps

SIZES = random_mdps.Sizes(12, 3, 4, 0.3)


def test_the_number_of_successors_is_the_branching():
  mdp = random_mdps.draw(SIZES, 0)
  assert mdp.transitions.shape == (12, 3, 12)
  np.testing.assert_array_equal((mdp.transitions > 0).sum(-1), 4)
  np.testing.assert_allclose(mdp.transitions.sum(-1), 1.0)
  # They are not the same states everywhere, and no probability is preferred:
  # the largest of four has mean (1 + 1/2 + 1/3 + 1/4) / 4.
  assert len(np.unique(mdp.transitions > 0, axis=0)) > 1
  large = random_mdps.draw(SIZES._replace(num_states=400), 0)
  np.testing.assert_allclose(
    large.transitions.max(-1).mean(), 25 / 48, atol=0.02
  )


@pytest.mark.parametrize('rewarded', [0.0, 0.3, 1.0])
def test_the_share_of_rewarded_pairs(rewarded):
  mdp = random_mdps.draw(random_mdps.Sizes(400, 5, 2, rewarded), 3)
  # 2000 pairs: 3 standard deviations are 3 * sqrt(.21 / 2000) = .03.
  share = np.mean(mdp.rewards != 0)
  assert abs(share - rewarded) < 0.035
  if rewarded == 1.0:
    assert abs(mdp.rewards.mean()) < 0.07
    assert abs(mdp.rewards.std() - 1) < 0.05


def test_the_process_is_a_function_of_its_instance():
  first, same, other = (random_mdps.draw(SIZES, i) for i in (1, 1, 2))
  np.testing.assert_array_equal(first.transitions, same.transitions)
  np.testing.assert_array_equal(first.rewards, same.rewards)
  assert (first.transitions != other.transitions).any()
  assert (first.rewards != other.rewards).any()


def test_exact_values_satisfy_the_bellman_equation():
  mdp = random_mdps.draw(SIZES, 5)
  policy = np.random.default_rng(0).dirichlet(np.ones(3), size=12)
  values = mdp.state_values(policy, 0.9)
  ahead = mdp.rewards + 0.9 * mdp.transitions @ values
  np.testing.assert_allclose(values, (policy * ahead).sum(-1), atol=1e-9)


def test_the_value_of_a_single_state_by_hand():
  # One action that pays r for ever is worth r / (1 - .5).
  mdp = random_mdps.draw(random_mdps.Sizes(1, 1, 1, 1.0), 0)
  np.testing.assert_allclose(
    mdp.state_values(np.ones((1, 1)), 0.5), 2 * mdp.rewards[0]
  )


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'branching': 13}, 'branching must be an integer in 1..12, got 13'),
    ({'num_states': 0}, 'num_states must be an integer >= 1, got 0'),
    ({'rewarded': 1.5}, r'rewarded must be a number in \[0, 1\], got 1.5'),
  ],
)
def test_invalid_sizes_are_refused(change, message):
  with pytest.raises(ValueError, match=message):
    random_mdps.draw(SIZES._replace(**change), 0)


def test_sizes_and_instance_are_options_apart_from_the_seed():
  environment = factory.make('random:sparse', instance=4, rewarded=1.0, seed=9)
  expected = random_mdps.draw(
    random_mdps.TASKS['sparse']._replace(rewarded=1.0), 4
  )
  np.testing.assert_array_equal(
    environment.mdp.transitions, expected.transitions
  )
  np.testing.assert_array_equal(environment.mdp.rewards, expected.rewards)
  small = factory.make('random:dense', num_states=5, branching=5, horizon=7)
  assert small.mdp.num_states == 5
  assert small.mdp.horizon == 7
