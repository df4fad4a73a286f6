"""Classic small tasks: Catch, DeepSea and CartPole (`envs.cartpole`).

Catch (Mnih et al., "Recurrent models of visual attention", 2014,
arXiv:1406.6247): a ball falls from a random column of the top row, and a paddle
in the bottom row, which starts in the middle, moves left, stays or moves right.
The episode ends as the ball arrives, and pays 1 if it was caught, else -1.

DeepSea (Osband et al., "Behaviour suite for reinforcement learning", 2019,
arXiv:1908.03568): a diver sinks by a row at each step, to the left or to the
right. Which of the two actions goes right is drawn for each cell. A step to the
right costs 0.01 / size; one out of the last cell of the diagonal, which only
steps to the right reach, pays 1. Uniformly random actions get there once in
2^size episodes, and every reward before discourages going there.

Catch and DeepSea are tabular, so that their exact values are known.
"""

from typing import Literal
from typing import NamedTuple

import dm_env
from jaxtyping import Float
from jaxtyping import Num
import numpy as np

from envs import cartpole
from envs.tabular import environment as tabular_environment
from envs.tabular import mdp as tabular_mdp
from skills import checks

TASKS = ('catch', 'deep_sea', 'cartpole')


class Board(NamedTuple):
  """A tabular task and the picture of each state.

  Attributes:
    mdp: the process.
    pictures: 0 and 1; all 0 for the state after the end.
  """

  mdp: tabular_mdp.TabularMDP
  pictures: Float[np.ndarray, 'S H W']


def catch(rows: int = 10, columns: int = 5) -> Board:
  """Catch.

  Args:
    rows: at least 2.
    columns: at least 1.
  """
  checks.integer('rows', rows, 2)
  checks.integer('columns', columns, 1)
  shape = (rows, columns, columns)  # Row and column of the ball, paddle.
  row, ball, paddle = np.unravel_index(np.arange(np.prod(shape)), shape)
  terminal = row == rows - 1
  successors = np.stack(
    [
      np.ravel_multi_index(
        (
          np.minimum(row + 1, rows - 1),
          ball,
          np.clip(paddle + move, 0, columns - 1),
        ),
        shape,
      )
      for move in (-1, 0, 1)
    ],
    axis=1,
  )
  outcome = np.where(ball == paddle, 1.0, -1.0) * terminal
  pictures = np.zeros((len(row), rows, columns), np.float32)
  pictures[np.arange(len(row)), row, ball] = 1.0
  pictures[np.arange(len(row)), rows - 1, paddle] = 1.0
  mdp = tabular_mdp.TabularMDP(
    successors=successors,
    rewards=outcome[successors],
    terminal=terminal,
    initial=((row == 0) & (paddle == columns // 2)) / columns,
    horizon=rows - 1,
  )
  return Board(mdp, pictures)


def deep_sea(size: int = 10, instance: int = 0) -> Board:
  """DeepSea.

  Args:
    size: rows and columns, at least 2.
    instance: seed of what the actions mean in each cell.
  """
  checks.integer('size', size, 2)
  checks.integer('instance', instance, 0)
  row, column = np.divmod(np.arange(size * size), size)
  end = size * size
  # For each cell the action that goes right.
  is_right = np.random.default_rng(instance).integers(0, 2, size * size)
  goes_right = np.arange(2)[None] == is_right[:, None]
  following = np.clip(
    column[:, None] + np.where(goes_right, 1, -1), 0, size - 1
  )
  is_last = row == size - 1
  successors = np.where(
    is_last[:, None], end, (row[:, None] + 1) * size + following
  )
  found = goes_right & (is_last & (column == size - 1))[:, None]
  rewards = found - 0.01 / size * goes_right
  pictures = np.zeros((end + 1, size, size), np.float32)
  pictures[np.arange(end), row, column] = 1.0
  mdp = tabular_mdp.TabularMDP(
    successors=np.concatenate([np.minimum(successors, end), [[end, end]]]),
    rewards=np.concatenate([rewards, np.zeros((1, 2))]),
    terminal=np.arange(end + 1) == end,
    initial=(np.arange(end + 1) == 0).astype(float),
    horizon=size,
  )
  return Board(mdp, pictures)


def observations(board: Board, kind: str) -> Num[np.ndarray, 'S *shape']:
  """Observation of each state.

  Args:
    board: the task.
    kind: 'index' for the state's index, int32, or 'board' for the picture.
  """
  checks.one_of('observation', kind, ('index', 'board'))
  if kind == 'board':
    return board.pictures
  return np.arange(board.mdp.num_states, dtype=np.int32)


def make(
  task: str,
  *,
  seed: int,
  observation: str = 'index',
  size: int | Literal['default'] = 'default',
  instance: int = 0,
) -> dm_env.Environment:
  """One of the tasks as an environment.

  Args:
    task: one of `TASKS`.
    seed: of all this environment's randomness.
    observation: see `observations`; CartPole's state, which has no index, is
      always observed as it is.
    size: of DeepSea; 'default' is 10.
    instance: of DeepSea; see `deep_sea`.
  """
  if task != 'deep_sea' and size != 'default':
    raise ValueError(f'size is of deep_sea alone, got {size!r} for {task}.')
  if task == 'cartpole':
    checks.one_of('observation', observation, ('index',))
    return cartpole.CartPole(seed=seed)
  if task == 'catch':
    board = catch()
  else:
    board = deep_sea(10 if size == 'default' else size, instance)
  return tabular_environment.TabularEnvironment(
    board.mdp, observations(board, observation), seed=seed
  )
