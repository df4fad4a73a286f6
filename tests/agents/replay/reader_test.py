"""Tests of skills/agents/replay/reader.py."""

import gc
import threading
import time
import traceback

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills.agents import acme_api
from skills.agents import builder as builder_lib
from skills.agents.replay import reader as replay_reader
from skills.agents.replay import stalls
from skills.agents.replay import tables as replay_tables
from skills.agents.replay import writer as replay_writer
from skills.learners import q_learning
from skills.networks import q_networks
from skills.networks import torsos
from tests import replaying
from tests.programs import counting

pytestmark = pytest.mark.integration

T = counting.SKILL_LENGTH


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
    replay={'updates_per_environment_step': None, 'min_size': 4},
  )
  client = serve(config)
  replaying.write_items(replay_writer.make_adder(config, client), 4)
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
      replaying.write_items(
        adder, 1, skill=i, pause_s=1.2 * stalls.POLL_S * (i // 3 % 2)
      )

  writer = threading.Thread(target=write)
  writer.start()
  iterator = replay_reader.SampleIterator(config, [client])
  skills = replaying.read_all(iterator, number, 3)
  writer.join()
  assert [steps[0].skill for steps in skills] == list(range(number))
  assert client.server_info()[replay_tables.TABLE].current_size == 0


def test_a_batch_that_came_in_pieces_looks_like_any_other(serve):
  # Else the learner would compile for it.
  config = counting.make_config(batch_size=3, replay=counting.queue())
  client = serve(config)
  adder = replay_writer.make_adder(config, client)
  iterator = replay_reader.SampleIterator(config, [client])
  replaying.write_items(adder, 3)
  whole = next(iterator)
  writer = threading.Thread(
    target=lambda: replaying.write_items(adder, 3, pause_s=1.2 * stalls.POLL_S)
  )
  writer.start()
  pieces = next(iterator)
  writer.join()
  assert jax.tree.structure(whole) == jax.tree.structure(pieces)
  assert jax.tree.map(np.shape, whole) == jax.tree.map(np.shape, pieces)


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
  skills = replaying.read_all(
    replay_reader.SampleIterator(config, clients), 18, 6
  )
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
    batch_size=6, replay={'min_size': 1, 'updates_per_environment_step': None}
  )
  clients = [serve(config), serve(config)]
  for skill, client in enumerate(clients):
    replaying.write_items(
      replay_writer.make_adder(config, client), 1, skill=skill
    )
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
  replaying.write_items(adders[0], 1, skill=0)
  replaying.write_items(adders[0], 1, skill=1)
  replaying.write_items(adders[0], 1, skill=2)
  replaying.write_items(adders[1], 1, skill=3)
  iterator = replay_reader.SampleIterator(config, clients)
  # It has waited long enough already when it is asked a second time, ...
  for timeout_s in (1.0, 0.0):
    message = replaying.wait_until_stalled(lambda: next(iterator), timeout_s)
    assert f'for replay at {clients[1].server_address}. ' in message
    assert clients[0].server_address not in message
    # ... which does not order a second part.
    assert replay_tables.stats(clients[0]) == (1, 3, 2)
  replaying.write_items(adders[1], 1, skill=4)
  assert next(iterator).extras['skill'][:, 0].tolist() == [0, 3, 1, 4]


def test_errors_of_reading_threads_are_raised_by_the_iterator():
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
def test_a_uniform_table_is_fetched_ahead_and_a_queue_is_not(serve, kind):
  fields = counting.queue() if kind == 'queue' else {'min_size': 2}
  config = counting.make_config(
    batch_size=2,
    replay={**fields, 'updates_per_environment_step': None},
  )
  client = serve(config)
  replaying.write_items(replay_writer.make_adder(config, client), 8)
  iterator = replay_reader.SampleIterator(config, [client])
  time.sleep(0.3)
  assert replay_tables.stats(client) == (8, 8, 0)
  next(iterator)
  if kind == 'queue':
    time.sleep(1.5 * stalls.POLL_S)
    assert replay_tables.stats(client) == (6, 8, 2)
  else:
    # A batch is there and another one on its way, and no more.
    replaying.wait_until(lambda: replay_tables.stats(client).samples > 4, 5)
    time.sleep(0.5)
    assert replay_tables.stats(client).samples <= 6


@pytest.mark.parametrize('how', ['close', 'forget', 'stop'])
def test_reading_threads_end_with_their_iterator(serve, how):
  config = counting.make_config(replay={'timeout_s': 1.0})
  clients = [serve(config) for _ in range(2)]
  stop = threading.Event()
  iterator = replay_reader.SampleIterator(config, clients, stop.is_set)
  assert not replaying.reader_threads(*clients)
  with pytest.raises(stalls.ReplayStalledError):
    next(iterator)
  assert len(replaying.reader_threads(*clients)) == 2
  if how == 'close':
    iterator.close()
    assert not replaying.reader_threads(*clients)
    with pytest.raises(stalls.StoppedError):
      next(iterator)
  elif how == 'stop':
    stop.set()
  else:
    del iterator
    gc.collect()
  replaying.wait_until(lambda: not replaying.reader_threads(*clients), 5)


def test_stopping_wins_over_a_batch_that_is_there(serve):
  config = counting.make_config(
    replay={'min_size': 1, 'updates_per_environment_step': None}
  )
  client = serve(config)
  replaying.write_items(replay_writer.make_adder(config, client), 1)
  stop = threading.Event()
  iterator = replay_reader.SampleIterator(config, [client], stop.is_set)
  next(iterator)
  replaying.wait_until(lambda: replay_tables.stats(client).samples >= 4, 5)
  stop.set()
  with pytest.raises(stalls.StoppedError):
    next(iterator)


RECURRENT = torsos.NetworkConfig(hidden_sizes=(4,), lstm_size=3)


def expected_prefix(episode, begin, burn_in):
  """Observations before the steps before `begin`; None where there are none."""
  return [
    (float(episode), float(step)) if step >= 0 else None
    for step in range(begin - burn_in, begin)
  ]


@pytest.mark.parametrize('burn_in', [2, T, T + 3])
def test_skills_come_with_their_burn_in(serve, burn_in):
  lengths = replaying.LENGTHS['mixed']
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
def test_burn_in_gives_the_recurrent_state_of_the_actor(serve, burn_in):
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
