"""Tests of skills/agents/batch_actor.py."""

import jax
import numpy as np

from envs import batched
from skills import acting
from skills.agents import acme_api
from skills.agents import batch_actor
from skills.agents import builder as builder_lib
from tests.programs import counting

T = counting.SKILL_LENGTH


class Seen:
  """Keeps what it is given."""

  def __init__(self):
    self.steps = []
    self.waits = 0

  def add(self, timestep, action, after, extras):
    self.steps.append((timestep, action, after, extras))

  def wait(self):
    self.waits += 1


def make_loop(lengths, counter, observed=(), seeds=None):
  agent = builder_lib.make_agent(counting.make_config(), counting.SPEC)
  seeds = range(len(lengths)) if seeds is None else seeds
  source = counting.FixedVariables(agent)
  actor = builder_lib.SkillBuilder(agent.config).make_batch_actor(
    [jax.random.PRNGKey(seed) for seed in seeds], agent.policy, source
  )
  environment = batched.Serial(
    [counting.CountingEnvironment(each) for each in lengths]
  )
  seen = Seen()
  loop = batch_actor.BatchLoop(environment, actor, seen, counter, observed)
  return loop, seen


def test_rows_and_counts_are_those_of_the_episodes_that_ended():
  counter = acme_api.counting.Counter(None, 'actor')
  loop, _ = make_loop([[2, 3], [3, 1]], counter)
  assert loop.step() == []  # Both episodes begin.
  assert loop.step() == []
  [(index, row)] = loop.step()
  assert (index, row['episode_length'], row['episode_return']) == (0, 2, 3)
  assert (row['actor_episodes'], row['actor_steps']) == (1, 4)
  # One ends while the next episode of the other begins, which is no step.
  [(index, row)] = loop.step()
  assert (index, row['episode_length'], row['episode_return']) == (1, 3, 6)
  assert (row['actor_episodes'], row['actor_steps']) == (2, 5)
  assert row['steps_per_second'] > 0
  assert loop.step() == []
  assert [i for i, _ in loop.step()] == [1]
  # Two steps of the first one's second episode and one of the other's.
  assert counter.get_counts() == {'actor_episodes': 3, 'actor_steps': 8}


def test_each_environment_has_skills_of_its_own():
  loop, seen = make_loop([[100 * T]] * 8, acme_api.counting.Counter())
  for _ in range(20 * T + 1):
    loop.step()
  skill = np.stack([extras['skill'] for *_, extras in seen.steps])
  assert skill.shape == (20 * T, 8)
  assert len({tuple(each) for each in skill.T}) == 8
  assert seen.waits == 20 * T


def test_environment_that_begins_anew_by_itself_makes_no_step():
  counter = acme_api.counting.Counter()
  loop, seen = make_loop([[9], [9]], counter)
  for _ in range(4):
    loop.step()
  inner = loop._environment.environments[0]
  step = inner.step
  inner.step = lambda action: inner.reset()
  assert loop.step() == []
  assert counter.get_counts()['steps'] == 3 * 2 + 1
  inner.step = step
  loop.step()
  # A skill begins with the episode.
  assert seen.steps[-1][3]['skill_step'].tolist() == [1, 1]


def test_one_call_of_the_policy_serves_all_environments():
  agent = builder_lib.make_agent(counting.make_config(), counting.SPEC)
  source = counting.FixedVariables(agent)
  [variables] = source.get_variables(['policy'])
  core = acting.batch(agent.policy)
  keys = jax.random.split(jax.random.PRNGKey(0), 16)
  inputs = np.zeros((16, 2), np.float32), np.ones(16, bool)
  jaxpr = jax.make_jaxpr(core.select_action)(variables, inputs, core.init(keys))
  products = list(products_of(jaxpr.jaxpr))
  # The weights have no axis of environments, neither given nor made.
  assert len(products) == 3
  for equation in products:
    assert equation.params['dimension_numbers'][1] == ((), ())
    assert 16 in equation.outvars[0].aval.shape


def products_of(jaxpr):
  """Products of matrices in a computation, and in those that it calls."""
  for equation in jaxpr.eqns:
    if equation.primitive.name == 'dot_general':
      yield equation
    for inner in jax.core.jaxprs_in_params(equation.params):
      yield from products_of(inner)


def test_variables_are_fetched_no_more_often_than_skills_end():
  agent = builder_lib.make_agent(counting.make_config(), counting.SPEC)
  source = counting.FixedVariables(agent)
  fetches = []

  def get_variables(names):
    fetches.append(names)
    return counting.FixedVariables.get_variables(source, names)

  source.get_variables = get_variables
  for number, period in ((1, 4 * T), (2, 2 * T), (16, T)):
    actor = builder_lib.SkillBuilder(agent.config).make_batch_actor(
      list(jax.random.split(jax.random.PRNGKey(0), number)),
      agent.policy,
      source,
    )
    assert actor._variable_client._update_period == period


def test_observers_see_their_environment_alone():
  class Observer(acme_api.EnvLoopObserver):
    def __init__(self):
      self.seen = []

    def observe_first(self, env, timestep):
      self.seen.append(('first', env, timestep.observation.tolist()))

    def observe(self, env, timestep, action):
      self.seen.append((timestep.step_type, env, timestep.observation.tolist()))

    def get_metrics(self):
      return {'seen': len(self.seen)}

  observers = [Observer(), Observer()]
  observed = [
    batch_actor.Observed(name, [observer])
    for name, observer in zip('ab', observers, strict=True)
  ]
  loop, _ = make_loop([[2], [1]], acme_api.counting.Counter(), observed)
  rows = [row for _ in range(4) for _, row in loop.step()]
  assert [row['seen'] for row in rows] == [2, 3, 4]
  first, other = (observer.seen for observer in observers)
  assert [(env, seen) for _, env, seen in first] == [
    ('a', [0, 0]),
    ('a', [0, 1]),
    ('a', [0, 2]),
    ('a', [1, 0]),
  ]
  assert [(env, seen) for _, env, seen in other] == [
    ('b', [0, 0]),
    ('b', [0, 1]),
    ('b', [1, 0]),
    ('b', [1, 1]),
  ]
