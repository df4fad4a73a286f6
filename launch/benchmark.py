"""Measures speed, and prints it beside its limits.

  python -m launch.benchmark
  python -m launch.benchmark --only=distributed

The device is the CPU, but for the last part, and the world that of the release
grid, but for the last three. Parts, and their time on two cores:

  on_device    the full update (16 trajectories of 8 steps, two value streams,
               two discriminators) on one core, where its time goes, and many
               seeds at once; a minute
  local        a run in one process; half a minute
  distributed  a program of processes with 1, 2 and 4 actors, with an inference
               server and without; three to five minutes
  control      DIAYN on control:walker_stand in one process: 16 skills, two
               hidden layers of 256, an update of 256 transitions (4 skills of
               64 steps) for every two environment steps; a minute
  pixels       DIAYN on atari:pong and DISDAIN on atari:montezuma_revenge, from
               pictures, as their presets are; four minutes
  model_value  the update of the learner with a model, with perceptrons and
               with a residual network, on one core and whatever device JAX
               has; two minutes

Runs are shown as ratios to limits that the same command measures on one core:
the bare environment loop, the bare update, and a writer that only writes to
Reverb, through the suite's adder. Limits and everything on device are the best
of several tries, for what else a machine does only ever makes them slower; but
what takes longer than ten seconds, as a residual network's update does on one
core, is timed once. A run is measured once, over ten seconds, when all its
parts are at work; it neither evaluates nor saves then.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import concurrent.futures
import dataclasses
import functools
import itertools
import multiprocessing
import os
import pathlib
import signal
import tempfile
import time
from typing import Any
from typing import NamedTuple

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np
from rich import table as rich_table

from envs import atari
from launch.cli import command
from launch.runs import experiment as experiment_lib
from launch.runs import run_record
from launch.training import on_device
from skills import checks
from skills import files
from skills import registry
from skills import types

PARTS = (
  'on_device',
  'local',
  'distributed',
  'control',
  'pixels',
  'model_value',
)

_TRIES = flags.DEFINE_integer('tries', 5, 'Tries, of which the best counts.')
_ONLY = flags.DEFINE_list(
  'only', list(PARTS), f'Parts to measure: {",".join(PARTS)}.'
)
_JSON = flags.DEFINE_string(
  'json', None, 'Also write the numbers to this file.'
)

# What the authors' own tabular release does on one core of such a machine.
_RELEASE_UPDATES_PER_S = 2_000
_GOAL_UPDATES_PER_S = 10_000
_GOAL_CONTROL_STEPS_PER_S = 1_000
_GOAL_CONTROL_UPDATES_PER_S = 500

_UPDATES = 20_000
_SEEDS_AT_ONCE = 8
_LOOP_STEPS = 8_000
_LEARNER_STEPS = 200
_ITEMS = 1_000
_WARM_UPDATES = 1_000
_RUN_S = 10.0
_LONG_S = 10.0  # What takes longer is timed once.
_READ_EVERY_S = 0.2
_NUM_ACTORS = (1, 2, 4)

_CONTROL = 'control:walker_stand'
_CONTROL_STEPS = 4_000
# 4 x 64 transitions an update, each of them learned from 128 times: an update
# for two steps, but for the last skill of an episode, which is a shorter one.
_CONTROL_WIDTH = 256
_CONTROL_SETTINGS = {
  'num_skills': 16,
  'skill_length': 64,
  'batch_size': 4,
  'updates_per_step': 16,
  'network.hidden_sizes': (_CONTROL_WIDTH,) * 2,
  'objective.discriminator.hidden_sizes': (_CONTROL_WIDTH,) * 2,
  'replay.kind': 'uniform',
  'replay.capacity': 10_000,
  'replay.min_size': 64,
  'replay.samples_per_insert': 128,
}

_PIXELS = (('diayn', 'atari:pong'), ('disdain', 'atari:montezuma_revenge'))
_PIXELS_WARM_UPDATES = 2  # They take seconds.
_PIXELS_STEPS = 1_000

# Worlds in which updates of the learner with a model are timed, with their
# options and how many updates are timed at once: of perceptrons, and of a
# residual network.
_MODEL_WORLDS: tuple[tuple[str, dict[str, Any], int], ...] = (
  ('classic:catch', {'observation': 'board'}, 100),
  ('classic:cartpole', {}, 20),
  ('atari:pong', {}, 1),
)
# Sides of the matrices whose product shows what a device can do.
_PRODUCT_SIZES = {'cpu': 1024, 'gpu': 8192}
# Operations on floating-point numbers a second, by JAX's name of the device:
# data sheets' dense TF32, which is what JAX multiplies float32 with there.
_PEAKS = {
  'NVIDIA A100-SXM4-40GB': 156e12,
  'NVIDIA A100-SXM4-80GB': 156e12,
  'NVIDIA H100 80GB HBM3': 495e12,
  'NVIDIA H200': 495e12,
}

# What a row says.
_HEADINGS = ('what', 'speed', 'unit', 'ratio')
Row = tuple[str, float, str, str]
AnyRow = Row | Mapping[str, float]
Rows = Sequence[AnyRow]


class Counts(NamedTuple):
  """What a run has done; or, of speeds and limits, what it does per second.

  Attributes:
    steps: of environments.
    updates: of the learner.
    items: that were written to replay.
  """

  steps: float
  updates: float
  items: float


def best_seconds(call: Callable[[], Any], tries: int) -> float:
  """Shortest of several timings, after one call that compiles.

  There are no more after one that was longer than `_LONG_S`.
  """
  jax.block_until_ready(call())
  times = []
  while len(times) < tries and max(times, default=0.0) < _LONG_S:
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
    checkpoint_every_s=3600.0,
    output_dir=output_dir,
  )


def _control_experiment(output_dir: str) -> experiment_lib.Experiment:
  return experiment_lib.make(
    agent='diayn',
    environment=_CONTROL,
    settings=_CONTROL_SETTINGS,
    num_steps=10**9,
    checkpoint_every_s=3600.0,
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
  state: on_device.OnDeviceState,
  whole: float,
  tries: int,
) -> list[Row]:
  """Where an update's time goes; parts overlap when compiled together."""
  learner, objective = state.learner, agent.objective
  size = agent.config.batch_size
  trajectory = program.evaluate(state, state.key, size)
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
      'acting: 8 steps of 16 worlds',
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
  rows = []
  for name, step, start, per_call in steps:
    count = _UPDATES // per_call
    loop = repeated(step, count)
    seconds = best_seconds(functools.partial(loop, start), tries) / _UPDATES
    rows.append(
      (f'  {name}', 1e6 * seconds, 'us/update', f'{seconds / whole:.0%} of it')
    )
  return rows


