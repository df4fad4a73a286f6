"""Tests of skills/agents/replay/priorities.py."""

import dataclasses
import operator
import threading
import time

import jax
import numpy as np
import portpicker
import pytest

from skills.agents import acme_api
from skills.agents import builder as builder_lib
from skills.agents.replay import priorities
from skills.agents.replay import reader as replay_reader
from skills.agents.replay import writer as replay_writer
from tests import problems
from tests import replaying
from tests.programs import counting

pytestmark = pytest.mark.integration


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


def test_items_are_drawn_in_proportion_to_their_priorities(serve):
  config = replaying.prioritized(0.5)
  client = serve(config)
  adder = replay_writer.make_adder(config, client)
  for skill in range(4):
    replaying.write_items(adder, 1, skill=skill)
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
  found = replaying.priorities_in(client, 100)
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
  # Five standard deviations of the largest count, sqrt(800 * .24) = 14.
  np.testing.assert_allclose(counts, [80, 160, 240, 320], atol=70)


def test_importance_weights_are_inverse_odds_scaled_to_one():
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
  unweighted = replay_reader.to_trajectory(counting.item(problems.VECTOR, 3, 0))
  assert unweighted.importance_weights is None


@pytest.mark.parametrize('updates_per_step', [1, 2])
def test_a_step_writes_the_priorities_that_its_updates_computed(
  serve, updates_per_step
):
  config = dataclasses.replace(
    replaying.prioritized(), batch_size=4, updates_per_step=updates_per_step
  )
  clients = [serve(config), serve(config)]
  for i, client in enumerate(clients):
    adder = replay_writer.make_adder(config, client)
    for skill in (2 * i, 2 * i + 1):
      replaying.write_items(adder, 1, skill=skill)
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
    found = replaying.priorities_in(client, 50)
    for key, priority in expected.items():
      if key in found:  # One of little priority may not be drawn.
        np.testing.assert_allclose(found[key], priority, rtol=1e-5)
    assert set(expected) & set(found)


def test_a_missing_server_does_not_hold_up_the_priorities_of_others(serve):
  config = replaying.prioritized()
  client = serve(config)
  replaying.write_items(replay_writer.make_adder(config, client), 2)
  iterator = replay_reader.SampleIterator(config, [client])
  keys = next(iterator).extras[replay_reader.KEY][:1]
  iterator.close()
  gone = acme_api.reverb.Client(f'localhost:{portpicker.pick_unused_port()}')
  writer = priorities.PriorityWriter([client, gone])

  def write():
    for value in range(100):
      writer.write(np.repeat(keys, 2, axis=0), [np.array([[1.0 + value, 3.0]])])
      time.sleep(0.01)

  thread = threading.Thread(target=write, daemon=True)
  thread.start()
  thread.join(30)
  assert not thread.is_alive()
  # One batch is being sent to the missing server; later ones were dropped.
  unfinished = writer._waiting[1].unfinished_tasks
  assert unfinished <= 1 + priorities._MAX_WAITING
  replaying.wait_until(lambda: not writer._waiting[0].unfinished_tasks, 5)
  writer.close()

  def others_have_ended():
    return all(
      'priorities' not in t.name or t.name.endswith(gone.server_address)
      for t in threading.enumerate()
    )

  # A thread may take a moment on a busy machine.
  replaying.wait_until(others_have_ended, 10)


def test_a_learner_with_priorities_must_know_where_they_go():
  config = replaying.prioritized()
  builder = builder_lib.SkillBuilder(config)
  agent = builder_lib.make_agent(config, counting.SPEC)
  with pytest.raises(ValueError, match='replay_client .*=1.0, got None'):
    builder.make_learner(jax.random.PRNGKey(0), agent, iter([]))


def test_priorities_that_are_not_positive_and_finite_are_ignored(serve):
  config = replaying.prioritized()
  client = serve(config)
  replaying.write_items(replay_writer.make_adder(config, client), 1)
  iterator = replay_reader.SampleIterator(config, [client])
  keys = next(iterator).extras[replay_reader.KEY][:1]
  writer = priorities.PriorityWriter([client])
  for value in (np.nan, np.inf, 0.0):
    writer.write(keys, [np.array([[value]])])
  assert writer.flush(5)
  assert list(replaying.priorities_in(client, 1).values()) == [1.0]
  writer.close()
  iterator.close()
