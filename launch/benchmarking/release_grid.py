"""DISDAIN on the release grid through Acme and Reverb, beside its limits."""

import concurrent.futures
import dataclasses
import pathlib
import signal
import tempfile
from typing import Any

import jax

from launch.benchmarking import bare
from launch.benchmarking import runs
from launch.benchmarking import timing
from launch.cli import command
from launch.distributed import launcher as launcher_lib
from launch.distributed import program as program_lib
from launch.distributed import run as distributed_run
from launch.runs import experiment as experiment_lib
from launch.runs import run_files
from launch.training import on_device
from skills.agents import acme_api
from skills.agents import builder as builder_lib
from skills.agents import learning

_LOOP_STEPS = 8_000
_LEARNER_CALLS = 200
_ITEMS = 1_000
_NUM_ACTORS = (1, 2, 4)
_NUM_ENVIRONMENTS = 32


def experiment(
  output_dir: str, num_environments: int = 1
) -> experiment_lib.Experiment:
  """The experiment of which all that is measured here is a part."""
  return runs.endless_experiment(
    'disdain',
    'grid:disdain_release',
    output_dir,
    num_environments=num_environments,
  )


def measure_limits(tries: int) -> runs.Counts:
  """The bare environment loop, the bare update, and one bare writer."""
  limited = experiment('unused')
  config = limited.config
  parts = bare.make(limited)
  environment: Any = parts.environment
  key = jax.random.PRNGKey(0)

  def run_loop() -> None:
    for _ in range(_LOOP_STEPS // config.skill_length):
      parts.loop.run_episode()

  program = on_device.make(parts.agent, environment.functional())
  return runs.Counts(
    steps=_LOOP_STEPS / timing.best_seconds(run_loop, tries),
    updates=timing.updates_per_second(
      parts.agent,
      parts.state,
      program.evaluate(program.init(key), key, config.batch_size),
      tries,
      num_calls=_LEARNER_CALLS,
      updates_per_call=config.updates_per_step,
    ),
    items=_items_per_second(parts, tries),
  )


def _items_per_second(parts: bare.Parts, tries: int) -> float:
  """Speed of one writer, from whose replay server nothing is sampled."""
  config, agent = parts.agent.config, parts.agent
  builder = builder_lib.SkillBuilder(
    dataclasses.replace(
      config,
      replay=dataclasses.replace(
        config.replay, updates_per_environment_step=None
      ),
    )
  )
  extras = learning.to_host(
    agent.policy.get_extras(agent.policy.init(jax.random.PRNGKey(0)))
  )
  action = parts.spec.actions.generate_value()
  first = parts.environment.reset()
  others = [parts.environment.step(action) for _ in range(config.skill_length)]
  server = acme_api.reverb.Server(builder.make_replay_tables(parts.spec))
  adder = builder.make_adder(acme_api.reverb.Client(f'localhost:{server.port}'))

  def write() -> None:
    for _ in range(_ITEMS):
      adder.add_first(first)
      for timestep in others:
        adder.add(action, timestep, extras)

  try:
    return _ITEMS / timing.best_seconds(write, tries)
  finally:
    adder.close()
    server.stop()


def limit_rows(limits: runs.Counts) -> list[timing.Row]:
  """What runs are measured against."""
  return [
    timing.Row(
      'bare loop: environment and policy', limits.steps, 'steps/s', 'limit'
    ),
    timing.Row('bare update', limits.updates, 'updates/s', 'limit'),
    timing.Row('bare writer: one adder', limits.items, 'items/s', 'limit'),
  ]


def local_rows(limits: runs.Counts) -> list[timing.Row]:
  """Runs in one process, beside their limits and each other."""
  one, several = _measure_local(1), _measure_local(_NUM_ENVIRONMENTS)
  number = _NUM_ENVIRONMENTS
  return [
    *run_rows(one, limits),
    timing.Row(
      f'{number} environments: steps',
      several.steps,
      'steps/s',
      f'{several.steps / one.steps:.1f} times those of one environment',
    ),
    timing.Row(
      f'{number} environments: updates',
      several.updates,
      'updates/s',
      f'{several.updates / limits.updates:.3f} of the bare update',
    ),
    timing.Row(
      f'{number} environments: items',
      several.items,
      'items/s',
      f'{several.items / limits.items:.2f} of the bare writer',
    ),
  ]


def _measure_local(num_environments: int) -> runs.Counts:
  with tempfile.TemporaryDirectory() as folder:
    return runs.measure_run(experiment(folder, num_environments))


def run_rows(speeds: runs.Counts, limits: runs.Counts) -> list[timing.Row]:
  """A run in one environment, beside its limits."""
  asked = runs.asked_updates(experiment('unused'))
  in_turn = 1 / (1 / limits.steps + asked / limits.updates)
  return [
    timing.Row(
      'whole run: steps',
      speeds.steps,
      'steps/s',
      f'{speeds.steps / limits.steps:.2f} of the bare loop, '
      f'{speeds.steps / in_turn:.2f} of loop and updates in turn',
    ),
    timing.Row(
      'whole run: updates',
      speeds.updates,
      'updates/s',
      f'{speeds.updates / limits.updates:.3f} of the bare update, '
      f'{speeds.updates / (asked * speeds.steps):.2f} of those asked for '
      f'({asked:g} a step)',
    ),
    timing.Row(
      'whole run: items',
      speeds.items,
      'items/s',
      f'{speeds.items / limits.items:.2f} of the bare writer',
    ),
  ]


def measure_program(num_actors: int, num_inference_servers: int) -> runs.Counts:
  """Speeds of a program of processes.

  Raises:
    ProgramError: if a node failed.
    KeyboardInterrupt: if a signal ended it before it was measured.
  """
  with (
    tempfile.TemporaryDirectory() as name,
    command.caught_signals() as received,
  ):
    folder = pathlib.Path(name)
    run = experiment(name)
    experiment_lib.save(run)
    program = program_lib.make(
      run,
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
      # The measurement must not be lost to a late node.
      launcher_lib.Settings(stop_timeout_s=60.0),
      folder,
      {},
    )
    counter = program.counter.dereference()
    server: Any = program.program.groups['replay'][0]
    client = acme_api.reverb.Client(server.reverb_address.resolve())

    def read() -> runs.Counts | None:
      question = counter.futures.status()
      try:
        status = question.result(timeout=1)
      except concurrent.futures.TimeoutError:  # It still starts.
        question.cancel()
        return None
      return runs.read_counts(status['counts'], client)

    def all_act() -> bool:
      logs = [
        folder / f'actor-{i}' / run_files.METRICS_FILE
        for i in range(num_actors)
      ]
      return all(log.exists() and log.stat().st_size for log in logs)

    meter = runs.Meter(read, all_act)

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
  speeds: runs.Counts,
  limits: runs.Counts,
  num_cores: int,
) -> dict[str, float]:
  """Speeds of a program beside their limits."""
  loops = min(num_actors, num_cores)
  asked = runs.asked_updates(experiment('unused')) * speeds.steps
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


def distributed_rows(
  limits: runs.Counts, num_cores: int
) -> list[dict[str, float]]:
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
