"""Tests of skills/learners/q_learning.py."""

import functools
import itertools

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills import registry
from skills import types
from skills.learners import base as learner_base
from skills.learners import q_learning
from skills.networks import discriminators
from skills.networks import q_networks
from skills.networks import torsos
from skills.objectives import base
from skills.objectives import disdain
from skills.objectives import vic
from tests import oracles
from tests import problems

KEY = jax.random.PRNGKey(0)
K = problems.NUM_SKILLS
S = problems.TABLE.num_states
A = problems.TABLE.num_actions

# Midpoints of a thousand equal parts of [0, 1).
GRID = (jnp.arange(1000) + 0.5) / 1000


def paying(rewards, weights):
  """An objective that learns nothing: rewards by skill and state, [K, S, R]."""
  rewards = jnp.asarray(rewards, jnp.float32)

  def reward(state, trajectory):
    del state
    return rewards[trajectory.skill, trajectory.observation[1:]]

  return base.IntrinsicReward(
    streams=tuple(f'stream{i}' for i in range(len(weights))),
    init=lambda key: jnp.zeros(()),
    reward=reward,
    weights=lambda state: jnp.asarray(weights, jnp.float32),
    update=lambda state, trajectory, key: (state + 1, {}),
  )


def make(objective, problem=problems.TABLE, num_skills=K, **settings):
  """Network and learner of an objective, with tables."""
  network = q_networks.make(
    torsos.NetworkConfig(), problem, num_skills, len(objective.streams)
  )
  config = q_learning.QLearningConfig(**settings)
  learner = q_learning.make(config, network, objective)
  return network, problems.compiled(learner)


def one_step(skills, states, actions, following):
  """Skills of a single step."""
  batch = problems.ending_in(problems.TABLE, skills, following)
  return batch._replace(
    observation=batch.observation.at[0].set(jnp.array(states, jnp.int32)),
    action=jnp.array([actions], jnp.int32),
  )


def table_of(state):
  return problems.content(state.params).reshape(K, S, A, -1)


def test_combined_streams_are_their_weighted_sum():
  values = jnp.array([[[1.0, 10.0], [2.0, 0.0], [3.0, -1.0]]])
  np.testing.assert_allclose(
    learner_base.combine_streams(values, jnp.array([2.0, 0.5])),
    [[7.0, 4.0, 5.5]],
  )


def test_epsilon_of_choices_are_spread_evenly_and_the_rest_are_greedy():
  # Of 1000 choices 300 are random, 100 of each action; action 1 is the best.
  values = jnp.broadcast_to(jnp.array([0.0, 2.0, 1.0]), (1000, 3))
  actions = q_learning.epsilon_greedy(values, GRID, 0.3)
  np.testing.assert_array_equal(np.bincount(actions), [100, 800, 100])
  assert actions.dtype == jnp.int32


def test_epsilon_one_is_uniform():
  values = jnp.broadcast_to(jnp.array([0.0, 2.0, 1.0, 5.0]), (1000, 4))
  actions = q_learning.epsilon_greedy(values, GRID, 1.0)
  np.testing.assert_array_equal(np.bincount(actions), [250, 250, 250, 250])


def test_epsilon_zero_is_greedy_whatever_is_drawn():
  values = jnp.broadcast_to(jnp.array([0.0, 2.0, 1.0]), (1000, 3))
  uniform = GRID.at[0].set(0.0)
  assert jnp.all(q_learning.epsilon_greedy(values, uniform, 0.0) == 1)


def test_actions_are_in_range_at_the_edges_of_what_is_drawn():
  # The largest float below epsilon may be rounded up to the number of actions.
  for epsilon in (0.05, 0.1, 0.3, 1.0):
    edge = np.nextafter(np.float32(epsilon), np.float32(0))
    values = jnp.zeros((2, 7))
    actions = q_learning.epsilon_greedy(values, jnp.array([0.0, edge]), epsilon)
    np.testing.assert_array_equal(actions, [0, 6])


