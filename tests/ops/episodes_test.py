"""Tests of skills/ops/episodes.py."""

import jax.numpy as jnp
import numpy as np

from skills.ops import episodes
from tests import problems

# Three skills: one whole, one cut short after two steps, one after its first.
MASK = jnp.array([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])


def test_the_last_step_is_the_last_that_the_mask_marks():
  np.testing.assert_array_equal(episodes.last_step(MASK), [2, 1, 0])


def test_a_value_stands_at_the_last_real_step_and_nowhere_else():
  placed = episodes.at_last_step(jnp.array([7.0, 8.0, 9.0]), MASK)
  np.testing.assert_array_equal(placed, [[0, 0, 9], [0, 8, 0], [7, 0, 0]])


def test_the_final_observation_is_what_the_last_real_step_led_to():
  # Observation t of skill b is 10 t + b: times 3, 2 and 1.
  observation = 10 * jnp.arange(4)[:, None] + jnp.arange(3)[None]
  np.testing.assert_array_equal(episodes.final(observation, MASK), [30, 21, 12])


def test_final_observations_keep_their_shape():
  lengths = (5, 1, 3)
  observation = jnp.arange(6 * 3 * 2 * 4).reshape(6, 3, 2, 4)
  final = episodes.final(observation, problems.mask(lengths, 5))
  assert final.shape == (3, 2, 4)
  for b, length in enumerate(lengths):
    np.testing.assert_array_equal(final[b], observation[length, b])
