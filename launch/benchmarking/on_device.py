"""The full update on the release grid, as one compiled program on one core.

16 trajectories of 8 steps, two value streams, two discriminators: its speed,
where its time goes, and many seeds at once.
"""

from collections.abc import Callable
import functools
from typing import Any

import jax
import jax.numpy as jnp

from envs import functional as functional_lib
from launch.benchmarking import release_grid
from launch.benchmarking import timing
from launch.runs import experiment as experiment_lib
from launch.training import on_device
from skills import registry

# What the authors' own tabular release does on one core of such a machine.
_RELEASE_UPDATES_PER_S = 2_000
_GOAL_UPDATES_PER_S = 10_000

UPDATES = 20_000
_SEEDS_AT_ONCE = 8


def rows(tries: int) -> list[timing.Row]:
  """One core, one compiled program."""
  experiment = release_grid.experiment('unused')
  environment: Any = experiment.make_environment(0)
  agent = registry.make_agent(
    experiment.config, experiment_lib.problem_of(environment)
  )
  functional = environment.functional()
  program = on_device.make(agent, functional)
  state = jax.jit(program.init)(jax.random.PRNGKey(0))
  train = jax.jit(lambda state: program.train(state, UPDATES)[0])
  alone = timing.best_seconds(lambda: train(state), tries) / UPDATES

  states = jax.vmap(program.init)(
    jax.random.split(jax.random.PRNGKey(0), _SEEDS_AT_ONCE)
  )
  num_updates = UPDATES // 4
  train_all = jax.jit(
    jax.vmap(lambda state: program.train(state, num_updates)[0])
  )
  together = timing.best_seconds(lambda: train_all(states), tries) / num_updates
  speed = 1 / alone
  return [
    timing.Row(
      'full update, one seed',
      speed,
      'updates/s',
      f"{speed / _RELEASE_UPDATES_PER_S:.1f} x the authors' release "
      f'({_RELEASE_UPDATES_PER_S:,}); {speed / _GOAL_UPDATES_PER_S:.1f} x the '
      f'goal ({_GOAL_UPDATES_PER_S:,})',
    ),
    *_parts(agent, functional, program, state, alone, tries),
    timing.Row(
      f'{_SEEDS_AT_ONCE} seeds at once',
      _SEEDS_AT_ONCE / together,
      'updates/s in all',
      f'costs {together / alone:.1f} x one seed, '
      f'{together / alone / _SEEDS_AT_ONCE:.2f} of their sum',
    ),
  ]


def _parts(
  agent: registry.Agent,
  functional: functional_lib.FunctionalEnvironment,
  program: on_device.Program,
  state: on_device.OnDeviceState,
  whole: float,
  tries: int,
) -> list[timing.Row]:
  """Where an update's time goes; parts overlap when compiled together."""
  learner, objective = state.learner, agent.objective
  trajectory = program.evaluate(state, state.key, agent.config.batch_size)
  skill = trajectory.skill[0]
  acting_policy = agent.acting_policy
  uniform = jnp.ones((*trajectory.action.shape, acting_policy.num_uniforms))
  variables = agent.learner.variables(learner)

  def act(start):
    _, end = on_device.rollout(
      acting_policy, functional, variables, start, skill, uniform, state.key
    )
    return end

  def rewards(objective_state):
    # Feeds the rewards back, or the loop would be computed once.
    total = jnp.sum(objective.reward(objective_state, trajectory))
    return jax.tree.map(lambda x: x + 1e-20 * total, objective_state)

  def random_numbers(key):
    shape = (on_device.BLOCK, *uniform.shape)
    drawn = jax.random.uniform(key, shape).sum()
    return key + (drawn < 0).astype(key.dtype)

  steps: list[tuple[str, Callable[[Any], Any], Any, int]] = [
    (
      'acting: 8 steps of 16 environments',
      act,
      (state.environments, state.memory),
      1,
    ),
    ('random numbers', random_numbers, state.key, on_device.BLOCK),
    ('rewards of both streams', rewards, objective.init(state.key), 1),
    (
      'discriminators: gradient and step',
      lambda s: objective.update(s, trajectory, state.key)[0],
      learner.objective,
      1,
    ),
    (
      'learning in all: rewards, discriminators, values',
      lambda s: agent.learner.update(s, trajectory)[0],
      learner,
      1,
    ),
  ]
  found = []
  for name, step, start, updates_per_call in steps:
    loop = timing.repeated(step, UPDATES // updates_per_call)
    call = functools.partial(loop, start)
    seconds = timing.best_seconds(call, tries) / UPDATES
    found.append(
      timing.Row(
        f'  {name}', 1e6 * seconds, 'us/update', f'{seconds / whole:.0%} of it'
      )
    )
  return found
