"""Tests of skills/networks/build.py."""

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from skills.networks import build
from tests import problems

KEY = jax.random.PRNGKey(0)
EXAMPLE = jnp.zeros((1, 3))


def linear():
  return build.pure(lambda x: hk.Linear(2)(x), EXAMPLE)


def test_a_pure_network_needs_a_key_only_to_begin():
  network = linear()
  params = network.init(KEY)
  chex.assert_trees_all_equal(params, network.init(KEY))
  x = jnp.array([[1.0, 2.0, 3.0]])
  expected = x @ params['linear']['w'] + params['linear']['b'][None]
  np.testing.assert_allclose(network.apply(params, x), expected, rtol=1e-6)


def test_members_of_an_ensemble_differ_and_see_the_same_inputs():
  one = linear()
  network = build.ensemble(one, 3)
  params = network.init(KEY)
  x = jnp.array([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]])
  outputs = network.apply(params, x)
  chex.assert_shape(outputs, (3, 2, 2))
  for i in range(3):
    member = jax.tree.map(lambda leaf, i=i: leaf[i], params)
    np.testing.assert_allclose(outputs[i], one.apply(member, x), rtol=1e-5)
    for j in range(i):
      assert np.all(outputs[i] != outputs[j])


def test_example_observations_have_the_problem_s_shape_and_type():
  example = build.example_observation(problems.TABLE)
  assert (example.shape, example.dtype) == ((1,), jnp.int32)
  example = build.example_observation(problems.VECTOR)
  assert (example.shape, example.dtype) == ((1, 2, 3), jnp.float32)