def _fixed(variables: Any) -> Any:
  """A source of variables that never change."""
  from skills.agents import acme_api

  class Source(acme_api.core.VariableSource):
    def get_variables(self, names: Sequence[str]) -> list[Any]:
      return [variables for _ in names]

  return Source()


def measure_limits(tries: int) -> Counts:
  """The bare environment loop, the bare update, and one bare writer."""
  # Imported here: what is on device needs no Acme, whose import takes seconds.
  from skills.agents import acme_api
  from skills.agents import builder as builder_lib
  from skills.agents import learning

  experiment = _experiment('unused', 1)
  config = experiment.config
  environment: Any = experiment.make_environment(0)
  spec = acme_api.specs.make_environment_spec(environment)
  agent = builder_lib.make_agent(config, spec)
  key = jax.random.PRNGKey(0)
  state = agent.learner.init(key)

  loop = acme_api.environment_loop.EnvironmentLoop(
    environment,
    builder_lib.SkillBuilder(config).make_actor(
      key,
      agent.policy,
      variable_source=_fixed(learning.to_host(agent.learner.variables(state))),
    ),
    logger=acme_api.loggers.NoOpLogger(),
  )

  def run_loop() -> None:
    for _ in range(_LOOP_STEPS // config.skill_length):
      loop.run_episode()

  program = on_device.make(agent, environment.functional())
  trajectory = program.evaluate(program.init(key), key, config.batch_size)
  update = repeated(
    lambda s: agent.learner.update(s, trajectory)[0], config.updates_per_step
  )

  def run_updates() -> Any:
    result = state
    for _ in range(_LEARNER_STEPS):
      result = update(result)
    return result

  # Nobody samples what the writer writes.
  builder = builder_lib.SkillBuilder(
    dataclasses.replace(
      config, replay=dataclasses.replace(config.replay, samples_per_insert=None)
    )
  )
  extras = learning.to_host(agent.policy.get_extras(agent.policy.init(key)))
  action = spec.actions.generate_value()
  first = environment.reset()
  others = [environment.step(action) for _ in range(config.skill_length)]
  server = acme_api.reverb.Server(builder.make_replay_tables(spec))
  adder = builder.make_adder(acme_api.reverb.Client(f'localhost:{server.port}'))

  def write() -> None:
    for _ in range(_ITEMS):
      adder.add_first(first)
      for timestep in others:
        adder.add(action, timestep, extras)

  updates = _LEARNER_STEPS * config.updates_per_step
  try:
    return Counts(
      steps=_LOOP_STEPS / best_seconds(run_loop, tries),
      updates=updates / best_seconds(run_updates, tries),
      items=_ITEMS / best_seconds(write, tries),
    )
  finally:
    adder.close()
    server.stop()


def limit_rows(limits: Counts) -> list[Row]:
  """What runs are measured against."""
  return [
    ('bare loop: environment and policy', limits.steps, 'steps/s', 'limit'),
    ('bare update', limits.updates, 'updates/s', 'limit'),
    ('bare writer: one adder', limits.items, 'items/s', 'limit'),
  ]


def rate(readings: Sequence[tuple[float, float]]) -> float:
  """Speed of a count that is brought up to date now and then.

  Args:
    readings: seconds, and the count at that time.

  Returns:
    Per second, from the count's first change to its last.
  """
  changes = [
    new for old, new in itertools.pairwise(readings) if new[1] != old[1]
  ]
  if len(changes) < 2:
    return 0.0
  (began, first), (ended, last) = changes[0], changes[-1]
  return (last - first) / (ended - began)


class Meter:
  """Measures a run, once all its parts are at work."""

  def __init__(
    self,
    read: Callable[[], Counts | None],
    is_warm: Callable[[], bool] = lambda: True,
    seconds: float | None = None,
    warm_updates: int | None = None,
  ):
    """Initialises the meter.

    Args:
      read: what the run has done so far; None if that is not known.
      is_warm: whether all parts are at work, asked once the learner is.
      seconds: to measure; None for those of most runs.
      warm_updates: after which the learner counts as at work; likewise.
    """
    self._seconds = _RUN_S if seconds is None else seconds
    self._warm_updates = _WARM_UPDATES if warm_updates is None else warm_updates
    self._read = read
    self._is_warm = is_warm
    self._readings: list[tuple[float, Counts]] = []

  def look(self) -> bool:
    """Reads the counts; whether that was enough."""
    counts = self._read()
    if counts is None:
      return False
    if not self._readings and not (
      counts.updates >= self._warm_updates and self._is_warm()
    ):
      return False
    self._readings.append((time.perf_counter(), counts))
    return self.is_done

  @property
  def is_done(self) -> bool:
    """Whether there was enough to read."""
    times = [when for when, _ in self._readings]
    return bool(times) and times[-1] - times[0] >= self._seconds

  def speeds(self) -> Counts:
    """Of all looks together."""
    times = [when for when, _ in self._readings]
    columns = zip(*(counts for _, counts in self._readings), strict=True)
    return Counts(*(rate(list(zip(times, column))) for column in columns))


def _counts(counted: Mapping[str, Any], client: Any) -> Counts | None:
  """Of a run's counter and its replay server, if that answers."""
  from skills.agents.replay import tables as replay_tables

  stats = replay_tables.stats(client)
  if stats is None:
    return None
  return Counts(counted['actor_steps'], counted['learner_steps'], stats.inserts)


def updates_per_step(experiment: experiment_lib.Experiment) -> float:
  """What the ratio of samples to inserts asks of the learner.

  It holds where an episode is one skill, and so one item.
  """
  config = experiment.config
  samples_per_insert: Any = config.replay.samples_per_insert
  return samples_per_insert / (config.batch_size * config.skill_length)


def measure_run(
  experiment: experiment_lib.Experiment,
  seconds: float | None = None,
  warm_updates: int | None = None,
) -> Counts:
  """Speeds of Acme's loop and Reverb, in one process on all cores.

  Args:
    experiment: what to run, longer than is measured.
    seconds: to measure, as `Meter` takes it.
    warm_updates: the same.
  """
  from launch.training import local

  experiment_lib.save(experiment)
  run = local.Run(experiment)
  try:
    meter = Meter(
      lambda: _counts(run.counts(), run.client),
      seconds=seconds,
      warm_updates=warm_updates,
    )
    run.start()
    while not meter.look():
      time.sleep(_READ_EVERY_S)
    return meter.speeds()
  finally:
    run.close()


def local_rows(limits: Counts) -> list[Row]:
  """A run in one process, beside its limits."""
  with tempfile.TemporaryDirectory() as folder:
    experiment = _experiment(folder, 10**9)
    speeds = measure_run(experiment)
  asked = updates_per_step(experiment)
  in_turn = 1 / (1 / limits.steps + asked / limits.updates)
  return [
    (
      'whole run: steps',
      speeds.steps,
      'steps/s',
      f'{speeds.steps / limits.steps:.2f} of the bare loop, '
      f'{speeds.steps / in_turn:.2f} of loop and updates in turn',
    ),
    (
      'whole run: updates',
      speeds.updates,
      'updates/s',
      f'{speeds.updates / limits.updates:.3f} of the bare update, '
      f'{speeds.updates / (asked * speeds.steps):.2f} of those asked for '
      f'({asked:g} a step)',
    ),
    (
      'whole run: items',
      speeds.items,
      'items/s',
      f'{speeds.items / limits.items:.2f} of the bare writer',
    ),
  ]


class ControlLimits(NamedTuple):
  """What a run on a control task cannot exceed; per second.

  Attributes:
    world: environment steps with random actions.
    loop: environment steps with the policy, learning nothing.
    updates: of the learner, on the same batch.
    products: updates, if all of their operations were as fast as those of a
      product of matrices of a batch and a layer.
    operations: on floating-point numbers in an update, as the compiler counts
      them; not per second.
  """

  world: float
  loop: float
  updates: float
  products: float
  operations: float


def measure_products(size: int, tries: int) -> float:
  """Floating-point operations a second of a product of square matrices."""
  matrix = jnp.ones((size, size))
  # A chain, which keeps the device as busy as layers do.
  calls = 200
  chain = jax.jit(
    lambda x: jax.lax.fori_loop(0, calls, lambda _, y: matrix @ y / size, x)
  )
  seconds = best_seconds(lambda: chain(matrix), tries)
  return calls * 2 * size**3 / seconds


def made_up(agent: registry.Agent, state: Any) -> types.Trajectory:
  """A batch of what was never seen, with the actions that the agent would take.

  Args:
    agent: without skills' memory.
    state: of its learner.
  """
  config, problem = agent.config, agent.problem
  shape = (config.skill_length, config.batch_size)
  key = jax.random.PRNGKey(0)
  seen = (shape[0] + 1, shape[1], *problem.observation_shape)
  if problem.observation_dtype == 'uint8':
    observation = jax.random.bits(key, seen, jnp.uint8)
  else:
    observation = jax.random.normal(key, seen)
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
    observation,
    action,
    ones,
    ones,
    skill,
    ones,
    agent.acting_policy.get_extras(memory),
  )


