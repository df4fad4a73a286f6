"""Names for tests that run over every environment of the factory."""

import pytest

from envs import factory

# Suites with more tasks than this are run as a whole only with -m slow.
_SMALL = 10
# Tasks of such suites that differ from each other.
_CHOSEN = {
  'control': (
    'ball_in_cup_catch',
    'dog_walk',
    'lqr_lqr_2_1',
    'quadruped_walk',
    'walker_stand',
  ),
  'atari': ('montezuma_revenge', 'pong'),
}


def _quick(suite: str) -> tuple[str, ...]:
  tasks = tuple(factory.load(suite).TASKS)
  chosen = tasks if len(tasks) <= _SMALL else _CHOSEN.get(suite, tasks[:3])
  return tuple(f'{suite}:{task}' for task in chosen)


QUICK = tuple(name for suite in factory.SUITES for name in _quick(suite))
GRIDS = tuple(name for name in QUICK if name.startswith('grid:'))

NAMES = [
  name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
  for name in factory.names()
]
"""Every name, for `pytest.mark.parametrize`."""
