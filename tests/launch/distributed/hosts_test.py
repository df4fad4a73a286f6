"""Hosts by flags and by environment variables; mistakes are named."""

import json
import pathlib
import re
import shlex
import subprocess
import sys

import hypothesis
from hypothesis import strategies as st
import pytest

from launch.distributed import hosts as hosts_lib

ROOT = pathlib.Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / 'examples'

OPEN_MPI = {
  'OMPI_COMM_WORLD_RANK': '2',
  'OMPI_COMM_WORLD_SIZE': '3',
  'OMPI_COMM_WORLD_LOCAL_SIZE': '1',
}
MPICH = {'PMI_RANK': '1', 'PMI_SIZE': '3', 'MPI_LOCALNRANKS': '1'}
# The shell of `salloc` for four nodes.
ALLOCATION = {
  'SLURM_JOB_ID': '7',
  'SLURM_JOB_NODELIST': 'node[1-4]',
  'SLURM_JOB_NUM_NODES': '4',
  'SLURM_NTASKS': '4',
}
BATCH = {**ALLOCATION, 'SLURM_NODEID': '0', 'SLURM_PROCID': '0'}
# The third task of `srun --nodes=3 --ntasks-per-node=1` within it.
STEP = {
  **ALLOCATION,
  'SLURM_STEP_NODELIST': 'node[1-2,4]',
  'SLURM_STEP_NUM_TASKS': '3',
  'SLURM_NODEID': '2',
  'SLURM_PROCID': '2',
}
# Where `salloc` opens its shell on the first node, in a step of its own.
INTERACTIVE_STEP = {
  **ALLOCATION,
  'SLURM_STEP_NODELIST': 'node1',
  'SLURM_STEP_NUM_TASKS': '1',
  'SLURM_NODEID': '0',
  'SLURM_PROCID': '0',
  'PMI_RANK': '0',
  'PMI_SIZE': '1',
}
KUBERNETES = {
  'JOB_COMPLETION_INDEX': '1',
  'KUBERNETES_SERVICE_HOST': '10.0.0.1',
}

ABC = ('a', 'b', 'c')
NODES = ('node1', 'node2', 'node4')


def refusal(hosts_flag=None, index_flag=None, environ=None):
  with pytest.raises(ValueError) as error:
    hosts_lib.detect(hosts_flag, index_flag, environ or {})
  message = str(error.value)
  assert '\n' not in message
  return message


@pytest.mark.parametrize(
  'hosts_flag, index_flag, environ, names, index',
  [
    # Flags alone.
    (None, None, {}, ('localhost',), 0),
    ('a,b,c', 1, {}, ABC, 1),
    (' a, b ,c', 0, {}, ABC, 0),
    ('10.0.0.[7-9]', 2, {}, ('10.0.0.7', '10.0.0.8', '10.0.0.9'), 2),
    ('a', None, {}, ('a',), 0),
    # Both flags: whatever else is there, even nonsense.
    ('a,b', 1, {**STEP, **OPEN_MPI, **MPICH, **KUBERNETES}, ('a', 'b'), 1),
    ('localhost', 0, {'JOB_COMPLETION_INDEX': 'x'}, ('localhost',), 0),
    # Each environment.
    ('a,b,c', None, OPEN_MPI, ABC, 2),
    ('a,b,c', None, MPICH, ABC, 1),
    (None, None, STEP, NODES, 2),
    ('a,b,c', None, STEP, ABC, 2),
    ('a,b,c', None, KUBERNETES, ABC, 1),
    # An older Slurm, in which a step has the job's count of tasks only.
    (
      None,
      None,
      {
        'SLURM_STEP_NODELIST': 'n[1-2]',
        'SLURM_NTASKS': '2',
        'SLURM_NODEID': '1',
      },
      ('n1', 'n2'),
      1,
    ),
    # An allocation in which nothing was started by srun.
    (None, None, ALLOCATION, ('localhost',), 0),
    (None, None, INTERACTIVE_STEP, ('node1',), 0),
    (None, None, {**BATCH, 'SLURM_JOB_NODELIST': 'n1'}, ('localhost',), 0),
    ('localhost', None, BATCH, ('localhost',), 0),
    # Where two are there at once.
    ('a,b,c', None, {**OPEN_MPI, **MPICH, **KUBERNETES}, ABC, 2),
    ('a,b,c', None, {**BATCH, **OPEN_MPI}, ABC, 2),
    ('a,b,c', None, {**INTERACTIVE_STEP, **OPEN_MPI}, ABC, 2),
    ('a,b,c', None, {**INTERACTIVE_STEP, **MPICH}, ABC, 1),
    ('a,b,c', None, {**KUBERNETES, **STEP}, ABC, 2),
    # srun --mpi=pmi2 speaks MPI's language as well.
    (None, None, {**STEP, 'PMI_RANK': '2', 'PMI_SIZE': '3'}, NODES, 2),
    # One MPI process says nothing.
    (None, None, {'PMI_RANK': '0', 'PMI_SIZE': '1'}, ('localhost',), 0),
    (None, None, {**STEP, 'PMI_RANK': '0', 'PMI_SIZE': '1'}, NODES, 2),
  ],
)
def test_hosts_and_own_index_are_found(
  hosts_flag, index_flag, environ, names, index
):
  found = hosts_lib.detect(hosts_flag, index_flag, environ)
  assert found == hosts_lib.Hosts(names, index)


