"""Measures speed, and prints it beside its limits.

  python -m launch.benchmark

On device: the release grid's full update (16 trajectories of 8 steps, two
value streams, two discriminators) on one core, where its time goes, and many
seeds at once. Through Acme and Reverb: environment steps and updates per
second of a whole run, as ratios to the bare environment loop and to the bare
update. Every speed is the best of several tries, for what else a machine does
only ever makes it slower.
"""

from collections.abc import Callable
from collections.abc import Sequence
import functools
import os
import pathlib
import tempfile
import time
from typing import Any

from absl import flags
import jax
import jax.numpy as jnp
from rich import table as rich_table

from launch import commands
from launch import experiment as experiment_lib
from launch import on_device
from launch import results
from skills import registry

_TRIES = flags.DEFINE_integer('tries', 5, 'Tries, of which the best counts.')
_JSON = flags.DEFINE_string(
  'json', None, 'Also write the numbers to this file.'
)

# What the authors' own tabular release does on one core of such a machine.
_RELEASE_UPDATES_PER_S = 2_000
_GOAL_UPDATES_PER_S = 10_000

_UPDATES = 20_000
_SEEDS_AT_ONCE = 8
_LOOP_STEPS = 8_000
_WARM_UPDATES = 1_000
_RUN_S = 10.0

Row = tuple[str, float, str, str]


def best_seconds(call: Callable[[], Any], tries: int) -> float:
  """Shortest of several timings, after one call that compiles."""
  jax.block_until_ready(call())
  times = []
  for _ in range(tries):
    started = time.perf_counter()
    jax.block_until_ready(call())
    times.append(time.perf_counter() - started)
  return min(times)


def repeated(step: Callable[[Any], Any], count: int) -> Callable[[Any], Any]:
  """A compiled loop of `count` steps."""
  return jax.jit(
    lambda state: jax.lax.fori_loop(0, count, lambda _, s: step(s), state)
  )


def _experiment(output_dir: str, num_steps: int) -> experiment_lib.Experiment:
  return experiment_lib.make(
    agent='disdain',
    environment='grid:disdain_release',
    num_steps=num_steps,
    output_dir=output_dir,
  )


