"""Atari 2600 games by the protocol of Muesli.

Bellemare et al., "The Arcade Learning Environment", 2013 (arXiv:1207.4708);
the protocol is that of Machado et al., "Revisiting the Arcade Learning
Environment", 2018 (arXiv:1709.06009), with Muesli's choices (arXiv:2104.06159):

* an action is held for 4 frames, whose rewards are summed; each frame repeats
  the emulator's previous action instead with probability 0.25 (sticky actions),
  so there are no random no-ops at the start;
* all 18 actions (9 in lost_luggage and skiing, which read no button);
* an observation is the last 4 gray pictures of 84 by 84, `[84, 84, 4]`, uint8,
  the newest last, black before the episode's start. A picture is the pixelwise
  maximum of the action's last two frames, as sprites flicker (the last frame
  alone where a game ends during the first three), downscaled by area averages;
* an episode ends with the game (discount 0), not with a life, or is truncated
  after 108,000 frames, half an hour of play (discount 1);
* rewards are the changes of the score.

The games are those in ale-py's own wheel. The emulator is imported when an
environment is made, and not with this module.
"""

import dm_env
from dm_env import specs
from jaxtyping import Float
from jaxtyping import UInt8
import numpy as np

from envs import base
from skills import checks

# The games of ale_py.roms except combat, joust, maze_craze and warlords, which
# end the process in this version of the emulator.
TASKS = tuple(
  """
  adventure air_raid alien amidar assault asterix asteroids atlantis atlantis2
  backgammon bank_heist basic_math battle_zone beam_rider berzerk blackjack
  bowling boxing breakout carnival casino centipede chopper_command
  crazy_climber crossbow darkchambers defender demon_attack donkey_kong
  double_dunk earthworld elevator_action enduro entombed et fishing_derby
  flag_capture freeway frogger frostbite galaxian gopher gravitar hangman
  haunted_house hero human_cannonball ice_hockey jamesbond journey_escape kaboom
  kangaroo keystone_kapers king_kong klax koolaid krull kung_fu_master
  laser_gates lost_luggage mario_bros miniature_golf montezuma_revenge mr_do
  ms_pacman name_this_game othello pacman phoenix pitfall pitfall2 pong pooyan
  private_eye qbert riverraid road_runner robotank seaquest sir_lancelot skiing
  solaris space_invaders space_war star_gunner superman surround tennis tetris
  tic_tac_toe_3d time_pilot trondead turmoil tutankham up_n_down venture
  video_checkers video_chess video_cube video_pinball wizard_of_wor word_zapper
  yars_revenge zaxxon
  """.split()
)

ACTION_SETS = ('full', 'minimal')
REWARDS = ('score', 'clipped')

MAX_FRAMES = 108_000
STICKINESS = 0.25
ACTION_REPEAT = 4
SIZE = 84
NUM_STACKED = 4


def area_weights(num_inputs: int, num_outputs: int) -> Float[np.ndarray, 'O I']:
  """Weights of downscaling by area averages along one axis.

  Args:
    num_inputs: I, cells that are averaged.
    num_outputs: O, cells of the result, at most I.

  Returns:
    Weights in [0, 1], float32; each row sums to 1.
  """
  edges = np.arange(num_outputs + 1) * (num_inputs / num_outputs)
  cells = np.arange(num_inputs)
  begin = np.maximum(edges[:-1, None], cells)
  end = np.minimum(edges[1:, None], cells + 1)
  weights = np.maximum(end - begin, 0)
  return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


class Shrink:
  """Downscaling of pictures by area averages, rounded."""

  def __init__(self, height: int, width: int, size: int = SIZE):
    """Prepares for pictures of one shape.

    Args:
      height: of the input, at least `size`.
      width: of the input, at least `size`.
      size: height and width of the output.
    """
    self._rows = area_weights(height, size)
    self._columns = area_weights(width, size).T

  def __call__(self, picture: UInt8[np.ndarray, 'H W']) -> np.ndarray:
    """The downscaled picture, uint8."""
    averages = self._rows @ picture.astype(np.float32) @ self._columns
    return (averages + 0.5).astype(np.uint8)