def test_the_first_host_leads():
  leader, other = hosts_lib.Hosts(ABC, 0), hosts_lib.Hosts(ABC, 2)
  assert leader.is_leader and not other.is_leader
  assert leader.leader == other.leader == leader.address == 'a'
  assert other.address == 'c'
  assert other.count == 3


@pytest.mark.parametrize(
  'hosts_flag, index_flag, environ, parts',
  [
    (None, 1, {}, ['--host_index=1 needs --hosts']),
    # Also where Slurm could name them: which flags go together stays simple.
    (None, 1, STEP, ['--host_index=1 needs --hosts']),
    ('a,b,c', 3, {}, ['less than 3', 'got 3']),
    ('a,b,c', -1, {}, ['at least 0', 'got -1']),
    ('a,b,a', 0, {}, ["'a' is given twice"]),
    ('n[1-3],n2', 0, {}, ["'n2' is given twice"]),
    (
      'a,b,c',
      None,
      {},
      [
        '--host_index=0 on a, 1 on b',
        'OMPI_COMM_WORLD_RANK',
        'PMI_RANK',
        'SLURM_NODEID',
        'JOB_COMPLETION_INDEX',
      ],
    ),
    ('a,b', None, BATCH, ['add --host_index']),
    # Names that are missing.
    (None, None, OPEN_MPI, ['OMPI_COMM_WORLD_RANK=2', 'add --hosts=a,b,c']),
    (None, None, MPICH, ['PMI_RANK=1', '--hosts=localhost --host_index=0']),
    (None, None, KUBERNETES, ['JOB_COMPLETION_INDEX=1', 'add --hosts']),
    # Sizes that differ.
    ('a,b', None, OPEN_MPI, ['OMPI_COMM_WORLD_SIZE must be 2', 'got 3']),
    ('a,b', None, MPICH, ['PMI_SIZE must be 2', 'got 3', '-ppn 1']),
    ('a,b', None, STEP, ['SLURM_STEP_NUM_TASKS must be 2', 'got 3']),
    (
      'a,b',
      None,
      INTERACTIVE_STEP,
      ['SLURM_STEP_NUM_TASKS must be 2', '--host_index'],
    ),
    (
      None,
      None,
      {**STEP, 'SLURM_STEP_NUM_TASKS': '6'},
      ['must be 3', 'got 6', 'srun --ntasks-per-node=1'],
    ),
    (
      'a,b,c',
      None,
      {**OPEN_MPI, 'OMPI_COMM_WORLD_LOCAL_SIZE': '3'},
      ['LOCAL_SIZE must be 1', 'got 3', '--map-by ppr:1:node'],
    ),
    (
      'a,b,c',
      None,
      {**MPICH, 'MPI_LOCALNRANKS': '2'},
      ['MPI_LOCALNRANKS must be 1', 'got 2'],
    ),
    # An index that is out of range says where it came from.
    (
      'a,b',
      None,
      {'JOB_COMPLETION_INDEX': '2'},
      ['less than 2', 'got 2', 'JOB_COMPLETION_INDEX'],
    ),
    # A batch script that forgot srun.
    (
      None,
      None,
      BATCH,
      ['SLURM_JOB_NODELIST=node[1-4]', 'srun --ntasks-per-node=1'],
    ),
    # Variables that are no numbers, or missing.
    ('a,b', None, {'JOB_COMPLETION_INDEX': ''}, ["whole number, got ''"]),
    (
      'a,b',
      None,
      {'OMPI_COMM_WORLD_RANK': '0', 'OMPI_COMM_WORLD_SIZE': '-2'},
      ["OMPI_COMM_WORLD_SIZE must be a whole number, got '-2'"],
    ),
    (
      None,
      None,
      {'SLURM_STEP_NODELIST': 'n[1-2]', 'SLURM_STEP_NUM_TASKS': '2'},
      ['SLURM_NODEID must be a whole number, got None'],
    ),
  ],
)
def test_each_mistake_is_named_with_its_remedy(
  hosts_flag, index_flag, environ, parts
):
  message = refusal(hosts_flag, index_flag, environ)
  for part in parts:
    assert part in message, message


