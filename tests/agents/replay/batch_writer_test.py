"""Tests of skills/agents/replay/batch_writer.py."""

import dataclasses
import json
import threading
import time

import jax
import numpy as np
import pytest

from envs import batched
from skills.agents import acme_api
from skills.agents import batch_actor
from skills.agents import builder as builder_lib
from skills.agents.replay import reader as replay_reader
from skills.agents.replay import stalls
from skills.agents.replay import tables as replay_tables
from skills.agents.replay import writer as replay_writer
from skills.networks import torsos
from tests import replaying
from tests.programs import counting

pytestmark = pytest.mark.integration

T = counting.SKILL_LENGTH
LENGTHS = (replaying.LENGTHS['mixed'], [1, T, 2 * T], [3 * T + 1, 2])
SEEDS = (5, 6, 7)


def make_config(burn_in=0, capacity=1000):
  config = counting.make_config(
    batch_size=1,
    replay=counting.queue(capacity, burn_in=burn_in),
    network=torsos.NetworkConfig(
      hidden_sizes=(4,), lstm_size=3 if burn_in else None
    ),
  )
  learner = dataclasses.replace(config.learner, epsilon=1.0)
  return dataclasses.replace(config, learner=learner)


def serve(config):
  builder = builder_lib.SkillBuilder(config)
  server = acme_api.reverb.Server(builder.make_replay_tables(counting.SPEC))
  return server, acme_api.reverb.Client(f'localhost:{server.port}')


def make_loop(config, client, counter=None, should_stop=stalls.never_stop):
  """A loop in three environments, with a random policy, and its adder."""
  builder = builder_lib.SkillBuilder(config, should_stop=should_stop)
  agent = builder_lib.make_agent(config, counting.SPEC)
  adder = builder.make_batch_adder(client)
  actor = builder.make_batch_actor(
    [jax.random.PRNGKey(seed) for seed in SEEDS],
    agent.policy,
    counting.FixedVariables(agent),
  )
  environment = batched.Serial(
    [counting.CountingEnvironment(lengths) for lengths in LENGTHS]
  )
  loop = batch_actor.BatchLoop(
    environment,
    actor,
    adder,
    counter or acme_api.counting.Counter(),
    should_stop=should_stop,
  )
  return loop, actor, adder


def items_in(config, client):
  """All items that a queue holds, in order."""
  size = client.server_info()[replay_tables.TABLE].current_size
  iterator = replay_reader.SampleIterator(config, [client])
  return [next(iterator) for _ in range(size)]


def items_of_one(config, lengths, seed, num_episodes):
  """Items of the same actor alone, written by Acme's adder."""
  server, client = serve(config)
  adder = replay_writer.make_adder(config, client)
  environment = counting.CountingEnvironment(lengths)
  loop = counting.make_actor(config, environment, adder, seed=seed)
  loop.run(num_episodes=num_episodes)
  found = items_in(config, client)
  adder.close()
  server.stop()
  return found


def are_equal(one, other):
  # Memories are computed for three environments at once, and may be rounded
  # otherwise.
  return all(
    x.dtype == y.dtype and np.allclose(x, y, rtol=1e-4, atol=1e-6)
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
  )


@pytest.mark.parametrize(
  'burn_in', [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, T + 2))]
)
def test_each_environment_writes_the_items_of_an_actor_alone_in_order(burn_in):
  config = make_config(burn_in)
  server, client = serve(config)
  counter = acme_api.counting.Counter()
  loop, _, adder = make_loop(config, client, counter)
  for _ in range(36):
    loop.step()
  adder.flush()
  found = items_in(config, client)
  adder.close()
  server.stop()
  expected = [
    items_of_one(config, lengths, seed, 36)
    for lengths, seed in zip(LENGTHS, SEEDS, strict=True)
  ]
  # Each item is the next one of one environment: all are there, once.
  places = [0] * len(SEEDS)
  for item in found:
    [i] = [i for i in range(3) if are_equal(item, expected[i][places[i]])]
    places[i] += 1
  steps = sum(
    np.sum(item.extras['skill_step'][0, burn_in : burn_in + T] > 0)
    for item in found
  )
  # What was not written yet are the steps of skills under way: at most T each,
  # and one more, as an item ends with the action after its skill.
  assert 0 <= counter.get_counts()['steps'] - steps <= 3 * (T + 1)
  assert min(places) >= 8


def test_loop_that_was_saved_writes_what_it_would_have_written():
  config = make_config()
  servers, clients = zip(*(serve(config) for _ in range(2)), strict=True)
  loops = [make_loop(config, client) for client in clients]
  (loop, actor, adder), (other, its_actor, its_adder) = loops
  for _ in range(10):
    loop.step()
  adder.flush()
  before = client_size(clients[0])
  saved = json.loads(json.dumps([actor.save(), adder.save(), loop.save()]))
  # The second environment goes on where the first one is.
  other._environment = loop._environment
  its_actor.restore(saved[0])
  its_adder.restore(saved[1])
  other.restore(saved[2])
  # Unfinished items are copies.
  copied = batched.Serial([replay(lengths, 10) for lengths in LENGTHS])
  copied._needs_reset = loop._environment._needs_reset.copy()
  other._environment = copied
  for _ in range(20):
    assert [i for i, _ in loop.step()] == [i for i, _ in other.step()]
  adder.flush()
  its_adder.flush()
  expected = items_in(config, clients[0])[before:]
  found = items_in(config, clients[1])
  assert len(found) == len(expected) > 10
  assert all(map(are_equal, found, expected))
  for server, (_, _, each) in zip(servers, loops, strict=True):
    each.close()
    server.stop()


def client_size(client):
  return client.server_info()[replay_tables.TABLE].current_size


def replay(lengths, num_steps):
  """An environment after so many steps of a batch."""
  environment = counting.CountingEnvironment(lengths)
  timestep = environment.reset()
  for _ in range(num_steps - 1):
    timestep = environment.reset() if timestep.last() else environment.step(0)
  return environment


def test_full_queue_makes_all_environments_wait_and_not_lose():
  config = make_config(capacity=3)
  config = dataclasses.replace(config, batch_size=2)
  server, client = serve(config)
  stop = threading.Event()
  counter = acme_api.counting.Counter()
  loop, _, adder = make_loop(config, client, counter, stop.is_set)
  actor = replaying.Doing(loop.step, stop)
  time.sleep(2.5 * stalls.POLL_S)
  steps = counter.get_counts()['steps']
  time.sleep(stalls.POLL_S)
  assert counter.get_counts()['steps'] == steps
  read = replaying.read_all(
    replay_reader.SampleIterator(config, [client]), 40, 2
  )
  began = time.monotonic()
  stop.set()
  assert isinstance(actor.end(2), stalls.StoppedError | None)
  assert time.monotonic() - began < 2
  # Steps are numbered within an episode: none is missing.
  for skill in read:
    numbers = [step.before[1] for step in skill]
    assert numbers == list(range(int(numbers[0]), int(numbers[0]) + len(skill)))
  adder.close()
  server.stop()
