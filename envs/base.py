"""What the environments here share."""

import abc
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


class DiscreteEnvironment(Environment):
  """An environment of A actions.

  A class of such has `_num_actions`, `_step`, and `_needs_reset`, which is true
  while no episode is under way.
  """

  _num_actions: int
  _needs_reset: bool

  def step(self, action: int | Int[np.ndarray, '']) -> dm_env.TimeStep:
    """Takes a step, or begins an episode if none is under way.

    Args:
      action: an integer or 0-d integer array in 0..A-1; ignored where an
        episode begins.

    Returns:
      The time step, with a float32 reward and discount.

    Raises:
      ValueError: if the action is not one of the A actions.
    """
    if self._needs_reset:
      return self.reset()
    return self._step(action_index(action, self._num_actions))

  @abc.abstractmethod
  def _step(self, action: int) -> dm_env.TimeStep:
    """Takes a step of an episode that is under way."""

  # dm_env leaves its spec methods without annotations, which reads as None.
  def action_spec(  # pyrefly: ignore[bad-override]
    self,
  ) -> specs.DiscreteArray:
    """One of A actions, int32."""
    return specs.DiscreteArray(self._num_actions, np.int32, 'action')


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
