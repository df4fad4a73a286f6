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
from skills.networks import models
from skills.networks import policies
from skills.networks import torsos
from skills.objectives import disdain
from skills.objectives import extrinsic
from tests import problems

PROBLEMS = {
  'table': problems.TABLE,
  'mlp': problems.VECTOR,
  'control': problems.CONTROL,
}
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
# So that all parameters are random at first but those that are 0 in any case.
SETTINGS = {
  'actor_critic': {'table_init_stddev': 1.0},
  'model_value': {'model': models.LatentConfig(size=8, normalize=True)},
}


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
  network, problem = torsos.NetworkConfig(), PROBLEMS[kind]
  if kind != 'table':
    objective = problems.with_networks(objective)
    network = torsos.NetworkConfig(hidden_sizes=(8,))
  config = config_lib.SkillAgentConfig(
    objective=objective,
    learner=registry.LEARNERS[learner].config(**SETTINGS.get(learner, {})),
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


def test_initial_parameters_are_those_of_the_key(case):
  init = jax.jit(case.agent.learner.init)
  state, other = init(key(1)), init(key(2))
  chex.assert_trees_all_equal(state, init(key(1)))
  random = [
    np.any(x != y)
    for x, y in zip(*map(jax.tree.leaves, (state.params, other.params)))
    # Biases and temperatures begin the same.
    if np.ptp(x) > 0
  ]
  assert random
  assert all(random)
  one, two = jax.tree.leaves((state.key, other.key))
  assert np.any(one != two)


def test_state_has_parameters_an_objective_s_state_and_a_count(case):
  state = case.agent.learner.init(key())
  assert jax.tree.leaves(state.params)
  for steps in range(3):
    assert int(state.steps) == steps
    assert int(case.agent.learner.variables(state).steps) == steps
    state, _ = case.update(state, make_batch(case, seed=steps))
  # The objective's state is the one that its functions take.
  rewards = case.agent.objective.reward(state.objective, make_batch(case))
  chex.assert_shape(
    rewards, (*make_batch(case).mask.shape, len(case.agent.objective.streams))
  )


# One case of each learner: plain calls take their time.
@pytest.mark.parametrize(
  'name', {name.split(':')[0]: name for name in CASES}.values()
)
def test_a_compiled_update_is_the_plain_one_and_leaves_its_inputs_alone(name):
  case = make_case(name)
  inputs = trained(case), make_batch(case, seed=9)
  before = jax.tree.map(np.array, inputs)
  plain = case.agent.learner.update(*inputs)
  # Arrays cannot be changed, but dictionaries of them can.
  chex.assert_trees_all_equal(inputs, before)
  chex.assert_trees_all_close(case.update(*inputs), plain, rtol=1e-5, atol=1e-5)


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
