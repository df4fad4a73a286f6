"""N environments behind one interface, whose time steps hold N of everything.

    environments = factory.make_batch(
      'control:walker_stand', 64, seeds=range(64), action_repeat=2
    )
    timestep = environments.reset()
    while True:
      actions = policy(timestep.observation)  # [N, *action]
      timestep = environments.step(actions)

Every environment follows dm_env's rule by itself: the step after a LAST one
ignores the environment's action and returns the FIRST time step of its next
episode. A batch has therefore FIRST, MID and LAST time steps side by side.
"""

from collections.abc import Sequence
from typing import Any
from typing import Protocol

import dm_env
from dm_env import specs
from jaxtyping import Int
from jaxtyping import Num
import numpy as np

from envs import capabilities
from skills import checks

_LAST = int(dm_env.StepType.LAST)


class BatchedEnvironment(Protocol):
  """N environments of the same task, stepped together.

  Fields of time steps have a leading axis N. `step_type` is an int32 array of
  dm_env.StepType's values; `reward` and `discount` are float32, 0 and 1 where
  the step type is FIRST. Arrays belong to the caller: later steps do not change
  them.
  """

  @property
  def num_environments(self) -> int:
    """N."""
    ...

  def observation_spec(self) -> specs.Array:
    """Observation spec of one environment."""
    ...

  def action_spec(self) -> specs.BoundedArray:
    """Action spec of one environment."""
    ...

  def reward_spec(self) -> specs.Array:
    """Reward spec of one environment."""
    ...

  def discount_spec(self) -> specs.BoundedArray:
    """Discount spec of one environment."""
    ...

  def reset(self) -> dm_env.TimeStep:
    """Begins an episode in every environment."""
    ...

  def step(self, action: Num[np.ndarray, 'N *action']) -> dm_env.TimeStep:
    """Takes a step, or begins an episode where the last time step was LAST.

    Args:
      action: one for each environment; ignored where an episode begins.

    Returns:
      The time steps.

    Raises:
      ValueError: if an action is not allowed; the message names its
        environment.
    """
    ...

  def close(self) -> None:
    """Frees what the environments hold."""
    ...


