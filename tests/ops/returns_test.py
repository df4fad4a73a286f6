"""Tests of skills/ops/returns.py."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills.ops import returns
from tests import oracles

R_T = jnp.array([1.0, 2.0, 4.0])
DISCOUNT_T = jnp.array([0.5, 0.5, 0.0])
V_T = jnp.array([8.0, 16.0, 32.0])


def random_sequences(num_steps=7, batch=5):
  rng = np.random.default_rng(0)
  shape = (num_steps, batch)
  discount_t = rng.uniform(0.5, 1.0, shape) * (rng.uniform(size=shape) < 0.8)
  arrays = (rng.normal(size=shape), discount_t, rng.normal(size=shape))
  return tuple(jnp.asarray(array, jnp.float32) for array in arrays)


def test_half_mixed_returns_of_three_steps():
  # G_2 = 4 + 0 = 4
  # G_1 = 2 + .5 * (.5 * 16 + .5 * 4) = 7
  # G_0 = 1 + .5 * (.5 * 8 + .5 * 7) = 4.75
  np.testing.assert_allclose(
    returns.lambda_returns(R_T, DISCOUNT_T, V_T, 0.5), [4.75, 7.0, 4.0]
  )


def test_lambda_zero_looks_one_step_ahead():
  # 1 + .5 * 8, 2 + .5 * 16, 4 + 0
  np.testing.assert_allclose(
    returns.lambda_returns(R_T, DISCOUNT_T, V_T, 0.0), [5.0, 10.0, 4.0]
  )


def test_lambda_one_sums_all_rewards_and_asks_no_value_where_the_end_is_sure():
  # 4, 2 + .5 * 4, 1 + .5 * 4
  for values in (V_T, -3 * V_T):
    np.testing.assert_allclose(
      returns.lambda_returns(R_T, DISCOUNT_T, values, 1.0), [3.0, 4.0, 4.0]
    )


def test_the_last_step_bootstraps_where_its_discount_is_not_zero():
  # 4 + .5 * 32 = 20, whatever lambda is.
  discount_t = DISCOUNT_T.at[-1].set(0.5)
  for lambda_ in (0.0, 0.3, 1.0):
    g = returns.lambda_returns(R_T, discount_t, V_T, lambda_)
    np.testing.assert_allclose(g[-1], 20.0)


def test_a_discount_of_zero_cuts_off_all_that_follows():
  discount_t = jnp.array([0.5, 0.0, 0.5])
  before = returns.lambda_returns(R_T, discount_t, V_T, 0.7)
  after = returns.lambda_returns(
    R_T.at[2].set(100.0), discount_t, V_T.at[1:].set(-100.0), 0.7
  )
  np.testing.assert_array_equal(before[:2], after[:2])
  assert before[2] != after[2]


@pytest.mark.parametrize('lambda_', [0.0, 0.7, 1.0])
def test_returns_are_the_definition_s_mixture_of_n_step_returns(lambda_):
  r_t, discount_t, v_t = random_sequences()
  expected = [
    oracles.lambda_returns(*columns, lambda_)
    for columns in zip(
      *(np.asarray(x, float).T for x in (r_t, discount_t, v_t))
    )
  ]
  np.testing.assert_allclose(
    returns.lambda_returns(r_t, discount_t, v_t, lambda_),
    np.transpose(expected),
    rtol=1e-5,
    atol=1e-6,
  )


def test_returns_are_those_of_rlax():
  rlax = pytest.importorskip('rlax')
  # More steps than are unrolled.
  r_t, discount_t, v_t = random_sequences(num_steps=50)
  expected = jax.vmap(
    lambda r, d, v: rlax.lambda_returns(r, d, v, 0.7), in_axes=1, out_axes=1
  )(r_t, discount_t, v_t)
  chex.assert_trees_all_close(
    returns.lambda_returns(r_t, discount_t, v_t, 0.7), expected, rtol=1e-5
  )


def test_rescaled_returns_by_hand():
  # sqrt(3 + 1) - 1 + 3 / 1000, and the sign kept.
  np.testing.assert_allclose(
    returns.signed_hyperbolic(jnp.array([3.0, -3.0, 0.0])),
    [1.003, -1.003, 0.0],
    rtol=1e-6,
  )


@pytest.mark.parametrize('epsilon', [1e-3, 1e-2])
def test_rescaling_is_undone_at_every_size(epsilon):
  x = jnp.array([0.0, 1e-3, -0.5, 1.0, -30.0, 1e3, 1e5])
  h = returns.signed_hyperbolic(x, epsilon)
  assert jnp.all(jnp.abs(h[4:]) < jnp.abs(x[4:]))
  np.testing.assert_allclose(
    returns.signed_parabolic(h, epsilon), x, rtol=2e-3, atol=1e-6
  )


def test_rescaling_is_that_of_rlax():
  rlax = pytest.importorskip('rlax')
  x = jnp.linspace(-50.0, 50.0, 101)
  np.testing.assert_allclose(
    returns.signed_hyperbolic(x), rlax.signed_hyperbolic(x), rtol=1e-5
  )
  np.testing.assert_allclose(
    returns.signed_parabolic(x), rlax.signed_parabolic(x), rtol=1e-3, atol=1e-3
  )
