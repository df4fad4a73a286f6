"""Tests of skills/networks/models.py."""

import jax
import jax.numpy as jnp
import numpy as np

from skills.networks import models
from tests import problems

KEY = jax.random.PRNGKey(0)


def test_tables_imagine_the_expectation_under_the_policy():
  params, imagination = problems.tables_of_a_model()
  rollout = models.imagine(
    imagination, params, params, jnp.array([0, 1]), KEY, 2
  )
  # From the first state 1/4 * 4 = 1, and 1/4 leads to the second one, which
  # pays 2 and stays: 3/4 * 1 + 1/4 * 2 = 1.25.
  np.testing.assert_allclose(rollout.reward, [[1.0, 2.0], [1.25, 2.0]])
  np.testing.assert_allclose(
    rollout.state[:, 0], [[1, 0], [0.75, 0.25], [0.5625, 0.4375]]
  )
  # 3/4 * 8 + 1/4 * 4
  np.testing.assert_allclose(imagination.value(params, rollout.state)[1, 0], 7)