def count_operations(call: Callable[..., Any], *args: Any) -> float:
  """Operations on floating-point numbers in a call, as the compiler counts."""
  cost: Any = jax.jit(call).lower(*args).compile().cost_analysis()
  return cost['flops']


def measure_control_limits(tries: int) -> ControlLimits:
  """The world alone, world and policy, and the bare update."""
  from skills.agents import acme_api
  from skills.agents import builder as builder_lib
  from skills.agents import learning

  experiment = _control_experiment('unused')
  config = experiment.config
  environment = experiment.make_environment(0)
  spec = acme_api.specs.make_environment_spec(environment)
  agent = builder_lib.make_agent(config, spec)
  key = jax.random.PRNGKey(0)
  state = agent.learner.init(key)
  actions = np.random.default_rng(0).uniform(
    -1, 1, (_CONTROL_STEPS, *spec.actions.shape)
  )

  def run_world() -> None:
    environment.reset()
    for action in actions:
      environment.step(action)

  loop = acme_api.environment_loop.EnvironmentLoop(
    environment,
    builder_lib.SkillBuilder(config).make_actor(
      key,
      agent.policy,
      variable_source=_fixed(learning.to_host(agent.learner.variables(state))),
    ),
    logger=acme_api.loggers.NoOpLogger(),
  )

  def run_loop() -> None:
    steps = 0
    while steps < _CONTROL_STEPS:
      steps += loop.run_episode()['episode_length']

  trajectory = made_up(agent, state)
  update = repeated(
    lambda s: agent.learner.update(s, trajectory)[0], config.updates_per_step
  )
  calls = 10

  def run_updates() -> Any:
    result = state
    for _ in range(calls):
      result = update(result)
    return result

  operations = count_operations(agent.learner.update, state, trajectory)
  return ControlLimits(
    world=_CONTROL_STEPS / best_seconds(run_world, tries),
    loop=_CONTROL_STEPS / best_seconds(run_loop, tries),
    updates=calls * config.updates_per_step / best_seconds(run_updates, tries),
    products=measure_products(_CONTROL_WIDTH, tries) / operations,
    operations=operations,
  )


