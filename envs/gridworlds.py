"""Deterministic grid worlds drawn as ASCII maps.

    #   wall
        free cell (a space)
    S   free cell where episodes start; without it the first free cell, in
        reading order, is the start

States are the free cells in reading order, row by row. The five actions are
those of `ACTIONS`; walking into a wall or off the map leaves the agent where it
is. There is no reward and no terminal state: these worlds serve agents that
make their own rewards.

The map `disdain_release` is that of the tabular code which the authors of
DISDAIN published (Strouse et al., 2021, arXiv:2107.14226); `four_rooms` is the
classic layout of Sutton, Precup and Singh (1999), whose 104 cells are all
within 20 steps of the top-left corner.
"""

import dataclasses
from typing import Literal
from typing import NamedTuple

from jaxtyping import Bool
from jaxtyping import Int
from jaxtyping import Num
import numpy as np

from envs import choices
from envs import tabular

ACTIONS = ('noop', 'up', 'down', 'left', 'right')
# Change of (row, column) that each action intends.
MOVES = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))

OBSERVATIONS = ('index', 'one_hot', 'pixels')

WALL_COLOUR = (64, 64, 64)
FREE_COLOUR = (224, 224, 224)
AGENT_COLOUR = (220, 50, 32)

_WALL = '#'
_FREE = ' '
_START = 'S'


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Gridworld:
  """A grid world: its process and where the states lie.

  Attributes:
    name: what to call it in messages and pictures.
    mdp: the process; its states are the free cells in reading order.
    positions: row and column of each state.
    walls: whether each of the map's cells is a wall.
  """

  name: str
  mdp: tabular.TabularMDP
  positions: Int[np.ndarray, 'S 2']
  walls: Bool[np.ndarray, 'H W']

  @property
  def start(self) -> int:
    """The state in which episodes start."""
    return int(self.mdp.initial.argmax())

  def observations(self, kind: str = 'index') -> Num[np.ndarray, 'S *shape']:
    """What is seen in each state.

    Args:
      kind: 'index' for the state's index, int32; 'one_hot' for its indicator
        `[S]`, float32; 'pixels' for an image of the map with one pixel per
        cell and the agent in it, `[H, W, 3]`, uint8.

    Returns:
      One observation per state.

    Raises:
      ValueError: if `kind` is none of these.
    """
    choices.check('observation', kind, OBSERVATIONS)
    num_states = self.mdp.num_states
    if kind == 'index':
      return np.arange(num_states, dtype=np.int32)
    if kind == 'one_hot':
      return np.eye(num_states, dtype=np.float32)
    colours = np.array([FREE_COLOUR, WALL_COLOUR], dtype=np.uint8)
    background = colours[self.walls.astype(int)]
    images = np.repeat(background[None], num_states, axis=0)
    rows, columns = self.positions.T
    images[np.arange(num_states), rows, columns] = AGENT_COLOUR
    return images


def from_ascii(
  name: str, text: str, *, horizon: int | None = None
) -> Gridworld:
  """Reads a map.

  Args:
    name: what to call the world.
    text: the map, one row per line, all of the same length; line breaks before
      the first and after the last row are ignored.
    horizon: episode length in environment steps; None for episodes that never
      end.

  Returns:
    The world.

  Raises:
    ValueError: if rows differ in length, a symbol is unknown, there is no free
      cell or more than one start, or the horizon is below 1.
  """
  rows = text.strip('\n').split('\n')
  for number, row in enumerate(rows):
    if len(row) != len(rows[0]):
      raise ValueError(
        f'map {name!r}: rows must have the same length, but row 0 has'
        f' {len(rows[0])} cells and row {number} has {len(row)}.'
      )
    for symbol in row:
      if symbol not in (_WALL, _FREE, _START):
        raise ValueError(
          f'map {name!r}: unknown symbol {symbol!r} in row {number}; allowed'
          f" are '#' (wall), ' ' (free) and 'S' (start)."
        )
  cells = np.array([list(row) for row in rows])
  walls = cells == _WALL
  positions = np.argwhere(~walls)
  if positions.size == 0:
    raise ValueError(f'map {name!r}: there is no free cell.')
  starts = np.flatnonzero(cells[~walls] == _START)
  if len(starts) > 1:
    raise ValueError(
      f"map {name!r}: at most one cell may be the start 'S', got {len(starts)}."
    )

  num_states = len(positions)
  initial = np.zeros(num_states)
  initial[starts[0] if len(starts) else 0] = 1.0
  transitions = np.zeros((num_states, len(ACTIONS), num_states))
  state_at = {tuple(cell): state for state, cell in enumerate(positions)}
  for (row, column), state in state_at.items():
    for action, (down, right) in enumerate(MOVES):
      successor = state_at.get((row + down, column + right), state)
      transitions[state, action, successor] = 1.0
  mdp = tabular.TabularMDP(
    transitions=transitions,
    rewards=np.zeros((num_states, len(ACTIONS))),
    terminal=np.zeros(num_states, dtype=bool),
    initial=initial,
    horizon=horizon,
  )
  positions.setflags(write=False)
  walls.setflags(write=False)
  return Gridworld(name=name, mdp=mdp, positions=positions, walls=walls)


class Map(NamedTuple):
  """A built-in map and the episode length that belongs to it."""

  text: str
  horizon: int | None


MAPS = {
  'disdain_release': Map(
    """
#######
#S #  #
#     #
## #  #
#  # ##
#  #  #
#     #
#######
""",
    horizon=8,
  ),
  'four_rooms': Map(
    """
#############
#S    #     #
#     #     #
#           #
#     #     #
#     #     #
## ####     #
#     ### ###
#     #     #
#     #     #
#           #
#     #     #
#############
""",
    horizon=20,
  ),
}


def load(
  name: str, *, horizon: int | None | Literal['default'] = 'default'
) -> Gridworld:
  """One of the built-in maps.

  Args:
    name: a key of `MAPS`.
    horizon: episode length in environment steps; 'default' for the map's own,
      None for episodes that never end.

  Returns:
    The world.

  Raises:
    ValueError: if there is no such map, or the horizon is below 1.
  """
  choices.check('map', name, MAPS)
  if horizon == 'default':
    horizon = MAPS[name].horizon
  return from_ascii(name, MAPS[name].text, horizon=horizon)


class GridworldEnvironment(tabular.TabularEnvironment):
  """A grid world as a dm_env environment that also knows its map."""

  def __init__(
    self, grid: Gridworld, *, observation: str = 'index', seed: int = 0
  ):
    """Initialises the environment.

    Args:
      grid: the world.
      observation: one of `OBSERVATIONS`; see `Gridworld.observations`.
      seed: accepted as every environment does; these worlds are deterministic.

    Raises:
      ValueError: if `observation` is unknown or the seed is negative.
    """
    super().__init__(
      grid.mdp,
      grid.observations(observation),
      seed=seed,
      observation_name='state' if observation == 'index' else observation,
    )
    self._grid = grid

  @property
  def grid(self) -> Gridworld:
    """The world with its map, for pictures."""
    return self._grid
