"""Tests of launch/reproductions/semi_markov.py."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import gridworlds
from launch.reproductions import semi_markov
from skills import config as config_lib
from skills import registry
from skills import types
from skills.agents import hierarchy
from skills.learners import q_learning
from skills.networks import torsos
from skills.objectives import extrinsic
from tests import problems

NOOP, UP, DOWN, LEFT, RIGHT = range(5)
GAMMA = 0.9
HORIZON = 11
PLAIN = gridworlds.from_ascii('test', 'S   \n # #\n    ')
# The same cells, the last of which is the goal.
TASK = gridworlds.from_ascii('test', 'S   \n # #\n   G', horizon=HORIZON)
GOAL = TASK.mdp.num_states - 1


def environment_of(grid):
  return gridworlds.GridworldEnvironment(grid)


def problem_of(grid):
  environment = environment_of(grid)
  return types.ProblemSpec.from_specs(
    environment.observation_spec(), environment.action_spec()
  )


def skills_of(grid, epsilon=0.4, length=3):
  """Right, down, and mixed; all of them act at random now and then."""
  num_states = grid.mdp.num_states
  trained = problems.handmade_skills(
    problem_of(grid),
    [
      [RIGHT] * num_states,
      [DOWN] * num_states,
      np.arange(num_states) % 5,
    ],
    length,
  )
  learner = dataclasses.replace(
    trained.config.learner, evaluation_epsilon=epsilon
  )
  config = dataclasses.replace(trained.config, learner=learner)
  return dataclasses.replace(
    trained, agent=registry.make_agent(config, trained.problem)
  )


def test_outcomes_equal_those_of_the_hierarchical_environment():
  trained = skills_of(PLAIN)
  seed = 3
  environment = hierarchy.HierarchicalEnvironment(
    environment_of(TASK), trained, discount=GAMMA, seed=seed
  )
  functional = semi_markov.with_goal(
    environment_of(PLAIN).functional(), jnp.int32(GOAL)
  )
  decide = jax.jit(semi_markov.make_decide(functional, GAMMA, trained))
  key = jax.random.PRNGKey(seed)
  rng = np.random.default_rng(0)
  terminal = truncated = 0
  for episode in range(40):
    timestep = environment.reset()
    state = functional.reset(None)
    actor = trained.init(jax.random.fold_in(key, episode))
    left = HORIZON
    assert timestep.observation == state
    while not timestep.last():
      action = int(rng.integers(3 + 5))
      before = environment.steps
      timestep = environment.step(action)
      outcome = decide(state, actor, jnp.int32(action), jnp.int32(left))
      state, actor = outcome.state, outcome.actor
      left -= int(outcome.taken)
      assert outcome.state == timestep.observation
      assert outcome.taken == environment.steps - before
      np.testing.assert_allclose(outcome.reward, timestep.reward, rtol=1e-5)
      np.testing.assert_allclose(outcome.discount, timestep.discount, 1e-5)
      assert timestep.last() == (bool(outcome.has_ended) or left == 0)
    terminal += bool(outcome.has_ended)
    truncated += not outcome.has_ended
  # Both kinds of ends were seen.
  assert terminal > 3 and truncated > 3


def controller(num_actions, problem, **fields):
  return registry.make_agent(
    config_lib.SkillAgentConfig(
      **{
        'objective': extrinsic.ExtrinsicConfig(),
        'num_skills': 1,
        'skill_length': 1,
        'batch_size': 1,
        'network': torsos.NetworkConfig(table_init_range=0.0),
        'learner': q_learning.QLearningConfig(
          discount=1.0, learning_rate=0.1, epsilon=0.1, random_ties=True
        ),
        **fields,
      }
    ),
    dataclasses.replace(problem, num_actions=num_actions),
  )


CORRIDOR = gridworlds.from_ascii('corridor', 'S' + ' ' * 9)


def run(goals, num_steps, trained=None, horizon=60):
  problem = problem_of(CORRIDOR)
  num_skills = 0 if trained is None else trained.config.num_skills
  return jax.jit(
    semi_markov.make(
      controller(num_skills + 5, problem),
      environment_of(CORRIDOR).functional(),
      goals=jnp.array(goals),
      horizon=horizon,
      num_steps=num_steps,
      discount=GAMMA,
      trained=trained,
    )
  )(jax.random.PRNGKey(0))


def test_each_controller_learns_its_own_goal():
  successes, choices = run([1, 3], 3000)
  assert choices.tolist() == [3000, 3000]
  # An episode takes at least 1 and 3 steps. With epsilon 0.1 a step is 0.92
  # times the best one, so that most of the loss is the time to learn.
  assert 0.8 * 3000 < successes[0] <= 3000
  assert 0.6 * 1000 < successes[1] <= 1000


def test_skill_that_leads_to_the_goal_takes_one_choice():
  # Of 9 steps, to the last cell and no further.
  trained = problems.handmade_skills(
    problem_of(CORRIDOR), [[RIGHT] * 10, [LEFT] * 10], 9
  )
  successes, choices = run([9], 3000, trained)
  assert 0.6 * 3000 / 9 < successes[0] <= 3000 // 9
  assert choices[0] < 1200
  alone, _ = run([9], 3000)
  assert alone[0] < successes[0]


def test_long_items_and_random_transitions_are_refused():
  environment = environment_of(CORRIDOR).functional()
  problem = problem_of(CORRIDOR)
  kwargs = {
    'goals': jnp.array([1]),
    'horizon': 5,
    'num_steps': 9,
    'discount': 0.9,
  }
  with pytest.raises(ValueError, match='skill_length and num_skills must be 1'):
    semi_markov.make(
      controller(5, problem, skill_length=2), environment, **kwargs
    )
  with pytest.raises(ValueError, match='no random transitions'):
    semi_markov.make(
      controller(5, problem),
      environment._replace(is_deterministic=False),
      **kwargs,
    )
