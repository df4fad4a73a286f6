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


def random_steps_of_another_policy(num_steps=7, batch=5):
  """Rewards, discounts, values before and after each step, and ratios."""
  r_t, discount_t, _ = random_sequences(num_steps, batch)
  rng = np.random.default_rng(1)
  v = jnp.asarray(rng.normal(size=(num_steps + 1, batch)), jnp.float32)
  ratio = jnp.asarray(rng.lognormal(size=(num_steps, batch)), jnp.float32)
  return r_t, discount_t, v[:-1], v[1:], ratio


def test_vtrace_of_two_steps_by_hand():
  # Ratios 2 and 1/2; at the limits 1 they count as 1 and 1/2.
  # delta_1 = .5 * (4 + .5 * 2 - 6) = -.5, so target_1 = 5.5
  # delta_0 = 1 * (1 + .5 * 6 - 3) = 1, and target_0 = 3 + 1 + .5 * 1 * -.5
  # advantage_0 = 1 + .5 * 5.5 - 3 = .75; advantage_1 = 4 + .5 * 2 - 6 = -1
  trace = returns.vtrace(
    jnp.array([1.0, 4.0]),
    jnp.array([0.5, 0.5]),
    jnp.array([3.0, 6.0]),
    jnp.array([6.0, 2.0]),
    jnp.array([2.0, 0.5]),
    1.0,
  )
  np.testing.assert_allclose(trace.targets, [3.75, 5.5])
  np.testing.assert_allclose(trace.advantages, [0.75, -1.0])


@pytest.mark.parametrize('lambda_', [0.0, 0.6, 1.0])
@pytest.mark.parametrize(
  ('clip_rho_threshold', 'clip_c_threshold'), [(1.0, 1.0), (3.0, 0.5)]
)
def test_vtrace_is_its_definition(
  lambda_, clip_rho_threshold, clip_c_threshold
):
  r_t, discount_t, v_tm1, v_t, ratio = random_steps_of_another_policy()
  trace = jax.jit(returns.vtrace, static_argnums=(5, 6, 7))(
    r_t,
    discount_t,
    v_tm1,
    v_t,
    ratio,
    lambda_,
    clip_rho_threshold,
    clip_c_threshold,
  )
  for b in range(r_t.shape[1]):
    targets, advantages = oracles.vtrace(
      np.asarray(r_t)[:, b].tolist(),
      np.asarray(discount_t)[:, b].tolist(),
      [*np.asarray(v_tm1)[:, b].tolist(), float(v_t[-1, b])],
      np.asarray(ratio)[:, b].tolist(),
      lambda_,
      clip_rho_threshold,
      clip_c_threshold,
    )
    np.testing.assert_allclose(trace.targets[:, b], targets, atol=1e-5)
    np.testing.assert_allclose(trace.advantages[:, b], advantages, atol=1e-5)


def test_vtrace_is_that_of_rlax():
  rlax = pytest.importorskip('rlax')
  inputs = random_steps_of_another_policy()
  rng = np.random.default_rng(2)
  # A mixing for each step: where it is 0, trajectories end.
  mixing = jnp.asarray(rng.uniform(size=7) * (rng.uniform(size=7) < 0.7))
  trace = returns.vtrace(*inputs, mixing[:, None], clip_rho_threshold=2.0)
  r_t, discount_t, v_tm1, v_t, ratio = inputs
  for b in range(r_t.shape[1]):
    expected = rlax.vtrace_td_error_and_advantage(
      v_tm1[:, b],
      v_t[:, b],
      r_t[:, b],
      discount_t[:, b],
      ratio[:, b],
      mixing,
      clip_rho_threshold=2.0,
      clip_pg_rho_threshold=2.0,
    )
    np.testing.assert_allclose(
      trace.targets[:, b] - v_tm1[:, b], expected.errors, atol=1e-5
    )
    np.testing.assert_allclose(
      jnp.minimum(ratio[:, b], 2.0) * trace.advantages[:, b],
      expected.pg_advantage,
      atol=1e-5,
    )


@pytest.mark.parametrize('lambda_', [0.0, 0.6, 1.0])
def test_on_policy_vtrace_targets_are_lambda_returns(lambda_):
  r_t, discount_t, v_tm1, v_t, ratio = random_steps_of_another_policy()
  trace = returns.vtrace(
    r_t, discount_t, v_tm1, v_t, jnp.ones_like(ratio), lambda_
  )
  g = returns.lambda_returns(r_t, discount_t, v_t, lambda_)
  np.testing.assert_allclose(trace.targets, g, atol=1e-5)
  # An advantage is the return over the value.
  np.testing.assert_allclose(trace.advantages, g - v_tm1, atol=1e-5)