@pytest.mark.parametrize(
  'pattern, names',
  [
    ('a', 'a'),
    ('node[1-3,7],login', 'node1 node2 node3 node7 login'),
    ('n[08-10]', 'n08 n09 n10'),
    ('n[8-10]', 'n8 n9 n10'),
    ('n[099-101]', 'n099 n100 n101'),
    ('n[1,01,001]', 'n1 n01 n001'),
    ('r[0-1]n[1-2]-ib', 'r0n1-ib r0n2-ib r1n1-ib r1n2-ib'),
    ('skills-[0-1].skills', 'skills-0.skills skills-1.skills'),
    ('[1-2]', '1 2'),
  ],
)
def test_brackets_are_read_as_slurm_writes_them(pattern, names):
  assert hosts_lib.expand(pattern) == tuple(names.split())


@pytest.mark.parametrize(
  'pattern, part',
  [
    ('', "''"),
    ('a,,b', "''"),
    ('a,', "''"),
    ('a b', "'a b'"),
    ('a:22', "'a:22'"),
    ('me@a', "'me@a'"),
    ('::1', "'::1'"),
    ('n[1-3', "'n[1-3'"),
    ('n1-3]', "'n1-3]'"),
    ('n[]', "'n[]'"),
    ('n[1,]', "'n[1,]'"),
    ('n[[1]]', "'n[[1]]'"),
    ('n[a-c]', "'a-c'"),
    ('n[1-3-5]', "'1-3-5'"),
    ('n[1-9:2]', "'1-9:2'"),
    ('n[ 1]', "' 1'"),
    ('n[3-1]', "'3-1'"),
    ('n[1-010]', "'1-010'"),
    ('n[²]', "'²'"),
  ],
)
def test_malformed_lists_of_hosts_are_refused(pattern, part):
  assert f'got {part}' in refusal(pattern, 0)


@st.composite
def ranges(draw):
  """One part of a bracket -> as Slurm writes it, and what it stands for."""
  first = draw(st.integers(0, 120))
  last = first + draw(st.integers(0, 12))
  width = draw(st.integers(1, 4))
  numbers = [str(n).rjust(width, '0') for n in range(first, last + 1)]
  text = numbers[0]
  if len(numbers) > 1 or draw(st.booleans()):
    text += '-' + numbers[-1]
  return text, numbers


@st.composite
def items(draw):
  """A name with brackets -> as Slurm writes it, and what it stands for."""
  text, names = '', ['']
  for _ in range(draw(st.integers(1, 3))):
    literal = draw(st.text('abz09-._', min_size=1, max_size=3))
    text += literal
    names = [name + literal for name in names]
    parts = draw(st.lists(ranges(), max_size=2))
    if parts:
      text += '[' + ','.join(part for part, _ in parts) + ']'
      grown = []
      for name in names:
        for _, numbers in parts:
          for number in numbers:
            grown.append(name + number)
      names = grown
  return text, names


@hypothesis.settings(max_examples=50, deadline=None)
@hypothesis.given(st.lists(items(), min_size=1, max_size=3))
def test_any_list_expands_to_what_it_was_made_from(written):
  pattern = ','.join(text for text, _ in written)
  names = [name for _, names in written for name in names]
  assert hosts_lib.expand(pattern) == tuple(names)


def test_nothing_heavy_is_imported():
  code = (
    'import sys, launch.distributed.hosts\n'
    "heavy = {'absl', 'acme', 'jax', 'launchpad', 'numpy', 'skills'}\n"
    'assert not heavy & set(sys.modules), heavy & set(sys.modules)'
  )
  subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)


# --- The examples say what they claim. ---------------------------------------


def flags_of(command):
  """The flags in what a shell would run, `--name=value` only."""
  return dict(re.findall(r'--(\w+)=(\S+)', command))


def run_with(stub, folder, script, *arguments, **environ):
  """Runs an example in which `stub` only notes how it was called."""
  calls = folder / 'calls'
  program = folder / stub
  program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{calls}\n')
  program.chmod(0o755)
  subprocess.run(
    ['bash', str(EXAMPLES / script), *arguments],
    cwd=folder,
    env={'PATH': f'{folder}:/usr/bin:/bin', **environ},
    check=True,
    timeout=30,
  )
  return calls.read_text().splitlines()


