"""Tests of skills/learners/base.py."""

import jax.numpy as jnp
import numpy as np
import pytest

from skills.learners import base

# A whole skill, one cut short, and one that ended the episode in its second
# step, beside which the environment's discount is 0.
MASK = jnp.array([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
DISCOUNT = jnp.array([[1.0, 1.0, 0.5], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])


@pytest.mark.parametrize(
  ('bootstrap_at_skill_end', 'expected'),
  [
    (False, [[0.9, 0.9, 0.45], [0.9, 0.0, 0.0], [0.0, 0.0, 0.0]]),
    # Returns go on past a skill's end, unless it ended the episode.
    (True, [[0.9, 0.9, 0.45], [0.9, 0.9, 0.0], [0.9, 0.0, 0.0]]),
  ],
)
def test_discounts_are_gamma_within_a_skill_and_after_it_as_told(
  bootstrap_at_skill_end, expected
):
  np.testing.assert_allclose(
    base.discounts(
      DISCOUNT, MASK, 0.9, bootstrap_at_skill_end=bootstrap_at_skill_end
    ),
    expected,
    rtol=1e-6,
  )


def test_a_step_goes_on_where_another_real_one_follows():
  np.testing.assert_array_equal(
    base.has_next_step(MASK), [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
  )
