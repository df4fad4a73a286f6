"""Tests of skills/objectives/base.py."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills.objectives import base
from tests import problems

KEY = jax.random.PRNGKey(0)
LENGTHS = (2, 1)
BATCH = problems.trajectory(problems.TABLE, lengths=LENGTHS, num_steps=2)


def constant(name, size, num_streams=1, discriminator=None):
  """Pays `size` + state at every step; its state counts updates."""
  return base.IntrinsicReward(
    streams=tuple(f'{name}{i}' for i in range(num_streams)),
    init=lambda key: jax.random.uniform(key),
    reward=lambda state, trajectory: jnp.full(
      (*trajectory.mask.shape, num_streams), size + state
    ),
    weights=lambda state: jnp.full((num_streams,), size),
    update=lambda state, trajectory, key: (
      state + 1,
      {name: jax.random.uniform(key)},
    ),
    discriminator=discriminator,
  )


def test_scale_changes_weights_and_nothing_else():
  plain = constant('a', 3.0, num_streams=2)
  scaled = base.scale(plain, 0.5)
  state = plain.init(KEY)
  np.testing.assert_array_equal(scaled.weights(state), [1.5, 1.5])
  chex.assert_trees_all_equal(
    (scaled.streams, scaled.init(KEY), scaled.reward(state, BATCH)),
    (plain.streams, state, plain.reward(state, BATCH)),
  )
  chex.assert_trees_all_equal(
    scaled.update(state, BATCH, KEY), plain.update(state, BATCH, KEY)
  )


def test_scales_multiply():
  twice = base.scale(base.scale(constant('a', 3.0), 0.5), 4.0)
  np.testing.assert_array_equal(twice.weights(jnp.zeros(())), [6.0])


def test_add_sets_streams_weights_and_rewards_side_by_side():
  both = base.add(constant('a', 1.0, num_streams=2), constant('b', 5.0))
  assert both.streams == ('a0', 'a1', 'b0')
  state = (jnp.float32(10.0), jnp.float32(20.0))
  np.testing.assert_array_equal(both.weights(state), [1.0, 1.0, 5.0])
  # Each is paid from its own state: 1 + 10, twice, and 5 + 20.
  rewards = both.reward(state, BATCH)
  np.testing.assert_array_equal(
    rewards, np.broadcast_to([11.0, 11.0, 25.0], rewards.shape)
  )


def test_weights_of_all_skills_and_of_each_stand_side_by_side():
  each = constant('b', 5.0)._replace(
    weights=lambda state: jnp.array([[2.0], [3.0]])
  )
  state = (jnp.float32(0.0), jnp.float32(0.0))
  for first, second, expected in (
    (constant('a', 1.0), each, [[1, 2], [1, 3]]),
    (each, constant('a', 1.0), [[2, 1], [3, 1]]),
  ):
    weights = base.add(first, second).weights(state)
    np.testing.assert_array_equal(weights, expected)
    skill = jnp.array([[1, 0, 1]])
    np.testing.assert_array_equal(
      base.weights_of(weights, skill), np.array(expected)[np.array([[1, 0, 1]])]
    )
  alike = jnp.array([1.0, 7.0])
  np.testing.assert_array_equal(base.weights_of(alike, skill), [1, 7])


def test_add_updates_each_with_its_own_random_numbers():
  both = base.add(constant('a', 1.0), constant('b', 5.0))
  state = (jnp.float32(10.0), jnp.float32(20.0))
  state, metrics = both.update(state, BATCH, KEY)
  np.testing.assert_array_equal(state, (11.0, 21.0))
  assert set(metrics) == {'a', 'b'}
  assert metrics['a'] != metrics['b']
  first, second = both.init(KEY)
  assert first != second


def test_adding_leaves_the_first_objective_unchanged():
  alone = constant('a', 1.0)
  both = base.add(alone, constant('b', 5.0))
  state = both.init(KEY)
  assert state[0] == alone.init(KEY)
  after, metrics = both.update(state, BATCH, KEY)
  expected, expected_metrics = alone.update(state[0], BATCH, KEY)
  assert (after[0], metrics['a']) == (expected, expected_metrics['a'])


def test_streams_of_the_same_name_are_refused():
  with pytest.raises(ValueError, match="different names.*'a0'"):
    base.add(constant('a', 1.0), constant('a', 2.0))


@pytest.mark.parametrize('position', [0, 1])
def test_the_sum_passes_on_the_discriminator_of_either_part(position):
  discriminator = base.Discriminator(
    lambda state, trajectory: jnp.full((1, 1, 2, 3), state), base.FINAL_STEP
  )
  parts = [constant('a', 1.0), constant('b', 1.0)]
  parts[position] = parts[position]._replace(discriminator=discriminator)
  passed_on = base.add(*parts).discriminator
  assert passed_on.timesteps is base.FINAL_STEP
  logits = passed_on.logits((jnp.float32(0.0), jnp.float32(1.0)), BATCH)
  np.testing.assert_array_equal(logits, np.full((1, 1, 2, 3), position))


def test_the_first_of_two_discriminators_is_passed_on():
  def discriminator(timesteps):
    return base.Discriminator(lambda state, trajectory: None, timesteps)

  both = base.add(
    constant('a', 1.0, discriminator=discriminator(base.EVERY_STEP)),
    constant('b', 1.0, discriminator=discriminator(base.FINAL_STEP)),
  )
  assert both.discriminator.timesteps is base.EVERY_STEP


def test_there_is_no_discriminator_where_neither_part_has_one():
  assert base.add(constant('a', 1.0), constant('b', 1.0)).discriminator is None


def test_final_step_selects_one_state_and_pays_at_the_last_step():
  batch = BATCH._replace(
    observation=jnp.array([[0, 1], [2, 3], [4, 5]]),
    # Padding carries another skill.
    skill=jnp.array([[1, 2], [1, 0]]),
  )
  moments = base.FINAL_STEP.select(batch)
  np.testing.assert_array_equal(moments.observation, [[4, 3]])
  np.testing.assert_array_equal(moments.start, [[0, 1]])
  np.testing.assert_array_equal(moments.skill, [[1, 2]])
  np.testing.assert_array_equal(moments.mask, [[1, 1]])
  np.testing.assert_array_equal(
    base.FINAL_STEP.place(jnp.array([[7.0, 8.0]]), batch), [[0, 8], [7, 0]]
  )


def test_every_step_selects_what_each_real_step_led_to():
  batch = BATCH._replace(observation=jnp.array([[0, 1], [2, 3], [4, 5]]))
  moments = base.EVERY_STEP.select(batch)
  np.testing.assert_array_equal(moments.observation, [[2, 3], [4, 5]])
  np.testing.assert_array_equal(moments.start, [[0, 1], [0, 1]])
  np.testing.assert_array_equal(moments.mask, [[1, 1], [1, 0]])
  np.testing.assert_array_equal(
    base.EVERY_STEP.place(jnp.array([[6.0, 7.0], [8.0, 9.0]]), batch),
    [[6, 7], [8, 0]],
  )


def test_masked_mean_ignores_masked_entries():
  values = jnp.array([[1.0, 100.0], [3.0, 5.0]])
  mask = jnp.array([[1.0, 0.0], [1.0, 1.0]])
  # (1 + 3 + 5) / 3
  assert base.masked_mean(values, mask) == 3.0
  assert base.masked_mean(values, jnp.zeros_like(mask)) == 0.0
