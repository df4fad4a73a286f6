"""The nodes of an experiment, as a Launchpad program.

  replay/i     Reverb servers; each actor writes to one, learners read from all
  counter      counts steps, and stops the program at the last one
  learner      one, or several that share each batch
  inference/i  optional: select the actions of many actors at once
  actor/i      act in environments of their own and write to replay
  evaluator/i  measure skills in environments of their own

`make` gives the program and a `Placement` for each node. The suite's own
launcher (`launch.distributed.launcher`) heeds both; `launchpad.launch` runs the
program alone, with any of its launch types.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import os
import pathlib
from typing import Any
from typing import NamedTuple

from launch.distributed import nodes
from launch.runs import experiment as experiment_lib
from skills import checks
from skills import config as config_lib
from skills.agents import acme_api
from skills.agents import builder as builder_lib

lp = acme_api.launchpad

# Layout of 1, 2 or 4 adjacent TPU chips of a host.
_TPU_BOUNDS = {1: '1,1,1', 2: '1,2,1', 4: '2,2,1'}

# Stages of a stop. Nodes of a stage are asked to leave once those of the
# stages before have left, which call them until then.
FIRST, LEARNERS, SERVERS = 0, 1, 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Topology:
  """Number of nodes of each kind, and their threads and devices.

  Attributes:
    num_actors: processes that act.
    num_inference_servers: processes that select actions for them; with 0 each
      actor does that itself.
    num_learners: processes that share each update's batch.
    num_replay_shards: Reverb servers.
    num_evaluators: processes that measure skills.
    colocate_learner_and_replay: whether they share a process.
    threads: CPU threads of a node's computations.
    learner_threads: the same for a learner; None for half of the cores, divided
      among the learners of a host.
    learner_devices: numbers of the GPUs or TPU chips of a host that are divided
      among its learners; empty for all.
    inference_devices: the same for inference servers; empty for the CPU.
  """

  num_actors: int = 2
  num_inference_servers: int = 0
  num_learners: int = 1
  num_replay_shards: int = 1
  num_evaluators: int = 1
  colocate_learner_and_replay: bool = False
  threads: int = 1
  learner_threads: int | None = None
  learner_devices: tuple[int, ...] = ()
  inference_devices: tuple[int, ...] = ()

  def __post_init__(self) -> None:
    """Checks the settings."""
    checks.at_least(self, 0, 'num_inference_servers', 'num_evaluators')
    checks.at_least(
      self, 1, 'num_actors', 'num_learners', 'num_replay_shards', 'threads'
    )
    checks.at_least(self, 1, 'learner_threads')
    for name in ('num_replay_shards', 'num_inference_servers'):
      value = getattr(self, name)
      if value and self.num_actors % value:
        raise ValueError(
          f'num_actors must be a multiple of {name} ({value}), so that each '
          f'serves as many, got {self.num_actors}.'
        )
    if self.colocate_learner_and_replay and self.num_learners > 1:
      raise ValueError(
        'colocate_learner_and_replay is for one learner, got num_learners='
        f'{self.num_learners}.'
      )
    for name in ('learner_devices', 'inference_devices'):
      devices = getattr(self, name)
      if len(set(devices)) < len(devices) or min(devices, default=0) < 0:
        raise ValueError(
          f'{name} must be different numbers >= 0, got '
          f'{",".join(map(str, devices))}.'
        )
    shared = set(self.learner_devices) & set(self.inference_devices)
    if shared:
      raise ValueError(
        f'device {min(shared)} is given to learners and to inference servers; '
        'give each device to one of them.'
      )

  def check(
    self, config: config_lib.SkillAgentConfig, num_hosts: int = 1
  ) -> None:
    """Refuses a topology that does not fit the agent or the hosts.

    Raises:
      ValueError: naming the setting.
    """
    if config.batch_size % self.num_learners:
      raise ValueError(
        f'batch_size must be a multiple of num_learners ({self.num_learners}), '
        f'which share it equally, got {config.batch_size}.'
      )
    share = config.fetch_size // self.num_learners
    if share % self.num_replay_shards:
      raise ValueError(
        'batch_size * updates_per_step / num_learners must be a multiple of '
        f'num_replay_shards ({self.num_replay_shards}), got {share}.'
      )
    least = config.fetch_size * self.num_replay_shards
    if config.replay.kind == 'queue' and config.replay.capacity < least:
      raise ValueError(
        'replay.capacity must be >= num_replay_shards * batch_size * '
        f'updates_per_step ({least}), got {config.replay.capacity}: a queue '
        'smaller than what the learner fetches at once can never move.'
      )
    per_host = -(-self.num_learners // num_hosts)
    if len(self.learner_devices) % per_host:
      raise ValueError(
        f'the {len(self.learner_devices)} learner_devices of a host must be '
        f'shared out equally among its {per_host} learners.'
      )


class Placement(NamedTuple):
  """Host, stop stage and environment variables of a node.

  Attributes:
    host: number of the host.
    stage: of the stop, at which it is asked to leave.
    env: environment variables of its process.
    may_restart: whether it is started again if it was killed.
  """

  host: int
  stage: int
  env: Mapping[str, str]
  may_restart: bool = True


class Program(NamedTuple):
  """A Launchpad program and the placements of its nodes.

  Attributes:
    program: the nodes, by group.
    placements: by the nodes' names.
    counter: handle of the counter.
  """

  program: lp.Program
  placements: Mapping[str, Placement]
  counter: lp.CourierHandle


def node_names(program: lp.Program) -> dict[str, Any]:
  """The nodes by their names: 'counter', 'learner', 'actor/0', 'actor/1'."""
  found = {}
  for label, group in program.groups.items():
    is_only = label in ('counter', 'learner') and len(group) == 1
    for i, node in enumerate(group):
      found[label if is_only else f'{label}/{i}'] = node
  return found


def make(
  experiment: experiment_lib.Experiment,
  topology: Topology,
  *,
  num_hosts: int = 1,
  make_environment: nodes.EnvironmentFactory | None = None,
  linger_s: float = 4.0,
) -> Program:
  """Makes the program.

  Args:
    experiment: what is run.
    topology: by which nodes.
    num_hosts: hosts that they are spread over.
    make_environment: seed -> environment; None for the experiment's own.
    linger_s: seconds that replay and counter serve after the stop. Launchpad's
      launchers stop all nodes at once; one that heeds stages needs none.

  Raises:
    ValueError: if the topology does not fit the experiment.
  """
  topology.check(experiment.config, num_hosts)
  # Nodes may run in other folders.
  experiment = dataclasses.replace(
    experiment, output_dir=str(pathlib.Path(experiment.output_dir).resolve())
  )
  environment = (make_environment or experiment.make_environment)(0)
  spec = acme_api.specs.make_environment_spec(environment)
  parts = _Parts(experiment, topology, num_hosts, make_environment, spec)
  # Their common process ends with the learner.
  replays = parts.make_replays(
    None if topology.colocate_learner_and_replay else linger_s
  )
  replay_handles = [node.create_handle() for node in replays]
  if not topology.colocate_learner_and_replay:
    parts.add_replays(replays)
  counter = parts.add_counter(linger_s)
  learner = parts.add_learners(replays, replay_handles, counter)
  inference = parts.add_inference(learner)
  parts.add_actors(replay_handles, learner, counter, inference)
  parts.add_evaluators(learner, counter)
  return Program(parts.program, parts.placements, counter)


class _Parts:
  """A program in the making, to which each kind of node is added in turn."""

  def __init__(
    self,
    experiment: experiment_lib.Experiment,
    topology: Topology,
    num_hosts: int,
    make_environment: nodes.EnvironmentFactory | None,
    spec: acme_api.specs.EnvironmentSpec,
  ) -> None:
    self.program = lp.Program('skills')
    self.placements: dict[str, Placement] = {}
    self._experiment = experiment
    self._topology = topology
    self._num_hosts = num_hosts
    self._make_environment = make_environment
    self._spec = spec
    self._on_cpu = cpu_env(topology.threads)

  def make_replays(self, linger_s: float | None) -> list[nodes.Replay]:
    """Makes the Reverb servers, which may share a process with the learner."""
    num_shards = self._topology.num_replay_shards
    builder = builder_lib.SkillBuilder(
      shard_config(self._experiment.config, num_shards)
    )
    make_tables = functools.partial(builder.make_replay_tables, self._spec)
    return [
      nodes.Replay(self._experiment, i, make_tables, linger_s)
      for i in range(num_shards)
    ]

  def add_replays(self, replays: Sequence[nodes.Replay]) -> None:
    """Adds the servers, each with a process of its own."""
    for i, node in enumerate(replays):
      self.program.add_node(node, label='replay')
      # Beside the learners, which read all that actors write, and often.
      host = i % min(self._topology.num_learners, self._num_hosts)
      self.placements[f'replay/{i}'] = Placement(host, SERVERS, self._on_cpu)

  def add_counter(self, linger_s: float) -> lp.CourierHandle:
    """Adds what counts and stops; gives its handle."""
    counter = self.program.add_node(
      lp.CourierNode(nodes.Counter, self._experiment, linger_s),
      label='counter',
    )
    # Its counts would be lost.
    self.placements['counter'] = Placement(
      0, SERVERS, self._on_cpu, may_restart=False
    )
    return counter

  def add_learners(
    self,
    replays: Sequence[nodes.Replay],
    replay_handles: Sequence[Any],
    counter: lp.CourierHandle,
  ) -> lp.CourierHandle:
    """Adds the learners; returns the handle of the first."""
    topology = self._topology
    addresses = []
    if topology.num_learners > 1:
      addresses = [lp.Address('meeting') for _ in range(topology.num_learners)]
    handles = []
    for i in range(topology.num_learners):
      node = lp.CourierNode(
        nodes.Learner,
        self._experiment,
        self._spec,
        i,
        addresses,
        replay_handles,
        counter,
      )
      if addresses:
        addresses[i].assign(node)
      handles.append(node.create_handle())
      if topology.colocate_learner_and_replay:
        node = lp.MultiThreadingColocation(
          [node, *replays], return_on_first_completed=True
        )
      self.program.add_node(node, label='learner')
      name = 'learner' if topology.num_learners == 1 else f'learner/{i}'
      self.placements[name] = Placement(
        i % self._num_hosts,
        LEARNERS,
        learner_env(topology, i // self._num_hosts, self._num_hosts),
        # One among several cannot join the others again.
        may_restart=topology.num_learners == 1,
      )
    return handles[0]

  def add_inference(self, learner: lp.CourierHandle) -> list[lp.CourierHandle]:
    """Adds the inference servers, if any; gives their handles."""
    topology = self._topology
    handles = []
    for i in range(topology.num_inference_servers):
      num_served = topology.num_actors // topology.num_inference_servers
      handles.append(
        self.program.add_node(
          lp.CourierNode(
            nodes.InferenceServer,
            self._experiment,
            self._spec,
            i,
            learner,
            num_served,
            # A batch keeps as many threads as it has parts.
            courier_kwargs={'thread_pool_size': num_served + 4},
          ),
          label='inference',
        )
      )
      # Its actors wait for it at every step.
      self.placements[f'inference/{i}'] = Placement(
        i % self._num_hosts,
        LEARNERS,
        inference_env(topology, i // self._num_hosts),
      )
    return handles

  def add_actors(
    self,
    replay_handles: Sequence[Any],
    learner: lp.CourierHandle,
    counter: lp.CourierHandle,
    inference: Sequence[lp.CourierHandle],
  ) -> None:
    """Adds the actors, assigned to replay and inference servers in turn."""
    for i in range(self._topology.num_actors):
      served_by = i % len(inference) if inference else None
      self.program.add_node(
        lp.PyClassNode(
          nodes.Actor,
          self._experiment,
          self._make_environment,
          i,
          replay_handles[i % len(replay_handles)],
          learner,
          counter,
          None if served_by is None else inference[served_by],
        ),
        label='actor',
      )
      # Beside its inference server, else on all hosts in turn.
      host = (i if served_by is None else served_by) % self._num_hosts
      self.placements[f'actor/{i}'] = Placement(host, FIRST, self._on_cpu)

  def add_evaluators(
    self, learner: lp.CourierHandle, counter: lp.CourierHandle
  ) -> None:
    """Adds the evaluators, beginning on the last host."""
    for i in range(self._topology.num_evaluators):
      self.program.add_node(
        lp.PyClassNode(
          nodes.Evaluator,
          self._experiment,
          self._make_environment,
          i,
          learner,
          counter,
        ),
        label='evaluator',
      )
      # The last host has the fewest other nodes.
      host = (self._num_hosts - 1 - i) % self._num_hosts
      self.placements[f'evaluator/{i}'] = Placement(host, FIRST, self._on_cpu)


def shard_config(
  config: config_lib.SkillAgentConfig, num_shards: int
) -> config_lib.SkillAgentConfig:
  """The settings of one of several replay servers."""
  replay = config.replay
  return dataclasses.replace(
    config,
    replay=dataclasses.replace(
      replay,
      capacity=max(replay.capacity // num_shards, 1),
      min_size=max(replay.min_size // num_shards, 1),
    ),
  )


def cpu_env(threads: int) -> dict[str, str]:
  """Environment variables of a process that computes with CPU threads."""
  return {
    **_thread_caps(threads),
    'JAX_PLATFORMS': 'cpu',
    # Hides GPUs from other libraries as well.
    'CUDA_VISIBLE_DEVICES': '-1',
  }


def learner_env(
  topology: Topology, rank: int, num_hosts: int
) -> dict[str, str]:
  """Environment variables of the `rank`-th learner of a host."""
  per_host = -(-topology.num_learners // num_hosts)
  threads = topology.learner_threads
  if threads is None:
    threads = max(1, (os.cpu_count() or 1) // (2 * per_host))
  each = len(topology.learner_devices) // per_host
  devices = topology.learner_devices[rank * each : (rank + 1) * each]
  return _thread_caps(threads) | visible_devices(devices)


def inference_env(topology: Topology, rank: int) -> dict[str, str]:
  """Environment variables of the `rank`-th inference server of a host."""
  if not topology.inference_devices:
    return cpu_env(topology.threads)
  device = topology.inference_devices[rank % len(topology.inference_devices)]
  return _thread_caps(topology.threads) | visible_devices([device])


def visible_devices(devices: Sequence[int]) -> dict[str, str]:
  """Environment variables that restrict a process to GPUs or TPU chips."""
  if not devices:
    return {}
  numbers = ','.join(map(str, devices))
  env = {'CUDA_VISIBLE_DEVICES': numbers, 'TPU_VISIBLE_CHIPS': numbers}
  if len(devices) in _TPU_BOUNDS:
    # libtpu also needs the layout of the chips, and that the process uses no
    # others.
    env['TPU_CHIPS_PER_PROCESS_BOUNDS'] = _TPU_BOUNDS[len(devices)]
    env['TPU_PROCESS_BOUNDS'] = '1,1,1'
  return env


def _thread_caps(threads: int) -> dict[str, str]:
  # NPROC is read by XLA.
  names = (
    'NPROC',
    'OMP_NUM_THREADS',
    'OPENBLAS_NUM_THREADS',
    'MKL_NUM_THREADS',
    'TF_NUM_INTRAOP_THREADS',
    'TF_NUM_INTEROP_THREADS',
  )
  return dict.fromkeys(names, str(threads))
