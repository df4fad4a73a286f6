"""Tests of skills/networks/policies.py."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills import types
from skills.networks import policies
from skills.ops import gaussian
from tests import problems

VECTORS = types.ProblemSpec(
  observation_shape=(3,),
  observation_dtype='float32',
  num_states=None,
  num_actions=None,
  action_shape=(2,),
)


@pytest.fixture(params=['indices', 'vectors'])
def distribution(request):
  if request.param == 'indices':
    return problems.compiled(policies.of_indices(3))
  return problems.compiled(policies.make(VECTORS, 0.5))


def test_logits_and_means_choose_and_deviations_do_not():
  np.testing.assert_array_equal(
    problems.compiled(policies.of_indices(3)).chooses, [1, 1, 1]
  )
  np.testing.assert_array_equal(
    policies.of_vectors(2, 0.5).chooses, [1, 1, 0, 0]
  )


def test_vectors_are_squashed_gaussians_of_the_asked_deviation():
  distribution = problems.compiled(policies.make(VECTORS, 0.5))
  # Two means, then two raw deviations; 0 stands for the initial one.
  outputs = jnp.array([0.2, -1.0, 0.0, 0.0])
  one_deviation_up = jnp.array([0.8413447, 0.5])
  action, extras = distribution.sample(outputs, one_deviation_up)
  np.testing.assert_allclose(extras[policies.LATENT], [0.7, -1.0], atol=1e-5)
  np.testing.assert_allclose(action, np.tanh([0.7, -1.0]), atol=1e-5)
  # -(1/2) 1^2 - log(2 pi) - 2 log(1/2)
  np.testing.assert_allclose(
    extras[policies.LOG_PROB],
    -0.5 - math.log(2 * math.pi) + 2 * math.log(2),
    atol=1e-4,
  )
  np.testing.assert_allclose(
    distribution.mode(outputs), np.tanh([0.2, -1.0]), rtol=1e-5
  )
  np.testing.assert_allclose(
    distribution.entropy(outputs),
    gaussian.tanh_entropy(outputs[:2], jnp.array([0.5, 0.5])),
    rtol=1e-4,
  )


def test_a_deviation_has_a_smallest_value():
  distribution = problems.compiled(policies.make(VECTORS, 0.5))
  _, extras = distribution.sample(
    jnp.array([0.0, 0.0, -1e3, -1e3]), jnp.array([0.8413447, 0.5])
  )
  np.testing.assert_allclose(extras[policies.LATENT], [0.01, 0.0], atol=1e-5)


def test_indices_are_drawn_by_their_probabilities():
  distribution = problems.compiled(policies.of_indices(3))
  outputs = jnp.log(jnp.array([1.0, 2.0, 1.0])) + 5.0
  # Sums are 1/4, 3/4 and 1.
  uniform = jnp.array([[0.2], [0.7], [0.8]])
  action, extras = distribution.sample(
    jnp.broadcast_to(outputs, (3, 3)), uniform
  )
  np.testing.assert_array_equal(action, [0, 1, 2])
  np.testing.assert_allclose(
    extras[policies.LOG_PROB], np.log([0.25, 0.5, 0.25]), rtol=1e-5
  )
  assert distribution.mode(outputs) == 1
  # (1/2) log 2 + (1/2) log 4
  np.testing.assert_allclose(
    distribution.entropy(outputs), 1.5 * math.log(2), rtol=1e-5
  )


def test_recorded_log_probabilities_are_those_of_the_same_policy_later(
  distribution,
):
  key = jax.random.PRNGKey(0)
  outputs = jax.random.normal(key, (50, 4, distribution.size))
  uniform = jax.random.uniform(key, (50, 4, distribution.num_uniforms))
  action, extras = distribution.sample(outputs, uniform)
  np.testing.assert_allclose(
    distribution.log_prob(outputs, action, extras),
    extras[policies.LOG_PROB],
    rtol=1e-5,
    atol=1e-5,
  )
  # And another policy says another thing.
  other = distribution.log_prob(2 * outputs, action, extras)
  assert np.all(other != extras[policies.LOG_PROB])
  empty = distribution.extras_spec()
  assert {name: x.shape for name, x in empty.items()} == {
    name: x.shape[2:] for name, x in extras.items()
  }


def test_ratios_of_densities_average_to_one(distribution):
  # E_mu[pi / mu] = 1, also where squashed actions touch their bounds.
  key, other = jax.random.split(jax.random.PRNGKey(1))
  mu = jnp.broadcast_to(
    0.3 * jax.random.normal(key, (distribution.size,)),
    (100_000, distribution.size),
  )
  pi = mu + 0.1
  uniform = jax.random.uniform(other, (100_000, distribution.num_uniforms))
  action, extras = distribution.sample(mu, uniform)
  ratio = jnp.exp(
    distribution.log_prob(pi, action, extras) - extras[policies.LOG_PROB]
  )
  assert abs(jnp.mean(ratio) - 1) < 0.01


def test_continuous_actions_stay_within_their_bounds():
  distribution = problems.compiled(policies.make(VECTORS, 2.0))
  action, extras = distribution.sample(
    jnp.array([[30.0, -30.0, 9.0, 9.0]]), jnp.array([[0.0, 0.999]])
  )
  assert np.all(np.abs(action) <= 1)
  assert np.all(np.isfinite(extras[policies.LOG_PROB]))