def control_rows(one: ControlLimits, both: ControlLimits) -> list[Row]:
  """A run on a control task, beside its limits.

  Args:
    one: limits on one core.
    both: on all cores.
  """
  with tempfile.TemporaryDirectory() as folder:
    experiment = _control_experiment(folder)
    # Steps are counted by episodes, of 1000.
    speeds = measure_run(experiment, 3 * _RUN_S)
  config = experiment.config
  asked = updates_per_step(experiment)
  # Seconds of one core that a second of the run takes up.
  acting, learning = speeds.steps / one.loop, speeds.updates / one.updates
  return [
    ('world alone, one core', one.world, 'steps/s', 'limit'),
    ('world and policy, one core', one.loop, 'steps/s', 'limit'),
    ('bare update, one core', one.updates, 'updates/s', 'limit'),
    (
      'bare update, all cores',
      both.updates,
      'updates/s',
      f'limit; {both.updates / one.updates:.1f} x one core',
    ),
    (
      'its products, all cores',
      both.products,
      'updates/s',
      f'limit, {both.operations / 1e6:.0f} MFLOP an update; the goal of '
      f'{_GOAL_CONTROL_UPDATES_PER_S} is '
      f'{_GOAL_CONTROL_UPDATES_PER_S / both.products:.2f} of it',
    ),
    (
      'whole run: steps',
      speeds.steps,
      'steps/s',
      f'{speeds.steps / _GOAL_CONTROL_STEPS_PER_S:.2f} of the goal '
      f'({_GOAL_CONTROL_STEPS_PER_S:,}); acting takes {acting:.2f} cores',
    ),
    (
      'whole run: updates',
      speeds.updates,
      'updates/s',
      f'{speeds.updates / both.updates:.2f} of the bare update on all cores, '
      f'{speeds.updates / (speeds.steps * asked):.2f} of those asked for '
      f'({asked:g} a step); learning takes {learning:.2f} cores',
    ),
    (
      'whole run: samples',
      speeds.updates * config.batch_size,
      'skills/s',
      'from Reverb',
    ),
  ]


