"""Environments that can be stopped in the middle of an episode."""

from typing import Any

import dm_env

from envs import batched
from skills.agents import acme_api
from skills.agents.replay import stalls


class Interruptible(acme_api.wrappers.EnvironmentWrapper):
  """An environment that raises once the program is stopping.

  Attributes:
    steps: made since the episode began, or since it was set to 0.
  """

  def __init__(
    self, environment: dm_env.Environment, should_stop: stalls.ShouldStop
  ):
    """Initializes the wrapper; `should_stop` is asked before each step."""
    super().__init__(environment)
    self._should_stop = should_stop
    self.steps = 0

  def reset(self) -> dm_env.TimeStep:
    """Begins an episode."""
    self.steps = 0
    return self._environment.reset()

  def step(self, action: Any) -> dm_env.TimeStep:
    """Makes a step.

    Raises:
      StoppedError: if the program is stopping.
    """
    if self._should_stop():
      raise stalls.StoppedError
    self.steps += 1
    return self._environment.step(action)


# One environment, or several, whose loop stops them.
Environment = Interruptible | batched.BatchedEnvironment


def wrap(
  environment: dm_env.Environment | batched.BatchedEnvironment,
  should_stop: stalls.ShouldStop,
) -> Environment:
  """Makes one environment stop; several are stopped by their loop."""
  if isinstance(environment, dm_env.Environment):
    return Interruptible(environment, should_stop)
  return environment


def spec(environment: Environment) -> acme_api.specs.EnvironmentSpec:
  """Specs of the environment, or of each of several."""
  # No more is asked of it than a batch has.
  has_specs: Any = environment
  return acme_api.specs.make_environment_spec(has_specs)
