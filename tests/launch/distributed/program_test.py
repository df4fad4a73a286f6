"""Which nodes a program has, where they run and what they may use."""

import collections
import os

import pytest

from launch.distributed import program
from launch.runs import experiment as experiment_lib
from skills import config_io

pytestmark = pytest.mark.integration


@pytest.fixture(scope='module')
def experiment(tmp_path_factory):
  return experiment_lib.make(
    agent='disdain',
    environment='grid:four_rooms',
    num_steps=100_000,
    output_dir=str(tmp_path_factory.mktemp('runs') / 'run'),
    settings={'batch_size': 12, 'updates_per_step': 2},
  )


@pytest.mark.parametrize(
  'fields, parts',
  [
    ({'num_actors': 0}, ['num_actors must be >= 1', 'got 0']),
    (
      {'num_inference_servers': -1},
      ['num_inference_servers must be >= 0', 'got -1'],
    ),
    ({'num_learners': 0}, ['num_learners must be >= 1', 'got 0']),
    ({'num_replay_shards': 0}, ['num_replay_shards must be >= 1', 'got 0']),
    ({'num_evaluators': -2}, ['num_evaluators must be >= 0', 'got -2']),
    ({'threads': 0}, ['threads must be >= 1', 'got 0']),
    ({'learner_threads': 0}, ['learner_threads must be >= 1', 'got 0']),
    (
      {'num_actors': 3, 'num_replay_shards': 2},
      ['num_actors must be a multiple of num_replay_shards (2)', 'got 3'],
    ),
    (
      {'num_actors': 4, 'num_inference_servers': 3},
      ['num_actors must be a multiple of num_inference_servers (3)', 'got 4'],
    ),
    (
      {'num_learners': 2, 'colocate_learner_and_replay': True},
      ['colocate_learner_and_replay is for one learner', 'num_learners=2'],
    ),
    (
      {'learner_devices': (0, 1), 'inference_devices': (2, 1)},
      ['device 1 is given to learners and to inference servers', 'one of them'],
    ),
    (
      {'learner_devices': (0, 0)},
      ['learner_devices must be different numbers', '0,0'],
    ),
    (
      {'inference_devices': (-1,)},
      ['inference_devices must be different numbers >= 0', '-1'],
    ),
  ],
)
def test_nodes_that_cannot_work_are_refused(fields, parts):
  with pytest.raises(ValueError) as error:
    program.Topology(**fields)
  for part in parts:
    assert part in str(error.value)


@pytest.mark.parametrize(
  'fields, num_hosts, settings, parts',
  [
    (
      {'num_learners': 5},
      1,
      {},
      ['batch_size must be a multiple of num_learners (5)', 'got 12'],
    ),
    (
      {'num_learners': 3, 'num_replay_shards': 5, 'num_actors': 5},
      1,
      {},
      ['must be a multiple of num_replay_shards (5)', 'got 8'],
    ),
    (
      {'num_replay_shards': 2},
      1,
      {'replay.kind': 'queue', 'replay.capacity': 47},
      ['replay.capacity must be >=', '(48)', 'got 47', 'never move'],
    ),
    (
      {'num_learners': 2, 'learner_devices': (0, 1, 2)},
      1,
      {},
      ['the 3 learner_devices', 'equally among its 2 learners'],
    ),
    (
      {'num_learners': 4, 'learner_devices': (0,)},
      2,
      {},
      ['the 1 learner_devices', 'equally among its 2 learners'],
    ),
  ],
)
def test_nodes_that_do_not_fit_the_agent_are_refused(
  experiment, fields, num_hosts, settings, parts
):
  config = config_io.apply_changes(
    experiment.config, {'replay.min_size': 1, **settings}
  )
  with pytest.raises(ValueError) as error:
    program.Topology(**fields).check(config, num_hosts)
  for part in parts:
    assert part in str(error.value)


