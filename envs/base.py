"""What the environments here share."""

import operator

import dm_env
from dm_env import specs
from jaxtyping import Int
import numpy as np


class Environment(dm_env.Environment):
  """An environment whose discounts are float32, 0 at terminal states alone."""

  def discount_spec(self) -> specs.BoundedArray:
    """A float32 scalar in [0, 1]."""
    return specs.BoundedArray((), np.float32, 0.0, 1.0, 'discount')


def action_index(action: int | Int[np.ndarray, ''], num_actions: int) -> int:
  """Checks a discrete action.

  Args:
    action: an integer or 0-d integer array.
    num_actions: A.

  Returns:
    The action as an int in 0..A-1.

  Raises:
    ValueError: if the action is not one of the A actions.
  """
  try:
    index = operator.index(action)
  except TypeError:
    index = -1
  if not 0 <= index < num_actions:
    raise ValueError(
      f'action must be an integer in 0..{num_actions - 1}, got {action!r}.'
    )
  return index


def check_probability(name: str, value: object) -> None:
  """Refuses what is not a number in [0, 1]."""
  if not isinstance(value, (int, float)) or not 0 <= value <= 1:
    raise ValueError(f'{name} must be a number in [0, 1], got {value!r}.')
