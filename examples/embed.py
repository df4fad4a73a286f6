"""DISDAIN in an Acme experiment and an environment of one's own.

Run it with `python examples/embed.py`; it takes half a minute.
"""

# First: makes dm-acme 0.4.0 run on this JAX.
import skills.agents  # noqa: F401  # isort: skip

from acme import environment_loop
from acme import specs
from acme.jax.layouts import local_layout
from acme.utils import loggers
import dm_env
import jax
import numpy as np

from skills import config as config_lib
from skills.agents import builder as builder_lib
from skills.agents import evaluation
from skills.learners import q_learning
from skills.networks import discriminators
from skills.networks import torsos
from skills.objectives import disdain
from skills.objectives import vic

NUM_SKILLS = 4
SKILL_LENGTH = 5
NUM_EPISODES = 2500


class Square(dm_env.Environment):
  """A point in a square. It has five moves and an episode five steps."""

  MOVES = np.array([(0, 0), (0, 1), (0, -1), (-1, 0), (1, 0)], np.float32)

  def reset(self) -> dm_env.TimeStep:
    """Starts in the middle."""
    self._position = np.zeros(2, np.float32)
    self._step = 0
    return dm_env.restart(self._position)

  def step(self, action: int) -> dm_env.TimeStep:
    """Moves by a fifth of the way to the border, and pays nothing."""
    self._position = np.clip(self._position + 0.2 * self.MOVES[action], -1, 1)
    self._step += 1
    if self._step == SKILL_LENGTH:
      return dm_env.truncation(np.float32(0), self._position, np.float32(1))
    return dm_env.transition(np.float32(0), self._position, np.float32(1))

  def observation_spec(self) -> specs.Array:
    """The position."""
    return specs.BoundedArray((2,), np.float32, -1, 1, 'position')

  def action_spec(self) -> specs.DiscreteArray:
    """The move."""
    return specs.DiscreteArray(len(self.MOVES), np.int32, 'move')

  # Replay is strict: these are float32, where dm_env's default is float64.
  def reward_spec(self) -> specs.Array:
    """A number."""
    return specs.Array((), np.float32, 'reward')

  def discount_spec(self) -> specs.BoundedArray:
    """A number."""
    return specs.BoundedArray((), np.float32, 0, 1, 'discount')


def make_config() -> config_lib.SkillAgentConfig:
  """The agent's settings."""
  discriminator = discriminators.DiscriminatorConfig(
    hidden_sizes=(64,), ensemble_size=4, optimizer='adam', learning_rate=1e-3
  )
  return config_lib.SkillAgentConfig(
    objective=disdain.DisdainConfig(
      over=vic.VicConfig(discriminator=discriminator), bonus_weight=10.0
    ),
    num_skills=NUM_SKILLS,
    skill_length=SKILL_LENGTH,
    network=torsos.NetworkConfig(hidden_sizes=(64,)),
    learner=q_learning.QLearningConfig(
      optimizer='adam', learning_rate=3e-4, target_update_period=50
    ),
    # The layout keeps the ratio of updates to steps, so replay does not.
    replay=config_lib.ReplayConfig(
      capacity=1000, min_size=64, updates_per_environment_step=None
    ),
    batch_size=32,
  )


def main(num_episodes: int = NUM_EPISODES) -> float:
  """Trains, evaluates, and returns the number of skills told apart."""
  environment = Square()
  spec = specs.make_environment_spec(environment)
  config = make_config()
  agent = builder_lib.make_agent(config, spec)
  builder = builder_lib.SkillBuilder(config)
  layout = local_layout.LocalLayout(
    seed=0,
    environment_spec=spec,
    builder=builder,
    networks=agent,
    policy_network=builder.make_policy(agent),
    workdir=None,  # A folder, to keep checkpoints.
    # In steps, and with room for what is still on its way to replay.
    min_replay_size=2 * config.replay.min_size * SKILL_LENGTH,
    # An update of `fetch_size` trajectories at every second step.
    samples_per_insert=config.fetch_size / 2,
    batch_size=config.fetch_size,
  )
  environment_loop.EnvironmentLoop(
    environment, layout, logger=loggers.NoOpLogger()
  ).run(num_episodes)

  evaluator = evaluation.Evaluator(
    agent, builder, Square(), layout, jax.random.PRNGKey(1)
  )
  trajectory, numbers = evaluator.run(num_episodes=100)
  for skill in range(NUM_SKILLS):
    ends = trajectory.observation[-1][trajectory.skill[-1] == skill]
    print(f'skill {skill} ends near {np.mean(ends, axis=0).round(1)}')
  print(f'{numbers["skills_learned"]:.1f} of {NUM_SKILLS} skills learned')
  return numbers['skills_learned']


if __name__ == '__main__':
  main()
