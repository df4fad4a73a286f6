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
  network = problems.compiled(
    build.pure(
      lambda x: torsos.MLPTorso(problems.TABLE, ())(x),
      build.example_observation(problems.TABLE),
    )
  )
  params = network.init(jax.random.PRNGKey(0))
  assert not params
  observation = jnp.array([1, 3])
  np.testing.assert_array_equal(
    network.apply(params, observation),
    torsos.encode(observation, problems.TABLE),
  )


def test_every_layer_of_a_torso_is_followed_by_a_rectifier():
  network = problems.compiled(
    build.pure(
      lambda x: torsos.MLPTorso(problems.VECTOR, (16, 8))(x),
      build.example_observation(problems.VECTOR),
    )
  )
  params = network.init(jax.random.PRNGKey(0))
  features = network.apply(
    params, problems.trajectory(problems.VECTOR).observation
  )
  assert features.shape == (problems.NUM_STEPS + 1, len(problems.LENGTHS), 8)
  assert jnp.all(features >= 0)
  assert jnp.any(features == 0)
  assert jnp.any(features > 0)


def pictures(height, width, dtype='uint8'):
  return dataclasses.replace(
    problems.VECTOR,
    observation_shape=(height, width, 3),
    observation_dtype=dtype,
  )


def resnet(problem, **settings):
  """A residual torso without hidden layers, to look at what it makes."""
  config = torsos.TorsoConfig(
    **{'torso': 'resnet', 'hidden_sizes': (), **settings}
  )
  return problems.compiled(
    build.pure(
      lambda x: torsos.make(config, problem)(x),
      build.example_observation(problem),
    )
  )


@pytest.mark.parametrize(
  ('size', 'channels', 'num_features'),
  [
    # 84 -> 42 -> 21 -> 11, as in IMPALA's table.
    ((84, 84), (16, 32, 32), 11 * 11 * 32),
    # Sides of 41 -> 21 -> 11, which is too small to be halved again.
    ((41, 41), (16, 32, 32), 11 * 11 * 32),
    # A grid keeps its cells, and so does a picture with one short side.
    ((8, 7), (16, 32, 32), 8 * 7 * 32),
    ((15, 40), (4,), 15 * 40 * 4),
  ],
)
def test_pictures_are_halved_while_there_is_enough_of_them(
  size, channels, num_features
):
  problem = pictures(*size)
  network = resnet(problem, channels=channels)
  features = jax.eval_shape(
    lambda key, x: network.apply(network.init(key), x),
    jax.random.PRNGKey(0),
    jnp.zeros((2, 3, *problem.observation_shape), jnp.uint8),
  )
  assert features.shape == (2, 3, num_features)


def test_a_section_is_a_convolution_and_residual_blocks():
  # Weights of one channel in the middle of a kernel: 2 x for the section, and
  # for the block x + 3 relu(5 relu(x)), whatever the pixel's neighbours.
  problem = dataclasses.replace(
    pictures(2, 2, 'float32'), observation_shape=(2, 2, 1)
  )
  network = resnet(problem, channels=(1,), num_blocks=1)
  params = network.init(jax.random.PRNGKey(0))
  factors = iter((2.0, 5.0, 3.0))
  for name in sorted(params):
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[1, 1] = next(factors)
    params[name]['w'] = jnp.asarray(kernel)
  picture = jnp.array([[[[1.0], [-1.0]], [[0.5], [0.0]]]])
  # 2 + 3 * 10, relu(-2 + 0), 1 + 3 * 5, 0.
  np.testing.assert_allclose(
    network.apply(params, picture), [[32.0, 0.0, 16.0, 0.0]]
  )


def test_bytes_of_pictures_count_from_minus_a_half_to_a_half():
  network = resnet(pictures(4, 4), channels=(2,))
  params = network.init(jax.random.PRNGKey(0))
  picture = np.random.default_rng(0).integers(256, size=(5, 4, 4, 3))
  np.testing.assert_allclose(
    network.apply(params, jnp.asarray(picture, jnp.uint8)),
    network.apply(params, jnp.asarray(picture / 255.0 - 0.5, jnp.float32)),
    rtol=1e-5,
    atol=1e-6,
  )