def pixels_rows(agent: str, environment: str, tries: int) -> list[Row]:
  """A run that learns from an Atari game's pictures, beside its world.

  Args:
    agent: what is trained.
    environment: the game.
    tries: of the world alone.
  """
  with tempfile.TemporaryDirectory() as folder:
    experiment = experiment_lib.make(
      agent=agent,
      environment=environment,
      num_steps=10**9,
      checkpoint_every_s=3600.0,
      output_dir=folder,
    )
    world = experiment.make_environment(0)
    actions = np.random.default_rng(0).integers(
      experiment.problem.num_actions or 0, size=_PIXELS_STEPS
    )

    def run_world() -> None:
      world.reset()
      for action in actions:
        world.step(int(action))

    alone = _PIXELS_STEPS / best_seconds(run_world, tries)
    speeds = measure_run(experiment, 6 * _RUN_S, _PIXELS_WARM_UPDATES)
  config = experiment.config
  # Steps are counted by episodes, which may be longer than this takes.
  steps = speeds.items * config.skill_length
  asked = steps * updates_per_step(experiment)
  frames = atari.ACTION_REPEAT
  return [
    (
      'world alone, one core',
      alone,
      'steps/s',
      f'limit; {frames * alone:,.0f} frames/s',
    ),
    (
      'whole run: steps',
      steps,
      'steps/s',
      f'{steps / alone:.3f} of the world alone; {frames * steps:,.0f} frames/s',
    ),
    (
      'whole run: updates',
      speeds.updates,
      'updates/s',
      f'{speeds.updates / asked:.2f} of those asked for '
      f'({updates_per_step(experiment):g} a step)',
    ),
  ]


