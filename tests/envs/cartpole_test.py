"""Tests of envs/cartpole.py."""

import gym
import jax
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


def test_the_functional_environment_makes_the_same_steps():
  functional = factory.make('classic:cartpole').functional()
  step = jax.jit(functional.step)
  rng = np.random.default_rng(5)
  discounts = []
  # On both sides of where an episode ends.
  spread = np.array([2.6, 2.0, 0.25, 2.0])
  for _ in range(200):
    state = rng.uniform(-spread, spread).astype(np.float32)
    action = int(rng.integers(2))
    found, reward, discount = step(None, state, action)
    expected = cartpole.advance(state.astype(np.float64), action)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(functional.observe(found), found)
    is_over = abs(expected[0]) > 2.4 or abs(expected[2]) > np.radians(12)
    assert (reward, discount) == (1, not is_over)
    discounts.append(float(discount))
  assert 0.2 < np.mean(discounts) < 0.8


def test_functional_episodes_begin_near_the_middle_and_differ():
  functional = factory.make('classic:cartpole').functional()
  assert functional.horizon == cartpole.HORIZON
  keys = jax.random.split(jax.random.PRNGKey(0), 1000)
  starts = np.asarray(jax.vmap(functional.reset)(keys))
  assert np.all(np.abs(starts) <= 0.05)
  np.testing.assert_allclose(starts.std(axis=0), 0.1 / np.sqrt(12), rtol=0.1)