def test_ties_are_broken_evenly_if_they_are_to_be():
  # 300 of 1000 are random, 75 of each; actions 1 and 3 share the other 700.
  values = jnp.broadcast_to(jnp.array([0.0, 2.0, 1.0, 2.0]), (1000, 4))
  actions = q_learning.epsilon_greedy(values, GRID, 0.3, random_ties=True)
  np.testing.assert_array_equal(np.bincount(actions), [75, 425, 75, 425])
  actions = q_learning.epsilon_greedy(values, GRID, 0.0, random_ties=True)
  np.testing.assert_array_equal(np.bincount(actions), [0, 500, 0, 500])
  # Where nothing is equal nothing changes.
  values = jnp.broadcast_to(jnp.array([0.0, 2.0, 1.0, -2.0]), (1000, 4))
  np.testing.assert_array_equal(
    q_learning.epsilon_greedy(values, GRID, 0.3, random_ties=True),
    q_learning.epsilon_greedy(values, GRID, 0.3),
  )


def test_of_equal_values_the_first_wins():
  values = jnp.array([[1.0, 1.0], [0.0, 0.0]])
  np.testing.assert_array_equal(
    q_learning.epsilon_greedy(values, jnp.array([0.9, 0.9]), 0.1), [0, 0]
  )


@pytest.mark.parametrize(
  ('weights', 'expected_first'),
  [
    # At the second observation the mixed values are 1 and 3: action 1, whose
    # values are (0, 3). 1 + .5 (.5 * 0 + .5 * 2) and 10 + .5 (.5 * 3 + .5 * 20)
    ([1.0, 1.0], [1.5, 15.75]),
    # They are 1 and .3: action 0, whose values are (1, 0).
    # 1 + .5 (.5 * 1 + .5 * 2) and 10 + .5 (.5 * 0 + .5 * 20)
    ([1.0, 0.1], [1.75, 15.0]),
  ],
)
def test_streams_regress_to_their_own_values_of_the_jointly_greedy_action(
  weights, expected_first
):
  values = jnp.array(
    [
      [[9.0, 9.0], [9.0, 9.0]],
      [[1.0, 0.0], [0.0, 3.0]],
      [[5.0, 5.0], [6.0, 6.0]],
    ]
  )
  g = q_learning.targets(
    values[:, None],  # [T+1=3, B=1, A=2, R=2]
    jnp.array([[1.0, 10.0], [2.0, 20.0]])[:, None],
    jnp.array([[0.5], [0.0]]),
    jnp.array(weights),
    0.5,
  )
  np.testing.assert_allclose(g[:, 0], [expected_first, [2.0, 20.0]], rtol=1e-6)


def test_a_step_moves_one_entry_by_twice_the_rate_over_b_times_its_error():
  # B = 2 skills of one step each: each target is its reward, 5 in the first
  # stream and -1 in the second; the loss has no factor 1/2.
  rewards = np.broadcast_to([5.0, -1.0], (K, S, 2))
  _, learner = make(paying(rewards, [1.0, 3.0]), learning_rate=0.1)
  before = learner.init(KEY)
  after, metrics = learner.update(
    before,
    one_step(skills=[1, 3], states=[2, 4], actions=[0, 2], following=[3, 5]),
  )
  old = table_of(before)
  expected = old.copy()
  for entry in ((1, 2, 0), (3, 4, 2)):
    expected[entry] += 2 * 0.1 / 2 * (np.array([5.0, -1.0]) - old[entry])
  np.testing.assert_allclose(table_of(after), expected, rtol=1e-5)
  # Half the sum of two squared errors, stream by stream.
  for i, reward in enumerate((5.0, -1.0)):
    errors = reward - old[[1, 3], [2, 4], [0, 2], i]
    np.testing.assert_allclose(
      metrics[f'loss/stream{i}'], np.sum(errors**2) / 2, rtol=1e-5
    )
    np.testing.assert_allclose(metrics[f'reward/stream{i}'], reward)
  assert after.steps == 1


