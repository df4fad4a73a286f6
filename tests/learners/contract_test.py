"""The contract of learners, checked on every learner of the registry."""

import functools
from typing import Any
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills import checkpoints
from skills import config as config_lib
from skills import registry
from skills.networks import policies
from skills.networks import torsos
from skills.objectives import disdain
from skills.objectives import extrinsic
from tests import problems

# Table and perceptron with discrete actions, perceptron with continuous ones.
KINDS = {
  'actor_critic': ('table', 'mlp', 'control'),
  'model_value': ('table', 'mlp'),
  'q_learning': ('table', 'mlp'),
  'soft_actor_critic': ('control',),
}
CASES = [
  f'{learner}:{kind}'
  for learner in registry.LEARNERS
  for kind in KINDS[learner]
]
# The learner with a model knows no skills.
WITHOUT_SKILLS = frozenset({'model_value'})
# Those whose random numbers belong to places in the batch.
DRAWS_BY_PLACE = ('model_value', 'soft_actor_critic')


class Case(NamedTuple):
  """An agent, with an update that refuses to compile twice."""

  agent: registry.Agent
  update: Any


@functools.cache
def make_case(name):
  learner, kind = name.split(':')
  has_skills = learner not in WITHOUT_SKILLS
  objective = (
    disdain.DisdainConfig() if has_skills else extrinsic.ExtrinsicConfig()
  )
  network, problem = torsos.NetworkConfig(), problems.TABLE
  if kind != 'table':
    objective = problems.with_networks(objective)
    network = torsos.NetworkConfig(hidden_sizes=(8,))
    problem = problems.VECTOR if kind == 'mlp' else problems.CONTROL
  config = config_lib.SkillAgentConfig(
    objective=objective,
    learner=registry.LEARNERS[learner].config(),
    network=network,
    num_skills=problems.NUM_SKILLS if has_skills else 1,
    skill_length=problems.NUM_STEPS,
  )
  agent = problems.compiled_agent(registry.make_agent(config, problem))
  return Case(agent, problems.jit_once(agent.learner.update))


@pytest.fixture(params=CASES)
def case(request):
  return make_case(request.param)


def key(seed=0):
  return jax.random.PRNGKey(seed)


def make_batch(case, **fields):
  """Trajectories that the agent's own policy might have made."""
  batch = problems.trajectory(case.agent.problem, **fields)
  skill = batch.skill % case.agent.config.num_skills
  recorded = case.agent.acting_policy.get_extras(
    case.agent.acting_policy.init()
  )
  extras = {
    name: jnp.full(
      (*batch.mask.shape, *np.shape(value)),
      -1.0 if name == policies.LOG_PROB else 0.1,
    )
    for name, value in recorded.items()
  }
  return batch._replace(skill=skill, extras=extras)


def trained(case, num_updates=3):
  state = case.agent.learner.init(key(7))
  for i in range(num_updates):
    state, _ = case.update(state, make_batch(case, seed=100 + i))
  return state


def test_init_depends_on_the_key_only(case):
  init = case.agent.learner.init
  chex.assert_trees_all_equal(init(key(1)), init(key(1)))
  one, other = jax.tree.leaves((init(key(1)).key, init(key(2)).key))
  assert np.any(one != other)


def test_state_has_parameters_an_objective_s_state_and_a_count(case):
  state = case.agent.learner.init(key())
  assert jax.tree.leaves(state.params)
  assert int(state.steps) == 0
  state = trained(case, num_updates=3)
  assert int(state.steps) == 3
  assert int(case.agent.learner.variables(state).steps) == 3
  # The objective's state is the one that its functions take.
  rewards = case.agent.objective.reward(state.objective, make_batch(case))
  chex.assert_shape(
    rewards, (*make_batch(case).mask.shape, len(case.agent.objective.streams))
  )


def test_an_update_changes_parameters_and_keeps_all_finite(case):
  before = trained(case)
  after, metrics = case.update(before, make_batch(case))
  changes = jax.tree.map(
    lambda x, y: np.abs(x - y).max(), before.params, after.params
  )
  assert max(jax.tree.leaves(changes)) > 0
  chex.assert_tree_all_finite((after, metrics))
  for stream in case.agent.objective.streams:
    assert f'reward/{stream}' in metrics


