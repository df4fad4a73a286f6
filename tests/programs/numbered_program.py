"""`launch.distributed.run` in an environment that numbers its steps.

  python -m tests.programs.numbered_program FOLDER LAUNCH_TYPE NUM_STEPS \
    [NUM_ENVIRONMENTS NUM_INFERENCE_SERVERS [FAULT]]

LAUNCH_TYPE may be any of Launchpad's. An actor acts in NUM_ENVIRONMENTS
environments at once. With FAULT an environment of actor 1 fails after 50 steps.
"""

import functools
import pathlib
import sys

from absl import app
import numpy as np

from launch.cli import command
from launch.distributed import launcher
from launch.distributed import program
from launch.distributed import run as distributed_run
from launch.runs import experiment as experiment_lib
from skills.agents import acme_api
from skills.learners import q_learning
from tests.programs import counting

NUM_ACTORS = 2
T = counting.SKILL_LENGTH

# Lengths of episodes: shorter than a skill, as long, and several skills long.
LENGTHS = (T - 1, T, 2 * T + 1, 1, 3 * T)

FAULT_AFTER = 50

# Seeds are taken modulo this: larger numbers would upset the networks.
_SEEDS = 256

CONFIG = counting.make_config(
  # Nothing is removed, and reading is not limited.
  replay={'capacity': 1_000_000, 'updates_per_environment_step': None},
  # Episodes' numbers grow, and nothing need be learned of them; actions vary.
  learner=q_learning.QLearningConfig(learning_rate=1e-7, epsilon=0.5),
)


class NumberedEnvironment(counting.CountingEnvironment):
  """Observes its seed, the episode, the step and the last action."""

  def __init__(self, seed, fault_after=None):
    super().__init__(LENGTHS)
    self._who = seed % _SEEDS
    self._action = -1
    self._left = fault_after

  def _observation(self):
    return np.array(
      [self._who, self._episode, self._step, self._action], np.float32
    )

  def reset(self):
    self._action = -1
    return super().reset()

  def step(self, action):
    self._action = int(action)
    if self._left is not None:
      self._left -= 1
      if not self._left:
        raise RuntimeError('the environment broke down')
    return super().step(action)

  def observation_spec(self):
    return acme_api.specs.Array((4,), np.float32, 'numbers')


def make_environment(faulty_seed, seed):
  return NumberedEnvironment(seed, FAULT_AFTER if seed == faulty_seed else None)


def make_experiment(folder, num_steps, num_environments=1):
  return experiment_lib.Experiment(
    agent='vic',
    # No suite has it.
    environment='numbered:task',
    num_steps=num_steps,
    num_environments=num_environments,
    config=CONFIG,
    problem=experiment_lib.problem_of(NumberedEnvironment(0)),
    evaluation_episodes=2,
    output_dir=str(folder),
  )


def actors(experiment):
  """First entry of observations in each environment of each actor."""
  number = experiment.num_environments
  return [
    [seed % _SEEDS for seed in experiment.seeds_for('environment', number, i)]
    for i in range(NUM_ACTORS)
  ]


def main(argv):
  _, folder, launch_type, num_steps, *more = argv
  number, num_inference_servers, *fault = more or ['1', '0']
  experiment = make_experiment(folder, int(num_steps), int(number))
  faulty = experiment.seeds_for('environment', int(number), 1)[0]
  factory = functools.partial(make_environment, faulty if fault else None)
  topology = program.Topology(
    num_actors=NUM_ACTORS,
    num_replay_shards=2,
    num_inference_servers=int(num_inference_servers),
  )
  pathlib.Path(folder).mkdir()
  if launch_type.startswith('test'):
    made = program.make(experiment, topology, make_environment=factory)
    acme_api.launchpad.launch(made.program, launch_type).wait()
    return 0
  try:
    return distributed_run.run(
      experiment,
      topology,
      # All stages have to share it, and this machine with others.
      settings=launcher.Settings(launch_type=launch_type, stop_timeout_s=60.0),
      make_environment=factory,
    ).status
  except launcher.ProgramError as error:
    print(f'error: {error}', file=sys.stderr)
    return 1


if __name__ == '__main__':
  with command.without_reverb_chatter():
    app.run(main, argv=sys.argv)
