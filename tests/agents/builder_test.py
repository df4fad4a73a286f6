"""The parts that the builder makes fit together."""

import dataclasses

import chex
import jax
import numpy as np
import pytest

from envs import factory
from skills import types
from skills.agents import acme_api
from skills.agents import builder as builder_lib
from skills.agents import learning
from skills.agents.replay import tables as replay_tables
from skills.learners import q_learning
from tests.programs import counting

pytestmark = pytest.mark.integration

T = counting.SKILL_LENGTH


def test_it_is_an_acme_builder():
  builder = builder_lib.SkillBuilder(counting.make_config())
  assert isinstance(builder, builder_lib.builders.GenericActorLearnerBuilder)


@pytest.mark.parametrize('observation', ['index', 'one_hot', 'pixels'])
def test_an_agent_fits_the_environment_that_specs_describe(observation):
  environment = factory.make('grid:disdain_release', observation=observation)
  spec = acme_api.specs.make_environment_spec(environment)
  agent = builder_lib.make_agent(counting.make_config(), spec)
  assert agent.problem == types.ProblemSpec.from_specs(
    environment.observation_spec(), environment.action_spec()
  )
  # The table accepts exactly what actors will write.
  [table] = builder_lib.SkillBuilder(agent.config).make_replay_tables(spec)
  assert table.name == replay_tables.TABLE
  signature = table.info.signature
  length = agent.config.skill_length + 1
  assert tuple(signature.observation.shape) == (
    length,
    *agent.problem.observation_shape,
  )
  assert signature.observation.dtype.name == agent.problem.observation_dtype
  assert set(signature.extras) == {'skill', 'skill_step', 'learner_step'}
  for extra in signature.extras.values():
    assert (tuple(extra.shape), extra.dtype.name) == ((length,), 'int32')


def test_each_table_has_a_rate_limiter_of_its_own_and_the_configured_sizes():
  def info(**fields):
    config = counting.make_config(replay=fields)
    builder = builder_lib.SkillBuilder(config)
    first, second = (
      builder.make_replay_tables(counting.SPEC)[0] for _ in range(2)
    )
    # One that is shared ends the process.
    acme_api.reverb.Server([first]).stop()
    acme_api.reverb.Server([second]).stop()
    return first.info

  ratio = info(min_size=3, updates_per_environment_step=0.625, capacity=17)
  assert ratio.max_size == 17
  assert ratio.max_times_sampled == 0  # As often as one likes.
  # 0.625 updates a step, of 2 trajectories of 4 steps.
  assert ratio.rate_limiter_info.samples_per_insert == 5
  assert ratio.rate_limiter_info.min_size_to_sample == 3
  queue = info(**counting.queue(9))
  assert queue.max_size == 9
  assert queue.max_times_sampled == 1
  free = info(updates_per_environment_step=None, min_size=4)
  assert free.rate_limiter_info.min_size_to_sample == 4
  assert free.rate_limiter_info.max_diff > 1e100


def test_actors_explore_in_training_and_hardly_in_evaluation():
  config = counting.make_config()
  config = dataclasses.replace(
    config,
    learner=dataclasses.replace(
      config.learner, epsilon=1.0, evaluation_epsilon=0.0
    ),
  )
  builder = builder_lib.SkillBuilder(config)
  agent = builder_lib.make_agent(config, counting.SPEC)
  assert builder.make_policy(agent) is agent.policy
  assert builder.make_policy(agent, evaluation=True) is agent.evaluation_policy


class CountingSource(counting.FixedVariables, acme_api.core.VariableSource):
  """Counts how often it is asked."""

  asked = 0

  def get_variables(self, names):
    assert names == [learning.POLICY]
    self.asked += 1
    return super().get_variables(names)


def test_an_actor_fetches_variables_every_few_skills_and_acts_by_its_key():
  # Choices of chance alone, for what is seen differs below.
  config = counting.make_config(learner=q_learning.QLearningConfig(epsilon=1.0))
  builder = builder_lib.SkillBuilder(config)
  agent = builder_lib.make_agent(config, counting.SPEC)

  def actor(seed):
    source = CountingSource(agent)
    witness = counting.Witness()
    actor = builder.make_actor(
      jax.random.PRNGKey(seed),
      builder.make_policy(agent),
      witness,
      source,
    )
    loop = acme_api.environment_loop.EnvironmentLoop(
      counting.CountingEnvironment([4 * T]), actor, logger=counting.Log()
    )
    return source, witness, actor, loop

  source, witness, one, loop = actor(0)
  loop.run(num_episodes=10)  # 4 skills each.
  # Once to begin with; a fetch that is under way is not repeated.
  assert 2 <= source.asked <= 11

  # A saved key continues the same sequence of skills and actions.
  _, other_witness, other, other_loop = actor(1)
  other.restore(np.asarray(one.save()))
  chex.assert_trees_all_equal(one.save(), other.save())
  before = len(witness.episodes)
  loop.run(num_episodes=3)
  other_loop.run(num_episodes=3)

  def choices(episodes):
    return [[(s.action, s.skill) for s in episode] for episode in episodes]

  assert choices(witness.episodes[before:]) == choices(other_witness.episodes)
  assert choices(witness.episodes[:3]) != choices(other_witness.episodes)


def test_a_batch_that_devices_cannot_share_equally_is_refused():
  [device] = jax.devices()
  config = counting.make_config(batch_size=6)
  agent = builder_lib.make_agent(config, counting.SPEC)

  def make_learner(number):
    builder = builder_lib.SkillBuilder(config, devices=[device] * number)
    return builder.make_learner(jax.random.PRNGKey(0), agent, iter([]))

  with pytest.raises(ValueError, match=r'batch_size .*devices \(4\).*got 6'):
    make_learner(4)
  assert make_learner(1).save().steps == 0


def test_the_policy_is_computed_on_the_cpu():
  config = counting.make_config()
  loop = counting.make_actor(
    config, counting.CountingEnvironment([T]), counting.Witness()
  )
  loop.run(num_episodes=1)
  actor = loop._actor
  arrays = jax.tree.leaves((actor._state, actor._params, actor.save()))
  assert {d.platform for x in arrays for d in x.devices()} == {'cpu'}
  assert all(x.committed for x in arrays)
