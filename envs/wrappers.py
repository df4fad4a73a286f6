"""The base of environments around other environments."""

from typing import Any

import dm_env


class Wrapper(dm_env.Environment):
  """An environment that passes everything on to another one.

  Subclasses override what differs. Capabilities of the environment inside, such
  as `physics` (`envs.capabilities`), are passed on too.
  """

  def __init__(self, environment: dm_env.Environment):
    """Initializes the wrapper around `environment`."""
    self._environment: Any = environment

  def __getattr__(self, name: str) -> Any:
    if name.startswith('_'):  # Not yet there, as in a copy that is being made.
      raise AttributeError(name)
    return getattr(self._environment, name)

  def reset(self) -> dm_env.TimeStep:
    """Begins an episode."""
    return self._environment.reset()

  def step(self, action: Any) -> dm_env.TimeStep:
    """Takes a step."""
    return self._environment.step(action)

  def observation_spec(self) -> Any:
    """Observation spec of the environment inside."""
    return self._environment.observation_spec()

  def action_spec(self) -> Any:
    """Action spec of the environment inside."""
    return self._environment.action_spec()

  def reward_spec(self) -> Any:
    """Reward spec of the environment inside."""
    return self._environment.reward_spec()

  def discount_spec(self) -> Any:
    """Discount spec of the environment inside."""
    return self._environment.discount_spec()

  def close(self) -> None:
    """Closes the environment inside."""
    self._environment.close()
