"""What can be known of Vertex AI without it: XManager is a stand-in here.

Launchpad is real up to the containers that it would have built: what they
hold, which node each runs, and where the nodes look for each other.
"""

import functools
import importlib
import importlib.util
import json
import pathlib
import sys
import types

from absl import flags
import cloudpickle
import pytest

from launch.distributed import program as program_lib
from launch.runs import experiment as experiment_lib
from skills.agents import acme_api

pytestmark = pytest.mark.integration

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def packaged(monkeypatch):
  """Puts the stand-in in XManager's place; collects the containers."""
  containers = []

  class Experiment:
    def __enter__(self):
      return self

    def __exit__(self, *_):
      return None

    def package(self, packageables):
      containers.extend(each.executable_spec for each in packageables)
      return ['executable']

    def add(self, group):
      del group

  def record(name):
    return lambda **fields: types.SimpleNamespace(kind=name, **fields)

  xm = types.SimpleNamespace(
    GiB=2**30,
    JobRequirements=lambda **fields: types.SimpleNamespace(
      replicas=1, **fields
    ),
    PythonContainer=record('container'),
    CommandList=list,
    Packageable=record('packageable'),
    Job=record('job'),
    JobGroup=record('group'),
  )

  class Caip:
    Spec = staticmethod(lambda: None)

    def __init__(self, requirements):
      self.requirements = requirements

  xm_local = types.SimpleNamespace(
    create_experiment=lambda experiment_title: Experiment(), Caip=Caip
  )
  stand_in = types.ModuleType('xmanager')
  stand_in.xm, stand_in.xm_local = xm, xm_local
  monkeypatch.setitem(sys.modules, 'xmanager', stand_in)
  yield containers
  for name in list(sys.modules):
    if 'xm_docker' in name:
      del sys.modules[name]


def test_launchpad_makes_containers_whose_nodes_find_each_other(
  packaged, monkeypatch, tmp_path
):
  spec = importlib.util.spec_from_file_location(
    'vertex_ai', ROOT / 'examples' / 'vertex_ai.py'
  )
  example = importlib.util.module_from_spec(spec)
  # Its flags have names that those of commands have too.
  importlib.import_module('launch.training.flags')
  own = flags.FlagValues()
  for kind in ('DEFINE_integer', 'DEFINE_string'):
    define = functools.partial(getattr(flags, kind), flag_values=own)
    monkeypatch.setattr(flags, kind, define)
  spec.loader.exec_module(example)
  experiment = experiment_lib.make(
    agent='disdain',
    environment='grid:disdain_release',
    num_steps=10_000,
    output_dir=str(tmp_path),
  )
  made = program_lib.make(experiment, program_lib.Topology(num_actors=3))
  monkeypatch.setattr(
    'distutils.dir_util.copy_tree', lambda *_: None
  )  # The whole repository, several times.
  acme_api.launchpad.launch(
    made.program,
    launch_type='vertex_ai',
    xm_resources=example.resources(list(made.program.groups), gpu=None),
  )

  # The first pool has one replica, as Vertex AI wants it.
  assert len(packaged) == 2
  held = []
  for container in packaged:
    [command] = container.entrypoint
    assert command.startswith('python -m process_entry --data_file=job.pkl')
    folder = pathlib.Path(container.path)
    assert (folder / 'requirements.txt').read_bytes() == (
      ROOT / 'requirements.lock'
    ).read_bytes()
    with open(folder / 'job.pkl', 'rb') as file:
      held.append(len(cloudpickle.load(file)))
  assert held[0] == 1
  assert sum(held) == len(program_lib.node_names(made.program)) == 7

  # Each node resolves to an address of its own in the job's cluster.
  monkeypatch.setenv(
    'CLUSTER_SPEC',
    json.dumps(
      {
        'cluster': {
          'workerpool0': ['pool0-0:2222'],
          'workerpool1': [f'pool1-{i}:2222' for i in range(held[1])],
        }
      }
    ),
  )
  addresses = [
    address.resolve()
    for node in made.program.get_all_nodes()
    for address in node.addresses
  ]
  assert len(set(addresses)) == len(addresses) == 3  # Replay, counter, learner.
  assert 'pool0-0:2222' in addresses
