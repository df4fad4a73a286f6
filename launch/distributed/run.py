"""Runs an experiment through Launchpad, from start to summary."""

from collections.abc import Sequence
import dataclasses
import pathlib
from typing import Any

import dm_env
import jax

from launch.cli import command
from launch.cli import progress as progress_lib
from launch.distributed import hosts as hosts_lib
from launch.distributed import launcher as launcher_lib
from launch.distributed import nodes
from launch.distributed import program as program_lib
from launch.runs import experiment as experiment_lib
from launch.runs import run_checkpoints
from launch.training import finish
from launch.training import local
from skills import config_io as settings_lib
from skills import registry
from skills.agents import acme_api
from skills.agents import builder as builder_lib
from skills.agents import evaluation
from skills.agents import learning
from skills.learners import base

ALONE = hosts_lib.Hosts(('localhost',), 0)


class Frozen(acme_api.core.VariableSource):
  """A source of the variables of a saved learner."""

  def __init__(self, agent: registry.Agent, state: base.LearnerState):
    """Initializes the source."""
    self._variables = {
      learning.POLICY: learning.to_host(agent.learner.variables(state)),
      learning.OBJECTIVE: state.objective,
    }

  def get_variables(self, names: Sequence[str]) -> list[Any]:
    """The variables by name."""
    return [self._variables[name] for name in names]


class _Display:
  """Shows the progress of the whole program."""

  def __init__(
    self,
    counter: acme_api.launchpad.CourierHandle,
    progress: progress_lib.Progress,
  ):
    self._client = counter.dereference()
    self._progress = progress
    self._question: Any = None

  def show(self) -> None:
    """Shows the newest numbers and requests newer ones."""
    if self._question is not None and self._question.done():
      if self._question.exception() is None:
        status = self._question.result()
        self._progress.update(
          int(status['counts']['actor_steps']),
          int(status['counts']['learner_steps']),
          status['numbers'],
        )
      self._question = None
    if self._question is None:
      self._question = self._client.futures.status()

  def close(self) -> None:
    """Cancels the open request, which would keep this process alive."""
    if self._question is not None:
      self._question.cancel()


def check(
  experiment: experiment_lib.Experiment,
  topology: program_lib.Topology,
  num_hosts: int = 1,
  settings: launcher_lib.Settings | None = None,
) -> None:
  """Refuses runs that cannot start or would never learn.

  Raises:
    ValueError: naming the setting.
  """
  settings = settings or launcher_lib.Settings()
  local.check(experiment)
  if topology.num_learners > 1:
    if settings.launch_type != launcher_lib.PROCESSES:
      raise ValueError(
        'several learners need a process each: num_learners must be 1 with '
        f'lp_launch_type={settings.launch_type}, got {topology.num_learners}.'
      )
  topology.check(experiment.config, num_hosts)
  run_checkpoints.check_shards(
    pathlib.Path(experiment.output_dir), topology.num_replay_shards
  )


def run(
  experiment: experiment_lib.Experiment,
  topology: program_lib.Topology,
  *,
  hosts: hosts_lib.Hosts = ALONE,
  settings: launcher_lib.Settings | None = None,
  make_environment: nodes.EnvironmentFactory | None = None,
) -> command.Outcome:
  """Trains, and writes a complete run folder.

  Ctrl-C and SIGTERM end the run early, with its state saved. If the folder has
  a checkpoint, the run continues from it.

  Args:
    experiment: what to run.
    topology: by which nodes.
    hosts: on which hosts; each of them calls this.
    settings: of the launcher.
    make_environment: seed -> environment; None for the experiment's own.

  Returns:
    How it ended; only the first host has a summary.

  Raises:
    ValueError: if the experiment cannot run or cannot be continued.
    ProgramError: if a node or a host failed.
  """
  settings = settings or launcher_lib.Settings()
  check(experiment, topology, hosts.count, settings)
  folder = pathlib.Path(experiment.output_dir).resolve()
  program = program_lib.make(
    experiment,
    topology,
    num_hosts=hosts.count,
    make_environment=make_environment,
    linger_s=0.0,
  )
  launcher = launcher_lib.Launcher(
    program,
    hosts,
    settings,
    folder,
    _command(experiment, topology, hosts),
  )
  with command.caught_signals() as received:
    if not hosts.is_leader:
      launcher.run(received)
      return command.Outcome({}, received[0] if received else None)
    done = run_checkpoints.counts(folder)['actor_steps']
    with progress_lib.Progress(experiment.num_steps, done) as progress:
      display = _Display(program.counter, progress)
      try:
        launcher.run(received, display.show, progress.say)
      finally:
        display.close()
    run_checkpoints.remove_leftovers(folder)
    return _finish(experiment, make_environment, received)


def _command(
  experiment: experiment_lib.Experiment,
  topology: program_lib.Topology,
  hosts: hosts_lib.Hosts,
) -> dict[str, Any]:
  """The settings that must be equal on all hosts."""
  fields = dataclasses.asdict(experiment)
  fields['config'] = settings_lib.flatten(experiment.config)
  described = {**fields, **dataclasses.asdict(topology), 'hosts': hosts.names}
  return {name: repr(value) for name, value in described.items()}


def _finish(
  experiment: experiment_lib.Experiment,
  make_environment: nodes.EnvironmentFactory | None,
  received: Sequence[int],
) -> command.Outcome:
  """Evaluates the policy of the last checkpoint."""
  folder = pathlib.Path(experiment.output_dir)
  checkpoint = run_checkpoints.newest(folder)
  # The counter also ends a complete run by a signal.
  is_complete = (
    run_checkpoints.counts(folder)['actor_steps'] >= experiment.num_steps
  )
  interruptions = [] if is_complete else received
  if checkpoint is None:
    return command.Outcome({}, interruptions[0] if interruptions else None)
  seeds = experiment.seeds_for('final environment', experiment.num_evaluated)
  evaluated = nodes.make_environments(experiment, make_environment, seeds)
  environment = evaluated
  if not isinstance(environment, dm_env.Environment):
    environment = (make_environment or experiment.make_environment)(seeds[0])
  agent = builder_lib.make_agent(
    experiment.config, acme_api.specs.make_environment_spec(environment)
  )
  key = jax.random.PRNGKey(experiment.seed_for('final evaluator'))
  state, meta = run_checkpoints.load(
    checkpoint, jax.eval_shape(agent.learner.init, key)
  )
  source = Frozen(agent, state)
  return finish.finish(
    experiment,
    agent,
    evaluation.Evaluator(
      agent,
      builder_lib.SkillBuilder(experiment.config),
      evaluated,
      source,
      key,
    ),
    environment,
    source,
    meta['counts'],
    meta['wall_time_s'],
    interruptions,
  )
