"""Tests of skills/agents/replay/tables.py."""

import contextlib
import dataclasses
import itertools
import threading
import time

import pytest

from skills import config as config_lib
from skills.agents.replay import reader as replay_reader
from skills.agents.replay import stalls
from skills.agents.replay import tables as replay_tables
from skills.agents.replay import writer as replay_writer
from tests import replaying
from tests.programs import counting

pytestmark = pytest.mark.integration


def test_samples_and_inserts_keep_their_ratio_within_the_buffer(serve):
  ratio, min_size = 4.0, 5
  config = counting.make_config(
    batch_size=2,
    replay={
      'updates_per_environment_step': counting.updates_for(ratio, 2),
      'min_size': min_size,
    },
  )
  buffer = replay_tables.error_buffer(config, ratio)
  client = serve(config)
  stop = threading.Event()

  def write():
    with contextlib.suppress(stalls.StoppedError):
      adder = replay_writer.make_adder(config, client, stop.is_set)
      while not stop.is_set():
        replaying.write_items(adder, 1)

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
      'updates_per_environment_step': counting.updates_for(ratio, batch_size),
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
      replaying.write_items(adder, 1)

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


def config_with(updates, batch_size=1, **replay):
  """Skills of 4 steps, and so many updates a step."""
  return counting.make_config(
    batch_size=batch_size,
    replay={'updates_per_environment_step': updates, **replay},
  )


def test_updates_per_step_make_samples_of_each_trajectory():
  # 0.5 updates a step, for 4 steps, are 2 updates of 3 trajectories.
  assert config_with(0.5, batch_size=3).samples_per_insert == 6
  # Burn-in and several updates at once add none.
  config = dataclasses.replace(config_with(0.5, 3), updates_per_step=2)
  assert config.samples_per_insert == 6
  assert config_with(None).samples_per_insert is None
  # 0.025 * 16 * 20.
  assert config_lib.SkillAgentConfig().samples_per_insert == 8


def test_the_default_error_buffer_follows_size_fetch_and_ratio():
  def buffer(*args, **fields):
    config = config_with(*args, **fields)
    return replay_tables.error_buffer(config, config.samples_per_insert)

  # A tenth of min_size, and of the 4 samples of each: 0.1 * 1000 * 4.
  assert buffer(1.0, min_size=1000) == pytest.approx(400)
  # Two fetches.
  assert buffer(1 / 128, batch_size=32) == 64
  # A single insert must fit.
  assert buffer(12.5) == 50
  assert buffer(0.5, error_buffer=7.0) == 7
  assert dataclasses.asdict(config_lib.ReplayConfig())['error_buffer'] is None


def test_a_server_that_does_not_answer_is_described_as_such(serve):
  config = counting.make_config(replay={'timeout_s': 1.0})
  client = serve(config)
  client.server_info = lambda timeout: (_ for _ in ()).throw(RuntimeError)
  assert replay_tables.describe(client).startswith('Its server does not answer')


def test_settings_that_could_never_move_are_refused_before_a_server_exists():
  with pytest.raises(ValueError, match='queue smaller than .* never move'):
    counting.make_config(
      batch_size=3, updates_per_step=2, replay=counting.queue(5)
    )
  with pytest.raises(ValueError, match='learning would never start'):
    config_lib.ReplayConfig(capacity=10, min_size=11)
  with pytest.raises(
    ValueError,
    match=r'replay.error_buffer must be >= 8.0, .*'
    r'replay.updates_per_environment_step .*\(1.0 \* 2 \* 4\), got 7.0: .*'
    'wait for each other for ever',
  ):
    config_with(1.0, batch_size=2, error_buffer=7.0)
  assert config_with(1.0, batch_size=2, error_buffer=8.0).replay
  with pytest.raises(ValueError, match=r'must be >= 1.0, .* got 0.5'):
    config_with(0.01, error_buffer=0.5)
  with pytest.raises(ValueError, match="'uniform' or 'queue', got 'stack'"):
    config_lib.ReplayConfig(kind='stack')
  for name in ('capacity', 'min_size', 'timeout_s'):
    with pytest.raises(ValueError, match=f'{name} must be positive, got 0'):
      config_lib.ReplayConfig(**{name: 0})
  with pytest.raises(
    ValueError,
    match='updates_per_environment_step must be positive or None, got 0',
  ):
    config_lib.ReplayConfig(updates_per_environment_step=0)


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
