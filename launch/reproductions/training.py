"""Training on device, for agents that are compared."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import itertools
from typing import Any
from typing import NamedTuple

import jax
import numpy as np

from launch.reproductions import parallel
from launch.runs import experiment as experiment_lib
from launch.training import on_device
from skills import registry
from skills import types
from skills.evaluation import measure


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
  """One agent of a comparison.

  Attributes:
    agent: name of its preset.
    environment: name of the environment.
    settings: changes to the preset, by path.
    num_updates: of training.
    options: of the environment.
  """

  agent: str
  environment: str
  settings: tuple[tuple[str, Any], ...]
  num_updates: int
  options: tuple[tuple[str, Any], ...] = ()


# A run's result is the mean over this many evaluations at its end, so that it
# does not depend on a single one.
_LAST_EVALUATIONS = 5
_EVALUATIONS = 50
_EVALUATION_EPISODES = 1024
_RETURN_EPISODES = 128


class Compiled(NamedTuple):
  """A variant's environment, agent and compiled functions."""

  environment: Any
  agent: registry.Agent
  init: Callable[[jax.Array], on_device.OnDeviceState]
  step: Callable[[on_device.OnDeviceState], on_device.OnDeviceState]
  evaluate: Callable[
    [on_device.OnDeviceState, jax.Array, int], types.Trajectory
  ]


@functools.lru_cache
def compiled(variant: Variant) -> Compiled:
  """Compiles a variant once for all the seeds of a process."""
  experiment = experiment_lib.make(
    agent=variant.agent,
    environment=variant.environment,
    environment_options=dict(variant.options),
    settings=dict(variant.settings),
    num_steps=1,
    output_dir='unused',
  )
  environment: Any = experiment.make_environment(0)
  problem = experiment_lib.problem_of(environment)
  agent = registry.make_agent(experiment.config, problem)
  program = on_device.make(agent, environment.functional())
  size = variant.num_updates // _EVALUATIONS
  return Compiled(
    environment,
    agent,
    jax.jit(program.init),
    jax.jit(lambda state: program.train(state, size)[0], donate_argnums=0),
    jax.jit(program.evaluate, static_argnums=2),
  )


def states(
  variant: Variant, seed: int
) -> Iterator[tuple[on_device.OnDeviceState, jax.Array]]:
  """Trains, and yields the state and a random key for each evaluation."""
  program = compiled(variant)
  key = jax.random.PRNGKey(seed)
  state = program.init(key)
  for i in range(1, _EVALUATIONS + 1):
    state = program.step(state)
    yield state, jax.random.fold_in(key, i)


def last_states(
  variant: Variant, seed: int
) -> Iterator[tuple[on_device.OnDeviceState, jax.Array]]:
  """The `states` of the last tenth of training."""
  first = _EVALUATIONS - _LAST_EVALUATIONS
  return itertools.islice(states(variant, seed), first, None)


def evaluated_at(variant: Variant) -> list[int]:
  """Numbers of updates at which `states` yields."""
  size = variant.num_updates // _EVALUATIONS
  return [i * size for i in range(1, _EVALUATIONS + 1)]


def means(curve: Sequence[Mapping[str, float]]) -> dict[str, float]:
  """Mean of each number over evaluations."""
  return {
    name: float(np.mean([row[name] for row in curve])) for name in curve[0]
  }


@functools.lru_cache
def _count_skills(
  variant: Variant,
) -> Callable[[on_device.OnDeviceState, jax.Array], Any]:
  """The number of skills learned, from fresh trajectories."""
  program = compiled(variant)
  measured = measure.measure(program.agent.objective, program.agent.problem)

  def skills_learned(
    state: on_device.OnDeviceState, key: jax.Array
  ) -> jax.Array:
    trajectory = program.evaluate(state, key, _EVALUATION_EPISODES)
    return measured(state.learner.objective, trajectory)['skills_learned']

  return jax.jit(skills_learned)


def train(variant: Variant, seed: int) -> dict[str, Any]:
  """Trains a variant and counts the skills that it learned.

  Returns:
    `skills_learned`: the mean over the last tenth of training; `updates` and
    `curve`: the evaluations behind it.
  """
  count_skills = _count_skills(variant)
  curve = [
    float(count_skills(state, key)) for state, key in states(variant, seed)
  ]
  return {
    'skills_learned': float(np.mean(curve[-_LAST_EVALUATIONS:])),
    'updates': evaluated_at(variant),
    'curve': curve,
  }


def train_for_return(variant: Variant, seed: int) -> dict[str, Any]:
  """Trains a variant that learns a task.

  Returns:
    `final`: mean return of an episode over the last tenth of training, acting
    as in evaluation; `mean`: the same over all of training; `updates` and
    `curve`: the evaluations behind them.
  """
  program = compiled(variant)
  curve = []
  for state, key in states(variant, seed):
    trajectory = program.evaluate(state, key, _RETURN_EPISODES)
    total = np.sum(np.asarray(trajectory.reward * trajectory.mask))
    curve.append(float(total) / _RETURN_EPISODES)
  return {
    'final': float(np.mean(curve[-_LAST_EVALUATIONS:])),
    'mean': float(np.mean(curve)),
    'updates': evaluated_at(variant),
    'curve': curve,
  }


@functools.lru_cache
def _exploring(
  variant: Variant,
) -> Callable[[on_device.OnDeviceState, jax.Array, int], types.Trajectory]:
  """Makes fresh trajectories by the acting policy of training."""
  program = compiled(variant)
  agent = program.agent._replace(
    evaluation_acting_policy=program.agent.acting_policy
  )
  exploring = on_device.make(agent, program.environment.functional())
  return jax.jit(exploring.evaluate, static_argnums=2)


def train_for_coverage(variant: Variant, seed: int) -> dict[str, Any]:
  """Trains a variant and counts the states that it visits.

  Each evaluation is one batch of fresh trajectories by the acting policy of
  training; observations are indices of states.

  Returns:
    `curve`: number of states visited up to each evaluation; `final`: the last
    of it; `mean`: its mean; `updates`: of training before each evaluation.
  """
  batch_size = compiled(variant).agent.config.batch_size
  explore = _exploring(variant)
  visited: set[int] = set()
  curve = []
  for state, key in states(variant, seed):
    trajectory = explore(state, key, batch_size)
    visited.update(np.unique(trajectory.observation).tolist())
    curve.append(len(visited))
  return {
    'final': curve[-1],
    'mean': float(np.mean(curve)),
    'updates': evaluated_at(variant),
    'curve': curve,
  }


def train_all(
  variants: Mapping[str, Variant],
  request: parallel.Request,
  train_one: Callable[[Variant, int], dict[str, Any]] = train,
) -> parallel.Runs:
  """Trains each variant from each seed, in processes of one core each."""
  jobs = {
    name: functools.partial(train_one, variant)
    for name, variant in variants.items()
  }
  return parallel.run_all(jobs, request)