class AtariEnvironment(base.DiscreteEnvironment):
  """A game by the protocol above."""

  def __init__(
    self,
    game: str,
    *,
    seed: int = 0,
    actions: str = 'full',
    rewards: str = 'score',
    sticky: float = STICKINESS,
    max_frames: int = MAX_FRAMES,
  ):
    """Loads the game; an episode begins with `reset`.

    Args:
      game: one of `TASKS`.
      seed: of the sticky actions, the only randomness; at least 0.
      actions: 'full' for all, 'minimal' for those that affect the game.
      rewards: 'score' for the score's changes, 'clipped' for these in [-1, 1].
      sticky: probability with which a frame repeats the action before.
      max_frames: after which an episode is cut off, at least 1.

    Raises:
      ValueError: if an argument is unknown or out of range.
    """
    checks.one_of('game', game, TASKS)
    checks.integer('seed', seed, 0)
    checks.one_of('actions', actions, ACTION_SETS)
    checks.one_of('rewards', rewards, REWARDS)
    base.check_probability('sticky', sticky)
    checks.integer('max_frames', max_frames, 1)
    import ale_py
    from ale_py import roms

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    emulator = ale_py.ALEInterface()
    # The emulator takes 31 bits, and -1 as a seed of its own choice.
    seed_bits = np.random.SeedSequence(seed).generate_state(1)[0] >> 1
    emulator.setInt('random_seed', int(seed_bits))
    emulator.setFloat('repeat_action_probability', float(sticky))
    emulator.setInt('max_num_frames_per_episode', int(max_frames))
    path = roms.get_rom_path(game)
    assert path is not None, game
    emulator.loadROM(path)
    self._game = game
    self._emulator = emulator
    self._actions = (
      emulator.getLegalActionSet()
      if actions == 'full'
      else emulator.getMinimalActionSet()
    )
    self._num_actions = len(self._actions)
    self._rewards = rewards
    height, width = emulator.getScreenDims()
    self._shrink = Shrink(height, width)
    self._frames = np.zeros((2, height, width), np.uint8)
    self._pictures: list[np.ndarray] = []
    self._needs_reset = True

  @property
  def game(self) -> str:
    """One of `TASKS`."""
    return self._game

  def ram(self) -> UInt8[np.ndarray, '128']:
    """A copy of the console's memory."""
    return self._emulator.getRAM()

  def screen(self) -> UInt8[np.ndarray, 'H W 3']:
    """The last frame in color and full size."""
    return self._emulator.getScreenRGB()

  def reset(self) -> dm_env.TimeStep:
    """Begins a game."""
    self._needs_reset = False
    self._emulator.reset_game()
    self._emulator.getScreenGrayscale(self._frames[0])
    black = np.zeros((SIZE, SIZE), np.uint8)
    self._pictures = [black] * NUM_STACKED
    return dm_env.restart(self._observe(self._frames[:1]))

  def _step(self, action: int) -> dm_env.TimeStep:
    """Holds an action for 4 frames."""
    emulator = self._emulator
    reward = 0
    num_seen = 0
    for frame in range(1, ACTION_REPEAT + 1):
      reward += emulator.act(self._actions[action])
      is_over = emulator.game_over()
      # Reading the screen costs as much as a frame: only those that are shown.
      if is_over or frame > ACTION_REPEAT - 2:
        emulator.getScreenGrayscale(self._frames[num_seen])
        num_seen += 1
      if is_over:
        break

    discount = 1.0
    if is_over:
      self._needs_reset = True
      if emulator.game_over(with_truncation=False):
        discount = 0.0
    if self._rewards == 'clipped':
      reward = min(max(reward, -1), 1)
    return dm_env.TimeStep(
      dm_env.StepType.LAST if is_over else dm_env.StepType.MID,
      np.float32(reward),
      np.float32(discount),
      self._observe(self._frames[:num_seen]),
    )

  def _observe(
    self, frames: UInt8[np.ndarray, 'F H W']
  ) -> UInt8[np.ndarray, '84 84 4']:
    self._pictures = [*self._pictures[1:], self._shrink(frames.max(axis=0))]
    return np.stack(self._pictures, axis=-1)

  # dm_env leaves its spec methods without annotations, which reads as None.
  def observation_spec(  # pyrefly: ignore[bad-override]
    self,
  ) -> specs.BoundedArray:
    """Four gray pictures, the newest last."""
    shape = (SIZE, SIZE, NUM_STACKED)
    return specs.BoundedArray(shape, np.uint8, 0, 255, 'pixels')

  def reward_spec(self) -> specs.BoundedArray:
    """A float32 scalar, in [-1, 1] if clipped."""
    limit = 1.0 if self._rewards == 'clipped' else np.inf
    return specs.BoundedArray((), np.float32, -limit, limit, 'reward')


make = AtariEnvironment