def test_ssh_example_starts_each_host_with_its_own_index(tmp_path):
  given = ['--agent=disdain', '--output_dir=/shared/runs/a b']
  calls = run_with('ssh', tmp_path, 'ssh.sh', 'a,b,c', *given)
  found = {}
  for call in calls:
    options, command = call.split(' cd ', 1)
    words = shlex.split(command)
    assert words[0] == str(ROOT)
    assert words[-2:] == given
    flags = dict(word[2:].split('=', 1) for word in words if '--' in word)
    hosts = hosts_lib.detect(flags['hosts'], int(flags['host_index']), {})
    # The host that is told to be a is a, and it alone has a terminal.
    assert options.split()[-1] == hosts.address
    assert ('-t' in options.split()) == hosts.is_leader
    found[hosts.index] = hosts.names
  assert found == {0: ABC, 1: ABC, 2: ABC}


def test_slurm_example_starts_one_task_on_each_node(tmp_path):
  text = (EXAMPLES / 'slurm.sbatch').read_text()
  options = dict(re.findall(r'^#SBATCH --([\w-]+)=(\S+)$', text, re.M))
  nodes = int(options['nodes'])
  assert options['ntasks-per-node'] == '1'
  (call,) = run_with('srun', tmp_path, 'slurm.sbatch', SLURM_CPUS_PER_TASK='16')
  flags = flags_of(call)
  assert flags['agent'] == 'disdain'
  assert int(flags['num_learners']) <= nodes
  assert 'hosts' not in flags and 'host_index' not in flags
  for index in range(nodes):
    hosts = hosts_lib.detect(
      None,
      None,
      {
        'SLURM_STEP_NODELIST': f'node[1-{nodes}]',
        'SLURM_STEP_NUM_TASKS': str(nodes),
        'SLURM_NODEID': str(index),
      },
    )
    assert hosts.address == f'node{index + 1}'


def test_kubernetes_example_names_the_pods_that_its_job_makes():
  text = (EXAMPLES / 'kubernetes.yaml').read_text()
  documents = {
    re.search(r'^kind: (\w+)$', part, re.M)[1]: part
    for part in text.split('\n---\n')
  }
  job = documents['Job']

  def value(name, document=job):
    return re.search(rf'\b{name}: (\S+)$', document, re.M)[1]

  count = int(value('completions'))
  assert value('parallelism') == str(count)
  assert value('completionMode') == 'Indexed'
  assert value('subdomain') == value('name', documents['Service'])
  flags = flags_of(job)
  assert flags['output_dir'].startswith(value('mountPath') + '/')
  for index in range(count):
    environ = {'JOB_COMPLETION_INDEX': str(index)}
    hosts = hosts_lib.detect(flags['hosts'], None, environ)
    assert hosts.count == count
    assert hosts.address == f'{value("name")}-{index}.{value("subdomain")}'


@pytest.mark.parametrize('script', ['ssh.sh', 'slurm.sbatch'])
def test_the_shell_can_read_the_scripts(script):
  subprocess.run(['bash', '-n', str(EXAMPLES / script)], check=True)


def test_the_guide_shows_hosts_that_can_be_read():
  text = (ROOT / 'docs' / 'distributed.md').read_text()
  shown = re.findall(r'--hosts="?([^\s`"$]+)', text)
  assert 'a,b,c' in shown
  for pattern in shown:
    hosts_lib.expand(pattern)


def vertex(pool, index):
  cluster = {
    'workerpool0': ['cmle-0:2222'],
    'workerpool1': ['cmle-1-0:2222', 'cmle-1-1:2222'],
  }
  task = {'type': pool, 'index': index}
  return {'CLUSTER_SPEC': json.dumps({'cluster': cluster, 'task': task})}


@pytest.mark.parametrize(
  ('pool', 'index', 'expected'),
  [('workerpool0', 0, 0), ('workerpool1', 0, 1), ('workerpool1', 1, 2)],
)
def test_vertex_ai_names_and_numbers_the_replicas_of_all_pools(
  pool, index, expected
):
  found = hosts_lib.detect(None, None, vertex(pool, index))
  assert found.names == ('cmle-0', 'cmle-1-0', 'cmle-1-1')
  assert found.index == expected


@pytest.mark.parametrize(
  'spec', ['{', '{}', '{"cluster": {}, "task": {"type": "a", "index": 0}}']
)
def test_a_cluster_that_is_not_vertex_ais_is_refused(spec):
  with pytest.raises(ValueError, match='CLUSTER_SPEC must describe'):
    hosts_lib.detect(None, None, {'CLUSTER_SPEC': spec})