def test_boundary_values_are_allowed(experiment):
  config = config_io.apply_changes(
    experiment.config,
    {
      'replay.kind': 'queue',
      'replay.capacity': 48,
      'replay.min_size': 1,
    },
  )
  program.Topology(num_replay_shards=2).check(config)
  program.Topology(num_learners=4, learner_devices=(0,)).check(config, 4)
  program.Topology(num_learners=4, learner_devices=(3, 1)).check(config, 2)


def make(experiment, num_hosts=1, **fields):
  return program.make(
    experiment, program.Topology(**fields), num_hosts=num_hosts
  )


def test_nodes_are_named_by_their_kind(experiment):
  made = make(experiment)
  names = ['replay/0', 'counter', 'learner', 'actor/0', 'actor/1']
  names.append('evaluator/0')
  assert list(program.node_names(made.program)) == names
  assert set(made.placements) == set(names)

  made = make(
    experiment,
    num_actors=4,
    num_inference_servers=2,
    num_learners=3,
    num_replay_shards=4,
    num_evaluators=2,
  )
  names = collections.Counter(
    name.split('/')[0] for name in program.node_names(made.program)
  )
  assert names == {
    'replay': 4,
    'counter': 1,
    'learner': 3,
    'inference': 2,
    'actor': 4,
    'evaluator': 2,
  }
  assert set(program.node_names(made.program)) == set(made.placements)
  assert 'learner/2' in made.placements
  assert 'inference/1' in made.placements


def test_a_learner_with_replay_inside_is_one_node(experiment):
  made = make(experiment, colocate_learner_and_replay=True, num_replay_shards=2)
  assert set(program.node_names(made.program)) == set(made.placements)
  assert not [name for name in made.placements if name.startswith('replay')]
  assert 'learner' in made.placements
  # Both servers have an address of their own, beside the learner's.
  learner = program.node_names(made.program)['learner']
  assert len(learner.addresses) == 3


def test_no_evaluators_are_needed(experiment):
  made = make(experiment, num_evaluators=0)
  assert not [name for name in made.placements if name.startswith('eval')]


def hosts_of(made):
  return {name: place.host for name, place in made.placements.items()}


def test_nodes_are_spread_over_hosts(experiment):
  hosts = hosts_of(
    make(experiment, 3, num_actors=6, num_replay_shards=2, num_evaluators=2)
  )
  assert hosts == {
    # One learner, so both are beside it.
    'replay/0': 0,
    'replay/1': 0,
    'counter': 0,
    'learner': 0,
    'actor/0': 0,
    'actor/1': 1,
    'actor/2': 2,
    'actor/3': 0,
    'actor/4': 1,
    'actor/5': 2,
    'evaluator/0': 2,
    'evaluator/1': 1,
  }


def test_replay_is_beside_learners_and_actors_beside_inference_servers(
  experiment,
):
  hosts = hosts_of(
    make(
      experiment,
      3,
      num_learners=2,
      num_replay_shards=3,
      num_inference_servers=3,
      num_actors=6,
    )
  )
  assert (hosts['learner/0'], hosts['learner/1']) == (0, 1)
  assert [hosts[f'replay/{i}'] for i in range(3)] == [0, 1, 0]
  assert [hosts[f'inference/{i}'] for i in range(3)] == [0, 1, 2]
  assert [hosts[f'actor/{i}'] for i in range(6)] == [0, 1, 2, 0, 1, 2]
  # With fewer servers than hosts, actors follow their server.
  hosts = hosts_of(make(experiment, 3, num_inference_servers=1, num_actors=3))
  assert {hosts[f'actor/{i}'] for i in range(3)} == {hosts['inference/0']}


def test_actors_leave_before_learners_and_learners_before_servers(experiment):
  made = make(experiment, num_inference_servers=1)
  stages = {name: place.stage for name, place in made.placements.items()}
  assert stages == {
    'actor/0': 0,
    'actor/1': 0,
    'evaluator/0': 0,
    'learner': 1,
    'inference/0': 1,
    'replay/0': 2,
    'counter': 2,
  }