def test_rewards_in_metrics_are_sums_over_steps_and_means_over_the_batch(case):
  state, batch = trained(case), make_batch(case)
  rewards = case.agent.objective.reward(state.objective, batch)
  _, metrics = case.update(state, batch)
  for i, stream in enumerate(case.agent.objective.streams):
    expected = np.asarray(rewards)[..., i].sum(axis=0).mean()
    np.testing.assert_allclose(
      metrics[f'reward/{stream}'], expected, rtol=1e-4, atol=1e-6
    )


def test_a_second_update_does_not_compile_again(case):
  # The case's update raises when it is traced a second time.
  state = case.agent.learner.init(key())
  for i in range(3):
    before = jax.tree.map(jax.typeof, state)
    state, _ = case.update(state, make_batch(case, seed=i))
    chex.assert_trees_all_equal(before, jax.tree.map(jax.typeof, state))


def test_padding_changes_nothing(case):
  state = trained(case)
  one = make_batch(case, seed=1, padding_seed=2)
  other = make_batch(case, seed=1, padding_seed=3)
  assert not np.array_equal(one.observation, other.observation)
  assert not np.array_equal(one.reward, other.reward)
  chex.assert_trees_all_equal(
    case.update(state, one), case.update(state, other)
  )


@pytest.mark.parametrize(
  'name', [name for name in CASES if not name.startswith(DRAWS_BY_PLACE)]
)
def test_the_order_of_a_batch_does_not_matter(name):
  case = make_case(name)
  state, batch = trained(case), make_batch(case)
  moved = problems.permuted(batch, [3, 0, 6, 2, 5, 1, 4])
  chex.assert_trees_all_close(
    case.update(state, moved), case.update(state, batch), rtol=1e-3, atol=1e-5
  )


def test_state_survives_a_checkpoint_bit_for_bit(case, tmp_path):
  state = trained(case)
  checkpoints.save(tmp_path, 3, {'learner': state}, {})
  like = {'learner': case.agent.learner.init(key())}
  restored, _ = checkpoints.load(checkpoints.latest(tmp_path), like)
  chex.assert_trees_all_equal_shapes_and_dtypes(state, restored['learner'])
  batch = make_batch(case, seed=5)
  chex.assert_trees_all_equal(
    case.update(state, batch), case.update(restored['learner'], batch)
  )


@pytest.mark.parametrize(
  'policy', ['acting_policy', 'evaluation_acting_policy']
)
def test_actions_are_within_the_problem_s(case, policy):
  acting_policy = getattr(case.agent, policy)
  batch = make_batch(case)
  size = batch.mask.shape[1]
  memory = jax.tree.map(
    lambda x: jnp.broadcast_to(x, (size, *jnp.shape(x))), acting_policy.init()
  )
  action, after = acting_policy.select_action(
    case.agent.learner.variables(trained(case)),
    batch.observation[0],
    batch.skill[0],
    memory,
    jax.random.uniform(key(), (size, acting_policy.num_uniforms)),
  )
  problem = case.agent.problem
  chex.assert_shape(action, (size, *problem.action_shape))
  if problem.num_actions is None:
    assert action.dtype == jnp.float32
    assert np.all(np.abs(action) <= 1)
  else:
    assert action.dtype == jnp.int32
    assert np.all((action >= 0) & (action < problem.num_actions))
  chex.assert_trees_all_equal_shapes_and_dtypes(
    acting_policy.get_extras(memory), acting_policy.get_extras(after)
  )


def test_priorities_are_positive_and_belong_to_the_same_update(case):
  update = case.agent.learner.update_with_priorities
  if update is None:
    pytest.skip('gives no priorities')
  state, batch = trained(case), make_batch(case)
  *rest, priorities = update(state, batch)
  chex.assert_shape(priorities, (batch.mask.shape[1],))
  assert np.all(priorities > 0)
  chex.assert_trees_all_close(
    tuple(rest), case.update(state, batch), rtol=1e-5, atol=1e-6
  )
