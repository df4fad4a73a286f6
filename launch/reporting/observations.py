"""What observations say: coordinates, names of entries, states of a table."""

from typing import NamedTuple

import dm_env
from jaxtyping import Int
from jaxtyping import Shaped
import numpy as np

from envs import capabilities
from skills import types
from skills.evaluation import metrics


class Plane(NamedTuple):
  """Two entries of an observed vector, the axes of a chart.

  Attributes:
    indices: which two.
    labels: what they are.
  """

  indices: list[int]
  labels: tuple[str, str]


def plane_of(
  environment: dm_env.Environment, problem: types.ProblemSpec
) -> Plane | None:
  """The first two coordinates of the position, or of the observation.

  Args:
    environment: one with `observation_slices` also says their names.
    problem: its shapes.

  Returns:
    None if observations are not vectors of two numbers or more.
  """
  shape = problem.observation_shape
  if (
    len(shape) != 1 or shape[0] < 2 or 'float' not in problem.observation_dtype
  ):
    return None
  names = entry_names(environment, problem)
  slices = capabilities.observation_slices(environment)
  position = slices.get('position', slice(0, 2))
  first = position.start if position.stop - position.start >= 2 else 0
  return Plane([first, first + 1], (names[first], names[first + 1]))


def entry_names(
  environment: dm_env.Environment, problem: types.ProblemSpec
) -> list[str]:
  """Names of the entries of an observed vector.

  Args:
    environment: one with `observation_slices` says it.
    problem: its shapes.
  """
  names = [f'observation[{i}]' for i in range(problem.observation_shape[0])]
  slices = capabilities.observation_slices(environment)
  for name, where in slices.items():
    for i in range(where.start, where.stop):
      names[i] = f'{name}[{i - where.start}]'
  return names


def states_of(
  seen: Shaped[np.ndarray, 'n *shape'],
  table: Shaped[np.ndarray, 'S *shape'],
) -> Int[np.ndarray, 'n']:
  """The states of a tabular environment that observations show.

  Args:
    seen: the observations.
    table: the observation of each state.
  """
  state_of = {
    np.asarray(observation).tobytes(): state
    for state, observation in enumerate(table)
  }
  return np.array(
    [state_of[np.asarray(each, table.dtype).tobytes()] for each in seen],
    int,
  )


def end_counts(
  trajectory: types.Trajectory,
  table: Shaped[np.ndarray, 'S *shape'],
  num_skills: int,
) -> Int[np.ndarray, 'K S']:
  """How often each skill ended in each state of a tabular environment.

  Args:
    trajectory: runs of skills.
    table: the observation of each state.
    num_skills: K.
  """
  run = np.arange(trajectory.mask.shape[1])
  length = np.asarray(trajectory.mask).sum(axis=0).astype(int)
  ends = states_of(np.asarray(trajectory.observation)[length, run], table)
  skills = np.asarray(trajectory.skill)[length - 1, run]
  return metrics.joint_counts(skills, ends, num_skills, len(table))