def on_device_rows(tries: int) -> list[Row]:
  """One core, one compiled program."""
  experiment = _experiment('unused', 1)
  environment: Any = experiment.make_environment(0)
  agent = registry.make_agent(
    experiment.config, experiment_lib.problem_of(environment)
  )
  functional = environment.functional()
  program = on_device.make(agent, functional)
  state = jax.jit(program.init)(jax.random.PRNGKey(0))
  train = jax.jit(lambda state: program.train(state, _UPDATES)[0])
  alone = best_seconds(lambda: train(state), tries) / _UPDATES
  speed = 1 / alone
  rows: list[Row] = [
    (
      'full update, one seed',
      speed,
      'updates/s',
      f"{speed / _RELEASE_UPDATES_PER_S:.1f} x the authors' release "
      f'({_RELEASE_UPDATES_PER_S:,}); {speed / _GOAL_UPDATES_PER_S:.1f} x the '
      f'goal ({_GOAL_UPDATES_PER_S:,})',
    )
  ]
  rows += _parts(agent, functional, program, state, alone, tries)

  states = jax.vmap(program.init)(
    jax.random.split(jax.random.PRNGKey(0), _SEEDS_AT_ONCE)
  )
  together = jax.jit(
    jax.vmap(lambda state: program.train(state, _UPDATES // 4)[0])
  )
  side_by_side = best_seconds(lambda: together(states), tries) / (_UPDATES // 4)
  rows.append(
    (
      f'{_SEEDS_AT_ONCE} seeds at once',
      _SEEDS_AT_ONCE / side_by_side,
      'updates/s in all',
      f'costs {side_by_side / alone:.1f} x one seed, '
      f'{side_by_side / alone / _SEEDS_AT_ONCE:.2f} of their sum',
    )
  )
  return rows


def _parts(
  agent: registry.Agent,
  functional: Any,
  program: on_device.Program,
  state: on_device.State,
  whole: float,
  tries: int,
) -> list[Row]:
  """Where an update's time goes; parts overlap when compiled together."""
  learner, objective = state.learner, agent.objective
  size = agent.config.batch_size
  trajectory = program.evaluate(learner, state.key, size)
  skill = trajectory.skill[0]
  uniform = jnp.ones(trajectory.action.shape)
  variables = agent.learner.variables(learner)

  def act(start):
    _, end = on_device.rollout(
      agent, functional, variables, start, skill, uniform, 0.0, state.key
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
    ('acting: 8 steps of 16 worlds', act, state.environments, 1),
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
  rows = []
  for name, step, start, per_call in steps:
    count = _UPDATES // per_call
    loop = repeated(step, count)
    seconds = best_seconds(functools.partial(loop, start), tries) / _UPDATES
    rows.append(
      (f'  {name}', 1e6 * seconds, 'us/update', f'{seconds / whole:.0%} of it')
    )
  return rows


def acme_rows(tries: int) -> list[Row]:
  """Acme's loop and Reverb, in one process on all cores."""
  # Imported here: the other half needs no Acme, whose import takes seconds.
  from launch import local
  from skills.agents import acme_api
  from skills.agents import builder as builder_lib
  from skills.agents import learning

  with tempfile.TemporaryDirectory() as folder:
    experiment = _experiment(folder, 10**9)
    experiment_lib.save(experiment)
    environment: Any = experiment.make_environment(0)
    spec = acme_api.specs.make_environment_spec(environment)
    agent = builder_lib.make_agent(experiment.config, spec)
    config = experiment.config

    class Source(acme_api.core.VariableSource):
      """Variables that never change."""

      def __init__(self):
        state = agent.learner.init(jax.random.PRNGKey(0))
        self._variables = learning.to_host(agent.learner.variables(state))

      def get_variables(self, names: Sequence[str]) -> list[Any]:
        return [self._variables for _ in names]

    builder = builder_lib.SkillBuilder(config)
    loop = acme_api.environment_loop.EnvironmentLoop(
      environment,
      builder.make_actor(
        jax.random.PRNGKey(0), agent.policy, variable_source=Source()
      ),
      logger=acme_api.loggers.NoOpLogger(),
    )

    def run_loop() -> None:
      for _ in range(_LOOP_STEPS // config.skill_length):
        loop.run_episode()

    bare_steps = _LOOP_STEPS / best_seconds(run_loop, tries)

    state = agent.learner.init(jax.random.PRNGKey(0))
    trajectory = on_device.make(agent, environment.functional()).evaluate(
      state, state.key, config.batch_size
    )
    update = repeated(
      lambda s: agent.learner.update(s, trajectory)[0], config.updates_per_step
    )
    calls = 200

    def run_updates() -> Any:
      result = state
      for _ in range(calls):
        result = update(result)
      return result

    bare_updates = (
      calls * config.updates_per_step / best_seconds(run_updates, tries)
    )
    run = local.Run(experiment)
    try:
      speeds = _run_speeds(run)
    finally:
      run.close()
  ratio = speeds['updates_per_s'] / speeds['steps_per_s']
  limit = 1 / (1 / bare_steps + ratio / bare_updates)
  return [
    ('bare loop: environment and policy', bare_steps, 'steps/s', 'limit'),
    ('bare update', bare_updates, 'updates/s', 'limit'),
    (
      'whole run: steps',
      speeds['steps_per_s'],
      'steps/s',
      f'{speeds["steps_per_s"] / bare_steps:.2f} of the bare loop, '
      f'{speeds["steps_per_s"] / limit:.2f} of loop and updates in turn',
    ),
    (
      'whole run: updates',
      speeds['updates_per_s'],
      'updates/s',
      f'{speeds["updates_per_s"] / bare_updates:.2f} of the bare update '
      f'({ratio:.2f} a step are asked for)',
    ),
  ]


def _run_speeds(run: Any) -> dict[str, float]:
  """Steps and updates per second of a run, once everything is compiled."""
  run.start()
  while run.counts()['learner_steps'] < _WARM_UPDATES:
    time.sleep(0.1)
  before, started = run.counts(), time.perf_counter()
  time.sleep(_RUN_S)
  after, seconds = run.counts(), time.perf_counter() - started
  return {
    f'{unit}_per_s': (after[name] - before[name]) / seconds
    for name, unit in (('actor_steps', 'steps'), ('learner_steps', 'updates'))
  }


def main(argv: Sequence[str]) -> int:
  """Measures and prints."""
  with commands.users_mistakes():
    if len(argv) > 1:
      raise ValueError(f'unexpected argument {argv[1]!r}.')
    if _TRIES.value < 1:
      raise ValueError(f'--tries must be >= 1, got {_TRIES.value}.')
  affinity = os.sched_getaffinity(0)
  os.sched_setaffinity(0, {min(affinity)})
  sections = {'on device, one core': on_device_rows(_TRIES.value)}
  os.sched_setaffinity(0, affinity)
  sections[f'Acme and Reverb, {len(affinity)} cores'] = acme_rows(_TRIES.value)
  console = commands.console()
  for title, rows in sections.items():
    table = rich_table.Table(
      title=f'{title} (release grid)', title_justify='left'
    )
    table.add_column('what')
    table.add_column('speed', justify='right')
    table.add_column('unit')
    table.add_column('ratio')
    for name, value, unit, ratio in rows:
      digits = 1 if value < 100 else 0
      table.add_row(name, f'{value:,.{digits}f}', unit, ratio)
    console.print(table)
  if _JSON.value:
    results.write_json(
      pathlib.Path(_JSON.value),
      {'versions': results.versions(), 'sections': sections},
    )
  return 0


if __name__ == '__main__':
  commands.run(main)
