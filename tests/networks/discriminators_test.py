"""Tests of skills/networks/discriminators.py."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills import types
from skills.networks import discriminators
from tests import problems

KEY = jax.random.PRNGKey(0)
K = problems.NUM_SKILLS
S = problems.TABLE.num_states


def make(problem=problems.TABLE, sees_start=False, **settings):
  return problems.compiled(
    discriminators.make(
      discriminators.DiscriminatorConfig(**settings),
      problem,
      K,
      sees_start=sees_start,
    )
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
  # Member i has the i-th K units of the last layer, and no other member has.
  [head] = [layer for layer in params.values() if layer['b'].size == 3 * K]
  head['b'] = head['b'].at[K : 2 * K].add(1.0)
  moved = network.apply(params, observation) - logits
  np.testing.assert_allclose(moved[1], 1.0, rtol=1e-5)
  np.testing.assert_array_equal(moved[::2], 0.0)


def test_no_hidden_layers_make_a_linear_discriminator():
  params = make(problems.VECTOR, hidden_sizes=()).init(KEY)
  shapes = sorted(leaf.shape for leaf in jax.tree.leaves(params))
  assert shapes == [(1, 4), (1, 6, 4)]


def test_a_table_of_pairs_has_a_row_for_each_in_their_order():
  network = make(sees_start=True, ensemble_size=2)
  params = network.init(KEY)
  table = problems.content(params).reshape(2, S, S, K)
  start, end = np.array([[3, 0], [5, 3]]), np.array([[0, 3], [5, 1]])
  np.testing.assert_array_equal(
    network.apply(params, jnp.asarray(start), jnp.asarray(end)),
    table[:, start, end],
  )


def test_the_pinned_state_of_a_pair_is_where_the_skill_got_to():
  network = make(sees_start=True, pinned_state=3)
  logits = network.apply(
    network.init(KEY), jnp.array([3, 0, 1]), jnp.array([0, 3, 2])
  )
  np.testing.assert_array_equal(logits[:, 1], 0.0)
  assert np.all(logits[:, [0, 2]] != 0)


def test_a_factored_table_adds_up_the_parts_of_a_state():
  # Six states in two rows of three: state 5 is row 1, column 2.
  network = make(factored_states=(2, 3))
  params = network.init(KEY)
  rows, columns = sorted(jax.tree.leaves(params), key=lambda x: x.shape[1])
  assert (rows.shape, columns.shape) == ((1, 2, K), (1, 3, K))
  logits = network.apply(params, jnp.arange(S))
  for state in range(S):
    row, column = np.unravel_index(state, (2, 3))
    np.testing.assert_allclose(
      logits[:, state], rows[:, row] + columns[:, column], rtol=1e-6
    )


def test_a_factored_table_of_pairs_adds_up_the_pairs_of_parts():
  network = make(sees_start=True, factored_states=(2, 3))
  params = network.init(KEY)
  rows, columns = sorted(jax.tree.leaves(params), key=lambda x: x.shape[1])
  rows, columns = rows.reshape(2, 2, K), columns.reshape(3, 3, K)
  for start, end in ((0, 5), (5, 0), (2, 2), (4, 1)):
    logits = network.apply(params, jnp.array([start]), jnp.array([end]))[0, 0]
    (y_0, x_0), (y, x) = divmod(start, 3), divmod(end, 3)
    np.testing.assert_allclose(
      logits, rows[y_0, y] + columns[x_0, x], rtol=1e-6
    )


def test_factored_logits_are_at_first_between_zero_and_one():
  logits = make(factored_states=(2, 3), ensemble_size=100)
  logits = logits.apply(logits.init(KEY), jnp.arange(S))
  assert logits.min() >= 0
  assert logits.max() < 1
  assert logits.max() > 0.9


def test_perceptrons_of_pairs_tell_the_two_apart():
  network = make(problems.VECTOR, sees_start=True, hidden_sizes=(8,))
  observation = problems.trajectory(problems.VECTOR).observation
  params = network.init(KEY)
  logits = network.apply(params, observation[:1], observation[1:2])
  chex.assert_shape(logits, (1, 1, observation.shape[1], K))
  swapped = network.apply(params, observation[1:2], observation[:1])
  assert np.all(logits != swapped)


@pytest.mark.parametrize('factors', [(2, 2), (6, 2)])
def test_factors_of_another_number_of_states_are_refused(factors):
  with pytest.raises(
    ValueError, match='factored_states must have the product 6'
  ):
    make(factored_states=factors)


def test_a_table_of_what_is_no_index_is_refused():
  with pytest.raises(ValueError, match=r'hidden_sizes.*shape \(2, 3\)'):
    make(problems.VECTOR)


@pytest.mark.parametrize('pinned_state', [-1, S])
def test_a_pinned_state_beyond_the_states_is_refused(pinned_state):
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
    ({'factored_states': ()}, r'factored_states must be sizes >= 1, got \(\)'),
    (
      {'factored_states': (3, 0)},
      r'factored_states must be sizes >= 1, got \(3, 0\)',
    ),
    (
      {'factored_states': (3, 2), 'hidden_sizes': ()},
      'factored_states must be None for a network',
    ),
    (
      {'pinned_state': 2, 'hidden_sizes': (8,)},
      'pinned_state must be None for a network .*got 2',
    ),
  ],
)
def test_values_that_cannot_work_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    discriminators.DiscriminatorConfig(**settings)


VECTOR = types.ProblemSpec(
  observation_shape=(5,),
  observation_dtype='float32',
  num_states=None,
  num_actions=2,
)


def test_a_network_sees_the_entries_that_it_is_told_and_no_others():
  network = problems.compiled(
    discriminators.make(
      discriminators.DiscriminatorConfig(hidden_sizes=(16,), entries=(3, 0)),
      VECTOR,
      4,
    )
  )
  params = network.init(jax.random.PRNGKey(0))
  seen = jax.random.normal(jax.random.PRNGKey(1), (6, 5))
  logits = network.apply(params, seen)
  for entry in range(5):
    changed = network.apply(params, seen.at[:, entry].add(1.0))
    assert np.any(changed != logits) == (entry in (0, 3))


@pytest.mark.parametrize(
  ('entries', 'problem', 'part'),
  [
    ((0, 5), VECTOR, 'shape \\(5,\\)'),
    ((0,), problems.VECTOR, 'shape \\(2, 3\\)'),
  ],
)
def test_entries_are_those_of_a_vector(entries, problem, part):
  config = discriminators.DiscriminatorConfig(
    hidden_sizes=(8,), entries=entries
  )
  with pytest.raises(ValueError, match=f'entries must be .*{part}'):
    problems.compiled(discriminators.make(config, problem, 4))


@pytest.mark.parametrize(
  ('hidden_sizes', 'entries'), [(None, (0,)), ((8,), ()), ((8,), (1, 1))]
)
def test_entries_that_cannot_be_are_refused(hidden_sizes, entries):
  with pytest.raises(ValueError, match='entries must be'):
    discriminators.DiscriminatorConfig(
      hidden_sizes=hidden_sizes, entries=entries
    )