def model_value_rows(tries: int) -> list[Row]:
  """Updates of the learner with a model, on whatever device JAX has."""
  device = jax.devices()[0]
  size = _PRODUCT_SIZES.get(device.platform, max(_PRODUCT_SIZES.values()))
  products = measure_products(size, tries)
  peak = _PEAKS.get(device.device_kind)
  rows: list[Row] = [
    (
      f'products of {size}x{size} on {device.device_kind}',
      products / 1e9,
      'GFLOP/s',
      'limit' if peak is None else f'{products / peak:.2f} of the data sheet',
    )
  ]
  for world, options, count in _MODEL_WORLDS:
    experiment = experiment_lib.make(
      agent='muesli',
      environment=world,
      environment_options=options,
      num_steps=1,
      output_dir='unused',
    )
    config = experiment.config
    agent = registry.make_agent(config, experiment.problem)
    state = agent.learner.init(jax.random.PRNGKey(0))
    trajectory = made_up(agent, state)
    operations = count_operations(agent.learner.update, state, trajectory)
    update = repeated(
      lambda s, agent=agent, trajectory=trajectory: agent.learner.update(
        s, trajectory
      )[0],
      count,
    )
    seconds = best_seconds(functools.partial(update, state), tries) / count
    speed = operations / seconds
    share = f'{speed / products:.2f} of the products'
    if peak is not None:
      share += f', {speed / peak:.3f} of the data sheet'
    rows += [
      (
        f'{world}, {config.batch_size} x {config.skill_length} steps',
        1 / seconds,
        'updates/s',
        f'{1e3 * seconds:.3g} ms, {operations / 1e6:,.0f} MFLOP an update',
      ),
      ('  its operations', speed / 1e9, 'GFLOP/s', share),
    ]
  return rows


def measure_program(num_actors: int, num_inference_servers: int) -> Counts:
  """Speeds of a program of processes.

  Raises:
    ProgramError: if a node failed.
    KeyboardInterrupt: if a signal ended it before it was measured.
  """
  from launch.distributed import launcher as launcher_lib
  from launch.distributed import program as program_lib
  from launch.distributed import run as distributed_run
  from launch.runs import run_loggers
  from skills.agents import acme_api

  with (
    tempfile.TemporaryDirectory() as name,
    command.caught_signals() as received,
  ):
    folder = pathlib.Path(name)
    experiment = _experiment(name, 10**9)
    experiment_lib.save(experiment)
    program = program_lib.make(
      experiment,
      program_lib.Topology(
        num_actors=num_actors,
        num_inference_servers=num_inference_servers,
        num_evaluators=0,
      ),
      linger_s=0.0,
    )
    launcher = launcher_lib.Launcher(
      program,
      distributed_run.ALONE,
      # What was measured shall not be lost to a late node.
      launcher_lib.Settings(stop_timeout_s=60.0),
      folder,
      {},
    )
    counter = program.counter.dereference()
    server: Any = program.program.groups['replay'][0]
    client = acme_api.reverb.Client(server.reverb_address.resolve())

    def read() -> Counts | None:
      question = counter.futures.status()
      try:
        status = question.result(timeout=1)
      except concurrent.futures.TimeoutError:  # It still starts.
        question.cancel()
        return None
      return _counts(status['counts'], client)

    def all_act() -> bool:
      logs = [
        folder / f'actor-{i}' / run_loggers.METRICS_FILE
        for i in range(num_actors)
      ]
      return all(log.exists() and log.stat().st_size for log in logs)

    meter = Meter(read, all_act)

    def look() -> None:
      if meter.look():
        received.append(signal.SIGTERM)

    launcher.run(received, look)
    if not meter.is_done:
      raise KeyboardInterrupt
  return meter.speeds()


def distributed_row(
  num_actors: int,
  num_inference_servers: int,
  speeds: Counts,
  limits: Counts,
  num_cores: int,
) -> dict[str, float]:
  """Speeds of a program beside their limits."""
  loops = min(num_actors, num_cores)
  asked = updates_per_step(_experiment('unused', 1)) * speeds.steps
  return {
    'actors': num_actors,
    'inference servers': num_inference_servers,
    'steps/s': speeds.steps,
    'of a loop an actor': speeds.steps / (num_actors * limits.steps),
    'of a loop a core': speeds.steps / (loops * limits.steps),
    'updates/s': speeds.updates,
    'of bare update': speeds.updates / limits.updates,
    'of asked': speeds.updates / asked,
    'items/s': speeds.items,
    'of bare writer': speeds.items / limits.items,
  }


