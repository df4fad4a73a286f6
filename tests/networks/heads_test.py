"""Tests of skills/networks/heads.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills.networks import heads
from skills.networks import torsos
from tests import problems

K = problems.NUM_SKILLS
KEY = jax.random.PRNGKey(0)


def test_a_table_has_a_row_for_each_skill_and_state():
  network = problems.compiled(
    heads.make(torsos.NetworkConfig(), problems.TABLE, K, 2)
  )
  params = network.init(KEY)
  np.testing.assert_array_equal(problems.content(params), np.zeros((24, 2)))
  values = np.arange(48.0).reshape(K, 6, 2)
  params = problems.fill(params, values.reshape(24, 2))
  state, skill = jnp.array([[5, 0]]), jnp.array([[3, 1]])
  np.testing.assert_array_equal(
    network.apply(params, state, skill), [[values[3, 5], values[1, 0]]]
  )


def test_a_network_begins_near_zero_and_sees_both_inputs():
  config = torsos.NetworkConfig(hidden_sizes=(32, 32))
  network = problems.compiled(heads.make(config, problems.VECTOR, K, 3))
  params = network.init(KEY)
  observation = jax.random.normal(KEY, (5, 7, 2, 3))
  skill = jnp.zeros((5, 7), jnp.int32)
  outputs = network.apply(params, observation, skill)
  assert outputs.shape == (5, 7, 3)
  assert 0 < np.abs(outputs).max() < 0.1
  for other in (
    network.apply(params, observation + 1, skill),
    network.apply(params, observation, skill + 1),
  ):
    assert np.all(np.any(other != outputs, axis=-1))


def test_a_table_needs_states():
  with pytest.raises(ValueError, match='state indices'):
    problems.compiled(heads.make(torsos.NetworkConfig(), problems.VECTOR, K, 1))


def test_outputs_are_proportional_to_init_scale():
  config = torsos.NetworkConfig(hidden_sizes=(32, 32))
  observation = jax.random.normal(KEY, (5, 2, 3))
  skill = jnp.arange(5) % K
  small, large = (
    (
      network := problems.compiled(
        heads.make(config, problems.VECTOR, K, 3, spread)
      )
    ).apply(network.init(KEY), observation, skill)
    for spread in (0.01, 1.0)
  )
  np.testing.assert_allclose(100 * small, large, rtol=1e-4)


def test_a_table_begins_as_wide_as_wanted():
  narrow, wide = (
    problems.content(
      problems.compiled(
        heads.make(
          torsos.NetworkConfig(),
          problems.TABLE,
          K,
          50,
          table_init_stddev=spread,
        )
      ).init(KEY)
    )
    for spread in (0.0, 2.0)
  )
  assert not np.any(narrow)
  np.testing.assert_allclose(wide.std(), 2.0, rtol=0.1)


def test_skill_biases_are_each_skill_s_own_and_the_same_in_all_states():
  config = torsos.NetworkConfig(hidden_sizes=(32, 32))
  deviations = np.float32([2.0, 0.0])
  network = problems.compiled(
    heads.make(
      config,
      problems.VECTOR,
      400,
      2,
      init_scale=1e-6,
      skill_bias_std=deviations,
    )
  )
  params = network.init(KEY)
  observation = jax.random.normal(KEY, (5, 400, 2, 3))
  skill = jnp.broadcast_to(jnp.arange(400), (5, 400))
  outputs = network.apply(params, observation, skill)
  # The last layer's weights are next to nothing: what is left are the biases.
  np.testing.assert_allclose(
    outputs, np.broadcast_to(outputs[0], outputs.shape), atol=1e-4
  )
  np.testing.assert_allclose(outputs[0].std(axis=0), [2.0, 0.0], atol=0.2)


def test_skill_biases_have_gradients():
  config = torsos.NetworkConfig(hidden_sizes=(32, 32))
  network = problems.compiled(
    heads.make(config, problems.VECTOR, K, 2, skill_bias_std=np.ones(2))
  )
  params = network.init(KEY)
  observation = jnp.zeros((1, 2, 3))
  grads = jax.jit(
    jax.grad(
      lambda params: network.apply(params, observation, jnp.array([1]))[0, 0]
    )
  )(params)
  # The row of the skill that ran, in the output that was asked for.
  expected = np.zeros((K, 2))
  expected[1, 0] = 1
  np.testing.assert_array_equal(grads['~']['skill_bias'], expected)
