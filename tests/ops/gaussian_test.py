"""Tests of skills/ops/gaussian.py."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills.ops import gaussian


def test_samples_stand_at_the_quantiles():
  # The standard deviation of a standard normal is its 84.13% quantile.
  samples = gaussian.sample(
    jnp.full((3, 1), 2.0),
    jnp.full((3, 1), 0.5),
    jnp.array([[0.5], [0.8413447], [1 - 0.8413447]]),
  )
  np.testing.assert_allclose(samples[:, 0], [2.0, 2.5, 1.5], atol=1e-5)


def test_no_random_number_is_too_small_or_too_large():
  samples = gaussian.sample(
    jnp.zeros(2), jnp.ones(2), jnp.array([0.0, np.nextafter(1, 0)], jnp.float32)
  )
  np.testing.assert_allclose(samples, [-4.75, 4.75], atol=0.05)


def test_the_log_density_of_two_values_by_hand():
  # -(1/2) log(2 pi) - log(2) - (1/2) (3 / 2)^2, and the same in the middle.
  expected = -math.log(2 * math.pi) - 2 * math.log(2.0) - 0.5 * 1.5**2
  actual = gaussian.log_prob(
    jnp.array([1.0, 0.0]), jnp.array([2.0, 2.0]), jnp.array([4.0, 0.0])
  )
  np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize(
  ('mean', 'deviation', 'tolerance'),
  [(0.0, 0.05, 0.01), (0.4, 0.3, 0.01), (-1.0, 0.7, 0.01), (0.3, 1.0, 0.01)],
)
def test_the_entropy_of_squashed_values_is_the_integral(
  mean, deviation, tolerance
):
  # -int p log p over the squashed values, by a fine sum over the latents.
  u = np.linspace(mean - 12 * deviation, mean + 12 * deviation, 200_001)
  log_p = -0.5 * ((u - mean) / deviation) ** 2 - math.log(
    deviation * math.sqrt(2 * math.pi)
  )
  log_slope = 2 * (math.log(2) - u - np.logaddexp(0, -2 * u))
  expected = -np.sum(np.exp(log_p) * (log_p - log_slope)) * (u[1] - u[0])
  actual = gaussian.tanh_entropy(jnp.array([mean]), jnp.array([deviation]))
  np.testing.assert_allclose(actual, expected, atol=tolerance)


def test_entropies_of_independent_values_add_up():
  mean, deviation = jnp.array([0.1, -0.5]), jnp.array([0.3, 0.6])
  alone = [
    gaussian.tanh_entropy(mean[i : i + 1], deviation[i : i + 1])
    for i in range(2)
  ]
  np.testing.assert_allclose(
    gaussian.tanh_entropy(mean, deviation), sum(alone), rtol=1e-5
  )


def test_more_entropy_is_neither_at_the_bounds_nor_in_a_wide_gaussian():
  # Its maximum is near the uniform distribution, of log 2 nats.
  def entropy(parameters):
    mean, raw = parameters
    return gaussian.tanh_entropy(mean[None], jax.nn.softplus(raw)[None])

  def climb(_, parameters):
    return parameters + 0.05 * jax.grad(entropy)(parameters)

  for start in ([2.0, -3.0], [0.5, 3.0]):
    end = jax.lax.fori_loop(0, 3000, climb, jnp.array(start))
    assert abs(end[0]) < 0.05
    assert abs(entropy(end) - math.log(2)) < 0.05


def test_squashed_density_integrates_to_one():
  action = np.linspace(-1, 1, 200_001)[1:-1].astype(np.float64)
  latent = jnp.asarray(np.arctanh(action), jnp.float32)
  mean = jnp.full((len(action), 1), 0.4)
  log_p = gaussian.log_prob(mean, 2 * mean, latent[:, None])
  density = np.exp(log_p - gaussian.tanh_log_slope(latent))
  assert np.sum(density) * 1e-5 == pytest.approx(1.0, abs=1e-3)


def test_tanh_log_slope_is_finite_where_tanh_is_one():
  latent = jnp.array([-30.0, -1.0, 0.0, 1.0, 30.0])
  # log(1 - tanh(u)^2) -> log 4 - 2 |u|.
  expected = [np.log(4) - 60, np.log(1 - np.tanh(1) ** 2), 0.0]
  np.testing.assert_allclose(
    gaussian.tanh_log_slope(latent),
    [*expected, expected[1], expected[0]],
    rtol=1e-5,
    atol=1e-6,
  )
