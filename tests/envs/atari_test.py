"""Tests of envs/atari.py."""

import ale_py
from ale_py import roms
from dm_env import specs
import numpy as np
import pytest

from envs import atari

NOOP, FIRE = 0, 1


def action_names(environment):
  return tuple(action.name for action in environment._actions)


def number_of(environment, action_name):
  return action_names(environment).index(action_name)


def play(environment, actions):
  return [environment.reset(), *map(environment.step, actions)]


def observations(timesteps):
  return np.stack([timestep.observation for timestep in timesteps])


class FakeEmulator:
  """Shows given frames, pays 1, 2, 4, ... and ends after the last frame."""

  def __init__(self, frames, is_truncated=False):
    self.frames = frames
    self.is_truncated = is_truncated
    self.now = 0

  def reset_game(self):
    self.now = 0

  def act(self, action):
    self.now += 1
    return 2 ** (self.now - 1)

  def game_over(self, with_truncation=True):
    is_over = self.now == len(self.frames) - 1
    return is_over and (with_truncation or not self.is_truncated)

  def getScreenGrayscale(self, buffer):
    buffer[...] = self.frames[self.now]


def fake(frames, **options):
  """Pong with another emulator; frames are numbers or pictures."""
  options, emulator_options = (
    {k: v for k, v in options.items() if k != 'is_truncated'},
    {k: v for k, v in options.items() if k == 'is_truncated'},
  )
  environment = atari.AtariEnvironment('pong', **options)
  environment._emulator = FakeEmulator(frames, **emulator_options)
  return environment


def test_games_are_those_of_the_wheel_that_the_emulator_knows():
  known = [
    game
    for game in roms.get_all_rom_ids()
    if ale_py.ALEInterface.isSupportedROM(roms.get_rom_path(game))
  ]
  assert sorted(atari.TASKS) == sorted(known)
  assert len(set(atari.TASKS)) == len(atari.TASKS) == 104


def test_defaults_are_the_protocol_of_the_papers():
  environment = atari.AtariEnvironment('montezuma_revenge')
  assert environment._emulator.getFloat('repeat_action_probability') == 0.25
  assert environment._emulator.getInt('max_num_frames_per_episode') == 108_000
  assert repr(environment.observation_spec()) == repr(
    specs.BoundedArray((84, 84, 4), np.uint8, 0, 255, 'pixels')
  )
  assert environment.action_spec() == specs.DiscreteArray(18, np.int32)


def test_the_minimal_set_has_the_actions_that_affect_the_game():
  environment = atari.AtariEnvironment('breakout', actions='minimal')
  assert action_names(environment) == ('NOOP', 'FIRE', 'RIGHT', 'LEFT')
  assert environment.action_spec().num_values == 4
  full = atari.AtariEnvironment('breakout')
  assert len(action_names(full)) == 18
  assert action_names(full)[:2] == ('NOOP', 'FIRE')
  assert len(action_names(atari.AtariEnvironment('skiing'))) == 9


# Pictures.


def test_area_weights_are_shares_of_overlap():
  # Cells of the result are 1.5 cells wide.
  np.testing.assert_allclose(
    atari.area_weights(3, 2), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]], rtol=1e-6
  )
  np.testing.assert_array_equal(atari.area_weights(4, 4), np.eye(4))
  np.testing.assert_array_equal(
    atari.area_weights(4, 2), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]
  )


def test_shrinking_averages_blocks_and_rounds():
  picture = np.array(
    [[0, 10, 255, 255], [20, 31, 255, 255], [1, 0, 7, 7], [0, 0, 7, 7]],
    dtype=np.uint8,
  )
  # 61 / 4 = 15.25 and 1 / 4.
  assert atari.Shrink(4, 4, 2)(picture).tolist() == [[15, 255], [0, 7]]
  picture[1, 1] = 33  # 63 / 4 = 15.75.
  assert atari.Shrink(4, 4, 2)(picture)[0, 0] == 16