def test_vtrace_after_a_mixing_of_zero_hears_nothing_of_later_rows():
  r_t, discount_t, v_tm1, v_t, ratio = random_steps_of_another_policy()
  mixing = jnp.ones((7, 1)).at[3].set(0.0)
  trace = returns.vtrace(r_t, discount_t, v_tm1, v_t, ratio, mixing)
  other = returns.vtrace(
    r_t.at[4:].add(7.0),
    discount_t,
    v_tm1.at[4:].add(5.0),
    v_t.at[4:].add(3.0),
    ratio,
    mixing,
  )
  for one, another in zip(trace, other):
    np.testing.assert_array_equal(one[:4], another[:4])


def test_vtrace_of_streams_is_that_of_each_stream_alone():
  r_t, discount_t, v_tm1, v_t, ratio = random_steps_of_another_policy()
  together = returns.vtrace(
    jnp.stack([r_t, 10 * r_t], -1),
    jnp.stack([discount_t, discount_t], -1),
    jnp.stack([v_tm1, 10 * v_tm1], -1),
    jnp.stack([v_t, 10 * v_t], -1),
    ratio[..., None],
    0.9,
  )
  alone = returns.vtrace(r_t, discount_t, v_tm1, v_t, ratio, 0.9)
  for streams, one in zip(together, alone):
    np.testing.assert_allclose(streams[..., 0], one, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(streams[..., 1], 10 * one, rtol=1e-5, atol=1e-5)


def test_retrace_of_three_steps_by_hand():
  # Values after each step 8, 16, 32; of the actions taken (any), 6, 20; ratios
  # (any), 2 and .5, of which the first counts as 1; lambda .5.
  # G_2 = 4 + .5 * 32 = 20
  # G_1 = 2 + .5 * (16 + .5 * .5 * (20 - 20)) = 10
  # G_0 = 1 + .5 * (8 + .5 * 1 * (10 - 6)) = 6
  targets = returns.retrace(
    R_T,
    jnp.full(3, 0.5),
    V_T,
    jnp.array([99.0, 6.0, 20.0]),
    jnp.array([99.0, 2.0, 0.5]),
    0.5,
  )
  np.testing.assert_allclose(targets, [6.0, 10.0, 20.0])


def test_retrace_on_policy_with_action_values_equal_to_values_mixes_as_lambda():
  r_t, discount_t, v_t = random_sequences()
  # Where q is v, v + c (G - q) = (1 - lambda) v + lambda G.
  q_tm1 = jnp.concatenate([jnp.full_like(v_t[:1], 7.0), v_t[:-1]])
  np.testing.assert_allclose(
    returns.retrace(r_t, discount_t, v_t, q_tm1, jnp.ones_like(r_t), 0.7),
    returns.lambda_returns(r_t, discount_t, v_t, 0.7),
    rtol=1e-5,
    atol=1e-6,
  )


def test_retrace_follows_no_action_that_the_policy_would_not_take():
  r_t, discount_t, v_t = random_sequences()
  ratio = jnp.ones_like(r_t).at[4].set(0.0)
  args = (discount_t, v_t, v_t - 1.0, ratio, 0.9)
  before = returns.retrace(r_t, *args)
  after = returns.retrace(r_t.at[4:].set(100.0), *args)
  np.testing.assert_array_equal(before[:4], after[:4])
  assert jnp.all(before[4:] != after[4:])


def test_retrace_is_that_of_rlax():
  rlax = pytest.importorskip('rlax')
  # More steps than are unrolled.
  r_t, discount_t, v_t = random_sequences(num_steps=50)
  rng = np.random.default_rng(1)
  q_tm1 = jnp.asarray(rng.normal(size=r_t.shape), jnp.float32)
  ratio = jnp.asarray(rng.uniform(0.0, 2.0, r_t.shape), jnp.float32)
  expected = jax.vmap(
    rlax.general_off_policy_returns_from_q_and_v, in_axes=1, out_axes=1
  )(q_tm1[1:], v_t, r_t, discount_t, 0.9 * jnp.minimum(1.0, ratio[1:]))
  chex.assert_trees_all_close(
    returns.retrace(r_t, discount_t, v_t, q_tm1, ratio, 0.9),
    expected,
    rtol=1e-4,
    atol=1e-5,
  )