@pytest.mark.parametrize('problem', [pictures(8, 7), pictures(20, 18)])
def test_every_pixel_reaches_the_features(problem):
  network = resnet(problem, channels=(4, 4), num_blocks=1)
  params = network.init(jax.random.PRNGKey(0))
  picture = jax.random.uniform(
    jax.random.PRNGKey(1), (1, *problem.observation_shape)
  )
  grads = jax.jit(
    jax.grad(lambda x: jnp.sum(jnp.square(network.apply(params, x))))
  )(picture)
  assert jnp.all(jnp.any(grads != 0, axis=-1))


def test_hidden_layers_follow_the_residual_network():
  network = resnet(pictures(4, 4), channels=(2,), hidden_sizes=(6, 5))
  params = network.init(jax.random.PRNGKey(0))
  picture = jnp.ones((3, 7, 4, 4, 3), jnp.uint8)
  features = network.apply(params, picture)
  assert features.shape == (3, 7, 5)
  assert jnp.all(features >= 0)


@pytest.mark.parametrize(
  ('config', 'settings', 'message'),
  [
    (torsos.TorsoConfig, {'torso': 'cnn'}, "torso must be one of .*got 'cnn'"),
    (torsos.TorsoConfig, {'torso': 'resnet'}, 'hidden_sizes must be given'),
    (torsos.TorsoConfig, {'channels': ()}, r'channels .* got \(\)'),
    (torsos.TorsoConfig, {'num_blocks': -1}, 'num_blocks must be >= 0, got -1'),
    (
      torsos.NetworkConfig,
      {'hidden_sizes': (4,), 'lstm_size': 0},
      'lstm_size must be >= 1 or None, got 0',
    ),
    (torsos.NetworkConfig, {'lstm_size': 4}, 'lstm_size must be None for tab'),
  ],
)
def test_values_that_cannot_work_are_refused(config, settings, message):
  with pytest.raises(ValueError, match=message):
    config(**settings)


def test_a_residual_network_of_vectors_is_refused():
  config = torsos.TorsoConfig(torso='resnet', hidden_sizes=(4,))
  config.check(pictures(4, 4))
  with pytest.raises(ValueError, match=r"pictures.*\(2, 3\).*torso='mlp'"):
    config.check(problems.VECTOR)


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


def test_squashed_numbers_are_logarithms_of_scaled_ones():
  vector = jnp.array([0.0, 1.0, -1.0, 50.0, -500.0, 0.01]).reshape(1, 2, 3)
  squashed = torsos.encode(vector, problems.VECTOR, 2.0, squash=True)
  expected = np.log([1, 3, 3, 101, 1001, 1.02]) * [1, 1, -1, 1, -1, 1]
  np.testing.assert_allclose(squashed, expected[None], rtol=1e-5)


def test_networks_squash_what_they_are_told_to():
  sizes = {'hidden_sizes': (8,)}
  plain = torsos.NetworkConfig(**sizes)
  squashed = torsos.NetworkConfig(**sizes, squash_inputs=True)
  large = 100.0 * jnp.arange(6.0).reshape(1, 2, 3)
  skill = jnp.zeros((1,), jnp.int32)
  for make in (
    lambda config: problems.compiled(heads.make(config, problems.VECTOR, 4, 2)),
    lambda config: problems.compiled(
      q_networks.make(config, problems.VECTOR, 4, 2)
    ),
  ):
    params = make(plain).init(jax.random.PRNGKey(0))
    np.testing.assert_allclose(
      make(squashed).apply(params, large, skill),
      make(plain).apply(params, jnp.log1p(large), skill),
      rtol=1e-6,
    )


def test_a_scale_is_a_change_of_units():
  sizes = {'hidden_sizes': (8,)}
  plain = torsos.NetworkConfig(**sizes)
  scaled = torsos.NetworkConfig(**sizes, input_scale=4.0)
  observation = jnp.arange(6.0).reshape(1, 2, 3)
  for make in (
    lambda config: problems.compiled(heads.make(config, problems.VECTOR, 4, 2)),
    lambda config: problems.compiled(
      q_networks.make(config, problems.VECTOR, 4, 2)
    ),
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