def test_steps_of_a_skill_add_up_and_padding_adds_nothing():
  # gamma = 0: every real step regresses to its reward. Both skills run in
  # state 0 by action 0; the first has three steps, the second one.
  _, learner = make(
    paying(np.full((K, S, 1), 2.0), [1.0]), discount=0.0, learning_rate=0.1
  )
  before = learner.init(KEY)
  batch = types.Trajectory(
    observation=jnp.zeros((4, 2), jnp.int32),
    action=jnp.zeros((3, 2), jnp.int32),
    reward=jnp.zeros((3, 2)),
    discount=jnp.ones((3, 2)),
    skill=jnp.broadcast_to(jnp.array([0, 1]), (3, 2)),
    mask=problems.mask((3, 1), 3),
  )
  after, metrics = learner.update(before, batch)
  old = table_of(before)[:2, 0, 0, 0]
  np.testing.assert_allclose(
    table_of(after)[:2, 0, 0, 0],
    old + 2 * 0.1 / 2 * np.array([3, 1]) * (2.0 - old),
    rtol=1e-5,
  )
  # Sums over a skill, means over skills: of an objective that pays padding,
  # which none that is registered does, (3 + 3) * 2 / 2.
  np.testing.assert_allclose(metrics['reward/stream0'], 6.0)


def test_padding_changes_nothing():
  agent = table_agent(disdain.DisdainConfig())
  update = jax.jit(agent.learner.update)
  state = agent.learner.init(KEY)
  after = [
    update(state, problems.trajectory(problems.TABLE, 1, padding_seed=seed))[0]
    for seed in (2, 3)
  ]
  chex.assert_trees_all_equal(*after)


def test_the_environment_s_discount_of_zero_stops_the_bootstrap():
  _, learner = make(
    paying(np.ones((K, S, 1)), [1.0]), lambda_=0.0, learning_rate=0.5
  )
  before = learner.init(KEY)
  batch = types.Trajectory(
    observation=jnp.array([[0], [1], [2]]),
    action=jnp.zeros((2, 1), jnp.int32),
    reward=jnp.zeros((2, 1)),
    discount=jnp.array([[0.0], [1.0]]),
    skill=jnp.zeros((2, 1), jnp.int32),
    mask=jnp.ones((2, 1)),
  )
  # With B = 1 and rate 1/2 an entry becomes its target: the reward alone.
  after, _ = learner.update(before, batch)
  np.testing.assert_allclose(table_of(after)[0, 0, 0], [1.0], rtol=1e-6)
  # Else 1 + .99 max Q(1).
  after, _ = learner.update(before, batch._replace(discount=jnp.ones((2, 1))))
  np.testing.assert_allclose(
    table_of(after)[0, 0, 0, 0],
    1 + 0.99 * table_of(before)[0, 1, :, 0].max(),
    rtol=1e-6,
  )


@functools.cache
def table_agent(objective, **settings):
  config = registry.config_lib.SkillAgentConfig(
    objective=objective,
    num_skills=K,
    skill_length=problems.NUM_STEPS,
    learner=q_learning.QLearningConfig(**settings),
  )
  return problems.compiled_agent(registry.make_agent(config, problems.TABLE))


PAIR = vic.VicConfig(
  discriminator=discriminators.DiscriminatorConfig(ensemble_size=2)
)


def train_on_random_batches(learner, num_updates=20):
  """A compiled function: a state -> the state after some updates."""
  batches = [
    problems.trajectory(problems.TABLE, seed=i) for i in range(num_updates)
  ]
  batches = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)
  return jax.jit(lambda state: jax.lax.scan(learner.update, state, batches)[0])


def test_the_objective_learns_by_its_own_update_from_the_same_batch():
  agent = table_agent(disdain.DisdainConfig())
  state = agent.learner.init(KEY)
  batch = problems.trajectory(problems.TABLE)
  after, metrics = jax.jit(agent.learner.update)(state, batch)
  expected, expected_metrics = jax.jit(agent.objective.update)(
    state.objective, batch, KEY
  )
  chex.assert_trees_all_close(after.objective, expected, rtol=1e-6)
  for name, value in expected_metrics.items():
    np.testing.assert_allclose(metrics[name], value, rtol=1e-5)


