"""Endless environments cut into episodes, as Acme's loops need them."""

from typing import Any

import dm_env
import numpy as np

from envs import capabilities
from envs import wrappers
from skills import checks


class Segments(wrappers.Wrapper):
  """Episodes of fixed length, each of which begins where the last one ended.

  The last step of an episode keeps its discount: it is truncated, and no
  terminal state. If the environment inside ends, it is reset.
  """

  def __init__(self, environment: dm_env.Environment, num_steps: int):
    """Initializes the environment.

    Args:
      environment: the one that is cut.
      num_steps: steps of an episode, at least 1.

    Raises:
      ValueError: if `num_steps` is below 1.
    """
    checks.integer('num_steps', num_steps, 1)
    super().__init__(environment)
    self._segment_length = num_steps
    # Where the environment goes on; None if it must be reset.
    self._observation: Any = None
    self._segment_step = 0
    self._needs_reset = True

  def reset(self) -> dm_env.TimeStep:
    """Begins an episode where the environment is."""
    self._segment_step = 0
    self._needs_reset = False
    if self._observation is None:
      timestep = self._environment.reset()
      self._observation = timestep.observation
      return timestep
    return dm_env.restart(self._observation)

  def step(self, action: Any) -> dm_env.TimeStep:
    """Takes a step, or begins an episode if none is under way."""
    if self._needs_reset:
      return self.reset()
    timestep = self._environment.step(action)
    self._segment_step += 1
    self._observation = None if timestep.last() else timestep.observation
    self._needs_reset = (
      timestep.last() or self._segment_step >= self._segment_length
    )
    if self._needs_reset:
      timestep = timestep._replace(step_type=dm_env.StepType.LAST)
    return timestep

  def save(self) -> dict[str, Any]:
    """What a continued run needs, as JSON can hold it."""
    observation = self._observation
    return {
      'environment': capabilities.save(self._environment),
      'observation': None if observation is None else observation.tolist(),
      'segment_step': self._segment_step,
      'needs_reset': self._needs_reset,
    }

  def restore(self, saved: dict[str, Any]) -> None:
    """Continues from what `save` gave."""
    capabilities.restore(self._environment, saved['environment'])
    observation = saved['observation']
    if observation is not None:
      dtype = self.observation_spec().dtype
      observation = np.asarray(observation, dtype)
    self._observation = observation
    self._segment_step = saved['segment_step']
    self._needs_reset = saved['needs_reset']
