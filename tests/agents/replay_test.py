"""What actors write to a real Reverb server is what the learner reads."""

from concurrent import futures
import contextlib
import dataclasses
import gc
import itertools
import json
import operator
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import traceback

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import portpicker
import pytest

from skills import config as config_lib
from skills.agents import acme_api
from skills.agents import builder as builder_lib
from skills.agents.replay import priorities
from skills.agents.replay import reader as replay_reader
from skills.agents.replay import stalls
from skills.agents.replay import tables as replay_tables
from skills.agents.replay import writer as replay_writer
from skills.learners import q_learning
from skills.networks import q_networks
from skills.networks import torsos
from tests import problems
from tests.programs import counting

pytestmark = pytest.mark.integration

ROOT = pathlib.Path(__file__).resolve().parents[2]

T = counting.SKILL_LENGTH


@pytest.fixture(scope='module')
def serve():
  """Starts servers, and stops them after the last test."""
  servers = []

  def start(config):
    builder = builder_lib.SkillBuilder(config)
    server = acme_api.reverb.Server(builder.make_replay_tables(counting.SPEC))
    servers.append(server)
    return acme_api.reverb.Client(f'localhost:{server.port}')

  yield start
  # Each may wait for seconds until its last client has gone.
  with futures.ThreadPoolExecutor(len(servers)) as executor:
    list(executor.map(lambda server: server.stop(), servers))


@pytest.fixture(scope='module')
def actor():
  """One compiled actor for all tests, which writes wherever it is told to."""
  config = counting.make_config()
  environment = counting.CountingEnvironment([1])
  loop = counting.make_actor(config, environment, None)
  inner = loop._actor

  class Actor:
    def write(self, adder, lengths):
      """Acts for one episode of each length; what was done, by a witness."""
      witness = counting.Witness(adder)
      inner._adder = witness
      acme_api.environment_loop.EnvironmentLoop(
        counting.CountingEnvironment(lengths),
        inner,
        logger=acme_api.loggers.NoOpLogger(),
      ).run(num_episodes=len(lengths))
      return witness

  return Actor()


def write_items(adder, number, *, skill=0, pause_s=0.0):
  """Writes trajectories of one step, without an actor."""
  environment = counting.CountingEnvironment([1])
  extras = {
    'skill': np.int32(skill),
    'skill_step': np.int32(1),
    'learner_step': np.int32(0),
  }
  for _ in range(number):
    time.sleep(pause_s)
    adder.add_first(environment.reset())
    adder.add(np.int32(0), environment.step(0), extras)


