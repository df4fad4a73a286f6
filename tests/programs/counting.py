"""An environment that counts: each number shows where it comes from."""

import dataclasses
from typing import NamedTuple

import dm_env
import jax
import numpy as np

from skills import config as config_lib
from skills.agents import acme_api
from skills.agents import builder as builder_lib
from skills.agents.replay import reader as replay_reader
from skills.learners import model_value
from skills.learners import q_learning
from skills.networks import discriminators
from skills.networks import models
from skills.networks import torsos
from skills.objectives import extrinsic
from skills.objectives import ive
from skills.objectives import vic
from tests import problems

SKILL_LENGTH = 4
NUM_SKILLS = 5
NUM_ACTIONS = 3
BATCH_SIZE = 2


class CountingEnvironment(dm_env.Environment):
  """Shows the episode's and the step's number, and rewards with both.

  Step 3 of episode 2 leads to the observation [2, 3] and the reward 203. Every
  other episode ends in a terminal state, the rest are cut off.
  """

  def __init__(self, lengths):
    """Initializes the environment; `lengths` of its episodes, repeated."""
    self._lengths = lengths
    self._episode = -1
    self._step = 0

  def _observation(self):
    return np.array([self._episode, self._step], np.float32)

  def reset(self):
    self._episode += 1
    self._step = 0
    return dm_env.restart(self._observation())

  def step(self, action):
    self._step += 1
    is_last = self._step == self._lengths[self._episode % len(self._lengths)]
    return dm_env.TimeStep(
      dm_env.StepType.LAST if is_last else dm_env.StepType.MID,
      np.float32(100 * self._episode + self._step),
      np.float32(0 if is_last and self._episode % 2 else 1),
      self._observation(),
    )

  def observation_spec(self):
    return acme_api.specs.Array((2,), np.float32, 'count')

  def action_spec(self):
    return acme_api.specs.DiscreteArray(NUM_ACTIONS, np.int32, 'action')

  def reward_spec(self):
    return acme_api.specs.Array((), np.float32, 'reward')

  def discount_spec(self):
    return acme_api.specs.BoundedArray((), np.float32, 0.0, 1.0, 'discount')


SPEC = acme_api.specs.make_environment_spec(CountingEnvironment([1]))


def updates_for(
  samples_per_insert, batch_size=BATCH_SIZE, skill_length=SKILL_LENGTH
):
  """Updates per environment step that sample each trajectory so often."""
  return samples_per_insert / (batch_size * skill_length)


def make_config(
  *, skill_length=SKILL_LENGTH, batch_size=BATCH_SIZE, replay=None, **fields
):
  """A small agent's configuration; `replay` holds fields of ReplayConfig.

  Each trajectory is sampled 8 times if `replay` does not say how often.
  """
  updates = updates_for(8.0, batch_size, skill_length)
  return config_lib.SkillAgentConfig(
    **{
      'objective': vic.VicConfig(
        discriminator=discriminators.DiscriminatorConfig(hidden_sizes=(4,))
      ),
      'num_skills': NUM_SKILLS,
      'skill_length': skill_length,
      'network': torsos.NetworkConfig(hidden_sizes=(4,)),
      'learner': q_learning.QLearningConfig(learning_rate=0.01),
      'batch_size': batch_size,
      'replay': config_lib.ReplayConfig(
        **{
          'min_size': 1,
          'timeout_s': 20.0,
          'updates_per_environment_step': updates,
          **(replay or {}),
        }
      ),
      **fields,
    }
  )


# Fields of an agent that has a model and a bonus for what it does not know.
WITH_MODEL = {
  'objective': extrinsic.ExtrinsicConfig(),
  'num_skills': 1,
  'learner': model_value.ModelValueConfig(
    num_unrolled=2,
    model=models.LatentConfig(size=4, num_atoms=None),
    ive=ive.IveConfig(num_steps=2, bonus_weight=1.0),
  ),
}


def queue(capacity=1000, **fields):
  """Fields of a queue's ReplayConfig."""
  return {'kind': 'queue', 'capacity': capacity, **fields}


class Step(NamedTuple):
  """A transition, in plain numbers."""

  before: tuple[float, ...]
  action: int
  reward: float
  discount: float
  after: tuple[float, ...]
  skill: int


