"""What actors write to a real Reverb server is what the learner reads."""

from concurrent import futures
import contextlib
import dataclasses
import itertools
import re
import threading
import time

import jax
import numpy as np
import pytest

from skills import config as config_lib
from skills.agents import acme_api
from skills.agents import builder as builder_lib
from skills.agents import replay
from tests.agents import counting

pytestmark = pytest.mark.integration

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
  extras = {'skill': np.int32(skill), 'skill_step': np.int32(1)}
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
    skills += counting.read(replay.to_trajectory(item))
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
  witness = actor.write(replay.make_adder(config, client), lengths)
  written = witness.skills(T)
  # Exactly one item a skill: nothing is lost, nothing comes twice.
  assert len(written) == sum(-(-length // T) for length in lengths)
  assert client.server_info()[replay.TABLE].current_size == len(written)
  iterator = replay.SampleIterator(config, client)
  assert read_all(iterator, len(written), 1) == written
  # The skills of an episode share the observation between them.
  for one, other in itertools.pairwise(itertools.chain(*witness.episodes)):
    assert other.before == one.after or other.before[1] == 0


def test_one_skill_runs_from_an_item_s_first_step_to_its_last(serve, actor):
  config = counting.make_config(batch_size=8, replay=counting.queue())
  client = serve(config)
  actor.write(replay.make_adder(config, client), [2 * T, 3 * T + 1, 2 * T])
  item = next(replay.SampleIterator(config, client))
  trajectory = replay.to_trajectory(item)
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
  adder = replay.make_adder(config, client)
  while True:
    witness = actor.write(adder, [2 * T])
    first, last = (
      next(iterator) for iterator in [replay.SampleIterator(config, client)] * 2
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
  trajectory = replay.to_trajectory(last)
  assert trajectory.skill.shape == (T, 1)
  assert trajectory.observation.shape == (T + 1, 1, 2)


def test_padding_keeps_the_final_observation(serve, actor):
  config = counting.make_config(batch_size=1, replay=counting.queue())
  client = serve(config)
  actor.write(replay.make_adder(config, client), [2])
  trajectory = replay.to_trajectory(next(replay.SampleIterator(config, client)))
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
  write_items(replay.make_adder(config, client), 4)
  iterator = replay.SampleIterator(config, client)
  for _ in range(5):
    item = next(iterator)
    assert {len(leaf) for leaf in jax.tree.leaves(item)} == {6}
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(item))


def test_a_queue_loses_nothing_where_the_reader_has_to_wait(serve):
  # Items come one by one, each after the reader gave up waiting for it.
  config = counting.make_config(batch_size=3, replay=counting.queue(7))
  client = serve(config)
  adder = replay.make_adder(config, client)
  number = 12

  def write():
    for i in range(number):
      # Every other batch comes without a pause.
      write_items(
        adder, 1, skill=i, pause_s=1.2 * replay._POLL_S * (i // 3 % 2)
      )

  writer = threading.Thread(target=write)
  writer.start()
  iterator = replay.SampleIterator(config, client)
  skills = read_all(iterator, number, 3)
  writer.join()
  assert [steps[0].skill for steps in skills] == list(range(number))
  assert client.server_info()[replay.TABLE].current_size == 0


def test_a_batch_that_came_in_pieces_looks_like_any_other(serve):
  # Else the learner would compile for it.
  config = counting.make_config(batch_size=3, replay=counting.queue())
  client = serve(config)
  adder = replay.make_adder(config, client)
  iterator = replay.SampleIterator(config, client)
  write_items(adder, 3)
  whole = next(iterator)
  writer = threading.Thread(
    target=lambda: write_items(adder, 3, pause_s=1.2 * replay._POLL_S)
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
      actor.write(replay.make_adder(config, client), lengths)
    )
  )
  writer.start()
  time.sleep(2.5 * replay._POLL_S)
  assert writer.is_alive()
  assert client.server_info()[replay.TABLE].current_size == 3
  read = read_all(replay.SampleIterator(config, client), 18, 2)
  writer.join()
  assert read == written[0].skills(T)


def test_samples_and_inserts_keep_their_ratio_within_the_buffer(serve):
  ratio, min_size = 4.0, 5
  config = counting.make_config(
    batch_size=2, replay={'samples_per_insert': ratio, 'min_size': min_size}
  )
  buffer = replay.error_buffer(config, ratio)
  client = serve(config)
  stop = threading.Event()

  def write():
    with contextlib.suppress(replay.StoppedError):
      adder = replay.make_adder(config, client, stop.is_set)
      while not stop.is_set():
        write_items(adder, 1)

  def read():
    with contextlib.suppress(replay.StoppedError):
      iterator = replay.SampleIterator(config, client, stop.is_set)
      while not stop.is_set():
        next(iterator)

  threads = [threading.Thread(target=write), threading.Thread(target=read)]
  for thread in threads:
    thread.start()
  seen = []
  for _ in range(20):
    time.sleep(0.05)
    limiter = client.server_info()[replay.TABLE].rate_limiter_info
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
  with pytest.raises(replay.ReplayStalledError) as error:
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
  write_items(replay.make_adder(config, client), 3)
  iterator = replay.SampleIterator(config, client)
  message = wait_until_stalled(lambda: next(iterator), 1.0)
  assert re.match(r'the learner has waited \d+ s for replay\. ', message)
  assert "'trajectories' holds 3 of at most 20000" in message
  assert '3 inserts and 0 samples' in message
  assert 'may sample from 5 on: it waits for inserts' in message
  # Once the data are there, it goes on.
  write_items(replay.make_adder(config, client), 2)
  assert len(next(iterator).reward) == 2


def test_a_learner_that_is_ahead_ends_with_an_error(serve):
  config = counting.make_config(
    replay={'min_size': 2, 'samples_per_insert': 2.0, 'timeout_s': 1.0}
  )
  client = serve(config)
  write_items(replay.make_adder(config, client), 2)
  iterator = replay.SampleIterator(config, client)
  message = wait_until_stalled(
    lambda: [next(iterator) for _ in range(100)], 1.0
  )
  assert 'The learner is ahead of the actors: it waits for inserts' in message


def test_a_learner_waits_for_an_actor_that_is_slow(serve):
  # Longer than timeout_s in all, but something comes every now and then.
  config = counting.make_config(replay={'min_size': 4, 'timeout_s': 1.0})
  client = serve(config)
  adder = replay.make_adder(config, client)
  writer = threading.Thread(target=lambda: write_items(adder, 4, pause_s=0.7))
  writer.start()
  assert len(next(replay.SampleIterator(config, client)).reward) == 2
  writer.join()


@pytest.mark.parametrize('kind', ['queue', 'uniform'])
def test_an_actor_that_nobody_learns_from_ends_with_an_error(serve, kind):
  fields = {'kind': kind, 'capacity': 6, 'min_size': 2, 'timeout_s': 1.0}
  config = counting.make_config(replay=fields)
  client = serve(config)
  adder = replay.make_adder(config, client)
  message = wait_until_stalled(lambda: write_items(adder, 100), 1.0)
  assert message.startswith('the actor has waited')
  assert 'Actors are ahead of the learner: it waits for samples' in message
  info = client.server_info()[replay.TABLE]
  assert f'holds {info.current_size} of at most 6' in message


def test_a_server_that_is_gone_ends_with_an_error(serve):
  config = counting.make_config(replay={'timeout_s': 1.0})
  client = serve(config)
  client.server_info = lambda timeout: (_ for _ in ()).throw(RuntimeError)
  assert replay.describe(client).startswith('Its server does not answer')


@pytest.mark.parametrize('who', ['learner', 'actor'])
def test_whoever_waits_is_let_go_when_the_program_stops(serve, who):
  config = counting.make_config(replay=counting.queue(2))
  client = serve(config)
  stop = threading.Event()
  threading.Timer(0.3, stop.set).start()
  begin = time.monotonic()
  with pytest.raises(replay.StoppedError):
    if who == 'learner':
      next(replay.SampleIterator(config, client, stop.is_set))
    else:
      write_items(replay.make_adder(config, client, stop.is_set), 100)
  assert time.monotonic() - begin < 0.3 + 3 * replay._POLL_S


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
  for name in ('capacity', 'min_size', 'samples_per_insert', 'timeout_s'):
    with pytest.raises(ValueError, match=f'{name} must be positive, got 0'):
      config_lib.ReplayConfig(**{name: 0})


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
      except replay.StoppedError:
        pass
      except BaseException as error:
        errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread

  def act():
    adder = replay.make_adder(config, client, stop.is_set)
    while not stop.is_set():
      write_items(adder, 1)

  def learn():
    iterator = replay.SampleIterator(config, client, stop.is_set)
    # Enough to leave the buffer's slack behind.
    for _ in range(
      int(3 * replay.error_buffer(config, ratio) / batch_size) + 4
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
    return replay.error_buffer(config, config.replay.samples_per_insert)

  # A tenth of min_size * samples_per_insert: 0.1 * 1000 * 4.
  assert buffer(min_size=1000, samples_per_insert=4.0) == pytest.approx(400)
  # Two fetches.
  assert buffer(samples_per_insert=1.0, batch_size=32) == 64
  # A single insert must fit.
  assert buffer(samples_per_insert=50.0) == 50
  assert buffer(samples_per_insert=2.0, error_buffer=7.0) == 7
  assert dataclasses.asdict(config_lib.ReplayConfig())['error_buffer'] is None
