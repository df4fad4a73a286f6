"""Tests of skills/objectives/ive.py."""

import jax
import jax.numpy as jnp
import numpy as np

from skills.networks import models
from skills.objectives import ive
from tests import problems

KEY = jax.random.PRNGKey(0)


def members(params, imagination, observation, num_steps=2, num_rollouts=1):
  return ive.estimates(
    imagination,
    params,
    observation,
    KEY,
    num_steps=num_steps,
    num_rollouts=num_rollouts,
    discount=0.5,
  )


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
  params, imagination = problems.tables_of_a_model()
  found = members(params, imagination, jnp.array([0, 1]), num_steps=3)
  # The model's chain is ((3/4, 1/4), (0, 1)) and its rewards 1 and 2.
  value = np.array([8.0, 4.0])
  expected = [value]
  for _ in range(3):
    value = [1.0, 2.0] + 0.5 * np.array([[0.75, 0.25], [0.0, 1.0]]) @ value
    expected.append(value)
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_true_model_and_its_value_are_consistent():
  params, imagination = problems.tables_of_a_model()
  params = params._replace(value=jnp.array([2.4, 4.0]))
  found = members(params, imagination, jnp.array([0, 1]), num_steps=5)
  np.testing.assert_allclose(ive.spread(found), [0.0, 0.0], atol=1e-6)
  np.testing.assert_allclose(ive.mean(found), [2.4, 4.0], rtol=1e-6)


def coin():
  """Each step pays 1 or -1 by chance, and all is worth 0."""

  def step(params, acting, state, key):
    del acting
    return 2.0 * jax.random.bernoulli(key, shape=state.shape[:-1]) - 1, state

  return models.Params((), (), (), (), ()), models.Imagination(
    encode=lambda params, observation: observation[..., None],
    step=step,
    value=lambda params, state: 0 * state[..., 0],
  )


def test_rollouts_are_averaged_before_the_spread_is_taken():
  params, imagination = coin()
  observation = jnp.zeros(2000)
  one = ive.spread(members(params, imagination, observation))
  many = ive.spread(members(params, imagination, observation, 2, 64))
  # Chance alone: the variance of a mean of m rollouts falls as 1 / m.
  ratio = float(jnp.mean(jnp.square(one)) / jnp.mean(jnp.square(many)))
  assert 57 < ratio < 71


def test_no_gradient_leaves_the_estimates():
  params, imagination = problems.tables_of_a_model()
  grads = jax.grad(
    lambda params: jnp.sum(members(params, imagination, jnp.array([0, 1])))
  )(params)
  assert all(not np.any(leaf) for leaf in jax.tree.leaves(grads))


def test_one_action_sequence_feeds_all_estimates():
  # With pay of +-1 and no value, v^2 - v^1 is +-.5, and v^1 is +-1.
  params, imagination = coin()
  v_0, v_1, v_2 = members(params, imagination, jnp.zeros(50))
  np.testing.assert_array_equal(v_0, 0)
  np.testing.assert_array_equal(jnp.abs(v_1), 1)
  np.testing.assert_array_equal(jnp.abs(v_2 - v_1), 0.5)
