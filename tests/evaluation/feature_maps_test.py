"""Tests of skills/evaluation/feature_maps.py."""

import jax
import jax.numpy as jnp
import numpy as np

from skills import registry
from skills import types
from skills.evaluation import feature_maps
from skills.objectives import domino
from skills.objectives import extrinsic
from skills.ops import moments

PROBLEM = types.ProblemSpec(
  observation_shape=(3,),
  observation_dtype='float32',
  num_states=None,
  num_actions=2,
  entry_names=('height[0]', 'velocity[0]', 'velocity[1]'),
)


def test_occupancies_are_shares_of_all_steps():
  feature_map = feature_maps.occupancy(lambda observation: observation // 10, 3)
  assert feature_map.names == ('state 0', 'state 1', 'state 2')
  # Three steps in one episode and one in another.
  psi = feature_maps.expected(
    feature_map, [np.array([0, 10, 10]), np.array([20])]
  )
  np.testing.assert_array_equal(psi, [0.25, 0.5, 0.25])


def test_normalized_entries_have_mean_0_and_deviation_1_over_all():
  rng = np.random.default_rng(0)
  parts = [
    (scale * rng.normal(size=(50, 3)) + [1e4, 0, 7]) * [1, 1, 0] + [0, 0, 7]
    for scale in (1.0, 3.0)
  ]
  parts = [part.astype(np.float32) for part in parts]
  feature_map = feature_maps.normalized(parts, ('a', 'b', 'c'))
  phi = feature_map.apply(np.concatenate(parts))
  np.testing.assert_allclose(phi.mean(axis=0), 0, atol=1e-4)
  # What never changes says nothing.
  np.testing.assert_allclose(phi.std(axis=0), [1, 1, 0], atol=1e-4)
  one = feature_maps.expected(feature_map, parts[:1])
  np.testing.assert_allclose(one, phi[:50].mean(axis=0), atol=1e-6)


def make_objective(config):
  return registry.make_objective(config, PROBLEM, num_skills=2)


def test_features_of_an_objective_come_with_their_names_and_moments():
  objective = make_objective(
    domino.DominoConfig(features=('velocity[1]', 'height'))
  )
  # Seen were 0 and 4 of one feature, 10 and 30 of the other.
  seen = jnp.array([[[10.0, 5, 0]], [[30.0, 6, 4]]])
  state = objective.init(jax.random.PRNGKey(0))
  state = state._replace(
    moments=moments.update(
      state.moments, objective.features.raw(seen), jnp.ones((2, 1))
    )
  )
  feature_map = feature_maps.learned_with(objective, state, PROBLEM.entry_names)
  assert feature_map.names == ('velocity[1]', 'height[0]')
  np.testing.assert_allclose(
    feature_map.apply(np.array([[20.0, 9, 2], [30.0, 9, 4]], np.float32)),
    [[0, 0], [1, 1]],
    atol=1e-3,
  )


def test_other_objectives_have_no_such_features():
  objective = make_objective(extrinsic.ExtrinsicConfig())
  assert feature_maps.learned_with(objective, (), PROBLEM.entry_names) is None
