"""Skills as actions: what is handed up, and what a controller makes of it."""

import dataclasses

from absl.testing import absltest
import dm_env
from dm_env import specs
from dm_env import test_utils
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import gridworlds
from skills import config as config_lib
from skills import loading
from skills import registry
from skills import types
from skills.agents import hierarchy
from skills.learners import actor_critic
from skills.learners import q_learning
from skills.networks import torsos
from skills.objectives import extrinsic
from tests import problems

NOOP, UP, DOWN, LEFT, RIGHT = range(5)
T = 3  # Steps of a skill.


class Line(dm_env.Environment):
  """Where one goes to 'right' and stays otherwise; step t pays t.

  Cells 0..9. Episodes end in a terminal state at cell 9 and are cut off after
  `horizon` steps; what follows any other step is discounted by `discount`.
  """

  def __init__(self, horizon=100, discount=1.0):
    self._horizon = horizon
    self._discount = discount
    self.actions = []

  def reset(self):
    self._cell, self._step = 0, 0
    return dm_env.restart(np.int32(0))

  def step(self, action):
    self.actions.append(int(action))
    self._step += 1
    self._cell += int(action)
    is_terminal = self._cell == 9
    is_last = is_terminal or self._step == self._horizon
    return dm_env.TimeStep(
      dm_env.StepType.LAST if is_last else dm_env.StepType.MID,
      np.float32(self._step),
      np.float32(0 if is_terminal else self._discount),
      np.int32(self._cell),
    )

  def observation_spec(self):
    return specs.DiscreteArray(10, np.int32, 'cell')

  def action_spec(self):
    return specs.DiscreteArray(2, np.int32, 'action')

  def reward_spec(self):
    return specs.Array((), np.float32, 'reward')

  def discount_spec(self):
    return specs.BoundedArray((), np.float32, 0.0, 1.0, 'discount')


def problem_of(environment):
  return types.ProblemSpec.from_specs(
    environment.observation_spec(), environment.action_spec()
  )


# Skill 0 stays, skill 1 goes right, and skill 2 does from every second cell.
LINE_SKILLS = problems.handmade_skills(
  problem_of(Line()), [[0] * 10, [1] * 10, [1, 0] * 5], T
)
STAY, GO, GO_FROM_EVEN, PRIMITIVE_STAY, PRIMITIVE_GO = range(5)


def make(environment, discount=0.5, **kwargs):
  return hierarchy.HierarchicalEnvironment(
    environment, LINE_SKILLS, discount=discount, **kwargs
  )


def told(timestep):
  """Reward, discount, observation and whether the episode is over."""
  return (
    float(timestep.reward),
    float(timestep.discount),
    int(timestep.observation),
    timestep.last(),
  )


def test_a_skill_returns_the_discounted_sum_and_gamma_to_the_tau():
  line = Line()
  environment = make(line)
  assert environment.reset().first()
  # 1 + 2/2 + 3/4 and 1/8; then 4 + 5/2 + 6/4.
  assert told(environment.step(GO)) == (2.75, 0.125, 3, False)
  assert told(environment.step(STAY)) == (8.0, 0.125, 3, False)
  assert line.actions == [1, 1, 1, 0, 0, 0]
  assert environment.steps == 6


def test_a_primitive_action_is_one_step_that_is_discounted_too():
  line = Line()
  environment = make(line)
  environment.reset()
  assert told(environment.step(PRIMITIVE_GO)) == (1.0, 0.5, 1, False)
  assert told(environment.step(PRIMITIVE_STAY)) == (2.0, 0.5, 1, False)
  # From cell 1 this skill does not move; from cell 2 it makes one step.
  assert told(environment.step(GO_FROM_EVEN))[2] == 1
  environment.step(PRIMITIVE_GO)
  assert told(environment.step(GO_FROM_EVEN))[2] == 3
  assert line.actions == [1, 0, 0, 0, 0, 1, 1, 0, 0]


def test_a_terminal_state_ends_a_skill_early_with_discount_0():
  line = Line()
  environment = make(line)
  environment.reset()
  environment.step(GO)
  environment.step(GO)
  environment.step(PRIMITIVE_GO)
  environment.step(PRIMITIVE_GO)
  # Steps 9 and no more: cell 9 is reached by the first of three.
  assert told(environment.step(GO)) == (9.0, 0.0, 9, True)
  assert len(line.actions) == 9
  # Whatever is chosen now begins an episode, and runs nothing.
  timestep = environment.step(GO)
  assert timestep.first() and timestep.reward is None
  assert len(line.actions) == 9
  assert told(environment.step(GO)) == (2.75, 0.125, 3, False)


def test_truncation_ends_a_skill_early_with_a_positive_discount():
  environment = make(Line(horizon=5))
  environment.reset()
  environment.step(GO)
  # 4 + 5/2, and gamma^2.
  assert told(environment.step(GO)) == (6.5, 0.25, 5, True)
  # Also where a skill ends exactly there.
  environment = make(Line(horizon=3))
  environment.reset()
  assert told(environment.step(GO)) == (2.75, 0.125, 3, True)


