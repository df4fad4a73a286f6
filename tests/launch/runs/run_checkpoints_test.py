"""A run's checkpoints, replay included."""

import json
import pathlib

import jax
import numpy as np
import pytest

from launch.runs import run_checkpoints
from skills import checkpoints
from skills.agents import acme_api
from skills.agents import builder as builder_lib
from skills.agents.replay import tables as replay_tables
from skills.agents.replay import writer as replay_writer
from tests.programs import counting

pytestmark = pytest.mark.integration

CONFIG = counting.make_config(replay={'updates_per_environment_step': None})
COUNTS = {'actor_episodes': 7, 'actor_steps': 28, 'learner_steps': 0}


def make_state(seed):
  agent = builder_lib.make_agent(CONFIG, counting.SPEC)
  return agent.learner.init(jax.random.PRNGKey(seed))


def make_tables():
  return builder_lib.SkillBuilder(CONFIG).make_replay_tables(counting.SPEC)


def save(folder, clients=(), **changes):
  run_checkpoints.save(folder, make_state(1), COUNTS | changes, 12.5, clients)


@pytest.fixture
def serve(tmp_path):
  """Starts replay servers of the run; gives a client of each."""

  def start(shard):
    server = run_checkpoints.make_replay_server(tmp_path, shard, make_tables())
    start.servers.append(server)
    return acme_api.reverb.Client(f'localhost:{server.port}')

  start.servers = []
  yield start
  for server in start.servers:
    server.stop()


def test_what_was_saved_is_read_again(tmp_path):
  assert run_checkpoints.newest(tmp_path) is None
  save(tmp_path)
  state, meta = run_checkpoints.load(
    run_checkpoints.newest(tmp_path), make_state(2)
  )
  assert jax.tree.structure(state) == jax.tree.structure(make_state(1))
  for saved, made in zip(
    jax.tree.leaves(state), jax.tree.leaves(make_state(1))
  ):
    np.testing.assert_array_equal(saved, made)
  assert meta['counts'] == COUNTS
  assert meta['wall_time_s'] == 12.5
  assert meta['actor'] is None


def test_counts_are_complete_from_the_start_and_those_of_the_newest(tmp_path):
  assert run_checkpoints.counts(tmp_path) == dict.fromkeys(COUNTS, 0)
  save(tmp_path)
  # The learner's updates are those of its state, whatever was counted.
  save(tmp_path, actor_steps=40, learner_steps=99)
  assert run_checkpoints.counts(tmp_path) == COUNTS | {'actor_steps': 40}


def test_each_server_gets_back_what_it_held(tmp_path, serve):
  lengths = {0: 3, 1: 5}
  clients = [serve(shard) for shard in lengths]
  for client, episodes in zip(clients, lengths.values()):
    adder = replay_writer.make_adder(CONFIG, client)
    environment = counting.CountingEnvironment([counting.SKILL_LENGTH])
    counting.make_actor(CONFIG, environment, adder).run(num_episodes=episodes)
    adder.close()
  save(tmp_path, clients)
  for shard, episodes in lengths.items():
    assert replay_tables.stats(serve(shard)).size == episodes
  # Nothing is left where servers write.
  written = run_checkpoints.newest(tmp_path) / 'replay'
  assert sorted(path.name for path in written.iterdir()) == ['0', '1']
  run_checkpoints.remove_leftovers(tmp_path)
  assert [path.name for path in tmp_path.iterdir()] == [checkpoints.FOLDER]


@pytest.mark.parametrize('gone', [0, 1])
def test_a_checkpoint_is_without_replay_if_a_server_goes(
  tmp_path, serve, capfd, gone
):
  class GoesMeanwhile(acme_api.reverb.Client):
    """Client of a server that ends when it is asked to write."""

    def checkpoint(self):
      serve.servers[gone].stop()
      return super().checkpoint()

  clients = [serve(0), serve(1)]
  clients[gone] = GoesMeanwhile(clients[gone].server_address)
  save(tmp_path, clients)
  # All of replay or none: half of it could not be continued with.
  assert sorted(
    path.name for path in run_checkpoints.newest(tmp_path).iterdir()
  ) == [*('meta.json', 'state.npz')]
  assert f'replay/{gone} is away: this checkpoint' in capfd.readouterr().err
  # So it was found gone, and so it is found now.
  save(tmp_path, clients, actor_steps=40)
  assert run_checkpoints.counts(tmp_path)['actor_steps'] == 40
  assert f'replay/{gone} is away: this checkpoint' in capfd.readouterr().err


def test_checkpoint_leaves_out_replay_that_a_restarted_server_removed(
  tmp_path, serve, capfd
):
  class Replaced(acme_api.reverb.Client):
    """Client of a server that is killed once it has written."""

    def checkpoint(self):
      written = super().checkpoint()
      serve(0)
      return written

  save(tmp_path, [Replaced(serve(0).server_address)])
  assert not (run_checkpoints.newest(tmp_path) / 'replay').exists()
  assert 'replay/0 is away' in capfd.readouterr().err


def test_a_server_that_writes_elsewhere_is_named(tmp_path, serve):
  class Elsewhere(acme_api.reverb.Client):
    """Client of a server on a host that shares no files."""

    def checkpoint(self):
      return '/nowhere/checkpoint'

  client = Elsewhere(serve(0).server_address)
  with pytest.raises(
    RuntimeError, match='replay/0 wrote its checkpoint to'
  ) as e:
    save(tmp_path / 'run', [client])
  assert '/nowhere/checkpoint' in str(e.value)
  assert 'file system that all hosts share' in str(e.value)
  assert run_checkpoints.newest(tmp_path / 'run') is None


def test_another_number_of_servers_is_refused(tmp_path):
  run_checkpoints.check_shards(tmp_path, 3)  # There is nothing to continue.
  save(tmp_path)
  run_checkpoints.check_shards(tmp_path, 3)  # Nothing of replay was saved.
  checkpoint = run_checkpoints.newest(tmp_path)
  for shard in ('0', '1'):
    pathlib.Path(checkpoint, 'replay', shard).mkdir(parents=True)
  run_checkpoints.check_shards(tmp_path, 2)
  for number in (1, 3):
    with pytest.raises(
      ValueError, match='saved with 2 replay servers'
    ) as error:
      run_checkpoints.check_shards(tmp_path, number)
    assert f'cannot continue with {number}' in str(error.value)
    assert '--num_replay_shards=2' in str(error.value)


def test_the_file_can_be_read_by_others(tmp_path):
  save(tmp_path)
  checkpoint = run_checkpoints.newest(tmp_path)
  assert checkpoint.name == '000000000028'
  assert json.loads((checkpoint / 'meta.json').read_text())['counts'] == COUNTS
