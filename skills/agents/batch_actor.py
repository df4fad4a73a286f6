"""Acts in N environments at once: one call of the policy for N steps."""

from collections.abc import Mapping
from collections.abc import Sequence
import time
from typing import Any
from typing import NamedTuple

from acme.jax import variable_utils
from acme.utils import counting
from acme.utils import observers as observers_lib
import dm_env
import jax
from jaxtyping import UInt32
import numpy as np

from envs import batched
from skills import acting
from skills.agents.replay import batch_writer
from skills.agents.replay import stalls

_FIRST = int(dm_env.StepType.FIRST)
_LAST = int(dm_env.StepType.LAST)


class BatchActor:
  """Selects actions for N environments, with the newest variables.

  Actor i of them acts as a `builder.SkillActor` that has its key.
  """

  def __init__(
    self,
    core: acting.BatchCore,
    keys: UInt32[np.ndarray, 'N 2'],
    variable_client: variable_utils.VariableClient | None,
    *,
    jit: bool = True,
  ):
    """Initializes the actor.

    Args:
      core: its pure functions.
      keys: a random key for each environment.
      variable_client: of the learner; it puts variables on the CPU. None where
        `core` needs no variables.
      jit: whether to compile `core.select_action`.
    """
    self._select = jax.jit(core.select_action) if jit else core.select_action
    self._variable_client = variable_client
    self._state: acting.BatchState = jax.jit(core.init)(_on_cpu(keys))

  def select_action(
    self, timestep: dm_env.TimeStep
  ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Selects actions, with a new skill where an episode begins.

    Args:
      timestep: N time steps.

    Returns:
      Actions `[N, ...]`, and what replay records beside them.
    """
    client = self._variable_client
    output, self._state = self._select(
      client.params if client else (),
      (timestep.observation, timestep.step_type == _FIRST),
      self._state,
    )
    if client:
      client.update()
    return jax.device_get(output)

  def fetch(self) -> None:
    """Fetches the newest variables and waits for them."""
    if self._variable_client is not None:
      self._variable_client.update_and_wait()

  def save(self) -> list[Any]:
    """Random keys and the state of each actor, as JSON can hold them."""
    return [leaf.tolist() for leaf in jax.tree.leaves(self._state)]

  def restore(self, saved: list[Any]) -> None:
    """Continues from what `save` gave for as many environments."""
    like, structure = jax.tree.flatten(self._state)
    leaves = [
      _on_cpu(np.asarray(values, leaf.dtype))
      for values, leaf in zip(saved, like, strict=True)
    ]
    self._state = jax.tree.unflatten(structure, leaves)


def _on_cpu(x: np.ndarray) -> jax.Array:
  # The policy is computed on the device of its state and variables.
  return jax.device_put(x, jax.local_devices(backend='cpu')[0])


class Observed(NamedTuple):
  """One of N environments, and the observers of its episodes."""

  environment: dm_env.Environment
  observers: Sequence[observers_lib.EnvLoopObserver]


class BatchLoop:
  """Acts, step by step, in N environments.

  It counts 'episodes' and 'steps' of all environments as Acme's loop does for
  one.
  """

  def __init__(
    self,
    environment: batched.BatchedEnvironment,
    actor: BatchActor,
    adder: batch_writer.BatchAdder,
    counter: counting.Counter,
    observed: Sequence[Observed] = (),
    should_stop: stalls.ShouldStop = stalls.never_stop,
  ):
    """Initializes the loop.

    Args:
      environment: N environments.
      actor: selects their actions.
      adder: takes their steps.
      counter: of episodes and steps.
      observed: each environment with its observers; empty for none.
      should_stop: whether the program is stopping; asked before each step.
    """
    self._environment = environment
    self._actor = actor
    self._adder = adder
    self._counter = counter
    self._observed = observed
    self._should_stop = should_stop
    self._timestep: dm_env.TimeStep | None = None
    number = environment.num_environments
    self._return = np.zeros(number, np.float32)
    self._length = np.zeros(number, int)
    # Steps of all environments, now and when each episode began, and when that
    # was.
    self._steps = 0
    self._steps_before = np.zeros(number, int)
    self._began = np.zeros(number)

  def reset(self) -> None:
    """Begins an episode in every environment."""
    self._begin(self._environment.reset())

  def step(self) -> list[tuple[int, dict[str, Any]]]:
    """Takes a step in every environment whose episode is not over.

    In the others the next episode begins. The first call only begins episodes.

    Returns:
      For each episode that ended, the environment's index and what Acme's loop
      gives: length, return, counts, metrics of observers and the steps per
      second of all environments together while it lasted.

    Raises:
      StoppedError: if the program is stopping. No step is half done then.
    """
    if self._should_stop():
      raise stalls.StoppedError
    timestep = self._timestep
    if timestep is None:
      self.reset()
      return []
    action, extras = self._actor.select_action(timestep)
    after = self._environment.step(action)
    steps = batch_writer.steps_made(timestep, after)
    self._adder.add(timestep, action, after, extras)
    self._steps += int(steps.sum())
    self._length += steps
    self._return += np.where(steps, after.reward, 0)
    ended = np.flatnonzero(steps & (after.step_type == _LAST))
    counts = self._counter.increment(
      episodes=len(ended), steps=int(steps.sum())
    )
    self._observe(after, action)
    results = [(int(i), self._result(i, counts)) for i in ended]
    self._begin(after)
    # Last, as it may wait for long, and end with an error.
    self._adder.wait()
    return results

  def save(self) -> dict[str, Any] | None:
    """Where the episodes are, as JSON can hold it; None before the first."""
    if self._timestep is None:
      return None
    return {
      'observation': self._timestep.observation.tolist(),
      'step_type': self._timestep.step_type.tolist(),
      'episode_return': self._return.tolist(),
      'episode_length': self._length.tolist(),
    }

  def restore(self, saved: dict[str, Any] | None) -> None:
    """Continues in the middle of episodes, where `save` was called.

    Environment, actor and adder have to be restored too.
    """
    if saved is None:
      return
    step_type = np.asarray(saved['step_type'], np.int32)
    dtype = self._environment.observation_spec().dtype
    self._begin(
      dm_env.TimeStep(
        step_type,
        np.zeros(len(step_type), np.float32),
        np.ones(len(step_type), np.float32),
        np.asarray(saved['observation'], dtype),
      )
    )
    self._return = np.asarray(saved['episode_return'], np.float32)
    self._length = np.asarray(saved['episode_length'], int)
    self._began[:] = time.time()

  def _begin(self, timestep: dm_env.TimeStep) -> None:
    """Goes on to new time steps, some of which may begin episodes."""
    self._timestep = timestep
    begins = timestep.step_type == _FIRST
    if begins.any():
      self._return[begins] = 0
      self._length[begins] = 0
      self._steps_before[begins] = self._steps
      self._began[begins] = time.time()
      for i in np.flatnonzero(begins) if self._observed else ():
        environment, observers = self._observed[i]
        for observer in observers:
          observer.observe_first(environment, select(timestep, i))

  def _observe(self, after: dm_env.TimeStep, action: np.ndarray) -> None:
    for i, (environment, observers) in enumerate(self._observed):
      if after.step_type[i] != _FIRST:
        for observer in observers:
          observer.observe(environment, select(after, i), action[i])

  def _result(self, i: int, counts: Mapping[str, Any]) -> dict[str, Any]:
    steps = self._steps - self._steps_before[i]
    result = {
      'episode_length': int(self._length[i]),
      'episode_return': self._return[i],
      'steps_per_second': steps / (time.time() - self._began[i]),
      **counts,
    }
    if self._observed:
      for observer in self._observed[i].observers:
        result.update(observer.get_metrics())
    return result


def select(timestep: dm_env.TimeStep, i: int) -> dm_env.TimeStep:
  """The time step of one environment."""
  return dm_env.TimeStep(
    dm_env.StepType(int(timestep.step_type[i])),
    *(x[i] for x in timestep[1:]),
  )