def test_the_values_have_no_part_in_what_the_objective_learns():
  agent = table_agent(disdain.DisdainConfig())
  one = agent.learner.init(KEY)
  other = one._replace(params=jax.tree.map(lambda x: 100 * x, one.params))
  run = train_on_random_batches(agent.learner)
  one, other = run(one), run(other)
  chex.assert_trees_all_equal(one.objective, other.objective)
  assert np.any(table_of(one) != table_of(other))


def test_random_numbers_of_updates_differ_and_depend_on_the_state_alone():
  keys = []

  def update(state, trajectory, key):
    keys.append(np.asarray(key).tolist())
    return state, {}

  objective = paying(np.ones((K, S, 1)), [1.0])._replace(update=update)
  network, _ = make(objective)
  learner = q_learning.make(q_learning.QLearningConfig(), network, objective)
  first = learner.init(KEY)
  batch = one_step([0], [0], [0], [1])
  second, _ = learner.update(first, batch)
  learner.update(second, batch)
  learner.update(first, batch)
  assert keys[0] == keys[2]
  assert keys[0] != keys[1]


def test_a_bonus_of_weight_zero_is_as_if_there_were_none():
  alone = table_agent(PAIR)
  with_bonus = table_agent(disdain.DisdainConfig(over=PAIR, bonus_weight=0.0))
  state = with_bonus.learner.init(KEY)
  skill_values = jax.tree.map(lambda x: x[..., :1], state.params)
  expected = train_on_random_batches(alone.learner)(
    state._replace(params=skill_values)
  )
  actual = train_on_random_batches(with_bonus.learner)(state)
  # Two programs, which may round the last bit differently.
  np.testing.assert_allclose(
    table_of(actual)[..., 0], table_of(expected)[..., 0], rtol=1e-6
  )
  chex.assert_trees_all_close(actual.objective, expected.objective, rtol=1e-6)


@pytest.mark.parametrize('gamma', [0.0, 0.99])
def test_a_weight_enters_values_by_the_greedy_action_alone(gamma):
  # gamma = 0 asks for no greedy action, so that nothing is left of the weight.
  rewards = np.random.default_rng(0).normal(size=(K, S, 2))
  objective = paying(rewards, [1.0, 1.0])._replace(
    weights=lambda state: jnp.stack([1.0, state]),
    update=lambda state, trajectory, key: (state, {}),
  )
  _, learner = make(objective, discount=gamma)
  run = train_on_random_batches(learner)
  state = learner.init(KEY)
  tables = [
    table_of(run(state._replace(objective=jnp.float32(weight))))
    for weight in (1.0, 50.0)
  ]
  assert np.any(tables[0] != tables[1]) == (gamma > 0)


def test_actors_get_the_values_the_weights_and_the_number_of_updates():
  agent = table_agent(disdain.DisdainConfig(bonus_weight=7.0))
  state = agent.learner.init(KEY)
  variables = agent.learner.variables(state)
  chex.assert_trees_all_equal(variables.params, state.params)
  np.testing.assert_array_equal(variables.weights, [1.0, 7.0])
  update = jax.jit(agent.learner.update)
  state, _ = update(state, problems.trajectory(problems.TABLE))
  assert (variables.steps, agent.learner.variables(state).steps) == (0, 1)


def test_the_slow_copy_follows_at_its_period_only():
  agent = table_agent(PAIR, target_update_period=3)
  update = jax.jit(agent.learner.update)
  state = agent.learner.init(KEY)
  chex.assert_trees_all_equal(state.target_params, state.params)
  copies = [state.params]
  for i in range(1, 7):
    state, _ = update(state, problems.trajectory(problems.TABLE, seed=i))
    if i % 3 == 0:
      copies.append(state.params)
    chex.assert_trees_all_equal(state.target_params, copies[-1])
  assert np.any(problems.content(copies[0]) != problems.content(copies[1]))
  assert np.any(problems.content(copies[1]) != problems.content(copies[2]))


