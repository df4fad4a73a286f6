"""What every objective of the registry promises, checked on all of them."""

import functools
from typing import Any
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills import registry
from skills import types
from skills.objectives import base
from skills.objectives import counts
from skills.objectives import diayn
from skills.objectives import disdain
from skills.objectives import domino
from skills.objectives import rnd
from skills.objectives import rvic
from skills.objectives import vic
from tests import problems

# Objectives that only know states by their indices.
TABLE_ONLY = frozenset({'counts'})

# What objectives report of their own loss, all of it to fall.
LOSSES = (
  'discriminator_loss',
  'relative_loss',
  'absolute_loss',
  'rnd_error',
  'count_bonus',
  'features_error',
  'successor_loss',
)


def _configs():
  """Name -> configuration: every default, and compositions worth a check."""
  configs = {
    name: entry.config() for name, entry in registry.OBJECTIVES.items()
  }
  ensemble = disdain.DisdainConfig().over.discriminator
  configs['disdain-over-diayn'] = disdain.DisdainConfig(
    over=diayn.DiaynConfig(discriminator=ensemble)
  )
  configs['counts-every-over-disdain'] = counts.CountsConfig(
    over=disdain.DisdainConfig(), timesteps='every'
  )
  configs['vic-pair'] = vic.VicConfig(sees_start=True)
  configs['disdain-over-rvic'] = disdain.DisdainConfig(
    over=rvic.RvicConfig(discriminator=ensemble)
  )
  configs['domino-successor'] = domino.DominoConfig(successor_discount=0.9)
  configs['rnd-every'] = rnd.RndConfig(timesteps='every')
  return configs


CONFIGS = _configs()
CASES = [f'{name}:table' for name in CONFIGS if name != 'rnd-every'] + [
  f'{name}:mlp' for name in CONFIGS if name.split('-')[0] not in TABLE_ONLY
]


class Case(NamedTuple):
  """An objective, with compiled functions that refuse to compile twice."""

  objective: base.IntrinsicReward
  problem: types.ProblemSpec
  config: Any
  init: Any
  reward: Any
  update: Any


@functools.cache
def make_case(name):
  name, kind = name.split(':')
  config, problem = CONFIGS[name], problems.TABLE
  if kind == 'mlp':
    config, problem = problems.with_networks(config), problems.VECTOR
  objective = registry.make_objective(config, problem, problems.NUM_SKILLS)
  return Case(
    objective,
    problem,
    config,
    jax.jit(objective.init),
    problems.jit_once(objective.reward),
    problems.jit_once(objective.update),
  )


@pytest.fixture(params=CASES)
def case(request):
  return make_case(request.param)


def key(seed=0):
  return jax.random.PRNGKey(seed)


def trained(case, num_updates=3):
  """A state that has seen something, so that nothing in it is at its start."""
  state = case.init(key(7))
  for i in range(num_updates):
    batch = problems.trajectory(case.problem, seed=100 + i)
    state, _ = case.update(state, batch, key(i))
  return state


def test_initial_state_depends_on_the_key_and_on_nothing_else(case):
  first = case.init(key(0))
  trained(case)
  again = problems.compiled(
    registry.make_objective(case.config, case.problem, problems.NUM_SKILLS)
  ).init(key(0))
  chex.assert_trees_all_close(first, again, rtol=1e-6)
  other = case.init(key(1))
  assert not jax.tree.leaves(first) or any(
    not np.array_equal(x, y)
    for x, y in zip(jax.tree.leaves(first), jax.tree.leaves(other))
  )


def test_rewards_are_finite_floats_one_per_step_skill_and_stream(case):
  batch = problems.trajectory(case.problem)
  for state in (case.init(key()), trained(case)):
    rewards = case.reward(state, batch)
    chex.assert_shape(rewards, (*batch.mask.shape, len(case.objective.streams)))
    chex.assert_type(rewards, jnp.float32)
    chex.assert_tree_all_finite(rewards)
    # None of the streams is silent.
    assert jnp.all(jnp.any(rewards != 0, axis=(0, 1)))


def test_every_stream_has_a_name_and_a_weight(case):
  streams = case.objective.streams
  assert len(set(streams)) == len(streams) > 0
  weights = case.objective.weights(trained(case))
  # Weights of all skills alike, or of each.
  assert weights.shape in (
    (len(streams),),
    (problems.NUM_SKILLS, len(streams)),
  )
  chex.assert_type(weights, jnp.float32)
  chex.assert_tree_all_finite(weights)


def test_metrics_are_finite_scalars(case):
  state = trained(case)
  _, metrics = case.update(state, problems.trajectory(case.problem), key())
  # Objectives that learn report how.
  assert bool(metrics) == bool(jax.tree.leaves(state))
  chex.assert_rank(list(metrics.values()), 0)
  chex.assert_type(list(metrics.values()), jnp.float32)
  chex.assert_tree_all_finite(metrics)


