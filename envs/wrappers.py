"""What environments around other environments share."""

from typing import Any

import dm_env


class Wrapper(dm_env.Environment):
  """Another environment as it is; override what differs.

  What it has besides the interface of dm_env, such as a map or `physics`, is
  still there.
  """

  def __init__(self, environment: dm_env.Environment):
    """Initialises the wrapper; `environment` is what it is around."""
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
    """The world's."""
    return self._environment.observation_spec()

  def action_spec(self) -> Any:
    """The world's."""
    return self._environment.action_spec()

  def reward_spec(self) -> Any:
    """The world's."""
    return self._environment.reward_spec()

  def discount_spec(self) -> Any:
    """The world's."""
    return self._environment.discount_spec()

  def close(self) -> None:
    """Closes the world."""
    self._environment.close()
