"""Finds the hosts of a run and the index of this one.

They are given by flags, or else by the environment variables of an MPI
launcher, `srun`, an indexed Kubernetes job or Vertex AI. Only the standard
library is imported, so that mistakes are found before anything slow begins.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import itertools
import json
import os
import re

_NAME = r'[A-Za-z0-9._-]'
_BRACKET = r'\[[^\[\],]+(?:,[^\[\],]+)*\]'
_PATTERN = re.compile(f'(?:{_NAME}|{_BRACKET})+')
_COMMA_OUTSIDE_BRACKETS = re.compile(r',(?![^\[\]]*\])')

_ALONE = 'to run on this host alone, add --hosts=localhost --host_index=0'
_SRUN = 'start it with srun --ntasks-per-node=1'


@dataclasses.dataclass(frozen=True)
class Hosts:
  """The hosts of a run and the index of this one.

  Attributes:
    names: addresses that every host can reach; the first host leads.
    index: of this host among them.
  """

  names: tuple[str, ...]
  index: int

  def __post_init__(self) -> None:
    """Refuses duplicate hosts and an index out of range."""
    for i, name in enumerate(self.names):
      if name in self.names[:i]:
        raise ValueError(
          f'host {name!r} is given twice; give each host once, it runs as many '
          'nodes as needed.'
        )
    if not 0 <= self.index < self.count:
      raise ValueError(
        f'host index must be at least 0 and less than {self.count}, the number '
        f'of hosts, got {self.index}.'
      )

  @property
  def count(self) -> int:
    """Number of hosts."""
    return len(self.names)

  @property
  def leader(self) -> str:
    """Address of the leading host."""
    return self.names[0]

  @property
  def address(self) -> str:
    """Address of this host."""
    return self.names[self.index]

  @property
  def is_leader(self) -> bool:
    """Whether this host leads."""
    return self.index == 0


@dataclasses.dataclass(frozen=True)
class _Process:
  """This process, one for each host, as environment variables describe it.

  Attributes:
    index: its number among the processes.
    index_variable: the variable that holds the number.
    count: number of processes; None if unknown.
    count_variable: the variable that holds the count.
    names: of their hosts; None if unknown.
    start: how to start one process on each host.
  """

  index: int
  index_variable: str
  count: int | None
  count_variable: str
  names: tuple[str, ...] | None
  start: str


def detect(
  hosts_flag: str | None,
  index_flag: int | None,
  environ: Mapping[str, str] = os.environ,
) -> Hosts:
  """Finds the hosts and the index of this one.

  Flags take precedence: with both of them environment variables are ignored.
  Without `--host_index` the index is that of this process in the first of
  these that is present:

  1. Open MPI, OMPI_COMM_WORLD_RANK of OMPI_COMM_WORLD_SIZE.
  2. MPICH and Intel MPI, PMI_RANK of PMI_SIZE, unless they equal Slurm's
     variables: then `srun` has set them.
  3. Slurm, SLURM_NODEID in the step that `srun` made.
  4. Kubernetes, JOB_COMPLETION_INDEX of an indexed job.
  5. Vertex AI, the task in CLUSTER_SPEC.

  MPI comes before Slurm because `mpirun` within an allocation passes on the
  variables of the shell it was called from, which are those of one host. An MPI
  run of one process is ignored, as it says nothing about hosts.

  Only Slurm and Vertex AI also name the hosts; otherwise `--hosts` must. With
  neither flags nor any of the above, this host is the only one, also in the
  shell of `salloc`, however many nodes are allocated: a command not started by
  `srun` runs where it was typed. A batch script of several nodes that does not
  use `srun` is refused: all nodes but one would idle unnoticed.

  Args:
    hosts_flag: `--hosts`, as `expand` reads it.
    index_flag: `--host_index`.
    environ: the environment variables.

  Raises:
    ValueError: if flags and environment variables are insufficient, or
      contradict each other.
  """
  if hosts_flag is None and index_flag is not None:
    raise ValueError(
      f'--host_index={index_flag} needs --hosts, the hosts it counts: '
      '--hosts=a,b,c'
    )
  names = None if hosts_flag is None else expand(hosts_flag)
  if names is not None and index_flag is not None:
    return Hosts(names, index_flag)
  process = _process(environ)
  if process is None:
    return _without_process(names, environ)
  if names is None:
    names = process.names
  if names is None:
    raise ValueError(
      f'{process.index_variable}={process.index} says that this is one of '
      'several hosts, but not what they are called; add --hosts=a,b,c. Or, '
      f'{_ALONE}.'
    )
  if process.count is not None and process.count != len(names):
    raise ValueError(
      f'{process.count_variable} must be {len(names)}, the number of hosts, '
      f'got {process.count}; there is one process on each host: '
      f'{process.start}, or say with --host_index which host this is.'
    )
  try:
    return Hosts(names, process.index)
  except ValueError as error:
    raise ValueError(
      f'{error} (The index is from {process.index_variable}.)'
    ) from error


def expand(pattern: str) -> tuple[str, ...]:
  """Expands a list of hosts in Slurm's notation.

  `node[08-10,12],login` is node08, node09, node10, node12 and login. A name may
  have several brackets, of which the last one varies fastest.

  Args:
    pattern: names or IPv4 addresses, separated by commas.

  Raises:
    ValueError: naming the part that cannot be read.
  """
  names = []
  for item in _COMMA_OUTSIDE_BRACKETS.split(pattern):
    item = item.strip()
    if not _PATTERN.fullmatch(item):
      raise ValueError(
        f'a host is a name or an IPv4 address without a port, maybe with '
        f'numbers in brackets, got {item!r} in {pattern!r}; allowed are '
        'a,b,c and node[1-3,7].'
      )
    # Odd parts were in brackets.
    parts = re.split(r'\[(.*?)\]', item)
    choices = [
      tuple(_numbers(part, item)) if i % 2 else (part,)
      for i, part in enumerate(parts)
    ]
    names.extend(''.join(choice) for choice in itertools.product(*choices))
  return tuple(names)


def _numbers(text: str, item: str) -> Iterator[str]:
  """The numbers of a bracket, with leading zeros as written."""
  for part in text.split(','):
    match = re.fullmatch(r'([0-9]+)(?:-([0-9]+))?', part)
    first, last = (match[1], match[2] or match[1]) if match else ('', '')
    padded_otherwise = last.startswith('0') and len(last) != len(first)
    if not match or int(first) > int(last) or padded_otherwise:
      raise ValueError(
        f'a bracket holds numbers and ranges that ascend, got {part!r} in '
        f'{item!r}; allowed are [1-3,7] and [01-10].'
      )
    for number in range(int(first), int(last) + 1):
      yield f'{number:0{len(first)}d}'


def _process(environ: Mapping[str, str]) -> _Process | None:
  """The process as the first environment that is there describes it."""
  open_mpi = _mpi_process(
    environ,
    'OMPI_COMM_WORLD_RANK',
    'OMPI_COMM_WORLD_SIZE',
    'OMPI_COMM_WORLD_LOCAL_SIZE',
    'start it with mpirun --map-by ppr:1:node',
  )
  if open_mpi is not None:
    return open_mpi
  if not _set_by_srun(environ):
    other_mpi = _mpi_process(
      environ,
      'PMI_RANK',
      'PMI_SIZE',
      'MPI_LOCALNRANKS',
      'start it with mpiexec -ppn 1',
    )
    if other_mpi is not None:
      return other_mpi
  if 'SLURM_STEP_NODELIST' in environ:
    return _slurm_process(environ)
  if 'JOB_COMPLETION_INDEX' in environ:
    return _Process(
      index=_number(environ, 'JOB_COMPLETION_INDEX'),
      index_variable='JOB_COMPLETION_INDEX',
      count=None,
      count_variable='',
      names=None,
      start='',
    )
  if 'CLUSTER_SPEC' in environ:
    return _vertex_process(environ)
  return None


def _vertex_process(environ: Mapping[str, str]) -> _Process:
  """A replica of a custom job on Vertex AI, counted over all its pools."""
  try:
    described = json.loads(environ['CLUSTER_SPEC'])
    pools, task = described['cluster'], described['task']
    names, index = [], None
    for pool in sorted(pools):
      if pool == task['type']:
        index = len(names) + int(task['index'])
      names += [address.rpartition(':')[0] for address in pools[pool]]
    if index is None:
      raise KeyError(task['type'])
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(
      'environment variable CLUSTER_SPEC must describe a job as Vertex AI '
      f'does, got {environ["CLUSTER_SPEC"]!r}; give --hosts and --host_index '
      'instead.'
    ) from error
  return _Process(
    index=index,
    index_variable='CLUSTER_SPEC',
    count=None,
    count_variable='',
    names=tuple(names),
    start='',
  )


def _set_by_srun(environ: Mapping[str, str]) -> bool:
  """Whether PMI's variables equal those of Slurm's step."""
  pairs = (('PMI_RANK', 'SLURM_PROCID'), ('PMI_SIZE', 'SLURM_STEP_NUM_TASKS'))
  return all(
    slurm in environ and environ.get(pmi) == environ[slurm]
    for pmi, slurm in pairs
  )


def _mpi_process(
  environ: Mapping[str, str], rank: str, size: str, local_size: str, start: str
) -> _Process | None:
  if rank not in environ or size not in environ:
    return None
  count = _number(environ, size)
  if count == 1:
    return None
  if local_size in environ and _number(environ, local_size) != 1:
    raise ValueError(
      f'{local_size} must be 1, as there is one process on each host, got '
      f'{environ[local_size]}; {start}. Or, {_ALONE}.'
    )
  return _Process(
    index=_number(environ, rank),
    index_variable=rank,
    count=count,
    count_variable=size,
    names=None,
    start=start,
  )


def _slurm_process(environ: Mapping[str, str]) -> _Process:
  # The job's number of tasks need not be the step's.
  counts = ('SLURM_STEP_NUM_TASKS', 'SLURM_NTASKS')
  count = next((name for name in counts if name in environ), None)
  return _Process(
    index=_number(environ, 'SLURM_NODEID'),
    index_variable='SLURM_NODEID',
    count=None if count is None else _number(environ, count),
    count_variable=count or '',
    names=expand(environ['SLURM_STEP_NODELIST']),
    start=_SRUN,
  )


def _without_process(
  names: tuple[str, ...] | None, environ: Mapping[str, str]
) -> Hosts:
  """The hosts if no launcher has numbered this process."""
  if names is not None:
    if len(names) > 1:
      raise ValueError(
        f'--hosts gives {len(names)} hosts, but not which one this is; add '
        f'--host_index=0 on {names[0]}, 1 on {names[1]} and so on. Looked for, '
        'and not found: OMPI_COMM_WORLD_RANK and PMI_RANK (of mpirun, with '
        'more than one process), SLURM_NODEID (of srun), JOB_COMPLETION_INDEX '
        '(of an indexed Kubernetes job), CLUSTER_SPEC (of Vertex AI).'
      )
    return Hosts(names, 0)
  # Set in a batch script, but not in the shell of salloc.
  if 'SLURM_NODEID' in environ and 'SLURM_JOB_NODELIST' in environ:
    count = len(expand(environ['SLURM_JOB_NODELIST']))
    if count > 1:
      raise ValueError(
        f'SLURM_JOB_NODELIST={environ["SLURM_JOB_NODELIST"]} has {count} '
        f'nodes, but this process is not started by srun: {_SRUN}. Or, '
        f'{_ALONE}.'
      )
  return Hosts(('localhost',), 0)


def _number(environ: Mapping[str, str], name: str) -> int:
  text = environ.get(name)
  if text is None or not re.fullmatch('[0-9]+', text):
    raise ValueError(
      f'environment variable {name} must be a whole number, got {text!r}; '
      'give --hosts and --host_index instead.'
    )
  return int(text)