class Witness:
  """Records what an actor hands to an adder, and passes it on."""

  def __init__(self, adder=None):
    self._adder = adder
    self._observation = None
    self.episodes = []

  def reset(self):
    if self._adder is not None:
      self._adder.reset()

  def add_first(self, timestep):
    self._observation = timestep.observation
    self.episodes.append([])
    if self._adder is not None:
      self._adder.add_first(timestep)

  def add(self, action, next_timestep, extras=()):
    self.episodes[-1].append(
      Step(
        tuple(self._observation.tolist()),
        int(action),
        float(next_timestep.reward),
        float(next_timestep.discount),
        tuple(next_timestep.observation.tolist()),
        int(extras['skill']),
      )
    )
    self._observation = next_timestep.observation
    if self._adder is not None:
      self._adder.add(action, next_timestep, extras)

  def skills(self, skill_length):
    """Runs of at most `skill_length` steps, in order."""
    return [
      episode[start : start + skill_length]
      for episode in self.episodes
      for start in range(0, len(episode), skill_length)
    ]


def read(trajectory):
  """The skills of a batch of trajectories as lists of steps, masked ones out.

  Args:
    trajectory: time-major, of observations that are vectors.
  """
  trajectory = jax.tree.map(np.asarray, trajectory)
  return [
    [
      Step(
        tuple(trajectory.observation[t, b].tolist()),
        int(trajectory.action[t, b]),
        float(trajectory.reward[t, b]),
        float(trajectory.discount[t, b]),
        tuple(trajectory.observation[t + 1, b].tolist()),
        int(trajectory.skill[t, b]),
      )
      for t in range(trajectory.mask.shape[0])
      if trajectory.mask[t, b]
    ]
    for b in range(trajectory.mask.shape[1])
  ]


def item(problem, batch_size, seed):
  """A batch as the adder writes it, of whole and of padded skills."""
  num_steps = problems.NUM_STEPS
  lengths = [num_steps - i % 3 for i in range(batch_size)]
  trajectory = problems.trajectory(problem, seed, lengths)

  def with_last_row(x):
    return np.concatenate([x, np.zeros_like(x[:1])])

  counted = np.arange(1, num_steps + 1)[:, None] * trajectory.mask
  steps = replay_reader.adders.base.Trajectory(
    observation=np.asarray(trajectory.observation),
    action=with_last_row(trajectory.action),
    reward=with_last_row(trajectory.reward),
    discount=with_last_row(trajectory.discount),
    start_of_episode=np.zeros((num_steps + 1, batch_size), bool),
    extras={
      'skill': with_last_row(trajectory.skill),
      'skill_step': with_last_row(counted.astype(np.int32)),
      'learner_step': np.zeros((num_steps + 1, batch_size), np.int32),
    },
  )
  return jax.tree.map(lambda x: np.swapaxes(x, 0, 1), steps)


class FixedVariables:
  """A variable source whose variables never change."""

  def __init__(self, agent, seed=0):
    state = agent.learner.init(jax.random.PRNGKey(seed))
    self._variables = agent.learner.variables(state)

  def get_variables(self, names):
    return [self._variables for _ in names]


def make_actor(config, environment, adder, *, seed=0):
  """An actor that acts at random in an environment; no learner.

  Args:
    config: of the agent.
    environment: where it acts.
    adder: what it writes to.
    seed: of its random numbers.

  Returns:
    Acme's environment loop around it.
  """
  config = dataclasses.replace(
    config, learner=dataclasses.replace(config.learner, epsilon=1.0)
  )
  builder = builder_lib.SkillBuilder(config)
  agent = builder_lib.make_agent(
    config, acme_api.specs.make_environment_spec(environment)
  )
  actor = builder.make_actor(
    jax.random.PRNGKey(seed),
    builder.make_policy(agent),
    adder,
    FixedVariables(agent),
  )
  return acme_api.environment_loop.EnvironmentLoop(
    environment, actor, logger=acme_api.loggers.NoOpLogger()
  )


class Log(acme_api.loggers.Logger):
  """Keeps what is written to it."""

  def __init__(self):
    self.rows = []

  def write(self, data):
    self.rows.append({name: float(value) for name, value in data.items()})

  def close(self):
    pass