def test_all_nodes_but_counter_and_several_learners_may_restart(experiment):
  def not_restarted(made):
    return {n for n, place in made.placements.items() if not place.may_restart}

  assert not_restarted(make(experiment)) == {'counter'}
  # Several learners meet once, at the start.
  assert not_restarted(make(experiment, num_learners=2)) == {
    'counter',
    'learner/0',
    'learner/1',
  }


THREADS = ('NPROC', 'OMP_NUM_THREADS', 'TF_NUM_INTRAOP_THREADS')


def test_nodes_take_as_many_threads_as_they_are_given(experiment, monkeypatch):
  monkeypatch.setattr(os, 'cpu_count', lambda: 16)
  made = make(experiment, num_inference_servers=1, threads=3)
  for name, place in made.placements.items():
    # Half of the cores are the learner's.
    expected = '8' if name == 'learner' else '3'
    assert {place.env[key] for key in THREADS} == {expected}, name

  made = make(experiment, num_learners=4)
  assert made.placements['learner/3'].env['NPROC'] == '2'
  made = make(experiment, 2, num_learners=4)
  assert made.placements['learner/3'].env['NPROC'] == '4'
  made = make(experiment, learner_threads=5)
  assert made.placements['learner'].env['NPROC'] == '5'
  monkeypatch.setattr(os, 'cpu_count', lambda: 1)
  assert make(experiment).placements['learner'].env['NPROC'] == '1'


def devices_of(made):
  """CUDA_VISIBLE_DEVICES of each node; those that are kept from all left out.

  Also checks that the other variables go with it.
  """
  found = {}
  for name, place in made.placements.items():
    devices = place.env.get('CUDA_VISIBLE_DEVICES', 'all')
    assert (place.env.get('JAX_PLATFORMS') == 'cpu') == (devices == '-1'), name
    if devices not in ('-1', 'all'):
      assert place.env['TPU_VISIBLE_CHIPS'] == devices
    if devices != '-1':
      found[name] = devices
  return found


def test_only_learners_see_devices_unless_others_are_given_some(experiment):
  assert devices_of(make(experiment, num_inference_servers=1)) == {
    'learner': 'all'
  }
  made = make(
    experiment,
    num_inference_servers=2,
    learner_devices=(0, 1),
    inference_devices=(3,),
  )
  assert devices_of(made) == {
    'learner': '0,1',
    'inference/0': '3',
    'inference/1': '3',
  }


def test_learners_and_inference_servers_of_a_host_share_its_devices(experiment):
  made = make(
    experiment,
    2,
    num_actors=4,
    num_learners=4,
    num_inference_servers=4,
    learner_devices=(4, 5, 6, 7),
    inference_devices=(0, 2),
  )
  # Learners 0 and 2 are on one host, 1 and 3 on the other.
  assert devices_of(made) == {
    'learner/0': '4,5',
    'learner/1': '4,5',
    'learner/2': '6,7',
    'learner/3': '6,7',
    'inference/0': '0',
    'inference/1': '0',
    'inference/2': '2',
    'inference/3': '2',
  }


def test_replay_servers_share_what_replay_holds(experiment):
  config = config_io.apply_changes(
    experiment.config, {'replay.capacity': 1000, 'replay.min_size': 100}
  )
  shard = program.shard_config(config, 4)
  assert (shard.replay.capacity, shard.replay.min_size) == (250, 25)
  assert shard.samples_per_insert == config.samples_per_insert
  assert shard.batch_size == config.batch_size
  assert program.shard_config(config, 1) == config
  shard = program.shard_config(config, 128)
  assert (shard.replay.capacity, shard.replay.min_size) == (7, 1)


def test_a_topology_that_does_not_fit_makes_no_program(experiment):
  with pytest.raises(ValueError, match='num_learners'):
    make(experiment, num_learners=5)