class Serial:
  """Environments of dm_env, stepped one after another.

  A batch has `HasSavedState`: it saves those of its environments that have it.
  """

  def __init__(
    self,
    environments: Sequence[dm_env.Environment],
    *,
    first_lengths: Sequence[int] | None = None,
  ):
    """Initializes the batch.

    Args:
      environments: at least one, all with the same specs.
      first_lengths: steps after which the first episode of each environment is
        truncated after a `reset`, so that later episodes do not end together;
        see `staggered`. None for whole episodes.

    Raises:
      ValueError: if there is no environment, specs differ, or `first_lengths`
        are not one integer >= 1 for each environment.
    """
    checks.integer('number of environments', len(environments), 1)
    self._environments: list[Any] = list(environments)
    for i, environment in enumerate(environments):
      for kind in ('observation', 'action', 'reward', 'discount'):
        first, own = (
          repr(getattr(each, f'{kind}_spec')())
          for each in (environments[0], environment)
        )
        if own != first:
          raise ValueError(
            f'environments of a batch must have the same {kind}_spec, got'
            f' {first} in environment 0 and {own} in environment {i}.'
          )
    self._first_lengths = check_first_lengths(first_lengths, len(environments))
    # Steps left of first episodes; negative where nothing is truncated.
    self._steps_left = self._first_lengths.copy()
    self._needs_reset = np.ones(len(environments), bool)

  @property
  def num_environments(self) -> int:
    """N."""
    return len(self._environments)

  @property
  def environments(self) -> Sequence[dm_env.Environment]:
    """Each of them."""
    return self._environments

  def observation_spec(self) -> specs.Array:
    """Observation spec of one environment."""
    return self._environments[0].observation_spec()

  def action_spec(self) -> specs.BoundedArray:
    """Action spec of one environment."""
    return self._environments[0].action_spec()

  def reward_spec(self) -> specs.Array:
    """Reward spec of one environment."""
    return self._environments[0].reward_spec()

  def discount_spec(self) -> specs.BoundedArray:
    """Discount spec of one environment."""
    return self._environments[0].discount_spec()

  def reset(self) -> dm_env.TimeStep:
    """Begins an episode in every environment."""
    self._steps_left = self._first_lengths.copy()
    return self._stacked([each.reset() for each in self._environments])

  def step(self, action: Num[np.ndarray, 'N *action']) -> dm_env.TimeStep:
    """Takes a step, or begins an episode; see `BatchedEnvironment.step`.

    Where an action is refused, the environments before it have taken a step.
    """
    check_count(action, self.num_environments)
    timesteps = []
    for i, environment in enumerate(self._environments):
      if self._needs_reset[i]:
        timesteps.append(environment.reset())
        continue
      try:
        timesteps.append(environment.step(action[i]))
      except ValueError as error:
        raise ValueError(f'environment {i}: {error}') from error
    self._steps_left -= 1
    return self._stacked(timesteps)

  def _stacked(self, timesteps: list[dm_env.TimeStep]) -> dm_env.TimeStep:
    """Time steps of all environments as one."""
    step_type = np.array([each.step_type for each in timesteps], np.int32)
    step_type[self._steps_left == 0] = _LAST
    self._needs_reset = step_type == _LAST
    self._steps_left[self._needs_reset] = -1
    return dm_env.TimeStep(
      step_type,
      np.array([_or(0.0, each.reward) for each in timesteps], np.float32),
      np.array([_or(1.0, each.discount) for each in timesteps], np.float32),
      np.stack([np.asarray(each.observation) for each in timesteps]),
    )

  def save(self) -> dict[str, Any]:
    """What a continued run needs, as JSON can hold it."""
    return {
      'environments': [capabilities.save(each) for each in self._environments],
      'needs_reset': self._needs_reset.tolist(),
      'steps_left': self._steps_left.tolist(),
    }

  def restore(self, saved: dict[str, Any]) -> None:
    """Continues from what `save` gave for as many environments.

    Raises:
      ValueError: if there were more or fewer environments.
    """
    states = saved['environments']
    if len(states) != self.num_environments:
      raise ValueError(
        f'a batch of {len(states)} environments was saved, and this one has'
        f' {self.num_environments}; continue with {len(states)}.'
      )
    for environment, state in zip(self._environments, states, strict=True):
      capabilities.restore(environment, state)
    self._needs_reset = np.array(saved['needs_reset'], bool)
    self._steps_left = np.array(saved['steps_left'], int)

  def close(self) -> None:
    """Closes all environments."""
    for environment in self._environments:
      environment.close()


def _or(default: float, value: float | None) -> float:
  return default if value is None else value


def staggered(num_environments: int, horizon: int) -> tuple[int, ...]:
  """First lengths after which episodes end evenly spread over time.

  Args:
    num_environments: N.
    horizon: steps of a whole episode.

  Returns:
    (i + 1) horizon / N for each environment i, rounded up; at least 1.

  Raises:
    ValueError: if an argument is no integer >= 1.
  """
  checks.integer('num_environments', num_environments, 1)
  checks.integer('horizon', horizon, 1)
  return tuple(
    -(-(i + 1) * horizon // num_environments) for i in range(num_environments)
  )


def check_count(action: Any, num_environments: int) -> None:
  """Refuses what is not one action for each environment."""
  if np.shape(action)[:1] != (num_environments,):
    raise ValueError(
      f'action must have a leading axis of {num_environments}, one entry for'
      f' each environment, got shape {np.shape(action)}.'
    )


def check_first_lengths(
  first_lengths: Sequence[int] | None, num_environments: int
) -> Int[np.ndarray, 'N']:
  """Refuses what is not one positive length for each environment.

  Returns:
    The lengths; -1 for whole episodes.
  """
  if first_lengths is None:
    return np.full(num_environments, -1)
  if len(first_lengths) != num_environments:
    raise ValueError(
      f'first_lengths must be one for each of {num_environments} environments,'
      f' got {len(first_lengths)}.'
    )
  for i, length in enumerate(first_lengths):
    checks.integer(f'first_lengths[{i}]', length, 1)
  return np.array(first_lengths)