def distributed_rows(limits: Counts, num_cores: int) -> list[dict[str, float]]:
  """Programs with more and more actors, on all cores of this machine."""
  return [
    distributed_row(
      num_actors,
      num_inference_servers,
      measure_program(num_actors, num_inference_servers),
      limits,
      num_cores,
    )
    for num_inference_servers in (0, 1)
    for num_actors in _NUM_ACTORS
  ]


def _on_cores(cores: set[int], measure: Callable[..., Any], *args: Any) -> Any:
  """Measures in a process of its own.

  Its libraries make as many threads as it has cores from the start on.
  """
  with concurrent.futures.ProcessPoolExecutor(
    1,
    mp_context=multiprocessing.get_context('spawn'),
    initializer=os.sched_setaffinity,
    initargs=(0, cores),
  ) as pool:
    return pool.submit(measure, *args).result()


def _table(title: str, rows: Rows) -> rich_table.Table:
  """One section as it is printed."""
  table = rich_table.Table(title=title, title_justify='left')
  for heading in _headings(rows[0]):
    if heading in ('what', 'unit', 'ratio'):
      table.add_column(heading)
    else:
      # Headings break between words only, and numbers nowhere.
      width = max(7, *map(len, heading.split()))
      table.add_column(heading, justify='right', width=width)
  for row in rows:
    table.add_row(*_cells(row))
  return table


def _headings(row: AnyRow) -> list[str]:
  return list(row) if isinstance(row, Mapping) else list(_HEADINGS)


def _cells(row: AnyRow) -> list[str]:
  if not isinstance(row, Mapping):
    name, value, unit, ratio = row
    return [name, _speed(value), unit, ratio]
  return [
    _speed(value) if name.endswith('/s') else f'{value:.2g}'
    for name, value in row.items()
  ]


def _speed(value: float) -> str:
  return f'{value:,.{1 if value < 100 else 0}f}'


def main(argv: Sequence[str]) -> int:
  """Measures and prints."""
  with command.exit_on_user_error():
    if len(argv) > 1:
      raise ValueError(f'unexpected argument {argv[1]!r}.')
    if _TRIES.value < 1:
      raise ValueError(f'--tries must be >= 1, got {_TRIES.value}.')
    for part in _ONLY.value:
      checks.one_of('part', part, PARTS)
  cores = os.sched_getaffinity(0)
  one_core = {min(cores)}
  on_all = f'{len(cores)} cores'
  sections: dict[str, Rows] = {}

  def show(title: str, rows: Rows) -> None:
    sections[title] = rows
    command.console().print(_table(title, rows))

  if 'model_value' in _ONLY.value:
    rows = _on_cores(one_core, model_value_rows, _TRIES.value)
    show('a learner with a model, one core or one accelerator', rows)
  os.environ['JAX_PLATFORMS'] = 'cpu'
  if 'on_device' in _ONLY.value:
    rows = _on_cores(one_core, on_device_rows, _TRIES.value)
    show('on device, one core (release grid)', rows)
  if 'control' in _ONLY.value:
    rows = _on_cores(
      cores,
      control_rows,
      _on_cores(one_core, measure_control_limits, _TRIES.value),
      _on_cores(cores, measure_control_limits, _TRIES.value),
    )
    show(f'DIAYN on {_CONTROL}, {on_all}', rows)
  if 'pixels' in _ONLY.value:
    for agent, environment in _PIXELS:
      rows = _on_cores(cores, pixels_rows, agent, environment, _TRIES.value)
      show(f'{agent} on {environment}, {on_all}', rows)
  if set(_ONLY.value) & {'local', 'distributed'}:
    limits = _on_cores(one_core, measure_limits, _TRIES.value)
    show('limits, one core (release grid)', limit_rows(limits))
    if 'local' in _ONLY.value:
      rows = _on_cores(cores, local_rows, limits)
      show(f'Acme and Reverb, {on_all} (release grid)', rows)
    if 'distributed' in _ONLY.value:
      rows = _on_cores(cores, distributed_rows, limits, len(cores))
      show(f'Launchpad, {on_all} (release grid)', rows)
  if _JSON.value:
    files.write_json(
      pathlib.Path(_JSON.value),
      {'versions': run_record.versions(), 'sections': sections},
    )
  return 0


if __name__ == '__main__':
  command.run(main)
