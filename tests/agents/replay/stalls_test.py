"""Tests of skills/agents/replay/stalls.py."""

import re
import subprocess
import threading
import time

import pytest

from skills.agents.replay import reader as replay_reader
from skills.agents.replay import stalls
from skills.agents.replay import tables as replay_tables
from skills.agents.replay import writer as replay_writer
from tests import replaying
from tests.programs import counting

pytestmark = pytest.mark.integration


def test_a_learner_without_enough_data_ends_with_an_error(serve):
  config = counting.make_config(replay={'min_size': 5, 'timeout_s': 1.0})
  client = serve(config)
  replaying.write_items(replay_writer.make_adder(config, client), 3)
  iterator = replay_reader.SampleIterator(config, [client])
  message = replaying.wait_until_stalled(lambda: next(iterator), 1.0)
  assert re.match(
    r'the learner has waited \d+ s for replay at localhost:\d+\. ', message
  )
  assert "'trajectories' holds 3 of at most 20000" in message
  assert '3 inserts and 0 samples' in message
  assert 'may sample from 5 on: it waits for inserts' in message
  # Once the data are there, it goes on.
  replaying.write_items(replay_writer.make_adder(config, client), 2)
  assert len(next(iterator).reward) == 2


def test_a_learner_that_is_ahead_ends_with_an_error(serve):
  config = counting.make_config(
    replay={
      'min_size': 2,
      'updates_per_environment_step': 0.25,
      'timeout_s': 1.0,
    }
  )
  client = serve(config)
  replaying.write_items(replay_writer.make_adder(config, client), 2)
  iterator = replay_reader.SampleIterator(config, [client])
  message = replaying.wait_until_stalled(
    lambda: [next(iterator) for _ in range(100)], 1.0
  )
  assert 'The learner is ahead of the actors: it waits for inserts' in message


def test_a_learner_waits_for_an_actor_that_is_slow(serve):
  # Longer than timeout_s in all, but something comes every now and then.
  config = counting.make_config(replay={'min_size': 4, 'timeout_s': 1.0})
  client = serve(config)
  adder = replay_writer.make_adder(config, client)
  writer = threading.Thread(
    target=lambda: replaying.write_items(adder, 4, pause_s=0.7)
  )
  writer.start()
  assert len(next(replay_reader.SampleIterator(config, [client])).reward) == 2
  writer.join()


@pytest.mark.parametrize('kind', ['queue', 'uniform'])
def test_an_actor_without_a_learner_ends_with_an_error(serve, kind):
  fields = {'kind': kind, 'capacity': 6, 'min_size': 2, 'timeout_s': 1.0}
  config = counting.make_config(replay=fields)
  client = serve(config)
  adder = replay_writer.make_adder(config, client)
  message = replaying.wait_until_stalled(
    lambda: replaying.write_items(adder, 100), 1.0
  )
  assert message.startswith('the actor has waited')
  assert 'Actors are ahead of the learner: it waits for samples' in message
  info = client.server_info()[replay_tables.TABLE]
  assert f'holds {info.current_size} of at most 6' in message


@pytest.mark.parametrize('role', ['learner', 'actor'])
def test_waiting_ends_when_the_program_stops(serve, role):
  config = counting.make_config(replay=counting.queue(2))
  client = serve(config)
  stop = threading.Event()
  threading.Timer(0.3, stop.set).start()
  with pytest.raises(stalls.StoppedError):
    if role == 'learner':
      next(replay_reader.SampleIterator(config, [client], stop.is_set))
    else:
      replaying.write_items(
        replay_writer.make_adder(config, client, stop.is_set), 100
      )


def test_a_server_that_comes_back_is_used_again(server):
  with replaying.working(server) as (learner, actor, _):
    actor.go_on(10)
    learner.go_on(10)
    server.client.checkpoint()
    size = replay_tables.stats(server.client).size
    server.kill()
    assert replay_tables.stats(server.client) is None
    assert 'does not answer' in replay_tables.describe(server.client)
    # It gave up before they did.
    assert learner.is_alive() and actor.is_alive()
    server.start()
    # Reverb tries again after ever longer pauses.
    actor.go_on(30)
    learner.go_on(30)
    assert replay_tables.stats(server.client).size > size


def test_nothing_written_is_lost_but_what_the_server_forgot(server):
  config = server.config()
  adder = replay_writer.make_adder(config, server.client)
  replaying.write_items(adder, 3, skill=1)
  server.client.checkpoint()
  server.kill()
  writer = threading.Thread(
    target=lambda: replaying.write_items(adder, 4, skill=2)
  )
  writer.start()
  time.sleep(1)
  assert writer.is_alive()
  server.start()
  writer.join(30)
  assert not writer.is_alive()
  # The item on its way may have come twice.
  assert replay_tables.stats(server.client).size in (7, 8)
  iterator = replay_reader.SampleIterator(
    config, [server.client], fetch_size=100
  )
  skills = next(iterator).extras['skill'][:, 0].tolist()
  assert set(skills) == {1, 2}
  iterator.close()


def test_waiting_for_a_killed_server_ends_when_the_program_stops(server):
  with replaying.working(server) as (learner, actor, stop):
    actor.go_on(10)
    learner.go_on(10)
    server.kill()
    # So that both wait.
    time.sleep(1.2)
    stop.set()
    assert isinstance(learner.end(5), stalls.StoppedError)
    assert isinstance(actor.end(5), stalls.StoppedError)


def test_a_server_that_stays_away_ends_with_an_error(server):
  with replaying.working(server, timeout_s=2.0) as (learner, actor, _):
    actor.go_on(10)
    learner.go_on(10)
    server.kill()
    for role, worker in [('learner', learner), ('actor', actor)]:
      error = worker.end(10)
      assert isinstance(error, stalls.ReplayStalledError), error
      waited = re.search(rf'the {role} has waited (\d+) s', str(error))
      assert int(waited[1]) >= 2
      assert server.client.server_address in str(error)
      assert 'does not answer' in str(error)


def test_a_server_that_comes_late_is_waited_for(program, tmp_path):
  server = replaying.KillableServer(program, tmp_path)
  with replaying.working(server, timeout_s=2.0) as (learner, actor, _):
    for worker in (learner, actor):
      assert isinstance(worker.end(8), stalls.ReplayStalledError)
  # No thread is left inside Reverb, as no stream was open yet.
  assert not replaying.reader_threads(server.client)
  with replaying.working(server) as (learner, actor, _):
    time.sleep(2)
    assert learner.is_alive() and actor.is_alive()
    server.start()
    actor.go_on(15)
    learner.go_on(15)
  server.kill()


def test_a_killed_server_does_not_keep_a_process_from_its_end(server):
  # Leaving the block closes the pipes, also when a check fails.
  with replaying.start_python(
    '-m',
    'tests.programs.careless_program',
    server.client.server_address,
    stderr=subprocess.PIPE,
  ) as process:
    try:
      line = process.stdout.readline()
      assert line == 'ready\n', process.stderr.read()
      server.kill()
      # It waits twice for 3 s, and polls for up to a second more.
      _, errors = process.communicate('\n', timeout=30)
    finally:
      process.kill()
  assert process.returncode == 0, errors
  assert not errors
