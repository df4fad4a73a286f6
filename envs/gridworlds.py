"""Deterministic gridworlds drawn as ASCII maps.

    #   wall
        free cell (a space)
    S   free cell where episodes start; without it the first free cell, in
        reading order, is the start
    G   free cell whose entering ends the episode and pays 1
    +   free cell that pays 1 for every step that leads to it or stays in it
    1-9 the same, paying so many tenths
    -   free cell that costs 1 for every such step

States are the free cells in reading order, row by row. The five actions are
those of `ACTIONS`; walking into a wall or off the map leaves the agent where it
is. Without a goal there is no terminal state, and without a goal or paying
cells there is no reward, for agents that make their own.

The map `disdain_release` is that of the tabular code which the authors of
DISDAIN published (Strouse et al., 2021, arXiv:2107.14226); `four_rooms` is the
classic layout of Sutton, Precup and Singh (1999), whose 104 cells are all
within 20 steps of the top-left corner.

`open_11` and `open_41` are squares without walls and without a horizon, for
skills that begin where the last one ended; the start is the center. In
`open_41` one of 32 goals can be set, every fifth cell of the border, too far
for random primitive actions: a test of hierarchies of skills. Episodes are then
400 steps long, and observations the same as without a goal, so that skills
learned without goals can be used.

`top_rows` and `bump` are squares of 7 by 7 cells, with the start in the middle
of the lowest row, for sets of diverse policies. In `top_rows` every cell of the
upper three rows pays, so that many policies are optimal. In `bump` one cell
pays most and its neighbors less, by a Gaussian of standard deviation 1.5, so
that diverse policies must give up some return.

`rewards_11` is `open_11` with one cell that pays and one that costs; the start
is the middle of the left half, to test what an agent knows of the unseen half.
"""

import dataclasses
from typing import Literal
from typing import NamedTuple

from jaxtyping import Bool
from jaxtyping import Int
from jaxtyping import Num
import numpy as np

from envs.tabular import environment as tabular_environment
from envs.tabular import mdp as tabular_mdp
from skills import checks

ACTIONS = ('noop', 'up', 'down', 'left', 'right')
# Change of (row, column) that each action intends.
MOVES = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))

OBSERVATIONS = ('index', 'one_hot', 'row_column', 'pixels')

WALL_COLOR = (64, 64, 64)
FREE_COLOR = (224, 224, 224)
AGENT_COLOR = (220, 50, 32)

_WALL = '#'
_FREE = ' '
_START = 'S'
_GOAL = 'G'
# What a step into a cell pays.
_PAYS = {'+': 1.0, '-': -1.0, _GOAL: 1.0} | {
  str(n): n / 10 for n in range(1, 10)
}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Gridworld:
  """A gridworld: its process and its map.

  Attributes:
    name: shown in messages and pictures.
    mdp: the process; its states are the free cells in reading order.
    positions: row and column of each state.
    walls: whether each of the map's cells is a wall.
  """

  name: str
  mdp: tabular_mdp.TabularMDP
  positions: Int[np.ndarray, 'S 2']
  walls: Bool[np.ndarray, 'H W']

  @property
  def start(self) -> int:
    """State in which episodes start."""
    return int(self.mdp.initial.argmax())

  def observations(self, kind: str = 'index') -> Num[np.ndarray, 'S *shape']:
    """Observation of each state.

    Args:
      kind: 'index' for the state's index, int32; 'one_hot' for its indicator
        `[S]`, float32; 'row_column' for the indicator of its row and, after
        it, that of its column, `[H + W]`, float32; 'pixels' for an image of
        the map with one pixel per cell and the agent in it, `[H, W, 3]`,
        uint8.

    Returns:
      One observation per state.

    Raises:
      ValueError: if `kind` is none of these.
    """
    checks.one_of('observation', kind, OBSERVATIONS)
    num_states = self.mdp.num_states
    if kind == 'index':
      return np.arange(num_states, dtype=np.int32)
    if kind == 'one_hot':
      return np.eye(num_states, dtype=np.float32)
    rows, columns = self.positions.T
    height, width = self.walls.shape
    if kind == 'row_column':
      parts = [np.eye(height)[rows], np.eye(width)[columns]]
      return np.concatenate(parts, axis=1).astype(np.float32)
    colors = np.array([FREE_COLOR, WALL_COLOR], dtype=np.uint8)
    background = colors[self.walls.astype(int)]
    images = np.repeat(background[None], num_states, axis=0)
    images[np.arange(num_states), rows, columns] = AGENT_COLOR
    return images


