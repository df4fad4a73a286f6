"""Actors of a run, in one environment or in several at once."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import Protocol

import dm_env
import jax
import jax.numpy as jnp
import numpy as np

from envs import batched
from envs import capabilities
from launch.training import interruptible
from launch.training import observers
from skills import acting
from skills.agents import acme_api
from skills.agents import batch_actor
from skills.agents import builder as builder_lib
from skills.agents.replay import batch_writer
from skills.agents.replay import stalls
from skills.agents.replay import writer as replay_writer


class Actor(Protocol):
  """Acts a little at a time."""

  def act(self) -> list[dict[str, Any]]:
    """Goes on until it can be saved again.

    Returns:
      The results of the episodes that ended meanwhile.

    Raises:
      StoppedError: if the program is stopping. All steps are counted.
    """
    ...

  def flush(self) -> None:
    """Waits until replay has what can be saved there."""
    ...

  def save(self) -> dict[str, Any]:
    """What a continued run needs, between calls of `act`."""
    ...

  def restore(self, saved: dict[str, Any]) -> None:
    """Continues from what `save` gave, as far as environments can."""
    ...

  def close(self) -> None:
    """Closes the connection to replay."""
    ...


class Single:
  """Acts in one environment, an episode at a time."""

  def __init__(
    self,
    environment: interruptible.Interruptible,
    actor: builder_lib.SkillActor,
    adder: replay_writer.SkillAdder,
    counter: acme_api.counting.Counter,
  ):
    """Initializes the actor; `counter` counts 'episodes' and 'steps'."""
    self._environment = environment
    self._actor = actor
    self._adder = adder
    self._counter = counter
    self._loop = acme_api.environment_loop.EnvironmentLoop(
      environment,
      actor,
      counter=counter,
      logger=acme_api.loggers.NoOpLogger(),
      observers=observers.make(environment),
    )

  def act(self) -> list[dict[str, Any]]:
    """Runs an episode, and gives its result."""
    self._environment.steps = 0
    try:
      return [dict(self._loop.run_episode())]
    except stalls.StoppedError:
      # What was done of the episode counts too.
      self._counter.increment(steps=self._environment.steps)
      raise

  def flush(self) -> None:
    """Does nothing: an episode ends with all of it in replay."""

  def save(self) -> dict[str, Any]:
    """The random key and the environment, between episodes."""
    return {
      'key': np.asarray(self._actor.save()).tolist(),
      'environment': capabilities.save(self._environment),
    }

  def restore(self, saved: dict[str, Any]) -> None:
    """Continues from what `save` gave."""
    self._actor.restore(jnp.asarray(saved['key'], jnp.uint32))
    capabilities.restore(self._environment, saved['environment'])

  def close(self) -> None:
    """Closes the connection to replay."""
    self._adder.close()


class Batch:
  """Acts in N environments, a step of each at a time."""

  def __init__(
    self,
    environment: batched.BatchedEnvironment,
    actor: batch_actor.BatchActor,
    adder: batch_writer.SkillBatchAdder,
    counter: acme_api.counting.Counter,
    should_stop: stalls.ShouldStop,
  ):
    """Initializes the actor; `counter` counts 'episodes' and 'steps'."""
    self._environment = environment
    self._actor = actor
    self._adder = adder
    self._loop = batch_actor.BatchLoop(
      environment,
      actor,
      adder,
      counter,
      observers.make(environment),
      should_stop,
    )

  def act(self) -> list[dict[str, Any]]:
    """Takes a step, and gives the results of the episodes that it ended."""
    return [result for _, result in self._loop.step()]

  def flush(self) -> None:
    """Waits until replay has all finished items."""
    self._adder.flush()

  def save(self) -> dict[str, Any]:
    """Random keys and, if all environments can be saved, their episodes."""
    environment = capabilities.save(self._environment)
    saved: dict[str, Any] = {'actor': self._actor.save()}
    if capabilities.is_whole(environment):
      saved |= {
        'environment': environment,
        'loop': self._loop.save(),
        'adder': self._adder.save(),
      }
    return saved

  def restore(self, saved: dict[str, Any]) -> None:
    """Continues from what `save` gave, else with new episodes."""
    self._actor.restore(saved['actor'])
    if 'loop' in saved:
      capabilities.restore(self._environment, saved['environment'])
      self._loop.restore(saved['loop'])
      self._adder.restore(saved['adder'])

  def close(self) -> None:
    """Closes the connection to replay."""
    self._adder.close()


def make(
  environment: interruptible.Environment,
  builder: builder_lib.SkillBuilder,
  policy: acting.ActorCore,
  seeds: Sequence[int],
  replay_client: acme_api.reverb.Client,
  source: acme_api.core.VariableSource | Callable[[Any, Any, Any], Any],
  counter: acme_api.counting.Counter,
  should_stop: stalls.ShouldStop,
) -> Actor:
  """Makes the actor of an environment, or of several.

  Args:
    environment: where it acts.
    builder: of its agent.
    policy: that it follows.
    seeds: one for each environment.
    replay_client: of the server that it writes to.
    source: the learner, or what computes `select_action` of the policy, or of
      `acting.batch` of it, without variables.
    counter: counts its 'episodes' and 'steps'.
    should_stop: whether several environments are to stop.
  """
  keys = [jax.random.PRNGKey(seed) for seed in seeds]
  if not isinstance(environment, dm_env.Environment):
    if isinstance(source, acme_api.core.VariableSource):
      actor = builder.make_batch_actor(keys, policy, source)
    else:
      core = acting.BatchCore(acting.batch(policy).init, source)
      actor = batch_actor.BatchActor(core, np.stack(keys), None, jit=False)
    adder = builder.make_batch_adder(replay_client)
    return Batch(environment, actor, adder, counter, should_stop)
  [key] = keys
  adder = builder.make_adder(replay_client)
  if isinstance(source, acme_api.core.VariableSource):
    actor = builder.make_actor(key, policy, adder, source)
  else:
    core = acme_api.actor_core.ActorCore(
      jax.jit(policy.init), source, policy.get_extras
    )
    actor = builder_lib.SkillActor(core, key, None, adder, jit=False)
  return Single(environment, actor, adder, counter)
