"""Tests of skills/networks/torsos.py."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills.networks import build
from skills.networks import heads
from skills.networks import q_networks
from skills.networks import torsos
from tests import problems

BYTES = dataclasses.replace(
  problems.VECTOR, observation_dtype='uint8', observation_shape=(2, 1)
)


def test_state_indices_become_one_hot_vectors():
  encoded = torsos.encode(jnp.array([[2], [5]]), problems.TABLE)
  np.testing.assert_array_equal(
    encoded, [[[0, 0, 1, 0, 0, 0]], [[0, 0, 0, 0, 0, 1]]]
  )


def test_all_axes_of_an_observation_become_one():
  observation = jnp.arange(4 * 5 * 2 * 3, dtype=jnp.float32)
  encoded = torsos.encode(observation.reshape(4, 5, 2, 3), problems.VECTOR)
  np.testing.assert_array_equal(encoded, observation.reshape(4, 5, 6))


def test_bytes_become_numbers_up_to_one():
  observation = jnp.array([[[0], [255]], [[51], [102]]], jnp.uint8)
  np.testing.assert_allclose(
    torsos.encode(observation, BYTES), [[0.0, 1.0], [0.2, 0.4]], rtol=1e-6
  )


def test_a_torso_without_layers_is_the_encoding():
  network = build.pure(
    lambda x: torsos.MLPTorso(problems.TABLE, ())(x),
    build.example_observation(problems.TABLE),
  )
  params = network.init(jax.random.PRNGKey(0))
  assert not params
  observation = jnp.array([1, 3])
  np.testing.assert_array_equal(
    network.apply(params, observation),
    torsos.encode(observation, problems.TABLE),
  )


def test_every_layer_of_a_torso_is_followed_by_a_rectifier():
  network = build.pure(
    lambda x: torsos.MLPTorso(problems.VECTOR, (16, 8))(x),
    build.example_observation(problems.VECTOR),
  )
  params = network.init(jax.random.PRNGKey(0))
  features = network.apply(
    params, problems.trajectory(problems.VECTOR).observation
  )
  assert features.shape == (problems.NUM_STEPS + 1, len(problems.LENGTHS), 8)
  assert jnp.all(features >= 0)
  assert jnp.any(features == 0)
  assert jnp.any(features > 0)


def test_numbers_are_scaled_for_networks_and_states_and_bytes_are_not():
  vector = jnp.arange(6.0).reshape(1, 2, 3)
  np.testing.assert_allclose(
    torsos.encode(vector, problems.VECTOR, 5.0), 5 * np.arange(6.0)[None]
  )
  state = jnp.array([2])
  np.testing.assert_array_equal(
    torsos.encode(state, problems.TABLE, 5.0),
    torsos.encode(state, problems.TABLE),
  )


def test_a_scale_is_as_if_the_world_had_other_units():
  sizes = {'hidden_sizes': (8,)}
  plain = torsos.NetworkConfig(**sizes)
  scaled = torsos.NetworkConfig(**sizes, input_scale=4.0)
  observation = jnp.arange(6.0).reshape(1, 2, 3)
  for make in (
    lambda config: heads.make(config, problems.VECTOR, 4, 2),
    lambda config: q_networks.make(config, problems.VECTOR, 4, 2),
  ):
    params = make(plain).init(jax.random.PRNGKey(0))
    skill = jnp.zeros((1,), jnp.int32)
    np.testing.assert_allclose(
      make(scaled).apply(params, observation, skill),
      make(plain).apply(params, 4 * observation, skill),
      rtol=1e-6,
    )


@pytest.mark.parametrize('scale', [0.0, -1.0])
def test_a_scale_is_positive(scale):
  with pytest.raises(ValueError, match='input_scale must be positive'):
    torsos.NetworkConfig(input_scale=scale)