def test_the_environment_s_discounts_multiply_gamma():
  environment = make(Line(discount=0.8))
  environment.reset()
  # Factors 0.4: 1 + 2 * 0.4 + 3 * 0.16, and 0.064.
  reward, discount, _, _ = told(environment.step(GO))
  np.testing.assert_allclose((reward, discount), (2.28, 0.064), rtol=1e-6)
  _, discount, _, _ = told(environment.step(PRIMITIVE_GO))
  np.testing.assert_allclose(discount, 0.4, rtol=1e-6)


def test_only_the_action_spec_differs_from_the_environment_s():
  environment = make(Line())
  assert environment.observation_spec() == Line().observation_spec()
  assert environment.action_spec().num_values == 3 + 2
  assert environment.reset().observation.dtype == np.int32
  timestep = environment.step(np.int32(GO))
  environment.reward_spec().validate(timestep.reward)
  environment.discount_spec().validate(timestep.discount)
  without = make(Line(), primitives=False)
  assert without.action_spec().num_values == 3
  without.reset()
  with pytest.raises(ValueError, match='action must be an integer in 0..2'):
    without.step(PRIMITIVE_STAY)


@pytest.mark.parametrize('action', [-1, 5, 1.5])
def test_invalid_actions_are_refused(action):
  environment = make(Line())
  environment.reset()
  with pytest.raises(ValueError, match='must be an integer in 0..4, got'):
    environment.step(action)


def test_skills_of_an_environment_with_other_specs_are_refused():
  grid = gridworlds.GridworldEnvironment(gridworlds.load('disdain_release'))
  with pytest.raises(ValueError) as error:
    hierarchy.HierarchicalEnvironment(grid, LINE_SKILLS, discount=0.9)
  assert str(error.value) == (
    'the skills are of an environment with 10 states and 2 actions, but this '
    'one has 24 states and 5 actions.'
  )
  pixels = gridworlds.GridworldEnvironment(
    gridworlds.load('disdain_release'), observation='pixels'
  )
  with pytest.raises(ValueError, match='this one has observations 8x7x3 of'):
    hierarchy.check(pixels, LINE_SKILLS)
  for discount in (-0.1, 1.1):
    with pytest.raises(ValueError, match=r'discount must be in \[0, 1\], got'):
      make(Line(), discount=discount)


class Drift(Line):
  """A line along which one moves by any number in [-1, 1]."""

  def step(self, action):
    np.testing.assert_array_less(np.abs(action), 1.0 + 1e-6)
    return super().step(np.asarray(action).shape == (1,))

  def action_spec(self):
    return specs.BoundedArray((1,), np.float32, -1.0, 1.0, 'action')


def test_continuous_primitive_actions_cannot_be_chosen():
  drift = Drift()
  agent = registry.make_agent(
    config_lib.SkillAgentConfig(
      num_skills=2,
      skill_length=T,
      network=torsos.NetworkConfig(hidden_sizes=(4,)),
      objective=extrinsic.ExtrinsicConfig(),
      learner=actor_critic.ActorCriticConfig(),
    ),
    problem_of(drift),
  )
  trained = loading.TrainedSkills(
    agent=agent, state=agent.learner.init(jax.random.PRNGKey(0))
  )
  with pytest.raises(ValueError, match='primitive actions must be discrete'):
    hierarchy.HierarchicalEnvironment(drift, trained, discount=0.5)
  environment = hierarchy.HierarchicalEnvironment(
    drift, trained, discount=0.5, primitives=False
  )
  assert environment.action_spec().num_values == 2
  environment.reset()
  assert told(environment.step(1)) == (2.75, 0.125, 3, False)
  with pytest.raises(
    ValueError, match=r'10 states and actions in \[-1, 1\] of shape'
  ):
    hierarchy.check(Line(), trained)


def with_epsilon(trained, epsilon):
  """Skills that now and then act at random."""
  learner = dataclasses.replace(
    trained.config.learner, evaluation_epsilon=epsilon
  )
  config = dataclasses.replace(trained.config, learner=learner)
  return dataclasses.replace(
    trained, agent=registry.make_agent(config, trained.problem)
  )


def grid_environment(seed=0, horizon=12):
  grid = gridworlds.from_ascii('test', 'S  \n   \n  G', horizon=horizon)
  environment = gridworlds.GridworldEnvironment(grid)
  # Right, down, and neither here nor there.
  trained = problems.handmade_skills(
    problem_of(environment),
    [[RIGHT] * 9, [DOWN] * 9, [UP, LEFT, NOOP] * 3],
    skill_length=2,
  )
  return environment, with_epsilon(trained, 0.5), seed


def run(environment, actions):
  timestep = environment.reset()
  found = [int(timestep.observation)]
  for action in actions:
    timestep = environment.step(action)
    found.append(
      (int(timestep.observation), timestep.reward, timestep.discount)
    )
  return found