def read_all(iterator, number, size):
  """So many skills from batches of `size`."""
  assert number % size == 0
  skills = []
  for _ in range(number // size):
    item = next(iterator)
    assert item.reward.shape == (size, T + 1)
    skills += counting.read(replay_reader.to_trajectory(item))
  return skills


LENGTHS = {
  'one skill': [T] * 4,
  'several skills': [2 * T, 3 * T, 3 * T],
  'cut short': [1, T - 1, 2],
  'several and a rest': [T + 1, 2 * T - 1, 3 * T + 2],
  'mixed': [2 * T, 1, T, T + 3, 3 * T, T - 1, 5 * T + 1],
}


@pytest.mark.parametrize('lengths', LENGTHS.values(), ids=LENGTHS)
def test_the_learner_reads_every_transition_that_the_actor_wrote_in_order(
  serve, actor, lengths
):
  config = counting.make_config(batch_size=1, replay=counting.queue())
  client = serve(config)
  witness = actor.write(replay_writer.make_adder(config, client), lengths)
  written = witness.skills(T)
  # Exactly one item a skill: nothing is lost, nothing comes twice.
  assert len(written) == sum(-(-length // T) for length in lengths)
  assert client.server_info()[replay_tables.TABLE].current_size == len(written)
  iterator = replay_reader.SampleIterator(config, [client])
  assert read_all(iterator, len(written), 1) == written
  # The skills of an episode share the observation between them.
  for one, other in itertools.pairwise(itertools.chain(*witness.episodes)):
    assert other.before == one.after or other.before[1] == 0


def test_one_skill_runs_from_an_item_s_first_step_to_its_last(serve, actor):
  config = counting.make_config(batch_size=8, replay=counting.queue())
  client = serve(config)
  actor.write(
    replay_writer.make_adder(config, client), [2 * T, 3 * T + 1, 2 * T]
  )
  item = next(replay_reader.SampleIterator(config, [client]))
  trajectory = replay_reader.to_trajectory(item)
  mask, skill = np.asarray(trajectory.mask), np.asarray(trajectory.skill)
  lengths = mask.sum(axis=0).astype(int)
  assert sorted(lengths) == [1] + [T] * 7
  for b, length in enumerate(lengths):
    # Real steps come first, and count from 1.
    np.testing.assert_array_equal(mask[:, b], np.arange(T) < length)
    steps = item.extras['skill_step'][b]
    np.testing.assert_array_equal(steps[:length], np.arange(1, length + 1))
    assert len(set(skill[:length, b])) == 1
  # Chained skills are drawn anew.
  assert len(set(skill[0])) > 1


def test_acme_writes_zeros_beside_an_episode_s_last_observation(serve, actor):
  # Whoever looks there for the skill of the final state finds skill 0; hence
  # a trajectory has one skill less than observations.
  config = counting.make_config(batch_size=1, replay=counting.queue())
  client = serve(config)
  adder = replay_writer.make_adder(config, client)
  while True:
    witness = actor.write(adder, [2 * T])
    first, last = (
      next(iterator)
      for iterator in [replay_reader.SampleIterator(config, [client])] * 2
    )
    skills = [steps[0].skill for steps in witness.skills(T)]
    if 0 not in skills:  # Else there is nothing to see.
      break
  # In the middle of an episode the next skill stands there, ...
  assert first.extras['skill'][0].tolist() == [skills[0]] * T + [skills[1]]
  assert first.extras['skill_step'][0].tolist() == [1, 2, 3, 4, 1]
  # ... at its end zeros.
  assert last.extras['skill'][0].tolist() == [skills[1]] * T + [0]
  assert last.extras['skill_step'][0].tolist() == [1, 2, 3, 4, 0]
  assert last.observation[0, -1].tolist() == [0, 2 * T]
  trajectory = replay_reader.to_trajectory(last)
  assert trajectory.skill.shape == (T, 1)
  assert trajectory.observation.shape == (T + 1, 1, 2)


def test_padding_keeps_the_final_observation(serve, actor):
  config = counting.make_config(batch_size=1, replay=counting.queue())
  client = serve(config)
  actor.write(replay_writer.make_adder(config, client), [2])
  trajectory = replay_reader.to_trajectory(
    next(replay_reader.SampleIterator(config, [client]))
  )
  assert np.asarray(trajectory.mask)[:, 0].tolist() == [1, 1, 0, 0]
  assert np.asarray(trajectory.observation)[:, 0].tolist() == [
    [0, 0],
    [0, 1],
    [0, 2],  # Where the skill ended.
    [0, 0],
    [0, 0],
  ]
  assert np.asarray(trajectory.discount)[:2, 0].tolist() == [1, 1]


def test_batches_have_the_size_that_the_learner_fetches(serve):
  config = counting.make_config(
    batch_size=3,
    updates_per_step=2,
    replay={'samples_per_insert': None, 'min_size': 4},
  )
  client = serve(config)
  write_items(replay_writer.make_adder(config, client), 4)
  iterator = replay_reader.SampleIterator(config, [client])
  for _ in range(5):
    item = next(iterator)
    assert {len(leaf) for leaf in jax.tree.leaves(item)} == {6}
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(item))


def test_a_queue_loses_nothing_where_the_reader_has_to_wait(serve):
  # Items come one by one, each after the reader gave up waiting for it.
  config = counting.make_config(batch_size=3, replay=counting.queue(7))
  client = serve(config)
  adder = replay_writer.make_adder(config, client)
  number = 12

  def write():
    for i in range(number):
      # Every other batch comes without a pause.
      write_items(adder, 1, skill=i, pause_s=1.2 * stalls.POLL_S * (i // 3 % 2))

  writer = threading.Thread(target=write)
  writer.start()
  iterator = replay_reader.SampleIterator(config, [client])
  skills = read_all(iterator, number, 3)
  writer.join()
  assert [steps[0].skill for steps in skills] == list(range(number))
  assert client.server_info()[replay_tables.TABLE].current_size == 0


def test_a_batch_that_came_in_pieces_looks_like_any_other(serve):
  # Else the learner would compile for it.
  config = counting.make_config(batch_size=3, replay=counting.queue())
  client = serve(config)
  adder = replay_writer.make_adder(config, client)
  iterator = replay_reader.SampleIterator(config, [client])
  write_items(adder, 3)
  whole = next(iterator)
  writer = threading.Thread(
    target=lambda: write_items(adder, 3, pause_s=1.2 * stalls.POLL_S)
  )
  writer.start()
  pieces = next(iterator)
  writer.join()
  assert jax.tree.structure(whole) == jax.tree.structure(pieces)
  assert jax.tree.map(np.shape, whole) == jax.tree.map(np.shape, pieces)


def test_a_full_queue_makes_the_actor_wait_and_not_lose(serve, actor):
  config = counting.make_config(batch_size=2, replay=counting.queue(3))
  client = serve(config)
  lengths = [T, 2 * T, 1, T + 1] * 3  # 18 skills.
  written = []
  writer = threading.Thread(
    target=lambda: written.append(
      actor.write(replay_writer.make_adder(config, client), lengths)
    )
  )
  writer.start()
  time.sleep(2.5 * stalls.POLL_S)
  assert writer.is_alive()
  assert client.server_info()[replay_tables.TABLE].current_size == 3
  read = read_all(replay_reader.SampleIterator(config, [client]), 18, 2)
  writer.join()
  assert read == written[0].skills(T)


def test_samples_and_inserts_keep_their_ratio_within_the_buffer(serve):
  ratio, min_size = 4.0, 5
  config = counting.make_config(
    batch_size=2, replay={'samples_per_insert': ratio, 'min_size': min_size}
  )
  buffer = replay_tables.error_buffer(config, ratio)
  client = serve(config)
  stop = threading.Event()

  def write():
    with contextlib.suppress(stalls.StoppedError):
      adder = replay_writer.make_adder(config, client, stop.is_set)
      while not stop.is_set():
        write_items(adder, 1)

  def read():
    with contextlib.suppress(stalls.StoppedError):
      iterator = replay_reader.SampleIterator(config, [client], stop.is_set)
      while not stop.is_set():
        next(iterator)

  threads = [threading.Thread(target=write), threading.Thread(target=read)]
  for thread in threads:
    thread.start()
  seen = []
  for _ in range(20):
    time.sleep(0.05)
    limiter = client.server_info()[replay_tables.TABLE].rate_limiter_info
    inserts = limiter.insert_stats.completed
    samples = limiter.sample_stats.completed
    if inserts < min_size:
      continue
    seen.append(samples)
    # Reverb counts from the first `min_size` on, give or take the call that is
    # under way.
    error = ratio * (inserts - min_size) - samples
    assert abs(error) <= buffer + ratio + 1, (inserts, samples)
  stop.set()
  for thread in threads:
    thread.join()
  # Both sides moved.
  assert seen[-1] > 10 * buffer


# The watchdog.


def wait_until_stalled(call, timeout_s):
  """The message with which a call gives up, in time."""
  begin = time.monotonic()
  with pytest.raises(stalls.ReplayStalledError) as error:
    call()
  waited = time.monotonic() - begin
  assert timeout_s <= waited < timeout_s + 2
  message = str(error.value)
  assert '\n' not in message
  assert 'replay.timeout_s' in message
  return message


def test_a_learner_without_enough_data_ends_with_an_error(serve):
  config = counting.make_config(replay={'min_size': 5, 'timeout_s': 1.0})
  client = serve(config)
  write_items(replay_writer.make_adder(config, client), 3)
  iterator = replay_reader.SampleIterator(config, [client])
  message = wait_until_stalled(lambda: next(iterator), 1.0)
  assert re.match(
    r'the learner has waited \d+ s for replay at localhost:\d+\. ', message
  )
  assert "'trajectories' holds 3 of at most 20000" in message
  assert '3 inserts and 0 samples' in message
  assert 'may sample from 5 on: it waits for inserts' in message
  # Once the data are there, it goes on.
  write_items(replay_writer.make_adder(config, client), 2)
  assert len(next(iterator).reward) == 2


def test_a_learner_that_is_ahead_ends_with_an_error(serve):
  config = counting.make_config(
    replay={'min_size': 2, 'samples_per_insert': 2.0, 'timeout_s': 1.0}
  )
  client = serve(config)
  write_items(replay_writer.make_adder(config, client), 2)
  iterator = replay_reader.SampleIterator(config, [client])
  message = wait_until_stalled(
    lambda: [next(iterator) for _ in range(100)], 1.0
  )
  assert 'The learner is ahead of the actors: it waits for inserts' in message


def test_a_learner_waits_for_an_actor_that_is_slow(serve):
  # Longer than timeout_s in all, but something comes every now and then.
  config = counting.make_config(replay={'min_size': 4, 'timeout_s': 1.0})
  client = serve(config)
  adder = replay_writer.make_adder(config, client)
  writer = threading.Thread(target=lambda: write_items(adder, 4, pause_s=0.7))
  writer.start()
  assert len(next(replay_reader.SampleIterator(config, [client])).reward) == 2
  writer.join()


@pytest.mark.parametrize('kind', ['queue', 'uniform'])
def test_an_actor_that_nobody_learns_from_ends_with_an_error(serve, kind):
  fields = {'kind': kind, 'capacity': 6, 'min_size': 2, 'timeout_s': 1.0}
  config = counting.make_config(replay=fields)
  client = serve(config)
  adder = replay_writer.make_adder(config, client)
  message = wait_until_stalled(lambda: write_items(adder, 100), 1.0)
  assert message.startswith('the actor has waited')
  assert 'Actors are ahead of the learner: it waits for samples' in message
  info = client.server_info()[replay_tables.TABLE]
  assert f'holds {info.current_size} of at most 6' in message


def test_a_server_that_is_gone_ends_with_an_error(serve):
  config = counting.make_config(replay={'timeout_s': 1.0})
  client = serve(config)
  client.server_info = lambda timeout: (_ for _ in ()).throw(RuntimeError)
  assert replay_tables.describe(client).startswith('Its server does not answer')


@pytest.mark.parametrize('who', ['learner', 'actor'])
def test_whoever_waits_is_let_go_when_the_program_stops(serve, who):
  config = counting.make_config(replay=counting.queue(2))
  client = serve(config)
  stop = threading.Event()
  threading.Timer(0.3, stop.set).start()
  begin = time.monotonic()
  with pytest.raises(stalls.StoppedError):
    if who == 'learner':
      next(replay_reader.SampleIterator(config, [client], stop.is_set))
    else:
      write_items(replay_writer.make_adder(config, client, stop.is_set), 100)
  assert time.monotonic() - begin < 0.3 + 3 * stalls.POLL_S


def test_closing_an_adder_ends_whoever_waits_with_it(serve):
  config = counting.make_config(replay=counting.queue(2))
  adder = replay_writer.make_adder(config, serve(config))
  actor = Doing(lambda: write_items(adder, 1), threading.Event())
  wait_until(lambda: actor.times >= 2, 5)
  time.sleep(0.2)
  adder.close()
  assert isinstance(actor.end(1), stalls.StoppedError)


# Several servers, and threads that read from them.


def reader_threads(*clients):
  """The threads that read from these servers now."""
  names = {f'replay {client.server_address}' for client in clients}
  return [thread for thread in threading.enumerate() if thread.name in names]


def wait_until(condition, seconds):
  """Returns once it is so; fails if that takes longer."""
  deadline = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < deadline
    time.sleep(0.02)


def test_servers_give_equal_parts_and_every_item(serve, actor):
  config = counting.make_config(batch_size=6, replay=counting.queue())
  clients = [serve(config) for _ in range(2)]
  # Both have nine skills, as long as no others.
  lengths = [[2 * T, 1, T + 2, 2, 3 * T], [T, 3, 2 * T, T - 1, T, 2 * T + 3]]
  written = [
    actor.write(replay_writer.make_adder(config, client), some).skills(T)
    for client, some in zip(clients, lengths)
  ]
  assert [len(skills) for skills in written] == [9, 9]
  assert written[0] != written[1]
  skills = read_all(replay_reader.SampleIterator(config, clients), 18, 6)
  # In turn, so that every slice of a batch is as mixed.
  assert [skills[0::2], skills[1::2]] == written


def test_a_fetch_that_servers_cannot_share_is_refused():
  config = counting.make_config(batch_size=3, updates_per_step=2)
  client = acme_api.reverb.Client('localhost:1')
  for number, fetch_size in [(4, None), (2, 3), (1, 0)]:
    size = 6 if fetch_size is None else fetch_size
    with pytest.raises(
      ValueError, match=rf'fetch_size .* servers \({number}\), got {size}:'
    ):
      replay_reader.SampleIterator(
        config, [client] * number, fetch_size=fetch_size
      )


def test_a_learner_fetches_its_share_from_one_server_or_several(serve):
  config = counting.make_config(
    batch_size=6, replay={'min_size': 1, 'samples_per_insert': None}
  )
  clients = [serve(config), serve(config)]
  for skill, client in enumerate(clients):
    write_items(replay_writer.make_adder(config, client), 1, skill=skill)
  iterator = replay_reader.SampleIterator(config, clients, fetch_size=4)
  assert next(iterator).extras['skill'][:, 0].tolist() == [0, 1, 0, 1]
  builder = builder_lib.SkillBuilder(config, devices=jax.local_devices()[:1])
  for client, skills in [(clients, [0, 1] * 3), (clients[1], [1] * 6)]:
    item = next(builder.make_dataset_iterator(client))
    assert item.extras['skill'][:, 0].tolist() == skills


def test_the_server_that_stalls_is_named_and_parts_of_others_are_kept(serve):
  config = counting.make_config(
    batch_size=4, replay=counting.queue(9) | {'timeout_s': 1.0}
  )
  clients = [serve(config) for _ in range(2)]
  adders = [replay_writer.make_adder(config, client) for client in clients]
  write_items(adders[0], 1, skill=0)
  write_items(adders[0], 1, skill=1)
  write_items(adders[0], 1, skill=2)
  write_items(adders[1], 1, skill=3)
  iterator = replay_reader.SampleIterator(config, clients)
  # It has waited long enough already when it is asked a second time, ...
  for timeout_s in (1.0, 0.0):
    message = wait_until_stalled(lambda: next(iterator), timeout_s)
    assert f'for replay at {clients[1].server_address}. ' in message
    assert clients[0].server_address not in message
    # ... which does not order a second part.
    assert replay_tables.stats(clients[0]) == (1, 3, 2)
  write_items(adders[1], 1, skill=4)
  assert next(iterator).extras['skill'][:, 0].tolist() == [0, 3, 1, 4]


def test_what_a_reading_thread_ends_with_is_raised_where_data_are_wanted():
  server = acme_api.reverb.Server(
    [
      acme_api.reverb.Table.queue('others', 1),
    ]
  )
  client = acme_api.reverb.Client(f'localhost:{server.port}')
  iterator = replay_reader.SampleIterator(counting.make_config(), [client])
  for _ in range(2):
    with pytest.raises(ValueError, match='not contain any table') as error:
      next(iterator)
    assert '_fetch' in ''.join(traceback.format_tb(error.tb))
  server.stop()


@pytest.mark.parametrize('kind', ['queue', 'uniform'])
def test_only_what_a_queue_does_not_hold_is_fetched_ahead(serve, kind):
  fields = counting.queue() if kind == 'queue' else {'min_size': 2}
  config = counting.make_config(
    batch_size=2,
    replay={**fields, 'samples_per_insert': None},
  )
  client = serve(config)
  write_items(replay_writer.make_adder(config, client), 8)
  iterator = replay_reader.SampleIterator(config, [client])
  time.sleep(0.3)
  assert replay_tables.stats(client) == (8, 8, 0)
  next(iterator)
  if kind == 'queue':
    time.sleep(1.5 * stalls.POLL_S)
    assert replay_tables.stats(client) == (6, 8, 2)
  else:
    # A batch is there and another one on its way, and no more.
    wait_until(lambda: replay_tables.stats(client).samples > 4, 5)
    time.sleep(0.5)
    assert replay_tables.stats(client).samples <= 6


@pytest.mark.parametrize('how', ['close', 'forget', 'stop'])
def test_reading_threads_end_with_their_iterator(serve, how):
  config = counting.make_config(replay={'timeout_s': 1.0})
  clients = [serve(config) for _ in range(2)]
  stop = threading.Event()
  iterator = replay_reader.SampleIterator(config, clients, stop.is_set)
  assert not reader_threads(*clients)
  with pytest.raises(stalls.ReplayStalledError):
    next(iterator)
  assert len(reader_threads(*clients)) == 2
  if how == 'close':
    iterator.close()
    assert not reader_threads(*clients)
    with pytest.raises(stalls.StoppedError):
      next(iterator)
  elif how == 'stop':
    stop.set()
  else:
    del iterator
    gc.collect()
  wait_until(lambda: not reader_threads(*clients), 5)


def test_stopping_wins_over_a_batch_that_is_there(serve):
  config = counting.make_config(
    replay={'min_size': 1, 'samples_per_insert': None}
  )
  client = serve(config)
  write_items(replay_writer.make_adder(config, client), 1)
  stop = threading.Event()
  iterator = replay_reader.SampleIterator(config, [client], stop.is_set)
  next(iterator)
  wait_until(lambda: replay_tables.stats(client).samples >= 4, 5)
  stop.set()
  with pytest.raises(stalls.StoppedError):
    next(iterator)


# Servers that are killed.


class KillableServer:
  """A replay server in a process of its own, always at the same address."""

  def __init__(self, program, folder):
    self._program = program
    self._folder = folder
    self._port = portpicker.pick_unused_port()
    self._pid = None
    self.fields = {'min_size': 2, 'samples_per_insert': None}
    self.client = acme_api.reverb.Client(f'localhost:{self._port}')

  def config(self, **fields):
    return counting.make_config(replay={**self.fields, **fields})

  def start(self):
    """Starts it, from its checkpoint if there is one."""
    order = [self._port, str(self._folder), self.fields]
    print(json.dumps(order), file=self._program.stdin, flush=True)
    self._pid = int(self._program.stdout.readline())

  def kill(self):
    if self._pid is not None:
      os.kill(self._pid, signal.SIGKILL)
      self._pid = None


def start_python(*arguments, **streams):
  """A Python program with this repository's packages."""
  return subprocess.Popen(
    [sys.executable, *arguments],
    cwd=ROOT,
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
    **streams,
  )


@pytest.fixture(scope='module')
def program():
  """What forks servers."""
  process = start_python('-m', 'tests.programs.replay_program')
  yield process
  process.kill()
  process.communicate()


@pytest.fixture
def server(program, tmp_path):
  """One that serves."""
  server = KillableServer(program, tmp_path)
  server.start()
  yield server
  server.kill()


class Doing(threading.Thread):
  """Does something over and over, and keeps what it ends with."""

  def __init__(self, what, stop):
    super().__init__(daemon=True)
    self._what = what
    self._stop_event = stop
    self.times = 0
    self.error = None
    self.start()

  def run(self):
    try:
      while not self._stop_event.is_set():
        self._what()
        self.times += 1
        time.sleep(0.01)
    except BaseException as error:
      self.error = error

  def go_on(self, seconds):
    """Waits until it was done twice more."""
    times = self.times
    wait_until(lambda: self.times >= times + 2 or self.error, seconds)
    assert self.error is None

  def end(self, seconds):
    """What it ends with, within so long."""
    self.join(seconds)
    assert not self.is_alive()
    return self.error


@contextlib.contextmanager
def working(server, **fields):
  """A learner and an actor at work, and what stops them."""
  config = server.config(**fields)
  stop = threading.Event()
  adder = replay_writer.make_adder(config, server.client, stop.is_set)
  iterator = replay_reader.SampleIterator(config, [server.client], stop.is_set)
  actor = Doing(lambda: write_items(adder, 1), stop)
  learner = Doing(lambda: next(iterator), stop)
  yield learner, actor, stop
  stop.set()
  learner.end(5)
  actor.end(5)
  begin = time.monotonic()
  adder.close()
  iterator.close()
  assert time.monotonic() - begin < 2


def test_a_server_that_comes_back_is_used_again(server):
  with working(server) as (learner, actor, _):
    actor.go_on(10)
    learner.go_on(10)
    server.client.checkpoint()
    size = replay_tables.stats(server.client).size
    server.kill()
    begin = time.monotonic()
    assert replay_tables.stats(server.client) is None
    assert 'does not answer' in replay_tables.describe(server.client)
    assert time.monotonic() - begin < 2.5
    assert learner.is_alive() and actor.is_alive()
    server.start()
    # Reverb tries again after ever longer pauses.
    actor.go_on(30)
    learner.go_on(30)
    assert replay_tables.stats(server.client).size > size


def test_nothing_written_is_lost_but_what_the_server_forgot(server):
  config = server.config()
  adder = replay_writer.make_adder(config, server.client)
  write_items(adder, 3, skill=1)
  server.client.checkpoint()
  server.kill()
  writer = threading.Thread(target=lambda: write_items(adder, 4, skill=2))
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


def test_whoever_waits_for_a_killed_server_stops_when_told_to(server):
  with working(server) as (learner, actor, stop):
    actor.go_on(10)
    learner.go_on(10)
    server.kill()
    # So that both wait.
    time.sleep(1.2)
    begin = time.monotonic()
    stop.set()
    assert isinstance(learner.end(5), stalls.StoppedError)
    assert isinstance(actor.end(5), stalls.StoppedError)
    assert time.monotonic() - begin < 1.5


def test_a_server_that_stays_away_ends_with_an_error(server):
  with working(server, timeout_s=2.0) as (learner, actor, _):
    actor.go_on(10)
    learner.go_on(10)
    begin = time.monotonic()
    server.kill()
    for who, worker in [('learner', learner), ('actor', actor)]:
      error = worker.end(10)
      assert isinstance(error, stalls.ReplayStalledError), error
      assert f'the {who} has waited' in str(error)
      assert server.client.server_address in str(error)
      assert 'does not answer' in str(error)
    assert 2 <= time.monotonic() - begin < 2 + 3.5


def test_a_server_that_comes_late_is_waited_for(program, tmp_path):
  server = KillableServer(program, tmp_path)
  with working(server, timeout_s=2.0) as (learner, actor, _):
    for worker in (learner, actor):
      assert isinstance(worker.end(8), stalls.ReplayStalledError)
  # Nobody is left inside Reverb, where no stream was open yet.
  assert not reader_threads(server.client)
  with working(server) as (learner, actor, _):
    time.sleep(2)
    assert learner.is_alive() and actor.is_alive()
    server.start()
    actor.go_on(15)
    learner.go_on(15)
  server.kill()


# Neither closes nor stops what it made.
CARELESS = """
import sys
from skills.agents import acme_api, replay
from tests.agents import counting, replay_test
fields = {'min_size': 2, 'samples_per_insert': None, 'timeout_s': 1.0}
config = counting.make_config(replay=fields)
client = acme_api.reverb.Client(sys.argv[1])
adder = replay_writer.make_adder(config, client)
iterator = replay_reader.SampleIterator(config, [client])
replay_test.write_items(adder, 3)
next(iterator)
print('ready', flush=True)
input()
for call in (lambda: next(iterator), lambda: replay_test.write_items(adder, 9)):
  try:
    while True:
      call()
  except stalls.ReplayStalledError:
    pass
"""


def test_a_killed_server_does_not_keep_a_process_from_its_end(server):
  process = start_python(
    '-c', CARELESS, server.client.server_address, stderr=subprocess.PIPE
  )
  try:
    assert process.stdout.readline() == 'ready\n'
    server.kill()
    # Two seconds of patience, of which each polls for one more.
    _, errors = process.communicate('\n', timeout=20)
  finally:
    process.kill()
  assert process.returncode == 0, errors
  assert not errors


# Settings.


def test_settings_that_could_never_move_are_refused_before_a_server_exists():
  with pytest.raises(ValueError, match='queue smaller than .* never move'):
    counting.make_config(
      batch_size=3, updates_per_step=2, replay=counting.queue(5)
    )
  with pytest.raises(ValueError, match='learning would never start'):
    config_lib.ReplayConfig(capacity=10, min_size=11)
  with pytest.raises(ValueError, match='wait for each other for ever'):
    config_lib.ReplayConfig(samples_per_insert=8.0, error_buffer=7.0)
  with pytest.raises(ValueError, match='wait for each other for ever'):
    config_lib.ReplayConfig(samples_per_insert=0.1, error_buffer=0.5)
  with pytest.raises(ValueError, match="'uniform' or 'queue', got 'stack'"):
    config_lib.ReplayConfig(kind='stack')
  for name in ('capacity', 'min_size', 'timeout_s'):
    with pytest.raises(ValueError, match=f'{name} must be positive, got 0'):
      config_lib.ReplayConfig(**{name: 0})
  with pytest.raises(ValueError, match='_insert must be positive or None, got'):
    config_lib.ReplayConfig(samples_per_insert=0)


@pytest.mark.parametrize(
  'ratio, min_size, batch_size, updates_per_step, error_buffer',
  [
    (0.01, 1, 1, 1, None),
    (0.3, 1, 7, 1, None),
    (1.0, 1, 1, 1, None),
    (1.0, 50, 16, 1, None),
    (8.0, 256, 16, 8, None),
    (100.0, 1, 2, 1, None),
    (3.7, 10, 5, 3, None),
    # The smallest that are accepted.
    (8.0, 5, 16, 2, 8.0),
    (1.0, 1, 4, 1, 1.0),
    (0.25, 3, 2, 1, 1.0),
  ],
)
def test_actor_and_learner_never_wait_for_each_other_for_ever(
  serve, ratio, min_size, batch_size, updates_per_step, error_buffer
):
  config = counting.make_config(
    batch_size=batch_size,
    updates_per_step=updates_per_step,
    replay={
      'samples_per_insert': ratio,
      'min_size': min_size,
      'error_buffer': error_buffer,
      'timeout_s': 3.0,
    },
  )
  client = serve(config)
  stop = threading.Event()
  errors = []
  batches = itertools.count()

  def guarded(call):
    def run():
      try:
        call()
      except stalls.StoppedError:
        pass
      except BaseException as error:
        errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread

  def act():
    adder = replay_writer.make_adder(config, client, stop.is_set)
    while not stop.is_set():
      write_items(adder, 1)

  def learn():
    iterator = replay_reader.SampleIterator(config, [client], stop.is_set)
    # Enough to leave the buffer's slack behind.
    for _ in range(
      int(3 * replay_tables.error_buffer(config, ratio) / batch_size) + 4
    ):
      next(iterator)
      next(batches)

  actor_thread, learner_thread = guarded(act), guarded(learn)
  learner_thread.join(60)
  stop.set()
  actor_thread.join(10)
  assert not errors, errors
  assert not learner_thread.is_alive(), next(batches)


def test_the_default_buffer_follows_size_fetch_and_ratio():
  def buffer(**fields):
    batch_size = fields.pop('batch_size', 1)
    config = counting.make_config(batch_size=batch_size, replay=fields)
    return replay_tables.error_buffer(config, config.replay.samples_per_insert)

  # A tenth of min_size * samples_per_insert: 0.1 * 1000 * 4.
  assert buffer(min_size=1000, samples_per_insert=4.0) == pytest.approx(400)
  # Two fetches.
  assert buffer(samples_per_insert=1.0, batch_size=32) == 64
  # A single insert must fit.
  assert buffer(samples_per_insert=50.0) == 50
  assert buffer(samples_per_insert=2.0, error_buffer=7.0) == 7
  assert dataclasses.asdict(config_lib.ReplayConfig())['error_buffer'] is None


# Steps before a skill, for a learner with a memory.

RECURRENT = torsos.NetworkConfig(hidden_sizes=(4,), lstm_size=3)


def expected_prefix(episode, begin, burn_in):
  """Observations before the steps before `begin`; None where there are none."""
  return [
    (float(episode), float(step)) if step >= 0 else None
    for step in range(begin - burn_in, begin)
  ]


@pytest.mark.parametrize('burn_in', [2, T, T + 3])
def test_skills_come_with_the_steps_before_them(serve, burn_in):
  lengths = LENGTHS['mixed']
  config = counting.make_config(
    batch_size=1,
    network=RECURRENT,
    replay={**counting.queue(), 'burn_in': burn_in},
  )
  client = serve(config)
  environment = counting.CountingEnvironment(lengths)
  witness = counting.Witness(replay_writer.make_adder(config, client))
  counting.make_actor(config, environment, witness).run(len(lengths))
  written = witness.skills(T)
  iterator = replay_reader.SampleIterator(config, [client])
  for skill in written:
    trajectory = jax.tree.map(
      np.asarray, replay_reader.to_trajectory(next(iterator), burn_in=burn_in)
    )
    # The skill is what it is without a prefix.
    assert counting.read(trajectory) == [skill]
    episode, begin = map(int, skill[0].before)
    expected = expected_prefix(episode, begin, burn_in)
    prefix = trajectory.burn_in
    assert prefix.mask[:, 0].tolist() == [
      float(x is not None) for x in expected
    ]
    for t, observation in enumerate(expected):
      assert tuple(prefix.observation[t, 0]) == (observation or (0.0, 0.0))
      if observation is not None:
        steps = witness.episodes[episode]
        assert prefix.skill[t, 0] == steps[int(observation[1])].skill
    # The memory of an episode's first step is the empty one.
    first = trajectory.extras if begin == 0 else prefix.extras
    is_empty = begin <= burn_in  # Else the prefix begins within the episode.
    for leaf in first.values():
      assert np.all(leaf[0] == 0) == is_empty


@pytest.mark.parametrize('burn_in', [0, 3, T + 3])
def test_the_learner_remembers_what_the_actor_did(serve, burn_in):
  # With the actor's own parameters, which never change here.
  config = counting.make_config(
    batch_size=1,
    network=RECURRENT,
    replay={**counting.queue(), 'burn_in': burn_in},
    learner=q_learning.QLearningConfig(epsilon=0.0),
  )
  builder = builder_lib.SkillBuilder(config)
  agent = builder_lib.make_agent(config, counting.SPEC)
  source = counting.FixedVariables(agent)
  client = serve(config)
  actor = builder.make_actor(
    jax.random.PRNGKey(0),
    agent.policy,
    replay_writer.make_adder(config, client),
    source,
  )
  lengths = [2 * T + 1, 1, 3 * T]
  acme_api.environment_loop.EnvironmentLoop(
    counting.CountingEnvironment(lengths),
    actor,
    logger=acme_api.loggers.NoOpLogger(),
  ).run(num_episodes=len(lengths))
  network = q_networks.make(RECURRENT, agent.problem, counting.NUM_SKILLS, 1)
  [variables] = source.get_variables(['policy'])
  iterator = replay_reader.SampleIterator(config, [client])
  values = jax.jit(
    lambda trajectory: q_learning.action_values(
      network, variables.params, trajectory
    )
  )
  for _ in range(7):
    trajectory = replay_reader.to_trajectory(next(iterator), burn_in=burn_in)
    # The memory that was noted at each step gives the same values as that
    # which the learner makes from the prefix.
    noted, _ = network.unroll(
      variables.params,
      hk.LSTMState(*(x[:, 0] for x in trajectory.extras.values())),
      jnp.zeros((1, T), bool),
      trajectory.observation[None, :-1, 0],
      trajectory.skill[None, :, 0],
    )
    real = int(trajectory.mask.sum())
    actual = values(trajectory)[:real, 0]
    np.testing.assert_allclose(actual, noted[0, :real], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(
      np.argmax(actual[..., 0], axis=-1), trajectory.action[:real, 0]
    )


# Priorities.


def prioritized(exponent=1.0, **fields):
  return counting.make_config(
    batch_size=8,
    replay={
      'priority_exponent': exponent,
      'min_size': 1,
      'samples_per_insert': None,
      **fields,
    },
  )


def priorities_in(client, num_samples):
  """The priorities of items by their keys, as far as they are drawn."""
  infos = [
    steps[0].info for steps in client.sample(replay_tables.TABLE, num_samples)
  ]
  return {int(info.key): info.priority for info in infos}


def keys_by_skill(iterator, number):
  """The keys of items that are told apart by their skills."""
  keys = {}
  while len(keys) < number:
    item = next(iterator)
    for skill, key in zip(
      item.extras['skill'][:, 0], item.extras[replay_reader.KEY]
    ):
      keys[int(skill)] = key
  return np.stack([keys[skill] for skill in sorted(keys)])


def test_items_are_drawn_as_their_priorities_say(serve):
  config = prioritized(0.5)
  client = serve(config)
  adder = replay_writer.make_adder(config, client)
  for skill in range(4):
    write_items(adder, 1, skill=skill)
  iterator = replay_reader.SampleIterator(config, [client])
  # At first all have the largest priority.
  np.testing.assert_allclose(next(iterator).extras[replay_reader.ODDS], 1.0)
  keys = keys_by_skill(iterator, 4)
  iterator.close()
  writer = priorities.PriorityWriter([client])
  writer.write(keys, [np.array([[4.0, 16.0], [36.0, 64.0]])])
  assert writer.flush(5)
  writer.close()
  # Relative to the largest, as a new item has 1.
  found = priorities_in(client, 100)
  expected = dict(zip(keys.view(np.uint64)[:, 0].tolist(), (1, 4, 9, 16)))
  assert found == {key: value / 16 for key, value in expected.items()}
  # Square roots of the priorities: 1, 2, 3 and 4 tenths of all.
  iterator = replay_reader.SampleIterator(config, [client])
  counts, odds = np.zeros(4), np.zeros(4)
  for _ in range(100):
    item = next(iterator)
    skill = item.extras['skill'][:, 0]
    np.add.at(counts, skill, 1)
    odds[skill] = item.extras[replay_reader.ODDS]
  np.testing.assert_allclose(odds, [0.4, 0.8, 1.2, 1.6], rtol=1e-5)
  # Of 800 the largest deviation, sqrt(800 * .24) = 14, five times.
  np.testing.assert_allclose(counts, [80, 160, 240, 320], atol=70)


def test_importance_makes_up_for_how_often_an_item_is_drawn():
  item = counting.item(problems.VECTOR, 3, 0)
  odds = np.array([4.0, 1.0, 0.25], np.float32)
  item = item._replace(extras={**item.extras, replay_reader.ODDS: odds})
  for exponent, expected in (
    (0.5, [0.25, 0.5, 1.0]),
    (1.0, [1 / 16, 0.25, 1.0]),
    (0.0, [1.0, 1.0, 1.0]),
  ):
    trajectory = replay_reader.to_trajectory(item, importance_exponent=exponent)
    np.testing.assert_allclose(
      trajectory.importance_weights, expected, rtol=1e-6
    )
  assert (
    replay_reader.to_trajectory(counting.item(problems.VECTOR, 3, 0)).importance
    is None
  )


@pytest.mark.parametrize('updates_per_step', [1, 2])
def test_a_step_writes_the_priorities_that_its_updates_computed(
  serve, updates_per_step
):
  config = dataclasses.replace(
    prioritized(), batch_size=4, updates_per_step=updates_per_step
  )
  clients = [serve(config), serve(config)]
  for i, client in enumerate(clients):
    adder = replay_writer.make_adder(config, client)
    for skill in (2 * i, 2 * i + 1):
      write_items(adder, 1, skill=skill)
  builder = builder_lib.SkillBuilder(config)
  agent = builder_lib.make_agent(config, counting.SPEC)
  items = []

  def iterate():
    for item in builder.make_dataset_iterator(clients):
      items.append(item)
      yield item

  learner = builder.make_learner(
    jax.random.PRNGKey(0), agent, iterate(), clients
  )
  state = learner.save()
  learner.step()
  assert learner._priority_writer.flush(10)
  learner.close()
  [item] = items
  expected = {}
  priorities = []
  update = jax.jit(agent.learner.update_with_priorities)
  batches = jax.tree.map(
    lambda x: x.reshape(updates_per_step, 4, *x.shape[1:]), item
  )
  for i in range(updates_per_step):
    batch = replay_reader.to_trajectory(
      jax.tree.map(operator.itemgetter(i), batches),
      importance_exponent=config.replay.importance_exponent,
    )
    state, _, new = update(state, batch)
    priorities += np.asarray(new).tolist()
  for i, client in enumerate(clients):
    # Each server's part has a scale of its own.
    own = priorities[i::2]
    expected = dict(
      zip(
        item.extras[replay_reader.KEY].view(np.uint64)[i::2, 0].tolist(),
        [priority / max(own) for priority in own],
      )
    )
    found = priorities_in(client, 50)
    for key, priority in expected.items():
      if key in found:  # One of little priority may not be drawn.
        np.testing.assert_allclose(found[key], priority, rtol=1e-5)
    assert set(expected) & set(found)


def test_a_server_that_is_gone_keeps_nobody_from_writing_priorities(serve):
  config = prioritized()
  client = serve(config)
  write_items(replay_writer.make_adder(config, client), 2)
  iterator = replay_reader.SampleIterator(config, [client])
  keys = next(iterator).extras[replay_reader.KEY][:1]
  iterator.close()
  gone = acme_api.reverb.Client(f'localhost:{portpicker.pick_unused_port()}')
  writer = priorities.PriorityWriter([client, gone])
  begin = time.monotonic()
  for value in range(100):
    writer.write(np.repeat(keys, 2, axis=0), [np.array([[1.0 + value, 3.0]])])
    time.sleep(0.01)
  assert time.monotonic() - begin < 5
  wait_until(lambda: not writer._waiting[0].unfinished_tasks, 5)
  begin = time.monotonic()
  writer.close()
  assert time.monotonic() - begin < 4 * stalls.POLL_S
  assert all(
    'priorities' not in t.name or t.name.endswith(gone.server_address)
    for t in threading.enumerate()
  )


def test_a_learner_with_priorities_must_know_where_they_go():
  config = prioritized()
  builder = builder_lib.SkillBuilder(config)
  agent = builder_lib.make_agent(config, counting.SPEC)
  with pytest.raises(ValueError, match='replay_client .*=1.0, got None'):
    builder.make_learner(jax.random.PRNGKey(0), agent, iter([]))


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'burn_in': -1}, 'burn_in must be >= 0, got -1'),
    (
      {'priority_exponent': -0.1},
      'priority_exponent must be >= 0 or None, got -0.1',
    ),
    (
      {'kind': 'queue', 'priority_exponent': 0.9},
      "priority_exponent must be None for kind='queue'",
    ),
    (
      {'burn_in': 2},
      r'burn_in must be 0 .*\(network.lstm_size=None\), got 2',
    ),
  ],
)
def test_replay_that_cannot_serve_its_learner_is_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    counting.make_config(replay=fields)


def test_a_learner_that_diverges_leaves_priorities_alone(serve):
  config = prioritized()
  client = serve(config)
  write_items(replay_writer.make_adder(config, client), 1)
  iterator = replay_reader.SampleIterator(config, [client])
  keys = next(iterator).extras[replay_reader.KEY][:1]
  writer = priorities.PriorityWriter([client])
  for value in (np.nan, np.inf, 0.0):
    writer.write(keys, [np.array([[value]])])
  assert writer.flush(5)
  assert list(priorities_in(client, 1).values()) == [1.0]
  writer.close()
  iterator.close()
