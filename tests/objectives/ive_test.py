"""Tests of skills/objectives/ive.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills import types
from skills.networks import models
from skills.networks import torsos
from skills.objectives import ive
from tests import problems

KEY = jax.random.PRNGKey(0)


def members(params, under_policy, observation, num_steps=2, num_rollouts=1):
  return jax.jit(
    lambda params: ive.estimates(
      under_policy,
      params,
      under_policy.encode(params, observation),
      ive.rollout_keys(KEY, num_rollouts, num_steps),
      discount=0.5,
    )
  )(params)


def test_predicted_values_of_two_steps_by_hand():
  # v^0 = 8; v^1 = 1 + .5 * 4 = 3; v^2 = 1 + .5 * 2 + .25 * 12 = 5.
  found = ive.predicted_values(
    jnp.array([[1.0], [2.0]]), jnp.array([[8.0], [4.0], [12.0]]), 0.5
  )
  np.testing.assert_allclose(found, [[8.0], [3.0], [5.0]])


def test_mean_and_spread_are_over_all_members_the_value_included():
  # Mean (8 + 3 + 4) / 3 = 5; squares 9, 4 and 1 of 3 members.
  found = jnp.array([[8.0], [3.0], [4.0]])
  np.testing.assert_allclose(ive.mean(found), [5.0])
  np.testing.assert_allclose(ive.spread(found), [np.sqrt(14 / 3)], rtol=1e-6)
  for beta in (-1.0, 0.0, 2.0):
    np.testing.assert_allclose(
      ive.signal(found, beta), [5 + beta * np.sqrt(14 / 3)], rtol=1e-6
    )


def test_estimates_in_tables_are_the_model_s_bellman_operator_k_times():
  params, under_policy = problems.tables_of_a_model()
  found = members(params, under_policy, jnp.array([0, 1]), num_steps=3)
  # The model's chain is ((3/4, 1/4), (0, 1)) and its rewards 1 and 2.
  value = np.array([8.0, 4.0])
  expected = [value]
  for _ in range(3):
    value = [1.0, 2.0] + 0.5 * np.array([[0.75, 0.25], [0.0, 1.0]]) @ value
    expected.append(value)
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_true_model_and_its_value_are_consistent():
  params, under_policy = problems.tables_of_a_model()
  params = params._replace(value=jnp.array([2.4, 4.0]))
  found = members(params, under_policy, jnp.array([0, 1]), num_steps=5)
  np.testing.assert_allclose(ive.spread(found), [0.0, 0.0], atol=1e-6)
  np.testing.assert_allclose(ive.mean(found), [2.4, 4.0], rtol=1e-6)


def coin():
  """Each step pays 1 or -1 by chance, and all is worth 0."""

  def step(params, acting, state, key):
    del acting
    return 2.0 * jax.random.bernoulli(key, shape=state.shape[:-1]) - 1, state

  return models.Params((), (), (), (), ()), models.ModelUnderPolicy(
    encode=lambda params, observation: observation[..., None],
    step=step,
    value=lambda params, state: 0 * state[..., 0],
  )


def test_rollouts_are_averaged_before_the_spread_is_taken():
  params, under_policy = coin()
  observation = jnp.zeros(2000)
  one = ive.spread(members(params, under_policy, observation))
  many = ive.spread(members(params, under_policy, observation, 2, 64))
  # Chance alone: the variance of a mean of m rollouts falls as 1 / m.
  ratio = float(jnp.mean(jnp.square(one)) / jnp.mean(jnp.square(many)))
  assert 57 < ratio < 71


def test_no_gradient_leaves_the_estimates():
  params, under_policy = problems.tables_of_a_model()
  grads = jax.grad(
    lambda params: jnp.sum(members(params, under_policy, jnp.array([0, 1])))
  )(params)
  assert all(not np.any(leaf) for leaf in jax.tree.leaves(grads))


def test_one_action_sequence_feeds_all_estimates():
  # With pay of +-1 and no value, v^2 - v^1 is +-.5, and v^1 is +-1.
  params, under_policy = coin()
  v_0, v_1, v_2 = members(params, under_policy, jnp.zeros(50))
  np.testing.assert_array_equal(v_0, 0)
  np.testing.assert_array_equal(jnp.abs(v_1), 1)
  np.testing.assert_array_equal(jnp.abs(v_2 - v_1), 0.5)


def test_the_bonus_is_the_spread_where_a_step_led_and_0_where_all_ended():
  params, under_policy = problems.tables_of_a_model()
  batch = types.Trajectory(
    observation=jnp.array([[0, 0, 0], [1, 1, 1], [0, 1, 0]]),
    action=jnp.zeros((2, 3), jnp.int32),
    reward=jnp.zeros((2, 3)),
    # The second row's episode ends; the third row is cut short.
    discount=jnp.array([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]]),
    skill=jnp.zeros((2, 3), jnp.int32),
    mask=jnp.array([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]),
  )
  config = ive.IveConfig(num_steps=1, bonus_weight=2.0)
  found = ive.bonus(config, under_policy, params, batch, KEY, 0.5)
  # v^0 and v^1: in the first state 8 and 1 + .5 (3/4 8 + 1/4 4) = 4.5, in the
  # second 4 and 2 + .5 * 4 = 4. The weight is in the mixture alone.
  np.testing.assert_allclose(
    found, [[0.0, 0.0, 0.0], [1.75, 0.0, 0.0]], atol=1e-6
  )


def test_no_gradient_leaves_the_bonus():
  params, under_policy = problems.tables_of_a_model()
  batch = problems.ending_in(problems.TABLE, [0, 0], [0, 1])
  grads = jax.jit(
    jax.grad(
      lambda params: jnp.sum(
        ive.bonus(ive.IveConfig(), under_policy, params, batch, KEY, 0.5)
      )
    )
  )(params)
  assert all(not np.any(leaf) for leaf in jax.tree.leaves(grads))


def biases():
  """A model whose value alone depends on the state, and action 0 is certain.

  A state is tanh of what the last action adds, 1 after action 0 and -1 after
  action 1; actions pay 1 and 2, and states are worth 10 and 6.
  """
  model = models.latent(
    models.LatentConfig(size=1, num_atoms=None),
    torsos.NetworkConfig(),
    types.ProblemSpec(
      observation_shape=(),
      observation_dtype='int32',
      num_states=2,
      num_actions=2,
    ),
  )
  params = jax.tree.map(jnp.zeros_like, model.init(KEY))
  params.transition['linear']['w'] = jnp.array([[0.0], [20.0], [-20.0]])
  params.reward['linear']['b'] = jnp.array([1.0, 2.0])
  params.value['linear'] = {'w': jnp.array([[2.0]]), 'b': jnp.array([8.0])}
  params.policy['linear']['b'] = jnp.array([60.0, 0.0])
  return model, params


@pytest.mark.parametrize(
  ('settings', 'beta', 'expected'),
  [
    # After action 0: v^0 = 10, v^1 = 1 + .5 * 10 = 6; mean 8, deviation 2.
    # After action 1: v^0 = 6, v^1 = 1 + .5 * 10 = 6; mean 6, deviation 0.
    ({}, 0.0, [1 + 0.5 * 8, 2 + 0.5 * 6]),
    ({}, 2.0, [1 + 0.5 * 12, 2 + 0.5 * 6]),
    ({}, -2.0, [1 + 0.5 * 4, 2 + 0.5 * 6]),
    ({'k': 0}, 0.0, [1 + 0.5 * 10, 2 + 0.5 * 6]),
    ({'k': 1}, 0.0, [1 + 0.5 * 6, 2 + 0.5 * 6]),
  ],
)
def test_looking_ahead_by_all_estimates_or_by_one_by_hand(
  settings, beta, expected
):
  model, params = biases()
  config = ive.IveConfig(num_steps=1, evaluation='estimates', **settings)

  @jax.jit
  def look_ahead(params):
    state = model.encode(params, jnp.array([0, 1, 0]))
    uniform = jax.random.uniform(KEY, (3, ive.num_uniforms(config, 2)))
    return ive.look_ahead(
      config, model, params, state, uniform, beta=beta, discount=0.5
    )

  found = look_ahead(params)
  np.testing.assert_allclose(found, [expected] * 3, rtol=1e-6)


def test_each_imagined_action_is_drawn_by_a_number_of_its_own():
  model, params = biases()
  params.policy['linear']['b'] = jnp.log(jnp.array([0.25, 0.75]))
  config = ive.IveConfig(
    num_steps=1, num_rollouts=2, evaluation='estimates', k=1
  )
  # After either action, in the first rollout and in the second.
  uniform = jnp.array([[0.2, 0.9, 0.3, 0.9], [0.9, 0.9, 0.9, 0.2]])
  found = ive.look_ahead(
    config,
    model,
    params,
    model.encode(params, jnp.array([0, 0])),
    uniform,
    beta=0.0,
    discount=0.5,
  )
  # v^1 of a rollout is 1 + .5 * 10 = 6 if it begins with action 0, which
  # numbers below 1/4 draw, and else 2 + .5 * 6 = 5.
  np.testing.assert_allclose(
    found, [[1 + 0.5 * 5.5, 2 + 0.5 * 5], [1 + 0.5 * 5, 2 + 0.5 * 5.5]]
  )


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'num_steps': 0}, 'num_steps must be >= 1, got 0'),
    ({'num_rollouts': 0}, 'num_rollouts must be >= 1, got 0'),
    ({'bonus_weight': -1.0}, 'bonus_weight must be >= 0, got -1.0'),
    ({'temperature': 0.0}, 'temperature must be positive, got 0.0'),
    ({'acting': 'mean'}, "acting must be one of policy, estimates; got 'mean'"),
    ({'beta': 1.0}, "beta must be 0 unless acting='estimates', got 1.0"),
    (
      {'evaluation': 'estimates', 'beta': 1.0},
      "beta must be 0 unless acting='estimates'",
    ),
    (
      {'evaluation': 'estimates', 'evaluation_beta': -1.0, 'k': 0},
      'evaluation_beta must be 0 where one estimate is acted by',
    ),
    (
      {'acting': 'estimates', 'k': 6},
      r'k must be None or in 0..num_steps \(5\), got 6',
    ),
    ({'k': 1}, "None unless acting or evaluation is 'estimates', got 1"),
  ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    ive.IveConfig(**settings)