def test_the_slow_copy_bootstraps_and_chooses_the_greedy_action():
  _, learner = make(
    paying(np.ones((K, S, 1)), [1.0]),
    discount=0.5,
    lambda_=0.0,
    learning_rate=0.5,
    target_update_period=10,
  )
  state = learner.init(KEY)
  slow = np.zeros((K, S, A, 1))
  slow[0, 1] = [[2.0], [8.0], [4.0]]
  fast = np.zeros((K, S, A, 1))
  fast[0, 1] = [[100.0], [-100.0], [0.0]]
  state = state._replace(
    params=problems.fill(state.params, fast.reshape(K * S, A, 1)),
    target_params=problems.fill(state.target_params, slow.reshape(K * S, A, 1)),
  )
  batch = types.Trajectory(
    observation=jnp.array([[0], [1], [2]]),
    action=jnp.zeros((2, 1), jnp.int32),
    reward=jnp.zeros((2, 1)),
    discount=jnp.ones((2, 1)),
    skill=jnp.zeros((2, 1), jnp.int32),
    mask=jnp.ones((2, 1)),
  )
  after, _ = learner.update(state, batch)
  # With B = 1 and rate 1/2 an entry becomes its target, 1 + .5 * 8.
  np.testing.assert_allclose(table_of(after)[0, 0, 0, 0], 5.0, rtol=1e-6)


def test_there_is_no_slow_copy_unless_asked_for():
  assert table_agent(PAIR).learner.init(KEY).target_params == ()


# A binary tree: action a leads from node n to 2 n + 1 + a, so that a node also
# says how many steps were taken to it.
DEPTH = 3
TREE = types.ProblemSpec(
  observation_shape=(),
  observation_dtype='int32',
  num_states=2 ** (DEPTH + 1) - 1,
  num_actions=2,
)


def every_path(num_skills):
  """Each skill along each path from the root to a leaf."""
  skills, observations, actions = [], [], []
  for skill in range(num_skills):
    for path in itertools.product(range(2), repeat=DEPTH):
      nodes = [0]
      for action in path:
        nodes.append(2 * nodes[-1] + 1 + action)
      skills.append([skill] * DEPTH)
      observations.append(nodes)
      actions.append(path)
  shape = (DEPTH, len(skills))
  return types.Trajectory(
    observation=jnp.array(observations, jnp.int32).T,
    action=jnp.array(actions, jnp.int32).T,
    reward=jnp.zeros(shape),
    discount=jnp.ones(shape),
    skill=jnp.array(skills, jnp.int32).T,
    mask=jnp.ones(shape),
  )


@pytest.mark.parametrize(
  ('lambda_', 'weights'), [(0.0, [1.0]), (0.0, [1.0, 3.0]), (0.7, [1.0, 3.0])]
)
def test_values_converge_to_those_of_dynamic_programming(lambda_, weights):
  num_skills = 2
  rewards = np.random.default_rng(0).normal(
    size=(num_skills, TREE.num_states, len(weights))
  )
  # The most frequent entries (the root's) are in 4 of 16 skills, the leaves' in
  # one: rates of 2 * 2 * 4 / 16 = 1 and 1/4 of the error per update.
  _, learner = make(
    paying(rewards, weights),
    TREE,
    num_skills,
    discount=0.9,
    lambda_=lambda_,
    learning_rate=2.0,
  )
  batch = every_path(num_skills)

  def train(state):
    return jax.lax.fori_loop(
      0, 100, lambda _, s: learner.update(s, batch)[0], state
    )

  values = problems.content(jax.jit(train)(learner.init(KEY)).params)
  values = values.reshape(num_skills, TREE.num_states, 2, len(weights))
  for skill in range(num_skills):
    expected = oracles.finite_horizon_values(
      successor=lambda node, action: 2 * node + 1 + action,
      reward=lambda node, skill=skill: rewards[skill, node].tolist(),
      weights=weights,
      num_steps=DEPTH,
      gamma=0.9,
      lambda_=lambda_,
      num_actions=2,
      start=0,
    )
    assert len(expected) == 2 * (2**DEPTH - 1)
    for (node, action), value in expected.items():
      np.testing.assert_allclose(values[skill, node, action], value, atol=1e-4)


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'discount': 1.5}, r'discount must be in \[0, 1\], got 1.5'),
    ({'lambda_': -0.5}, r'lambda_ must be in \[0, 1\], got -0.5'),
    ({'learning_rate': 0.0}, 'learning_rate must be positive, got 0'),
    ({'optimizer': 'sdg'}, "optimizer must be one of .*got 'sdg'"),
    ({'max_gradient_norm': 0.0}, 'max_gradient_norm must be positive.*got 0'),
    ({'target_update_period': 0}, 'target_update_period must be >= 1.*got 0'),
  ],
)
def test_values_that_cannot_work_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    q_learning.QLearningConfig(**settings)


