"""Tests of skills/agents/replay/writer.py."""

import itertools
import threading
import time

import numpy as np
import pytest

from skills.agents.replay import reader as replay_reader
from skills.agents.replay import stalls
from skills.agents.replay import tables as replay_tables
from skills.agents.replay import writer as replay_writer
from tests import replaying
from tests.programs import counting

pytestmark = pytest.mark.integration

T = counting.SKILL_LENGTH


@pytest.mark.parametrize(
  'lengths', replaying.LENGTHS.values(), ids=replaying.LENGTHS
)
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
  assert replaying.read_all(iterator, len(written), 1) == written
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
  # The final state would seem to have skill 0; hence a trajectory has one skill
  # less than observations.
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
  read = replaying.read_all(
    replay_reader.SampleIterator(config, [client]), 18, 2
  )
  writer.join()
  assert read == written[0].skills(T)


def test_closing_an_adder_ends_the_wait_of_its_actor(serve):
  config = counting.make_config(replay=counting.queue(2))
  adder = replay_writer.make_adder(config, serve(config))
  actor = replaying.Doing(
    lambda: replaying.write_items(adder, 1), threading.Event()
  )
  replaying.wait_until(lambda: actor.times >= 2, 5)
  time.sleep(0.2)
  adder.close()
  assert isinstance(actor.end(1), stalls.StoppedError)
