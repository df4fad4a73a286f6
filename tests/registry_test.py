"""Tests of skills/registry.py."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills import config as config_lib
from skills import registry
from skills.learners import q_learning
from tests import problems

KEY = jax.random.PRNGKey(0)


def agent_config(objective, **changes):
  return config_lib.SkillAgentConfig(
    objective=objective, num_skills=4, skill_length=5, **changes
  )


@pytest.mark.parametrize('name', registry.OBJECTIVES)
def test_every_objective_makes_an_agent_that_acts_and_learns(name):
  config = agent_config(registry.OBJECTIVES[name].config())
  agent = registry.make_agent(config, problems.TABLE)
  assert agent.config is config
  assert agent.problem is problems.TABLE
  state = agent.learner.init(KEY)
  variables = agent.learner.variables(state)
  # A value for each stream, and no other.
  values = problems.action_values(agent)(
    variables.params, jnp.array([2]), jnp.array([3])
  )
  assert values.shape == (1, 3, len(agent.objective.streams))
  assert variables.weights.shape[-1] == len(agent.objective.streams)
  action, _ = agent.policy.select_action(
    variables, jnp.int32(2), agent.policy.init(KEY)
  )
  assert 0 <= action < 3
  after, metrics = jax.eval_shape(
    agent.learner.update, state, problems.trajectory(problems.TABLE)
  )
  chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
  assert {f'loss/{stream}' for stream in agent.objective.streams} <= set(
    metrics
  )


@pytest.mark.parametrize('name', registry.OBJECTIVES)
def test_names_are_those_of_the_configurations(name):
  assert registry.name_of(registry.OBJECTIVES[name].config()) == name


def test_every_field_of_a_configuration_has_a_default():
  for objective in registry.OBJECTIVES.values():
    for field in dataclasses.fields(objective.config):
      assert (
        field.default is not dataclasses.MISSING
        or field.default_factory is not dataclasses.MISSING
      ), field.name


def test_an_unknown_configuration_is_refused_and_the_known_are_named():
  @dataclasses.dataclass(frozen=True)
  class UnheardOfConfig:
    pass

  with pytest.raises(ValueError, match='UnheardOfConfig.*counts, diayn.*vic'):
    registry.make_agent(agent_config(UnheardOfConfig()), problems.TABLE)


def test_priorities_of_a_learner_that_gives_none_are_refused(monkeypatch):
  name = 'q_learning'
  make = registry.LEARNERS[name].make

  def without_priorities(*arguments):
    parts = make(*arguments)
    return parts._replace(
      learner=parts.learner._replace(update_with_priorities=None)
    )

  algorithm = registry.LEARNERS[name]._replace(make=without_priorities)
  monkeypatch.setitem(registry.LEARNERS, name, algorithm)
  config = agent_config(registry.OBJECTIVES['vic'].config())
  registry.make_agent(config, problems.TABLE)
  config = dataclasses.replace(
    config, replay=registry.config_lib.ReplayConfig(priority_exponent=0.9)
  )
  with pytest.raises(ValueError, match="None for the learner 'q_learning'"):
    registry.make_agent(config, problems.TABLE)


def test_training_and_evaluation_explore_each_at_their_own_rate():
  config = agent_config(
    registry.OBJECTIVES['vic'].config(),
    learner=q_learning.QLearningConfig(epsilon=1.0, evaluation_epsilon=0.0),
  )
  agent = registry.make_agent(config, problems.TABLE)
  variables = agent.learner.variables(agent.learner.init(KEY))

  def actions(policy):
    state = jax.vmap(policy.init)(jax.random.split(KEY, 300))
    # All of them in the middle of skill 0.
    state = state._replace(skill_step=jnp.ones_like(state.skill_step))
    return jax.vmap(policy.select_action, (None, None, 0))(
      variables, jnp.int32(2), state
    )[0]

  # 100 each, deviation 8; and always the same one.
  assert np.all(np.abs(np.bincount(actions(agent.policy)) - 100) < 41)
  assert len(np.unique(actions(agent.evaluation_policy))) == 1


def test_perceptrons_serve_where_observations_are_no_indices():
  for name in ('vic', 'diayn', 'disdain', 'rnd'):
    config = problems.with_networks(
      agent_config(registry.OBJECTIVES[name].config())
    )
    agent = registry.make_agent(config, problems.VECTOR)
    batch = problems.trajectory(problems.VECTOR)
    state = jax.eval_shape(agent.learner.init, KEY)
    values = jax.eval_shape(
      problems.action_values(agent),
      state.params,
      batch.observation[0],
      batch.skill[0],
    )
    assert values.shape == (7, 3, len(agent.objective.streams))
    after, _ = jax.eval_shape(agent.learner.update, state, batch)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
