"""Tests of skills/ops/categorical.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills.ops import categorical
from tests import oracles


def test_entropy_of_known_distributions():
  p = jnp.array([[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0], [0, 0, 1, 0]])
  # log 4, log 2 and 0 nats.
  np.testing.assert_allclose(
    categorical.entropy(p), [1.3862944, 0.6931472, 0.0], rtol=1e-6
  )


def test_entropy_is_that_of_its_definition():
  p = np.random.default_rng(0).dirichlet(np.ones(5), size=(2, 3))
  expected = [[oracles.entropy(q) for q in row] for row in p]
  np.testing.assert_allclose(
    categorical.entropy(jnp.asarray(p, jnp.float32)), expected, rtol=1e-5
  )


def test_log_prob_picks_each_row_s_own_category():
  log_p = jnp.log(
    jnp.array([[[0.2, 0.8], [0.3, 0.7]], [[0.6, 0.4], [0.1, 0.9]]])
  )
  index = jnp.array([[1, 0], [0, 1]])
  np.testing.assert_allclose(
    jnp.exp(categorical.log_prob(log_p, index)),
    [[0.8, 0.3], [0.6, 0.9]],
    rtol=1e-6,
  )


def test_log_mean_averages_probabilities_and_not_logits():
  # Mean of .9 and .1 is .5; the mean of the logs is that of .3.
  log_p = jnp.log(jnp.array([[0.9, 0.2], [0.1, 0.2]]))
  np.testing.assert_allclose(
    jnp.exp(categorical.log_mean(log_p)), [0.5, 0.2], rtol=1e-6
  )


def test_log_mean_of_one_member_is_itself():
  log_p = jnp.log(jnp.array([[0.9, 0.1]]))
  np.testing.assert_array_equal(categorical.log_mean(log_p), log_p[0])


@pytest.mark.parametrize('size', [1e4, 1e30])
def test_skills_impossible_to_all_members_stay_finite(size):
  # exp(-1e4) is 0 in float32; its log must not be taken.
  log_p = jnp.full((2, 1), -size)
  np.testing.assert_allclose(categorical.log_mean(log_p), [-size], rtol=1e-6)


def test_skills_impossible_to_one_member_cost_only_its_share():
  # (1 + 0) / 2
  log_p = jnp.array([[0.0], [-1e30]])
  np.testing.assert_allclose(
    categorical.log_mean(log_p), [np.log(0.5)], rtol=1e-6
  )
  assert jnp.all(
    jnp.isfinite(jax.grad(lambda x: categorical.log_mean(x)[0])(log_p))
  )


def test_samples_split_the_unit_interval_by_the_probabilities():
  # Sums are .2, .7 and 1.
  log_p = jnp.log(jnp.array([0.2, 0.5, 0.3]))
  uniform = jnp.array([0.0, 0.19, 0.21, 0.69, 0.71, 0.999])
  np.testing.assert_array_equal(
    categorical.sample(jnp.broadcast_to(log_p, (6, 3)), uniform),
    [0, 0, 1, 1, 2, 2],
  )


def test_impossible_categories_are_never_drawn():
  log_p = jnp.log(jnp.array([0.0, 0.5, 0.0, 0.5, 0.0]))
  uniform = jnp.linspace(0.0, np.nextafter(np.float32(1), np.float32(0)), 101)
  drawn = categorical.sample(jnp.broadcast_to(log_p, (101, 5)), uniform)
  assert set(np.asarray(drawn).tolist()) == {1, 3}
