"""Tests of envs/cartpole.py."""

import gym
import numpy as np
import pytest

from envs import cartpole
from envs import factory


def test_dynamics_are_those_of_gym():
  other = gym.make('CartPole-v1').unwrapped
  other.reset()
  rng = np.random.default_rng(0)
  for _ in range(20):
    state = rng.uniform(-0.2, 0.2, 4)
    for action in (0, 1):
      other.state = tuple(state)
      other.steps_beyond_terminated = other.steps_beyond_done = None
      seen = other.step(action)[0]
      np.testing.assert_allclose(
        cartpole.advance(state, action), seen, rtol=1e-5, atol=1e-7
      )


def test_pushing_to_one_side_drops_the_pole_and_terminates():
  environment = factory.make('classic:cartpole', seed=1)
  for _ in range(3):
    assert np.abs(environment.reset().observation).max() <= 0.05
    timestep, steps = environment.step(1), 1
    while not timestep.last():
      assert (timestep.reward, timestep.discount) == (1, 1)
      timestep, steps = environment.step(1), steps + 1
    assert 7 <= steps <= 11
    assert (timestep.reward, timestep.discount) == (1, 0)
    assert abs(timestep.observation[2]) > np.radians(12)


def test_a_balanced_pole_is_truncated_after_500_steps():
  environment = factory.make('classic:cartpole', seed=2)
  timestep, steps = environment.reset(), 0
  while not timestep.last():
    # Push to where the pole leans, and hold the cart back a little.
    lean = timestep.observation @ [0.05, 0.1, 1.0, 0.5]
    timestep, steps = environment.step(int(lean > 0)), steps + 1
  assert steps == cartpole.HORIZON == 500
  assert timestep.discount == 1


def test_a_restored_environment_continues_bit_for_bit():
  environment = factory.make('classic:cartpole', seed=3)
  environment.reset()
  environment.step(1)
  saved = environment.save()
  other = factory.make('classic:cartpole', seed=4)
  other.restore(saved)
  # The rest of this episode, and the beginning of the next one.
  for _ in range(15):
    first, second = environment.step(1), other.step(1)
    assert first.step_type == second.step_type
    np.testing.assert_array_equal(first.observation, second.observation)


def test_options_of_other_classics_are_refused():
  with pytest.raises(ValueError, match='size is of deep_sea alone'):
    factory.make('classic:cartpole', size=4)
  environment = factory.make('classic:cartpole')
  environment.reset()
  with pytest.raises(ValueError, match='must be an integer in 0..1, got 2'):
    environment.step(2)
