"""What a memory is for: a cue at an episode's start decides at its end."""

import dataclasses

import dm_env
import jax
import numpy as np
import pytest

from skills import config as config_lib
from skills.agents import acme_api
from skills.agents import builder as builder_lib
from skills.agents import evaluation
from skills.learners import q_learning
from skills.networks import torsos
from skills.objectives import extrinsic

LENGTH = 6
SKILL_LENGTH = 2
NUM_EPISODES = 2500


class Corridor(dm_env.Environment):
  """Shows which way to turn, and asks for it five steps later.

  An observation is the cue, -1 or 1 at the first step and 0 at all others, and
  whether this is the step at which to turn: 0 or 1. A right turn pays 1.
  """

  def __init__(self, seed):
    self._rng = np.random.default_rng(seed)

  def _observation(self):
    cue = self._side if self._step == 0 else 0
    return np.array([cue, self._step == LENGTH - 1], np.float32)

  def reset(self):
    self._step = 0
    self._side = self._rng.choice([-1, 1])
    return dm_env.restart(self._observation())

  def step(self, action):
    self._step += 1
    if self._step < LENGTH:
      return dm_env.transition(
        np.float32(0), self._observation(), np.float32(1)
      )
    is_right = (action == 1) == (self._side == 1)
    return dm_env.TimeStep(
      dm_env.StepType.LAST,
      np.float32(is_right),
      np.float32(0),
      np.zeros(2, np.float32),
    )

  def observation_spec(self):
    return acme_api.specs.BoundedArray((2,), np.float32, -1, 1, 'cue_and_turn')

  def action_spec(self):
    return acme_api.specs.DiscreteArray(2, np.int32, 'action')

  def reward_spec(self):
    return acme_api.specs.Array((), np.float32, 'reward')

  def discount_spec(self):
    return acme_api.specs.BoundedArray((), np.float32, 0.0, 1.0, 'discount')


def share_of_right_turns(network, replay, seed):
  """The evaluation policy's share of right turns, learned through Reverb."""
  config = config_lib.SkillAgentConfig(
    objective=extrinsic.ExtrinsicConfig(),
    num_skills=1,
    # Items end long before the turn: the cue is in the memory, or nowhere.
    skill_length=SKILL_LENGTH,
    network=network,
    learner=q_learning.QLearningConfig(
      discount=0.9,
      learning_rate=3e-3,
      optimizer='adam',
      epsilon=0.1,
      evaluation_epsilon=0.0,
      target_update_period=50,
    ),
    replay=dataclasses.replace(
      replay, min_size=64, updates_per_environment_step=None, capacity=2000
    ),
    batch_size=32,
  )
  environment = Corridor(seed)
  builder = builder_lib.SkillBuilder(config)
  spec = acme_api.specs.make_environment_spec(environment)
  agent = builder_lib.make_agent(config, spec)
  server = acme_api.reverb.Server(builder.make_replay_tables(spec))
  client = acme_api.reverb.Client(f'localhost:{server.port}')
  iterator = builder.make_dataset_iterator(client)
  learner = builder.make_learner(
    jax.random.PRNGKey(seed), agent, iterator, client
  )
  adder = builder.make_adder(client)
  actor = builder.make_actor(
    jax.random.PRNGKey(100 + seed), agent.policy, adder, learner
  )
  loop = acme_api.environment_loop.EnvironmentLoop(
    environment, actor, logger=acme_api.loggers.NoOpLogger()
  )
  for episode in range(NUM_EPISODES):
    loop.run_episode()
    if episode >= 50:
      learner.step()
  _, numbers = evaluation.Evaluator(
    agent, builder, Corridor(1000 + seed), learner, jax.random.PRNGKey(seed)
  ).run(200)
  iterator.close()
  learner.close()
  adder.close()
  server.stop()
  return numbers['episode_return']


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.parametrize('seed', [0, 1])
def test_a_memory_solves_what_cannot_be_seen(seed):
  # The cue was shown four steps before the last item begins, and an item's
  # prefix does not reach it: only the memory that the actor noted does.
  uniform = config_lib.ReplayConfig()
  remembering = share_of_right_turns(
    torsos.NetworkConfig(hidden_sizes=(16,), lstm_size=16),
    dataclasses.replace(
      uniform, burn_in=2, priority_exponent=0.9, importance_exponent=0.6
    ),
    seed,
  )
  forgetting = share_of_right_turns(
    torsos.NetworkConfig(hidden_sizes=(16,)), uniform, seed
  )
  # Of 200 turns by chance more than 64 % are right once in 20,000 times.
  assert forgetting <= 0.64
  assert remembering >= 0.95
