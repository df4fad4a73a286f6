"""Tests of skills/networks/q_networks.py."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills.networks import q_networks
from skills.networks import torsos
from tests import problems

KEY = jax.random.PRNGKey(0)
K = problems.NUM_SKILLS
S = problems.TABLE.num_states
A = problems.TABLE.num_actions
R = 2


def make(problem, hidden_sizes=None, factored_states=None):
  config = torsos.NetworkConfig(
    hidden_sizes=hidden_sizes, factored_states=factored_states
  )
  return problems.compiled(q_networks.make(config, problem, K, R))


def test_a_table_tells_skills_states_actions_and_streams_apart():
  network = make(problems.TABLE)
  params = network.init(KEY)
  table = problems.content(params).reshape(K, S, A, R)
  assert len(np.unique(table)) == table.size
  state = np.array([[0, 5, 2], [3, 3, 0]])
  skill = np.array([[3, 0, 1], [2, 1, 0]])
  np.testing.assert_array_equal(
    network.apply(params, jnp.asarray(state), jnp.asarray(skill)),
    table[skill, state],
  )


def test_tables_begin_within_their_spread():
  for spread in (0.0, 0.5):
    config = torsos.NetworkConfig(table_init_range=spread)
    network = problems.compiled(q_networks.make(config, problems.TABLE, K, R))
    table = problems.content(network.init(KEY))
    assert table.min() >= 0
    assert 0.9 * spread <= table.max() <= spread
  with pytest.raises(ValueError, match='table_init_range must be >= 0, got -1'):
    torsos.NetworkConfig(table_init_range=-1.0)


def test_tables_are_at_first_uniform_between_zero_and_one():
  table = problems.content(make(problems.TABLE).init(KEY))
  # Of 144 numbers the mean lies within 4 * sqrt(1/12 / 144) = 0.1 of 1/2.
  assert table.min() >= 0
  assert table.max() < 1
  assert abs(table.mean() - 0.5) < 0.1


@pytest.mark.parametrize('problem', [problems.TABLE, problems.VECTOR])
def test_perceptrons_see_the_observation_and_the_skill(problem):
  network = make(problem, (16,))
  params = network.init(KEY)
  batch = problems.trajectory(problem)
  observation = batch.observation[:-1]
  values = network.apply(params, observation, batch.skill)
  chex.assert_shape(values, (*batch.skill.shape, A, R))
  other_skill = network.apply(params, observation, (batch.skill + 1) % K)
  assert np.all(np.any(values != other_skill, axis=(-1, -2)))
  other_state = network.apply(params, observation[:, ::-1], batch.skill)
  assert np.any(values != other_state)


def test_a_table_of_what_is_no_index_is_refused():
  with pytest.raises(ValueError, match=r'hidden_sizes.*shape \(2, 3\)'):
    make(problems.VECTOR)


def make_recurrent(problem=problems.VECTOR):
  config = torsos.NetworkConfig(hidden_sizes=(8,), lstm_size=5)
  network = problems.compiled(q_networks.make(config, problem, K, R))
  batch = problems.trajectory(problem)
  memory = jax.tree.map(
    lambda x: jnp.broadcast_to(x, (batch.skill.shape[1], *x.shape)),
    network.memory(),
  )
  return network, network.init(KEY), memory, batch


def test_the_whole_is_unrolled_as_it_is_step_by_step():
  network, params, memory, batch = make_recurrent()
  # Some begin an episode within.
  is_first = jax.random.bernoulli(KEY, 0.3, batch.skill.shape)
  values, end = network.unroll(
    params, memory, is_first, batch.observation[:-1], batch.skill
  )
  chex.assert_shape(values, (*batch.skill.shape, A, R))
  for t in range(len(values)):
    step = slice(t, t + 1)
    value, memory = network.unroll(
      params,
      memory,
      is_first[step],
      batch.observation[step],
      batch.skill[step],
    )
    np.testing.assert_allclose(value[0], values[t], rtol=1e-5, atol=1e-6)
  chex.assert_trees_all_close(memory, end, rtol=1e-5, atol=1e-6)


def test_an_episode_s_first_step_remembers_nothing_of_the_one_before():
  network, params, memory, batch = make_recurrent()
  is_first = jnp.zeros(batch.skill.shape, bool).at[2].set(True)

  def run(begin, memory):
    return network.unroll(
      params,
      memory,
      is_first[begin:],
      batch.observation[begin:-1],
      batch.skill[begin:],
    )[0]

  whole = run(0, memory)
  np.testing.assert_allclose(whole[2:], run(2, memory), rtol=1e-5, atol=1e-6)
  # A step that is none does remember.
  assert np.all(np.any(whole[3:] != run(3, memory), axis=(-1, -2)))


def test_a_memory_is_of_what_was_seen_and_not_of_the_skill():
  network, params, memory, batch = make_recurrent()
  is_first = jnp.zeros(batch.skill.shape, bool)
  values, end = network.unroll(
    params, memory, is_first, batch.observation[:-1], batch.skill
  )
  other_values, other_end = network.unroll(
    params, memory, is_first, batch.observation[:-1], (batch.skill + 1) % K
  )
  chex.assert_trees_all_equal(end, other_end)
  assert np.all(np.any(values != other_values, axis=(-1, -2)))


def test_pictures_and_the_skill_both_count():
  problem = problems.VECTOR.__class__(
    observation_shape=(4, 5, 3),
    observation_dtype='uint8',
    num_states=None,
    num_actions=A,
  )
  config = torsos.NetworkConfig(
    torso='resnet', hidden_sizes=(8,), channels=(2,), num_blocks=1
  )
  network = problems.compiled(q_networks.make(config, problem, K, R))
  params = network.init(KEY)
  picture = jax.random.randint(KEY, (3, 2, 4, 5, 3), 0, 256).astype(jnp.uint8)
  skill = jnp.array([[0, 1], [2, 3], [0, 2]])
  values = network.apply(params, picture, skill)
  chex.assert_shape(values, (3, 2, A, R))
  for other in (
    network.apply(params, picture, (skill + 1) % K),
    network.apply(params, picture[::-1], skill)[::2],
  ):
    assert np.any(other != values[: len(other)])


def test_a_factored_table_adds_up_the_parts_of_a_state_for_each_skill():
  # Six states in two rows of three.
  network = make(problems.TABLE, factored_states=(2, 3))
  params = network.init(KEY)
  rows, columns = sorted(jax.tree.leaves(params), key=lambda x: x.shape[0])
  rows, columns = rows.reshape(K, 2, A, R), columns.reshape(K, 3, A, R)
  skill, state = np.meshgrid(np.arange(K), np.arange(S))
  row, column = np.unravel_index(state, (2, 3))
  values = network.apply(params, jnp.asarray(state), jnp.asarray(skill))
  np.testing.assert_allclose(
    values, rows[skill, row] + columns[skill, column], rtol=1e-6
  )
  assert values.min() >= 0
  assert values.max() < 1


def test_factors_that_do_not_fit_are_refused():
  with pytest.raises(
    ValueError, match='factored_states must have the product 6'
  ):
    make(problems.TABLE, factored_states=(2, 2))
  with pytest.raises(
    ValueError, match='factored_states must be None for a network'
  ):
    make(problems.VECTOR, hidden_sizes=(8,), factored_states=(2, 3))