@pytest.mark.parametrize('shape', [(210, 160), (250, 160)])
def test_shrinking_keeps_place_and_brightness(shape):
  shrink = atari.Shrink(*shape)
  for value in (0, 3, 128, 255):
    assert (shrink(np.full(shape, value, np.uint8)) == value).all()
  picture = np.zeros(shape, np.uint8)
  picture[: shape[0] // 2, : shape[1] // 4] = 200
  small = shrink(picture)
  assert small.shape == (84, 84)
  assert (small[:42, :21] == 200).all()
  assert small[42:].max() == small[:, 21:].max() == 0


def test_frames_are_gray_by_their_luminance():
  environment = atari.AtariEnvironment('breakout')
  environment.reset()
  colors = environment.screen().astype(float)
  gray = environment._emulator.getScreenGrayscale()
  expected = colors @ [0.299, 0.587, 0.114]
  assert np.abs(gray - expected).max() <= 1
  assert gray.max() > 100


def test_a_picture_is_the_maximum_of_the_last_two_frames():
  # Frames 0 to 4: what flickers in 3 and 4 is seen, what was in 1 and 2 not.
  frames = np.zeros((6, 210, 160), np.uint8)
  frames[1], frames[2] = 250, 240
  frames[3, :105], frames[4, 105:] = 100, 60
  frames[3, 105:] = 40
  picture = play(fake(frames), [NOOP])[1].observation[..., -1]
  assert (picture[:42] == 100).all()
  assert (picture[42:] == 60).all()


def test_a_game_that_ends_early_shows_its_last_frame():
  frames = [0, 1, 2, 3, 4, 90, 80, 70]
  for last, seen in ((5, 90), (6, 80), (7, 70)):
    timestep = play(fake(frames[: last + 1]), [NOOP, NOOP])[2]
    assert timestep.last()
    assert (timestep.observation[..., -1] == seen).all()


def test_four_pictures_are_stacked_the_newest_last_and_black_before():
  environment = fake(np.arange(30) * 8)
  timesteps = play(environment, [NOOP] * 5)
  stacks = observations(timesteps)[:, 0, 0].tolist()
  # Step t shows frame 4 t, which is brighter than the one before it.
  assert stacks == [
    [0, 0, 0, 0],
    [0, 0, 0, 32],
    [0, 0, 32, 64],
    [0, 32, 64, 96],
    [32, 64, 96, 128],
    [64, 96, 128, 160],
  ]
  # What was given out stays as it was, and an episode begins black again.
  assert environment.reset().observation.max() == 0
  assert observations(timesteps)[:, 0, 0].tolist() == stacks


# Time, rewards and ends.


def test_rewards_of_the_repeated_action_are_summed():
  frames = np.zeros(7)
  timesteps = play(fake(frames), [NOOP, NOOP])
  # 1 + 2 + 4 + 8, then 16 + 32 until the end.
  assert [timestep.reward for timestep in timesteps] == [None, 15, 48]
  assert type(timesteps[1].reward) is np.float32
  clipped = play(fake(frames, rewards='clipped'), [NOOP, NOOP])
  assert [timestep.reward for timestep in clipped] == [None, 1, 1]


def test_negative_rewards_are_clipped_too():
  spec = atari.AtariEnvironment('pong', rewards='clipped').reward_spec()
  assert spec.minimum == -1 and spec.maximum == 1
  environment = fake(np.zeros(9), rewards='clipped')
  environment._emulator.act = lambda action: -3
  assert play(environment, [NOOP])[1].reward == -1


@pytest.mark.parametrize('is_truncated', [False, True])
def test_a_game_that_is_over_terminates_and_the_cap_truncates(is_truncated):
  environment = fake(np.zeros(7), is_truncated=is_truncated)
  timesteps = play(environment, [NOOP, NOOP])
  assert [t.last() for t in timesteps] == [False, False, True]
  assert timesteps[1].discount == 1
  assert timesteps[2].discount == (1 if is_truncated else 0)
  assert environment.step(NOOP).first()


@pytest.mark.parametrize('max_frames, steps', [(40, 10), (41, 11), (3, 1)])
def test_the_cap_counts_frames_and_not_steps(max_frames, steps):
  environment = atari.AtariEnvironment('pong', max_frames=max_frames)
  for _ in range(2):
    timesteps = play(environment, [NOOP] * steps)
    assert [t.last() for t in timesteps] == [False] * steps + [True]
    assert timesteps[-1].discount == 1
    assert environment._emulator.getEpisodeFrameNumber() == max_frames
  assert environment.step(NOOP).first()


def test_losing_a_life_does_not_end_an_episode_but_losing_all_does():
  environment = atari.AtariEnvironment('breakout', seed=1)
  timestep = environment.reset()
  lives = []
  while not timestep.last():
    timestep = environment.step(FIRE)
    lives.append(environment._emulator.lives())
  assert set(lives) == {5, 4, 3, 2, 1, 0}
  assert timestep.discount == 0


# Randomness.


def test_episodes_are_a_function_of_the_seed():
  rng = np.random.default_rng(0)
  actions = rng.integers(18, size=60)

  def episodes(seed):
    environment = atari.AtariEnvironment('breakout', seed=seed)
    return [observations(play(environment, actions)) for _ in range(2)]

  first, same, other = episodes(5), episodes(5), episodes(6)
  np.testing.assert_array_equal(first, same)
  assert (first[0] != other[0]).any()
  assert (first[0] != first[1]).any()
  assert (episodes(2**32 - 1)[0] != first[0]).any()


def test_without_sticky_actions_nothing_is_random():
  actions = np.random.default_rng(0).integers(18, size=60)
  episodes = [
    observations(
      play(atari.AtariEnvironment('breakout', seed=seed, sticky=0), actions)
    )
    for seed in (0, 1)
  ]
  np.testing.assert_array_equal(*episodes)


def test_a_quarter_of_frames_repeat_the_action_before():
  # The paddle is pushed to and fro. From the same state, an emulator without
  # sticky actions plays each number of frames for which the old action can
  # have gone on; which of them it was is seen in the memory.
  environment = atari.AtariEnvironment('breakout', seed=3)
  reference = atari.AtariEnvironment('breakout', sticky=0)._emulator
  legal = reference.getLegalActionSet()
  old, new = (number_of(environment, name) for name in ('LEFT', 'RIGHT'))
  environment.reset()
  environment.step(old)
  num_steps = 1000
  lengths = []
  for _ in range(num_steps):
    state = environment._emulator.cloneState()
    environment.step(new)
    for length in range(5):
      reference.restoreState(state)
      for frame in range(4):
        reference.act(legal[old if frame < length else new])
      if (reference.getRAM() == environment.ram()).all():
        lengths.append(length)
        break
    # The next step begins with the action that the last frame played.
    if lengths[-1] < 4:
      old, new = new, old
  assert len(lengths) == num_steps
  for length in range(3):
    expected = 0.75 * 0.25**length * num_steps
    error = 4 * np.sqrt(expected * (1 - expected / num_steps))
    assert abs(lengths.count(length) - expected) < error


# What else there is.


def test_memory_is_a_copy_of_128_bytes():
  environment = atari.AtariEnvironment('seaquest', sticky=0)
  environment.reset()
  ram = environment.ram()
  assert ram.shape == (128,)
  assert ram.dtype == np.uint8
  ram[:] = 1
  assert (environment.ram() != 1).any()


@pytest.mark.parametrize('action', [-1, 18, 0.5, None])
def test_invalid_actions_are_refused(action):
  environment = atari.AtariEnvironment('pong')
  environment.reset()
  with pytest.raises(ValueError, match=r'action must be an integer in 0\.\.17'):
    environment.step(action)


@pytest.mark.slow
def test_a_whole_episode_is_cut_off_after_half_an_hour():
  # At the top of the first room's ladder nothing happens.
  environment = atari.AtariEnvironment('montezuma_revenge', sticky=0)
  timestep = environment.reset()
  count = 0
  while not timestep.last():
    timestep = environment.step(NOOP)
    count += 1
  assert count == 27_000
  assert timestep.discount == 1


@pytest.mark.slow
@pytest.mark.parametrize('game', atari.TASKS)
def test_every_game_keeps_to_its_specs(game):
  environment = atari.AtariEnvironment(game)
  rng = np.random.default_rng(0)
  num_actions = environment.action_spec().num_values
  for timestep in play(environment, rng.integers(num_actions, size=100)):
    environment.observation_spec().validate(timestep.observation)
    if not timestep.first():
      environment.reward_spec().validate(timestep.reward)
  assert timestep.observation.max() > 0
