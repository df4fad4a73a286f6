"""DIAYN on a control task in one process, beside its limits.

16 skills, two hidden layers of 256, an update of 256 transitions (4 skills of
64 steps) for every two environment steps.
"""

import tempfile
from typing import NamedTuple

import numpy as np

from launch.benchmarking import bare
from launch.benchmarking import runs
from launch.benchmarking import timing
from launch.runs import experiment as experiment_lib

TASK = 'control:walker_stand'

_GOAL_STEPS_PER_S = 1_000
_GOAL_UPDATES_PER_S = 500

_STEPS = 4_000
_LEARNER_CALLS = 10
_WIDTH = 256
# An update, of 4 x 64 transitions, for every two steps; a few more are made, as
# the last skill of an episode is a shorter one and counts as a whole.
_SETTINGS = {
  'num_skills': 16,
  'skill_length': 64,
  'batch_size': 4,
  'updates_per_step': 16,
  'network.hidden_sizes': (_WIDTH, _WIDTH),
  'objective.discriminator.hidden_sizes': (_WIDTH, _WIDTH),
  'replay.kind': 'uniform',
  'replay.capacity': 10_000,
  'replay.min_size': 64,
  'replay.updates_per_environment_step': 0.5,
}


class Limits(NamedTuple):
  """What a run on a control task cannot exceed; per second.

  Attributes:
    environment: environment steps with random actions.
    loop: environment steps with the policy, learning nothing.
    updates: of the learner, on the same batch.
    products: updates, if all of their operations were as fast as those of a
      product of matrices of a batch and a layer.
    operations: floating-point operations in an update, as the compiler counts
      them; not per second.
  """

  environment: float
  loop: float
  updates: float
  products: float
  operations: float


def _experiment(output_dir: str) -> experiment_lib.Experiment:
  return runs.endless_experiment('diayn', TASK, output_dir, settings=_SETTINGS)


def measure_limits(tries: int) -> Limits:
  """The environment alone, environment and policy, and the bare update."""
  experiment = _experiment('unused')
  parts = bare.make(experiment)
  actions = np.random.default_rng(0).uniform(
    -1, 1, (_STEPS, *parts.spec.actions.shape)
  )

  def run_environment() -> None:
    parts.environment.reset()
    for action in actions:
      parts.environment.step(action)

  def run_loop() -> None:
    steps = 0
    while steps < _STEPS:
      steps += parts.loop.run_episode()['episode_length']

  trajectory = timing.random_batch(parts.agent, parts.state)
  operations = timing.count_operations(
    parts.agent.learner.update, parts.state, trajectory
  )
  return Limits(
    environment=_STEPS / timing.best_seconds(run_environment, tries),
    loop=_STEPS / timing.best_seconds(run_loop, tries),
    updates=timing.updates_per_second(
      parts.agent,
      parts.state,
      trajectory,
      tries,
      num_calls=_LEARNER_CALLS,
      updates_per_call=experiment.config.updates_per_step,
    ),
    products=timing.products_per_second(_WIDTH, tries) / operations,
    operations=operations,
  )


def rows(one: Limits, every: Limits) -> list[timing.Row]:
  """A run on a control task, beside its limits.

  Args:
    one: limits on one core.
    every: on all cores.
  """
  with tempfile.TemporaryDirectory() as folder:
    experiment = _experiment(folder)
    # Steps are counted by episodes, of 1000.
    speeds = runs.measure_run(experiment, 3 * runs.RUN_S)
  asked = runs.asked_updates(experiment)
  # Seconds of one core that a second of the run takes up.
  acting, learning = speeds.steps / one.loop, speeds.updates / one.updates
  return [
    timing.Row(
      'environment alone, one core', one.environment, 'steps/s', 'limit'
    ),
    timing.Row(
      'environment and policy, one core', one.loop, 'steps/s', 'limit'
    ),
    timing.Row('bare update, one core', one.updates, 'updates/s', 'limit'),
    timing.Row(
      'bare update, all cores',
      every.updates,
      'updates/s',
      f'limit; {every.updates / one.updates:.1f} x one core',
    ),
    timing.Row(
      'its products, all cores',
      every.products,
      'updates/s',
      f'limit, {every.operations / 1e6:.0f} MFLOP an update; the goal of '
      f'{_GOAL_UPDATES_PER_S} is {_GOAL_UPDATES_PER_S / every.products:.2f} of '
      'it',
    ),
    timing.Row(
      'whole run: steps',
      speeds.steps,
      'steps/s',
      f'{speeds.steps / _GOAL_STEPS_PER_S:.2f} of the goal '
      f'({_GOAL_STEPS_PER_S:,}); acting takes {acting:.2f} cores',
    ),
    timing.Row(
      'whole run: updates',
      speeds.updates,
      'updates/s',
      f'{speeds.updates / every.updates:.2f} of the bare update on all cores, '
      f'{speeds.updates / (speeds.steps * asked):.2f} of those asked for '
      f'({asked:g} a step); learning takes {learning:.2f} cores',
    ),
    timing.Row(
      'whole run: samples',
      speeds.updates * experiment.config.batch_size,
      'skills/s',
      'from Reverb',
    ),
  ]
