"""Coverage: places that the avatar visits in an Atari game, from its memory.

Hansen et al., "Entropic Desired Dynamics for Intrinsic Control", 2021, compare
VIC with RVIC by the number of distinct values of the bytes that belong to the
avatar, within an episode and over a lifetime.

The paper does not list the bytes. Ours are the avatar's column and row, and
bytes that tell rooms or levels apart, as annotated by Anand et al., 2019
(arXiv:1906.08226). They give random play numbers of the published size; in
Seaquest 114 columns by 96 rows are the published 10,900.
"""

from collections.abc import Mapping

from jaxtyping import UInt8
import numpy as np

from skills import checks

RAM_SIZE = 128

# Game -> what a byte holds -> its address in memory.
AVATAR_BYTES: Mapping[str, Mapping[str, int]] = {
  'berzerk': {'level': 92, 'x': 19, 'y': 11},
  'hero': {'level': 117, 'room': 28, 'x': 27, 'y': 31},
  'montezuma_revenge': {'room': 3, 'x': 42, 'y': 43},
  'ms_pacman': {'x': 10, 'y': 16},
  'private_eye': {'room': 92, 'x': 63, 'y': 86},
  'seaquest': {'x': 70, 'y': 97},
}


def avatar(
  game: str, ram: UInt8[np.ndarray, '*batch 128']
) -> UInt8[np.ndarray, '*batch bytes']:
  """The bytes that locate the avatar.

  Args:
    game: a key of `AVATAR_BYTES`.
    ram: the console's memory, at one or more times.

  Returns:
    The bytes in the order of `AVATAR_BYTES`.

  Raises:
    ValueError: if the game's bytes are not known, or `ram` has another form.
  """
  checks.one_of('game with known avatar bytes', game, AVATAR_BYTES)
  ram = np.asarray(ram)
  if ram.dtype != np.uint8 or ram.shape[-1:] != (RAM_SIZE,):
    raise ValueError(
      f'ram must be uint8 with a last axis of {RAM_SIZE}, got {ram.dtype} of'
      f' shape {ram.shape}.'
    )
  return ram[..., list(AVATAR_BYTES[game].values())]


class Coverage:
  """Counter of distinct places."""

  def __init__(self, game: str, beside: 'Coverage | None' = None):
    """Initializes the counter.

    Args:
      game: a key of `AVATAR_BYTES`.
      beside: another counter of the game, with which it shares the lifetime.

    Raises:
      ValueError: if the game's bytes are not known.
    """
    checks.one_of('game with known avatar bytes', game, AVATAR_BYTES)
    self._game = game
    self._episode: set[bytes] = set()
    self._lifetime: set[bytes] = beside._lifetime if beside else set()

  def begin_episode(self) -> None:
    """Begins to count the places of a new episode."""
    self._episode = set()

  def visit(self, ram: UInt8[np.ndarray, '128']) -> None:
    """Counts the place where the avatar is now."""
    place = avatar(self._game, ram).tobytes()
    self._episode.add(place)
    self._lifetime.add(place)

  @property
  def episode(self) -> int:
    """Distinct places since `begin_episode`."""
    return len(self._episode)

  @property
  def lifetime(self) -> int:
    """Distinct places since the counter was made."""
    return len(self._lifetime)