def test_gradients_are_scaled_down_to_the_given_norm():
  rewards = np.full((K, S, 1), 1000.0)
  _, learner = make(
    paying(rewards, [1.0]), learning_rate=0.1, max_gradient_norm=2.0
  )
  before = learner.init(KEY)
  after, _ = learner.update(before, one_step([1], [2], [0], [3]))
  # One entry has a gradient: it moves by the rate times the norm.
  change = table_of(after) - table_of(before)
  np.testing.assert_allclose(change[1, 2, 0], [0.2], rtol=1e-4)
  assert np.sum(change != 0) == 1


# Values of returns made small.


def test_rescaled_values_regress_to_the_rescaled_return():
  # With B = 1, one step and rate 1/2 an entry becomes its target.
  _, learner = make(
    paying(np.full((K, S, 1), 3.0), [1.0]),
    learning_rate=0.5,
    lambda_=0.0,
    discount=0.5,
    rescale_values=True,
  )
  state = learner.init(KEY)
  values = np.zeros((K, S, A, 1), np.float32)
  # h^-1 of h(10) is 10 and the best of state 1: 3 + 10 / 2.
  values[0, 1, 2] = np.sqrt(11.0) - 1 + 10 / 1000
  state = state._replace(
    params=problems.fill(state.params, values.reshape(K * S, A, 1))
  )
  batch = types.Trajectory(
    observation=jnp.array([[0], [1], [2]]),
    action=jnp.zeros((2, 1), jnp.int32),
    reward=jnp.zeros((2, 1)),
    discount=jnp.ones((2, 1)),
    skill=jnp.zeros((2, 1), jnp.int32),
    mask=jnp.ones((2, 1)),
  )
  after, _ = learner.update(state, batch)
  np.testing.assert_allclose(
    table_of(after)[0, 0, 0, 0], np.sqrt(8 + 1) - 1 + 8 / 1000, rtol=1e-4
  )


@pytest.mark.parametrize(
  ('rescale_values', 'expected'),
  [
    # Outputs are the values: 1.003 against .4 * 2.008.
    (False, 0),
    # They are h(3) and h(8): 3 against .4 * 8.
    (True, 1),
  ],
)
def test_streams_are_mixed_by_what_they_are_worth(rescale_values, expected):
  values = jnp.array([[[0.0, 1.003], [2.008, 0.0]]])
  acting_policy = q_learning.acting_policy(
    types.Network(lambda key: (), lambda params, *inputs: values[None]),
    0.0,
    rescale_values=rescale_values,
  )
  zero = jnp.zeros((1,), jnp.int32)
  action, _ = acting_policy.select_action(
    q_learning.Variables((), jnp.array([0.4, 1.0]), zero[0]),
    zero,
    zero,
    acting_policy.init(),
    jnp.zeros((1, 1)),
  )
  assert action[0] == expected


# Priorities and importance.