def test_episodes_are_a_function_of_the_seed_and_saved_state_continues():
  actions = np.random.default_rng(0).integers(8, size=200)

  def wrapped(seed):
    below, trained, _ = grid_environment()
    return hierarchy.HierarchicalEnvironment(
      below, trained, discount=0.9, seed=seed
    )

  assert run(wrapped(1), actions) == run(wrapped(1), actions)
  assert run(wrapped(1), actions) != run(wrapped(2), actions)
  first, second = wrapped(1), wrapped(1)
  run(first, actions[:37])
  second.restore(first.save())
  assert second.steps == first.steps
  assert run(second, actions) == run(first, actions)


class ConformanceTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    below, trained, seed = grid_environment()
    return hierarchy.HierarchicalEnvironment(
      below, trained, discount=0.9, seed=seed
    )

  def make_action_sequence(self):
    rng = np.random.default_rng(0)
    for _ in range(60):
      yield np.int32(rng.integers(8))


# What a controller learns, beside the truth.

GAMMA = 0.9


def smdp_values(mdp, actions, skill_length, gamma):
  """Q* of skills and primitives [S, K + A], by models and value iteration.

  The models are exact: rewards and discounted transitions of a skill by
  repeated multiplication, r <- r_pi + gamma P_pi r and P <- gamma P_pi P.
  """
  num_states = mdp.num_states
  rewards, transitions = [], []
  for policy in np.asarray(actions):
    chosen = np.arange(num_states), policy
    p = gamma * mdp.transitions[chosen]
    p[:, mdp.terminal] = 0  # Nothing follows.
    r = mdp.rewards[chosen]
    total, ahead = np.zeros(num_states), np.eye(num_states)
    for _ in range(skill_length):
      total, ahead = r + p @ total, p @ ahead
    rewards.append(total)
    transitions.append(ahead)
  for action in range(mdp.num_actions):
    p = gamma * mdp.transitions[:, action]
    p[:, mdp.terminal] = 0
    rewards.append(mdp.rewards[:, action])
    transitions.append(p)
  q = np.zeros((len(rewards), num_states))
  for _ in range(500):
    q = np.array(rewards) + np.array(transitions) @ q.max(axis=0)
  return q.T


# Walls, so that skills are cut short by them too, and a reward on the way.
MAP = gridworlds.from_ascii('test', 'S  #\n # G\n    ', horizon=None)
ACTIONS = np.stack(
  [
    np.full(MAP.mdp.num_states, RIGHT),
    np.full(MAP.mdp.num_states, DOWN),
    np.arange(MAP.mdp.num_states) % 5,
  ]
)


def every_transition():
  """One decision from every state, as a batch of items of one step."""
  below = gridworlds.GridworldEnvironment(MAP)
  trained = problems.handmade_skills(problem_of(below), ACTIONS, 3)
  environment = hierarchy.HierarchicalEnvironment(
    below, trained, discount=GAMMA
  )
  rows = []
  environment.reset()
  saved = environment.save()
  for state in np.flatnonzero(~MAP.mdp.terminal):
    for action in range(3 + 5):
      environment.restore(saved)
      environment.reset()
      below.restore(below.save() | {'state': int(state)})
      environment._observation = np.int32(state)
      timestep = environment.step(action)
      rows.append(
        (
          (state, int(timestep.observation)),
          action,
          timestep.reward,
          timestep.discount,
        )
      )
  observation, action, reward, discount = map(np.array, zip(*rows))
  ones = np.ones((1, len(rows)), np.float32)
  problem = problem_of(environment)
  return problem, types.Trajectory(
    observation=jnp.asarray(observation.T, jnp.int32),
    action=jnp.asarray(action[None], jnp.int32),
    reward=jnp.asarray(reward[None]),
    discount=jnp.asarray(discount[None]),
    skill=jnp.zeros((1, len(rows)), jnp.int32),
    mask=jnp.asarray(ones),
  )


def learned_values(problem, batch, discount):
  """By the Q(lambda) learner, [S, K + A]; one update is a sweep."""
  config = config_lib.SkillAgentConfig(
    objective=extrinsic.ExtrinsicConfig(),
    num_skills=1,
    skill_length=1,
    # A mean over the batch of squares: this replaces an entry by its target.
    learner=q_learning.QLearningConfig(
      discount=discount, learning_rate=batch.mask.shape[1] / 2
    ),
  )
  learner = registry.make_agent(config, problem).learner
  state = learner.init(jax.random.PRNGKey(0))
  update = jax.jit(learner.update)
  for _ in range(300):
    state, _ = update(state, batch)
  return problems.content(state.params)[..., 0]


def test_the_learner_finds_the_values_of_the_semi_markov_process():
  problem, batch = every_transition()
  assert problem.num_actions == 8
  truth = smdp_values(MAP.mdp, ACTIONS, 3, GAMMA)
  learned = learned_values(problem, batch, discount=1.0)
  alive = ~MAP.mdp.terminal
  np.testing.assert_allclose(learned[alive], truth[alive], atol=1e-5)
  # Not trivially: values of one state differ, and skills are worth choosing.
  assert np.ptp(truth[alive], axis=1).max() > 0.3
  # With a gamma of its own the learner would count it twice.
  twice = learned_values(problem, batch, discount=GAMMA)
  assert np.abs(twice[alive] - truth[alive]).max() > 0.1
