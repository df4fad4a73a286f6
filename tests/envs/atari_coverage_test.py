"""Tests of envs/atari_coverage.py."""

import re

import numpy as np
import pytest

from envs import atari
from envs import atari_coverage

GAMES = sorted(atari_coverage.AVATAR_BYTES)


def memory(**values):
  """Montezuma's memory, all else random: only the avatar may count."""
  ram = np.random.default_rng(sum(values.values())).integers(256, size=128)
  places = atari_coverage.AVATAR_BYTES['montezuma_revenge']
  for name, value in values.items():
    ram[places[name]] = value
  return ram.astype(np.uint8)


HERE = memory(room=1, x=77, y=235)
LEFT = memory(room=1, x=76, y=235)
BELOW = memory(room=1, x=77, y=234)
OTHER_ROOM = memory(room=2, x=77, y=235)
# A sum of coordinates would not tell it from the others.
MIRRORED = memory(room=1, x=235, y=77)


def num_places(game, ram):
  """Distinct places in memories, counted at once."""
  places = atari_coverage.avatar(game, ram)
  return len(np.unique(places.reshape(-1, places.shape[-1]), axis=0))


def test_only_the_avatar_s_bytes_distinguish_places():
  here_again = HERE.copy()
  here_again[[0, 50, 127]] += 1
  path = np.stack([HERE, LEFT, here_again, BELOW, HERE, OTHER_ROOM, MIRRORED])
  assert num_places('montezuma_revenge', path) == 5
  assert num_places('montezuma_revenge', path[:3]) == 2
  assert num_places('montezuma_revenge', HERE) == 1
  np.testing.assert_array_equal(
    atari_coverage.avatar('montezuma_revenge', path[[0, 5]]),
    [[1, 77, 235], [2, 77, 235]],
  )


def test_episode_counts_reset_and_lifetime_counts_do_not():
  counts = atari_coverage.Coverage('montezuma_revenge')
  assert counts.episode == counts.lifetime == 0
  for ram in (HERE, LEFT, HERE):
    counts.visit(ram)
  assert (counts.episode, counts.lifetime) == (2, 2)
  counts.begin_episode()
  assert (counts.episode, counts.lifetime) == (0, 2)
  for ram in (LEFT, BELOW, OTHER_ROOM):
    counts.visit(ram)
  assert (counts.episode, counts.lifetime) == (3, 4)


@pytest.mark.parametrize('game', GAMES)
def test_known_games_exist_and_their_bytes_are_distinct(game):
  places = list(atari_coverage.AVATAR_BYTES[game].values())
  assert game in atari.TASKS
  assert len(set(places)) == len(places)
  assert all(0 <= place < atari_coverage.RAM_SIZE for place in places)


@pytest.mark.parametrize('game', GAMES)
def test_random_play_visits_some_hundred_places_of_a_running_game(game):
  environment = atari.AtariEnvironment(game, seed=1)
  rng = np.random.default_rng(0)
  counts = atari_coverage.Coverage(game)
  environment.reset()
  memories = []
  for step in range(400):
    if step % 4 == 0:
      action = rng.integers(18)
    environment.step(action)
    memories.append(environment.ram())
    counts.visit(memories[-1])
  assert 20 < counts.lifetime < 400
  assert counts.lifetime == num_places(game, np.stack(memories))


def test_the_submarine_moves_in_the_direction_that_it_is_steered():
  environment = atari.AtariEnvironment('seaquest', sticky=0)
  environment.reset()
  actions = environment._emulator.getLegalActionSet()
  action_names = [action.name for action in actions]

  def after(action_name):
    for _ in range(8):
      environment.step(action_names.index(action_name))
    x, y = atari_coverage.avatar('seaquest', environment.ram()).astype(int)
    return x, y

  for _ in range(10):
    start = after('NOOP')
  assert after('DOWN')[1] > start[1] + 10
  middle = after('RIGHT')
  assert middle[0] > start[0] + 10
  assert after('LEFT')[0] < middle[0] - 10


def test_a_game_whose_bytes_are_not_known_is_refused():
  with pytest.raises(ValueError, match="'pong' is unknown.*Allowed: 'berzerk'"):
    atari_coverage.Coverage('pong')
  with pytest.raises(ValueError, match="Did you mean 'ms_pacman'"):
    atari_coverage.avatar('mspacman', HERE)


@pytest.mark.parametrize(
  'ram, got',
  [
    (np.zeros(127, np.uint8), 'uint8 of shape (127,)'),
    (np.zeros((128, 2), np.uint8), 'uint8 of shape (128, 2)'),
    (np.zeros(128), 'float64 of shape (128,)'),
  ],
)
def test_arrays_that_are_no_memory_are_refused(ram, got):
  with pytest.raises(ValueError, match=re.escape(f'got {got}.')):
    atari_coverage.avatar('seaquest', ram)
