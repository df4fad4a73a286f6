"""Agents that learn from an Atari game's pictures, as their presets are."""

import tempfile

import numpy as np

from envs import atari
from launch.benchmarking import runs
from launch.benchmarking import timing

GAMES = (('diayn', 'atari:pong'), ('disdain', 'atari:montezuma_revenge'))

_WARM_UPDATES = 2  # They take seconds.
_STEPS = 1_000


def rows(agent: str, game: str, tries: int) -> list[timing.Row]:
  """A run in one process, beside its environment alone.

  Args:
    agent: what is trained.
    game: the environment.
    tries: timings of the environment alone.
  """
  with tempfile.TemporaryDirectory() as folder:
    experiment = runs.endless_experiment(agent, game, folder)
    environment = experiment.make_environment(0)
    actions = np.random.default_rng(0).integers(
      experiment.problem.num_actions or 0, size=_STEPS
    )

    def run_environment() -> None:
      environment.reset()
      for action in actions:
        environment.step(int(action))

    alone = _STEPS / timing.best_seconds(run_environment, tries)
    speeds = runs.measure_run(experiment, 6 * runs.RUN_S, _WARM_UPDATES)
  # Steps are counted by episodes, which may be longer than this takes.
  steps = speeds.items * experiment.config.skill_length
  asked = runs.asked_updates(experiment)
  frames = atari.ACTION_REPEAT
  return [
    timing.Row(
      'environment alone, one core',
      alone,
      'steps/s',
      f'limit; {frames * alone:,.0f} frames/s',
    ),
    timing.Row(
      'whole run: steps',
      steps,
      'steps/s',
      f'{steps / alone:.3f} of the environment alone; '
      f'{frames * steps:,.0f} frames/s',
    ),
    timing.Row(
      'whole run: updates',
      speeds.updates,
      'updates/s',
      f'{speeds.updates / (asked * steps):.2f} of those asked for '
      f'({asked:g} a step)',
    ),
  ]
