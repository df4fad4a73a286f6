"""Tests of skills/ops/improvement.py."""

import jax
import jax.numpy as jnp
import numpy as np

from skills.ops import improvement


def test_the_prior_is_weighed_by_clipped_advantages():
  # Prior 1/2, 1/4, 1/4; advantages log 2, -9 (cut to -1) and 0: weights
  # 1, 1 / 4e and 1/4.
  policy = jnp.exp(
    improvement.cmpo(
      jnp.log(jnp.array([0.5, 0.25, 0.25])),
      jnp.array([np.log(2.0), -9.0, 0.0]),
    )
  )
  weights = np.array([1.0, 0.25 / np.e, 0.25])
  np.testing.assert_allclose(policy, weights / weights.sum(), rtol=1e-6)


def test_without_advantages_it_is_the_prior():
  log_prior = jax.nn.log_softmax(jnp.array([[1.0, -2.0, 0.5]]))
  np.testing.assert_allclose(
    improvement.cmpo(log_prior, jnp.zeros((1, 3))), log_prior, atol=1e-6
  )


def test_it_moves_at_most_tanh_of_half_the_limit():
  # Two actions whose prior odds are e^-c become e^c to 1: the probability of
  # the first moves from 1 / (1 + e^c) to 1 / (1 + e^-c), by tanh(c / 2).
  for limit in (0.5, 1.0, 2.0):
    log_prior = jax.nn.log_softmax(jnp.array([-limit, 0.0]))
    moved = improvement.cmpo(log_prior, jnp.array([50.0, -50.0]), limit)
    variation = 0.5 * jnp.abs(jnp.exp(moved) - jnp.exp(log_prior)).sum()
    np.testing.assert_allclose(variation, np.tanh(limit / 2), rtol=1e-5)


def test_no_prior_and_no_advantages_move_it_further():
  rng = np.random.default_rng(0)
  log_prior = jax.nn.log_softmax(jnp.asarray(3 * rng.normal(size=(1000, 4))))
  advantages = jnp.asarray(5 * rng.normal(size=(1000, 4)))
  moved = improvement.cmpo(log_prior, advantages)
  variation = 0.5 * jnp.abs(jnp.exp(moved) - jnp.exp(log_prior)).sum(-1)
  assert variation.max() <= np.tanh(0.5) + 1e-6
  # The mean advantage under the new policy is never less.
  gain = jnp.sum((jnp.exp(moved) - jnp.exp(log_prior)) * advantages, -1)
  assert gain.min() >= -1e-5  # But for rounding.