def from_ascii(
  name: str, text: str, *, horizon: int | None = None
) -> Gridworld:
  """Reads a map.

  Args:
    name: of the gridworld.
    text: the map, one row per line, all of the same length; line breaks before
      the first and after the last row are ignored.
    horizon: episode length in environment steps; None for episodes that never
      end.

  Returns:
    The gridworld.

  Raises:
    ValueError: if rows differ in length, a symbol is unknown, there is no free
      cell to start in or more than one start, or the horizon is below 1.
  """
  rows = text.strip('\n').split('\n')
  for number, row in enumerate(rows):
    if len(row) != len(rows[0]):
      raise ValueError(
        f'map {name!r}: rows must have the same length, but row 0 has'
        f' {len(rows[0])} cells and row {number} has {len(row)}.'
      )
    for symbol in row:
      if symbol not in (_WALL, _FREE, _START, *_PAYS):
        raise ValueError(
          f'map {name!r}: unknown symbol {symbol!r} in row {number}; allowed'
          f" are '#' (wall), ' ' (free), 'S' (start), 'G' (goal), '+'"
          " (paying 1), '1' to '9' (paying tenths) and '-' (costing 1)."
        )
  cells = np.array([list(row) for row in rows])
  walls = cells == _WALL
  positions = np.argwhere(~walls)
  is_goal = cells[~walls] == _GOAL
  if is_goal.all():
    raise ValueError(f'map {name!r}: there is no free cell to start in.')
  pays = np.array([_PAYS.get(symbol, 0.0) for symbol in cells[~walls]])
  starts = np.flatnonzero(cells[~walls] == _START)
  if len(starts) > 1:
    raise ValueError(
      f"map {name!r}: at most one cell may be the start 'S', got {len(starts)}."
    )

  num_states = len(positions)
  initial = np.zeros(num_states)
  initial[starts[0] if len(starts) else is_goal.argmin()] = 1.0
  successors = np.zeros((num_states, len(ACTIONS)), np.int32)
  state_at = {tuple(cell): state for state, cell in enumerate(positions)}
  for (row, column), state in state_at.items():
    for action, (down, right) in enumerate(MOVES):
      successors[state, action] = state_at.get(
        (row + down, column + right), state
      )
  mdp = tabular_mdp.TabularMDP(
    successors=successors,
    rewards=pays[successors],
    terminal=is_goal,
    initial=initial,
    horizon=horizon,
  )
  positions.setflags(write=False)
  walls.setflags(write=False)
  return Gridworld(name=name, mdp=mdp, positions=positions, walls=walls)


class Map(NamedTuple):
  """A built-in map.

  Attributes:
    text: as `from_ascii` reads it.
    horizon: environment steps of an episode; None for no limit.
    goals: row and column of each goal that can be set.
    goal_horizon: environment steps of an episode if one is.
  """

  text: str
  horizon: int | None
  goals: tuple[tuple[int, int], ...] = ()
  goal_horizon: int | None = None


def _open(size: int) -> str:
  """A square of free cells with the start in the middle, `size` being odd."""
  row, margin = ' ' * size, ' ' * (size // 2)
  rows = [row] * (size // 2)
  return '\n'.join([*rows, f'{margin}{_START}{margin}', *rows])


def _rewards() -> str:
  """11x11 free cells: one pays, one costs, the start is left of the center."""
  cells = [[_FREE] * 11 for _ in range(11)]
  cells[2][2], cells[8][8], cells[5][2] = '+', '-', _START
  return '\n'.join(map(''.join, cells))


def _border(size: int, spacing: int) -> tuple[tuple[int, int], ...]:
  """Every `spacing`-th cell along the border of a square, in reading order."""
  ends = (0, size - 1)
  places = range(0, size, spacing)
  return tuple(
    (row, column)
    for row in places
    for column in places
    if row in ends or column in ends
  )


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
  'open_11': Map(_open(11), horizon=None),
  'open_41': Map(
    _open(41), horizon=None, goals=_border(41, 5), goal_horizon=400
  ),
  'top_rows': Map(
    '\n'.join(3 * ['+' * 7] + 3 * [' ' * 7] + ['   S   ']), horizon=64
  ),
  'bump': Map(
    '\n'.join(
      (
        *(' 23432 ', '1368631', '148+841', '1368631', ' 23432 '),
        *('  111  ', '   S   '),
      )
    ),
    horizon=64,
  ),
  'rewards_11': Map(_rewards(), horizon=None),
}

TASKS = tuple(MAPS)


def load(
  name: str,
  *,
  horizon: int | None | Literal['default'] = 'default',
  goal: int | None = None,
) -> Gridworld:
  """One of the built-in maps.

  Args:
    name: a key of `MAPS`.
    horizon: episode length in environment steps; 'default' for the map's own,
      None for episodes that never end.
    goal: which of the map's goals to set; None for none.

  Returns:
    The gridworld.

  Raises:
    ValueError: if there is no such map or goal, or the horizon is below 1.
  """
  checks.one_of('map', name, MAPS)
  text, default, goals, goal_horizon = MAPS[name]
  if goal is not None:
    if not goals:
      having = ', '.join(repr(other) for other in MAPS if MAPS[other].goals)
      raise ValueError(
        f'map {name!r} has no goals: goal must be None, got {goal!r}. Maps'
        f' with goals: {having}.'
      )
    checks.integer('goal', goal, 0, len(goals) - 1)
    row, column = goals[goal]
    rows = text.strip('\n').split('\n')
    rows[row] = rows[row][:column] + _GOAL + rows[row][column + 1 :]
    text, default = '\n'.join(rows), goal_horizon
  if horizon == 'default':
    horizon = default
  return from_ascii(name, text, horizon=horizon)


class GridworldEnvironment(tabular_environment.TabularEnvironment):
  """A gridworld behind dm_env."""

  def __init__(
    self, grid: Gridworld, *, observation: str = 'index', seed: int = 0
  ):
    """Initializes the environment.

    Args:
      grid: the gridworld.
      observation: one of `OBSERVATIONS`; see `Gridworld.observations`.
      seed: accepted as by every environment; gridworlds are deterministic.

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
    """The gridworld with its map, for pictures."""
    return self._grid


def make(
  task: str,
  *,
  seed: int,
  observation: str = 'index',
  horizon: int | None | Literal['default'] = 'default',
  goal: int | None = None,
) -> GridworldEnvironment:
  """One of the built-in maps as an environment.

  Args:
    task: a key of `MAPS`.
    seed: see `GridworldEnvironment`.
    observation: one of `OBSERVATIONS`.
    horizon: see `load`.
    goal: see `load`.
  """
  return GridworldEnvironment(
    load(task, horizon=horizon, goal=goal), observation=observation, seed=seed
  )