def test_no_gradient_leaves_the_rewards(case):
  batch = problems.trajectory(case.problem)
  state = trained(case)
  leaves, structure = jax.tree.flatten(state)
  is_float = [jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves]
  floats = [leaf for leaf, yes in zip(leaves, is_float) if yes]

  def total(floats):
    floats = iter(floats)
    merged = [
      next(floats) if yes else leaf for leaf, yes in zip(leaves, is_float)
    ]
    state = jax.tree.unflatten(structure, merged)
    return jnp.sum(case.objective.reward(state, batch))

  grads = jax.jit(jax.grad(total))(floats)
  chex.assert_trees_all_equal(grads, jax.tree.map(jnp.zeros_like, grads))


def test_padding_changes_nothing(case):
  state = trained(case)
  one = problems.trajectory(case.problem, seed=1, padding_seed=2)
  other = problems.trajectory(case.problem, seed=1, padding_seed=3)
  assert not np.array_equal(one.observation, other.observation)
  chex.assert_trees_all_equal(
    case.reward(state, one), case.reward(state, other)
  )
  chex.assert_trees_all_equal(
    case.update(state, one, key()), case.update(state, other, key())
  )


def test_padding_earns_nothing(case):
  batch = problems.trajectory(case.problem)
  rewards = np.asarray(case.reward(trained(case), batch))
  assert np.all(rewards[np.asarray(batch.mask) == 0] == 0)


def test_the_order_of_skills_in_a_batch_does_not_matter(case):
  state = trained(case)
  batch = problems.trajectory(case.problem)
  order = [3, 0, 6, 2, 5, 1, 4]
  moved = problems.permuted(batch, order)
  rewards = case.reward(state, batch)
  chex.assert_trees_all_close(
    case.reward(state, moved), rewards[:, jnp.array(order)], rtol=1e-5
  )
  chex.assert_trees_all_close(
    case.update(state, moved, key()),
    case.update(state, batch, key()),
    rtol=1e-4,
    atol=1e-6,
  )


def test_updates_lower_the_objective_s_own_loss_on_a_fixed_batch(case):
  batch = problems.trajectory(case.problem)
  state = case.init(key())
  if not jax.tree.leaves(state):
    pytest.skip('learns nothing')
  history = []
  for i in range(20):
    state, metrics = case.update(state, batch, key(i))
    history.append(metrics)
  reported = [name for name in LOSSES if name in history[0]]
  assert reported, f'none of {LOSSES} in {sorted(history[0])}'
  for name in reported:
    assert history[-1][name] < history[0][name], name


# Compositions and networks add nothing here, and plain calls take their time.
@pytest.mark.parametrize(
  'name', [name for name in CASES if '-' not in name and ':table' in name]
)
def test_compiled_functions_compute_what_the_plain_ones_do(name):
  case = make_case(name)
  state = trained(case)
  batch = problems.trajectory(case.problem)
  chex.assert_trees_all_close(
    (case.reward(state, batch), case.update(state, batch, key())),
    (
      case.objective.reward(state, batch),
      case.objective.update(state, batch, key()),
    ),
    rtol=1e-4,
    atol=1e-5,
  )


def test_a_second_call_does_not_compile_again(case):
  # The case's functions raise when they are traced a second time, which they
  # would be if an update changed a type in the state.
  state = case.init(key())
  for i in range(3):
    batch = problems.trajectory(case.problem, seed=i)
    before = jax.tree.map(jax.typeof, state)
    case.reward(state, batch)
    state, _ = case.update(state, batch, key(i))
    chex.assert_trees_all_equal(before, jax.tree.map(jax.typeof, state))


def test_state_survives_a_file_bit_for_bit(case, tmp_path):
  state = trained(case)
  leaves, structure = jax.tree.flatten(state)
  np.savez(tmp_path / 'state.npz', *map(np.asarray, leaves))
  with np.load(tmp_path / 'state.npz') as saved:
    restored = jax.tree.unflatten(structure, list(saved.values()))
  chex.assert_trees_all_equal_shapes_and_dtypes(state, restored)
  batch = problems.trajectory(case.problem, seed=5)
  chex.assert_trees_all_equal(
    case.update(state, batch, key()), case.update(restored, batch, key())
  )
  chex.assert_trees_all_equal(
    case.reward(state, batch), case.reward(restored, batch)
  )


def test_the_discriminator_sees_every_rewarded_timestep(case):
  discriminator = case.objective.discriminator
  if discriminator is None:
    pytest.skip('no discriminator')
  batch = problems.trajectory(case.problem)
  moments = discriminator.timesteps.select(batch)
  logits = discriminator.logits(trained(case), batch)
  chex.assert_shape(logits, (None, *moments.mask.shape, problems.NUM_SKILLS))


def test_objectives_that_know_only_indices_refuse_anything_else():
  for name in TABLE_ONLY:
    config = problems.with_networks(CONFIGS[name])
    with pytest.raises(ValueError, match='state indices'):
      registry.make_objective(config, problems.VECTOR, problems.NUM_SKILLS)