def test_priorities_by_hand():
  # Two streams' errors add up. Of three steps 3, 1 and 2: .9 * 3 + .1 * 2; of
  # one step 4: 4.
  errors = jnp.array(
    [[[1.0, -2.0], [4.0, 0.0]], [[0.0, 1.0], [0, 0]]]
    + [[[-2.0, 0.0], [0.0, 0.0]]]
  )
  np.testing.assert_allclose(
    q_learning.priorities(errors, problems.mask((3, 1), 3), 0.9),
    [2.9, 4.0],
    rtol=1e-6,
  )


def test_priorities_are_of_the_errors_that_were_learned_from():
  _, learner = make(paying(np.full((K, S, 1), 5.0), [1.0]), learning_rate=0.1)
  state = learner.init(KEY)
  batch = one_step(
    skills=[1, 3], states=[2, 4], actions=[0, 2], following=[3, 5]
  )
  after, metrics, priorities = learner.update_with_priorities(state, batch)
  old = table_of(state)[[1, 3], [2, 4], [0, 2], 0]
  np.testing.assert_allclose(priorities, 5.0 - old, rtol=1e-5)
  chex.assert_trees_all_equal((after, metrics), learner.update(state, batch))


def test_steps_are_proportional_to_importance_weights():
  _, learner = make(paying(np.full((K, S, 1), 5.0), [1.0]), learning_rate=0.1)
  state = learner.init(KEY)
  batch = one_step(
    skills=[1, 3], states=[2, 4], actions=[0, 2], following=[3, 5]
  )
  entries = np.array([[1, 2, 0], [3, 4, 2]])
  moves = []
  for importance in (None, jnp.array([1.0, 0.25])):
    after, _ = learner.update(
      state, batch._replace(importance_weights=importance)
    )
    moves.append((table_of(after) - table_of(state))[tuple(entries.T)][:, 0])
  np.testing.assert_allclose(moves[1], moves[0] * [1.0, 0.25], rtol=1e-4)


# Memory.


def recurrent_agent(**fields):
  agent = registry.make_agent(
    registry.config_lib.SkillAgentConfig(
      objective=PAIR_OF_NETWORKS,
      num_skills=K,
      skill_length=problems.NUM_STEPS,
      network=torsos.NetworkConfig(hidden_sizes=(8,), lstm_size=6),
      **fields,
    ),
    problems.VECTOR,
  )
  return problems.compiled_agent(agent)


PAIR_OF_NETWORKS = vic.VicConfig(
  discriminator=discriminators.DiscriminatorConfig(hidden_sizes=(8,))
)


def with_prefix(num_steps=3, lengths=problems.LENGTHS):
  """Random skills with a random memory of random steps before them."""
  batch = problems.trajectory(problems.VECTOR, 1, lengths)
  before = problems.trajectory(problems.VECTOR, 2, lengths, num_steps=num_steps)
  keys = jax.random.split(KEY, 2)
  shape = (num_steps, len(lengths), 6)
  return batch._replace(
    burn_in=types.BurnIn(
      observation=before.observation[:-1],
      skill=before.skill,
      mask=jnp.ones((num_steps, len(lengths))),
      extras={
        f'memory_{i}': jax.random.normal(key, shape)
        for i, key in enumerate(keys)
      },
    )
  )


def network_of(agent):
  return problems.compiled(
    q_networks.make(
      agent.config.network, agent.problem, K, len(agent.objective.streams)
    )
  )


