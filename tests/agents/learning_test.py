"""The learner as Acme sees it computes what the pure one computes."""

import threading

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills import presets
from skills import registry
from skills.agents import acme_api
from skills.agents import builder as builder_lib
from skills.agents import learning
from skills.agents.replay import reader as replay_reader
from tests import problems
from tests.programs import counting

pytestmark = pytest.mark.integration

BATCH = 3


def make_agent(name='disdain', problem=problems.TABLE):
  config = presets.make(name, 'some:environment', problem)
  return registry.make_agent(config, problem)


def items(batch_size, problem=problems.TABLE):
  seed = 0
  while True:
    yield counting.item(problem, batch_size, seed)
    seed += 1


def split(batch):
  """A batch's parts, of `BATCH` skills each."""
  leaves, structure = jax.tree.flatten(batch)
  for i in range(0, len(leaves[0]), BATCH):
    yield jax.tree.unflatten(structure, [x[i : i + BATCH] for x in leaves])


def make_learner(agent, updates_per_step=1, **kwargs):
  return learning.SkillLearner(
    agent.learner,
    items(BATCH * updates_per_step),
    jax.random.PRNGKey(5),
    updates_per_step=updates_per_step,
    **kwargs,
  )


@pytest.fixture(scope='module')
def agent():
  return make_agent()


def assert_equal(one, other):
  chex.assert_trees_all_equal(
    jax.tree.map(np.asarray, one), jax.tree.map(np.asarray, other)
  )


@pytest.mark.parametrize('updates_per_step', [1, 3])
def test_steps_are_the_pure_learner_s_updates_on_the_same_batches(
  agent, updates_per_step
):
  log = counting.Log()
  learner = make_learner(agent, updates_per_step, logger=log)
  update = jax.jit(agent.learner.update)
  state = jax.jit(agent.learner.init)(jax.random.PRNGKey(5))
  assert_equal(learner.save(), state)
  source = items(BATCH * updates_per_step)
  for _ in range(4):
    learner.step()
    batch = next(source)
    for part in split(batch):
      state, metrics = update(state, replay_reader.to_trajectory(part))
    if updates_per_step == 1:
      assert_equal(learner.save(), state)
    else:  # XLA may round otherwise within a loop.
      chex.assert_trees_all_close(learner.save(), state, rtol=1e-5)
      state = jax.tree.map(jnp.asarray, learner.save())
    # What is logged is of the last update.
    assert metrics
    for name, value in metrics.items():
      assert log.rows[-1][name] == pytest.approx(float(value), rel=1e-5)
  variables, objective = learner.get_variables(
    [learning.POLICY, learning.OBJECTIVE]
  )
  assert_equal(variables, agent.learner.variables(state))
  assert_equal(objective, state.objective)


def test_variables_are_there_before_the_first_step(agent):
  learner = make_learner(agent)
  state = agent.learner.init(jax.random.PRNGKey(5))
  [variables] = learner.get_variables([learning.POLICY])
  chex.assert_trees_all_close(variables, agent.learner.variables(state))


def test_returned_variables_do_not_change(agent):
  # The state's buffers are donated to the next update.
  learner = make_learner(agent)
  learner.step()
  given = [
    learner.get_variables([learning.POLICY, learning.OBJECTIVE]),
    learner.save(),
  ]
  assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(given))
  copies = jax.tree.map(np.copy, given)
  for _ in range(3):
    learner.step()
  assert_equal(given, copies)
  now = learner.get_variables([learning.POLICY])
  assert any(
    not np.array_equal(x, y)
    for x, y in zip(jax.tree.leaves(now), jax.tree.leaves(given[0][:1]))
  )
  # Nor does a caller who writes into them change the learner.
  jax.tree.map(lambda x: x.fill(0), now)
  assert_equal(
    learner.get_variables([learning.POLICY])[0],
    agent.learner.variables(learner.save()),
  )


