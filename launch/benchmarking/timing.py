"""Timing of compiled calls, and the operations that they consist of."""

from collections.abc import Callable
import concurrent.futures
import functools
import multiprocessing
import os
import time
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp

from skills import registry
from skills import types

LONG_S = 10.0  # A call that takes longer is timed once.


class Row(NamedTuple):
  """One measurement.

  Attributes:
    what: what was measured.
    speed: in `unit`.
    unit: of the speed.
    ratio: the speed beside its limits, in words.
  """

  what: str
  speed: float
  unit: str
  ratio: str


def best_seconds(call: Callable[[], Any], tries: int) -> float:
  """Shortest of several timings, after one call that compiles.

  A timing longer than `LONG_S` is the last one.
  """
  jax.block_until_ready(call())
  times = []
  while len(times) < tries and max(times, default=0.0) < LONG_S:
    started = time.perf_counter()
    jax.block_until_ready(call())
    times.append(time.perf_counter() - started)
  return min(times)


def repeated(step: Callable[[Any], Any], count: int) -> Callable[[Any], Any]:
  """A compiled loop of `count` steps."""
  return jax.jit(
    lambda state: jax.lax.fori_loop(0, count, lambda _, s: step(s), state)
  )


def updates_per_second(
  agent: registry.Agent,
  state: Any,
  trajectory: types.Trajectory,
  tries: int,
  *,
  num_calls: int,
  updates_per_call: int,
) -> float:
  """Speed of the bare update, on the same batch each time.

  Args:
    agent: whose learner is timed.
    state: of the learner, at first.
    trajectory: the batch.
    tries: timings, of which the best counts.
    num_calls: calls of the compiled function in each timing.
    updates_per_call: updates in each call.
  """
  update = repeated(
    lambda s: agent.learner.update(s, trajectory)[0], updates_per_call
  )

  def run() -> Any:
    result = state
    for _ in range(num_calls):
      result = update(result)
    return result

  return num_calls * updates_per_call / best_seconds(run, tries)


def products_per_second(size: int, tries: int) -> float:
  """Floating-point operations per second of a product of square matrices."""
  matrix = jnp.ones((size, size))
  # A chain, which keeps the device as busy as layers do.
  calls = 200
  chain = jax.jit(
    lambda x: jax.lax.fori_loop(0, calls, lambda _, y: matrix @ y / size, x)
  )
  seconds = best_seconds(functools.partial(chain, matrix), tries)
  return calls * 2 * size**3 / seconds


def count_operations(call: Callable[..., Any], *args: Any) -> float:
  """Floating-point operations in a call, as the compiler counts them."""
  cost: Any = jax.jit(call).lower(*args).compile().cost_analysis()
  return cost['flops']


def random_batch(agent: registry.Agent, state: Any) -> types.Trajectory:
  """A batch of random observations and the agent's actions for them.

  Args:
    agent: its acting policy keeps no memory of a skill.
    state: of its learner.
  """
  config, problem = agent.config, agent.problem
  shape = (config.skill_length, config.batch_size)
  key = jax.random.PRNGKey(0)
  observation_shape = (shape[0] + 1, shape[1], *problem.observation_shape)
  if problem.observation_dtype == 'uint8':
    observation = jax.random.bits(key, observation_shape, jnp.uint8)
  else:
    observation = jax.random.normal(key, observation_shape)
  ones = jnp.ones(shape)
  skill = jnp.zeros(shape, jnp.int32)
  action, memory = agent.acting_policy.select_action(
    agent.learner.variables(state),
    observation[:-1],
    skill,
    agent.acting_policy.init(),
    jax.random.uniform(key, (*shape, agent.acting_policy.num_uniforms)),
  )
  return types.Trajectory(
    observation=observation,
    action=action,
    reward=ones,
    discount=ones,
    skill=skill,
    mask=ones,
    extras=agent.acting_policy.get_extras(memory),
  )


def on_cores(cores: set[int], measure: Callable[..., Any], *args: Any) -> Any:
  """Measures in a process of its own, on some of the machine's cores.

  Its libraries make as many threads as it has cores from the start on.
  """
  with concurrent.futures.ProcessPoolExecutor(
    1,
    mp_context=multiprocessing.get_context('spawn'),
    initializer=os.sched_setaffinity,
    initargs=(0, cores),
  ) as pool:
    return pool.submit(measure, *args).result()
