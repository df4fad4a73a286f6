"""Trains an agent through Launchpad: threads, processes, hosts.

  python -m launch.run_distributed --agent=disdain --num_actors=4

Agents, environments, settings and the run's folder are those of
launch.run_local, with a log of each node under logs/. Either program can
--resume a run of the other one. docs/distributed.md describes several hosts,
devices and what happens when a node dies.

Ctrl-C saves and ends the run; --resume continues it.
"""

from collections.abc import Sequence
import sys

from absl import flags
import jax

from launch.cli import command
from launch.distributed import hosts as hosts_lib
from launch.distributed import launcher
from launch.distributed import program
from launch.distributed import run as distributed_run
from launch.training import flags as training_flags
from skills.agents import acme_api

flags.adopt_module_key_flags(training_flags)
flags.declare_key_flag(acme_api.launchpad.LAUNCH_TYPE.name)

_DEFAULTS = program.Topology()
_SETTINGS = launcher.Settings()

_NUM_ACTORS = flags.DEFINE_integer(
  'num_actors', _DEFAULTS.num_actors, 'Nodes that act.'
)
_NUM_INFERENCE_SERVERS = flags.DEFINE_integer(
  'num_inference_servers',
  _DEFAULTS.num_inference_servers,
  'Nodes that select actions for many actors at once; 0: each for itself.',
)
_NUM_LEARNERS = flags.DEFINE_integer(
  'num_learners',
  _DEFAULTS.num_learners,
  "Nodes that share each update's batch.",
)
_NUM_REPLAY_SHARDS = flags.DEFINE_integer(
  'num_replay_shards', _DEFAULTS.num_replay_shards, 'Reverb servers.'
)
_NUM_EVALUATORS = flags.DEFINE_integer(
  'num_evaluators', _DEFAULTS.num_evaluators, 'Nodes that measure skills.'
)
_COLOCATE = flags.DEFINE_bool(
  'colocate_learner_and_replay', False, 'Whether they share a process.'
)
_THREADS = flags.DEFINE_integer(
  'threads', _DEFAULTS.threads, "Threads of a node's computations on the CPU."
)
_LEARNER_THREADS = flags.DEFINE_integer(
  'learner_threads', None, 'The same of a learner. [half of the cores]'
)
_LEARNER_DEVICES = flags.DEFINE_list(
  'learner_devices',
  [],
  'GPUs or TPU chips of a host for its learners, by number: 0,1. [all]',
)
_INFERENCE_DEVICES = flags.DEFINE_list(
  'inference_devices', [], 'The same for inference servers. [none: the CPU]'
)
_MAX_RESTARTS = flags.DEFINE_integer(
  'max_restarts',
  _SETTINGS.max_restarts,
  'How often one node that was killed is started again.',
)
_STOP_TIMEOUT_S = flags.DEFINE_float(
  'stop_timeout_s',
  _SETTINGS.stop_timeout_s,
  'Seconds that nodes have to stop and save before they are killed.',
)
_HOSTS = flags.DEFINE_string(
  'hosts', None, 'Addresses of all hosts, the leading one first: a,b or n[1-4].'
)
_HOST_INDEX = flags.DEFINE_integer(
  'host_index', None, 'Which of them this is. [from Slurm, Kubernetes or MPI]'
)
_BASE_PORT = flags.DEFINE_integer(
  'base_port', _SETTINGS.base_port, 'First of the fixed ports of several hosts.'
)


def _topology() -> program.Topology:
  return program.Topology(
    num_actors=_NUM_ACTORS.value,
    num_inference_servers=_NUM_INFERENCE_SERVERS.value,
    num_learners=_NUM_LEARNERS.value,
    num_replay_shards=_NUM_REPLAY_SHARDS.value,
    num_evaluators=_NUM_EVALUATORS.value,
    colocate_learner_and_replay=_COLOCATE.value,
    threads=_THREADS.value,
    learner_threads=_LEARNER_THREADS.value,
    learner_devices=_numbers(_LEARNER_DEVICES),
    inference_devices=_numbers(_INFERENCE_DEVICES),
  )


def _numbers(flag: flags.FlagHolder[list[str]]) -> tuple[int, ...]:
  try:
    return tuple(int(value) for value in flag.value)
  except ValueError:
    raise ValueError(
      f'--{flag.name} takes numbers of devices, like 0,1; got '
      f'{",".join(flag.value)!r}.'
    ) from None


def main(argv: Sequence[str]) -> int:
  """Reads the flags and trains."""
  with command.exit_on_user_error():
    hosts = hosts_lib.detect(_HOSTS.value, _HOST_INDEX.value)
    topology = _topology()
    settings = launcher.Settings(
      launch_type=acme_api.launchpad.LAUNCH_TYPE.value,
      max_restarts=_MAX_RESTARTS.value,
      base_port=_BASE_PORT.value,
      stop_timeout_s=_STOP_TIMEOUT_S.value,
    )
    if settings.launch_type == launcher.PROCESSES:
      # Devices are for the nodes.
      jax.config.update('jax_platforms', 'cpu')
    experiment, resume = training_flags.experiment_from_flags(argv)
    distributed_run.check(experiment, topology, hosts.count, settings)
    if training_flags.show_settings(experiment, is_continued=resume):
      return 0
    if hosts.is_leader:
      training_flags.prepare_folder(experiment, resume)
  try:
    outcome = distributed_run.run(
      experiment, topology, hosts=hosts, settings=settings
    )
  except launcher.ProgramError as error:
    print(f'error: {error}', file=sys.stderr)
    return 1
  if hosts.is_leader:
    training_flags.report(experiment, outcome.summary)
  return outcome.status


if __name__ == '__main__':
  flags.set_default(acme_api.launchpad.LAUNCH_TYPE, launcher.PROCESSES)
  command.run(main)