def test_no_gradient_goes_through_the_steps_before_a_skill():
  agent = recurrent_agent()
  network = network_of(agent)
  params = agent.learner.init(KEY).params
  batch = with_prefix()

  @jax.jit
  def total(params, seen, observation):
    burn_in = batch.burn_in._replace(observation=seen)
    values = q_learning.action_values(
      network, params, batch._replace(burn_in=burn_in, observation=observation)
    )
    return jnp.sum(jnp.square(values))

  inputs = params, batch.burn_in.observation, batch.observation
  _, before, within = jax.jit(jax.grad(total, argnums=(0, 1, 2)))(*inputs)
  np.testing.assert_array_equal(before, 0.0)
  assert np.all(np.any(within != 0, axis=(-1, -2)))
  # But the values depend on them.
  assert total(*inputs) != total(params, 2 * inputs[1], inputs[2])
  # And parameters get the gradient of a skill that began with that memory.
  _, memory = network.unroll(
    params,
    hk.LSTMState(*(x[0] for x in batch.burn_in.extras.values())),
    jnp.zeros(batch.burn_in.mask.shape, bool),
    batch.burn_in.observation,
    batch.burn_in.skill,
  )
  extras = dict(zip(batch.burn_in.extras, (x[None] for x in memory)))
  grads = [
    jax.jit(
      jax.grad(
        lambda params, batch=some: jnp.sum(
          jnp.square(q_learning.action_values(network, params, batch))
        )
      )
    )(params)
    for some in (batch, batch._replace(burn_in=None, extras=extras))
  ]
  chex.assert_trees_all_close(*grads, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('num_steps', [0, 1, 2])
def test_where_an_episode_begins_before_a_skill_nothing_else_is_remembered(
  num_steps,
):
  # Of three steps before the skill only the last ones were made.
  agent = recurrent_agent()
  network = network_of(agent)
  params = agent.learner.init(KEY).params
  batch = with_prefix()
  mask = jnp.zeros_like(batch.burn_in.mask).at[3 - num_steps :].set(1.0)
  actual = q_learning.action_values(
    network, params, batch._replace(burn_in=batch.burn_in._replace(mask=mask))
  )
  empty = jax.tree.map(
    lambda x: jnp.broadcast_to(x, (mask.shape[1], *x.shape)), network.memory()
  )
  observation = jnp.concatenate(
    [batch.burn_in.observation[3 - num_steps :], batch.observation]
  )
  skill = jnp.concatenate(
    [batch.burn_in.skill[3 - num_steps :], batch.skill, batch.skill[-1:]]
  )
  expected, _ = network.unroll(
    params, empty, jnp.zeros(skill.shape, bool), observation, skill
  )
  np.testing.assert_allclose(actual, expected[num_steps:], rtol=1e-5, atol=1e-6)


def test_an_actor_s_memory_lasts_an_episode_through_all_of_its_skills():
  agent = recurrent_agent()
  network = network_of(agent)
  state = agent.learner.init(KEY)
  variables = agent.learner.variables(state)
  num_steps = 2 * problems.NUM_STEPS + 1  # Two skills and a third one's first.
  observations = jax.random.normal(
    KEY, (num_steps, *problems.VECTOR.observation_shape)
  )
  actor_state = agent.evaluation_policy.init(KEY)
  select = jax.jit(agent.evaluation_policy.select_action)
  memory = jax.tree.map(lambda x: x[None], network.memory())
  for t in range(num_steps):
    _, actor_state = select(variables, observations[t], actor_state)
    extras = agent.evaluation_policy.get_extras(actor_state)
    # What is noted is the memory before the step.
    for i, leaf in enumerate(jax.tree.leaves(memory)):
      np.testing.assert_allclose(
        extras[f'memory_{i}'], leaf[0], rtol=1e-5, atol=1e-6
      )
    _, memory = network.unroll(
      variables.params,
      memory,
      jnp.zeros((1, 1), bool),
      observations[t][None, None],
      extras['skill'][None, None],
    )
  chex.assert_trees_all_close(
    jax.tree.map(lambda x: x[None], actor_state.memory.now),
    memory,
    rtol=1e-5,
    atol=1e-6,
  )
  # The next episode knows nothing of it.
  fresh = agent.evaluation_policy.init(KEY).memory.now
  assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(fresh))


def test_a_network_without_memory_notes_nothing():
  agent = table_agent(PAIR)
  assert agent.policy.get_extras(agent.policy.init(KEY)).keys() == {
    'skill',
    'skill_step',
    'learner_step',
  }
