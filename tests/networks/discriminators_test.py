"""Tests of skills/networks/discriminators.py."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills.networks import discriminators
from tests import problems

KEY = jax.random.PRNGKey(0)
K = problems.NUM_SKILLS
S = problems.TABLE.num_states


def make(problem=problems.TABLE, **settings):
  return discriminators.make(
    discriminators.DiscriminatorConfig(**settings), problem, K
  )


def test_a_table_looks_up_the_row_of_a_state_for_every_member():
  network = make(ensemble_size=2)
  params = network.init(KEY)
  table = problems.content(params)
  chex.assert_shape(table, (2, S, K))
  state = np.array([[3, 0], [5, 3]])
  np.testing.assert_array_equal(
    network.apply(params, jnp.asarray(state)), table[:, state]
  )


def test_tables_are_at_first_uniform_between_zero_and_one():
  table = problems.content(make(ensemble_size=100).init(KEY))
  # Of 2400 numbers the mean lies within 5 * sqrt(1/12 / 2400) = 0.03 of 1/2.
  assert table.min() >= 0
  assert table.max() < 1
  assert abs(table.mean() - 0.5) < 0.03
  assert table.max() > 0.98
  assert table.min() < 0.02


def test_the_pinned_state_has_equal_logits_and_no_gradient():
  network = make(ensemble_size=2, pinned_state=3)
  params = network.init(KEY)
  state = jnp.array([3, 0, 3])
  logits, pull_back = jax.vjp(lambda p: network.apply(p, state), params)
  np.testing.assert_array_equal(logits[:, [0, 2]], 0.0)
  np.testing.assert_array_equal(logits[:, 1], problems.content(params)[:, 0])
  grads = problems.content(*pull_back(jnp.ones_like(logits)))
  np.testing.assert_array_equal(grads[:, 3], 0.0)
  np.testing.assert_array_equal(grads[:, 0], 1.0)


def test_state_zero_is_learned_of_unless_it_is_pinned():
  for pinned, expected in ((None, False), (0, True)):
    network = make(pinned_state=pinned)
    logits = network.apply(network.init(KEY), jnp.array([0]))
    assert bool(jnp.all(logits == 0)) == expected


def test_perceptrons_take_any_batch_axes_and_observations():
  network = make(problems.VECTOR, hidden_sizes=(8,), ensemble_size=3)
  observation = problems.trajectory(problems.VECTOR).observation
  logits = network.apply(network.init(KEY), observation)
  chex.assert_shape(logits, (3, *observation.shape[:2], K))
  for i, j in ((0, 1), (0, 2), (1, 2)):
    assert np.all(logits[i] != logits[j])


def test_members_may_share_all_but_their_last_layer():
  network = make(
    problems.VECTOR, hidden_sizes=(8,), ensemble_size=3, is_torso_shared=True
  )
  params = network.init(KEY)
  observation = problems.trajectory(problems.VECTOR).observation
  logits = network.apply(params, observation)
  chex.assert_shape(logits, (3, *observation.shape[:2], K))
  shapes = sorted(leaf.shape for leaf in jax.tree.leaves(params))
  assert shapes == [(6, 8), (8,), (8, 3 * K), (3 * K,)]
  # Member i has the i-th K units of the last layer, and nobody else has.
  [head] = [layer for layer in params.values() if layer['b'].size == 3 * K]
  head['b'] = head['b'].at[K : 2 * K].add(1.0)
  moved = network.apply(params, observation) - logits
  np.testing.assert_allclose(moved[1], 1.0, rtol=1e-5)
  np.testing.assert_array_equal(moved[::2], 0.0)


def test_no_hidden_layers_make_a_linear_discriminator():
  params = make(problems.VECTOR, hidden_sizes=()).init(KEY)
  shapes = sorted(leaf.shape for leaf in jax.tree.leaves(params))
  assert shapes == [(1, 4), (1, 6, 4)]


def test_a_table_of_what_is_no_index_is_refused():
  with pytest.raises(ValueError, match=r'hidden_sizes.*shape \(2, 3\)'):
    make(problems.VECTOR)


@pytest.mark.parametrize('pinned_state', [-1, S])
def test_a_pinned_state_that_is_none_of_the_world_s_is_refused(pinned_state):
  with pytest.raises(
    ValueError, match=f'pinned_state.*0..5, got {pinned_state}'
  ):
    make(pinned_state=pinned_state)


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'is_torso_shared': True}, 'is_torso_shared must be False for tables'),
    ({'ensemble_size': 0}, 'ensemble_size must be >= 1, got 0'),
    ({'learning_rate': 0.0}, 'learning_rate must be positive, got 0'),
    ({'optimizer': 'sdg'}, "optimizer must be one of .*got 'sdg'"),
    (
      {'pinned_state': 2, 'hidden_sizes': (8,)},
      'pinned_state must be None for a network .*got 2',
    ),
  ],
)
def test_values_that_cannot_work_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    discriminators.DiscriminatorConfig(**settings)
