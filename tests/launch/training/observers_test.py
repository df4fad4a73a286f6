"""Tests of launch/training/observers.py."""

import numpy as np

from envs import atari_coverage
from envs import batched
from launch.training import observers
from tests.programs import counting


class Hero(counting.CountingEnvironment):
  """A game whose avatar walks to the right, a step further in each episode."""

  game = 'hero'

  def ram(self):
    ram = np.zeros(128, np.uint8)
    places = atari_coverage.AVATAR_BYTES['hero']
    ram[places['x']] = self._step + self._episode
    return ram


def test_places_are_counted_by_episode_and_in_all():
  environment = Hero([3, 2, 2])
  [coverage] = observers.make(environment)
  numbers = []
  for _ in range(3):
    timestep = environment.reset()
    coverage.observe_first(environment, timestep)
    while not timestep.last():
      timestep = environment.step(0)
      coverage.observe(environment, timestep, 0)
    numbers.append(coverage.get_metrics())
  # Columns 0 to 3, 1 to 3 and 2 to 4.
  assert [each['episode_coverage'] for each in numbers] == [4, 3, 3]
  assert [each['lifetime_coverage'] for each in numbers] == [4, 4, 5]


def test_environments_without_known_places_are_not_observed():
  assert observers.make(counting.CountingEnvironment([1])) == []
  other = Hero([1])
  other.game = 'pong'
  assert observers.make(other) == []


def test_several_environments_share_the_places_of_their_lifetime():
  environments = [Hero([3]), Hero([1])]
  observed = observers.make(batched.Serial(environments))
  assert [each.environment for each in observed] == environments
  numbers = []
  for environment, [coverage] in observed:
    coverage.observe_first(environment, environment.reset())
    coverage.observe(environment, environment.step(0), 0)
    numbers.append(coverage.get_metrics())
  # Both are in columns 0 and 1.
  assert [each['episode_coverage'] for each in numbers] == [2, 2]
  assert [each['lifetime_coverage'] for each in numbers] == [2, 2]
  [_, last] = observed
  last.observers[0].observe(environments[0], environments[0].step(0), 0)
  assert observed[0].observers[0].get_metrics()['lifetime_coverage'] == 3