def test_a_restored_learner_continues_bit_for_bit(agent):
  one = make_learner(agent)
  for _ in range(3):
    one.step()
  saved = one.save()

  other = learning.SkillLearner(
    agent.learner, one._iterator, jax.random.PRNGKey(6)
  )
  other.restore(saved)
  assert_equal(other.save(), saved)
  assert_equal(
    other.get_variables([learning.POLICY]), one.get_variables([learning.POLICY])
  )
  rest = [next(one._iterator) for _ in range(3)]
  one._iterator, other._iterator = iter(rest), iter(rest)
  for _ in range(3):
    one.step()
    other.step()
  assert_equal(one.save(), other.save())
  # The saved state survives that it was restored and learned from.
  assert saved.steps == 3


def test_updates_are_counted_and_logged(agent):
  log = counting.Log()
  counter = acme_api.counting.Counter()
  learner = make_learner(
    agent,
    updates_per_step=3,
    counter=acme_api.counting.Counter(counter, 'learner', time_delta=0.0),
    logger=log,
  )
  for _ in range(2):
    learner.step()
  assert counter.get_counts() == {'learner_steps': 6}
  assert [row['learner_steps'] for row in log.rows] == [3, 6]
  assert learner.save().steps == 6


def test_the_age_of_parameters_is_that_of_real_steps_and_never_negative(agent):
  log = counting.Log()
  learner = make_learner(agent, updates_per_step=2, logger=log)
  learner.restore(learner.save()._replace(steps=np.int32(9)))
  batch = next(items(2 * BATCH))
  assert batch.extras['skill_step'][BATCH:].tolist() == [
    [1, 2, 3, 4, 5, 0],
    [1, 2, 3, 4, 0, 0],
    [1, 2, 3, 0, 0, 0],
  ]
  # The last row belongs to the next skill; the first update is not logged.
  batch.extras['skill_step'][:, -1] = 1
  batch.extras['learner_step'][BATCH:] = [
    [2, 2, 4, 4, 4, -99],
    [8, 8, 9, 9, -99, -99],
    [10, 11, 12, -99, -99, -99],
  ]
  learner._iterator = iter([batch])
  learner.step()
  # At 10 updates: 8 + 8 + 6 + 6 + 6, 2 + 2 + 1 + 1, and 0, of 12 steps.
  assert log.rows[0]['parameter_age'] == pytest.approx(40 / 12)


def test_a_step_compiles_once(agent):
  traces = []

  def update(*args):
    traces.append(args)
    return agent.learner.update(*args)

  learner = learning.SkillLearner(
    agent.learner._replace(update=update),
    items(BATCH),
    jax.random.PRNGKey(0),
    updates_per_step=1,
  )
  learner.step()
  first = len(traces)
  for _ in range(2):
    learner.step()
  learner.restore(learner.save())
  learner.step()
  assert len(traces) == first


def test_others_may_save_and_read_while_it_learns(agent):
  learner = make_learner(agent)
  learner.step()
  stop = threading.Event()
  errors = []
  reads = []

  def repeatedly(call):
    def run():
      try:
        while not stop.is_set():
          reads.append(call())
      except BaseException as error:
        errors.append(error)

    return threading.Thread(target=run)

  threads = [
    repeatedly(lambda: int(learner.save().steps)),
    repeatedly(
      lambda: len(learner.get_variables([learning.POLICY, learning.OBJECTIVE]))
    ),
  ]
  for thread in threads:
    thread.start()
  for _ in range(50):
    learner.step()
  stop.set()
  for thread in threads:
    thread.join()
  assert not errors
  assert learner.save().steps == 51
  assert len(reads) > 10


@pytest.mark.parametrize('name', sorted(registry.OBJECTIVES))
def test_every_agent_learns_through_acme_s_interface(name):
  agent = make_agent(name)
  learner = builder_lib.SkillBuilder(agent.config).make_learner(
    jax.random.PRNGKey(0), agent, items(agent.config.fetch_size)
  )
  learner.step()
  state = learner.save()
  variables, objective = learner.get_variables(
    [learning.POLICY, learning.OBJECTIVE]
  )
  assert_equal(variables, agent.learner.variables(state))
  assert_equal(objective, state.objective)
  chex.assert_tree_all_finite(jax.tree.map(jnp.asarray, variables))
  assert state.steps == agent.config.updates_per_step
