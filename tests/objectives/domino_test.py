"""Tests of skills/objectives/domino.py."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills import config as config_lib
from skills import registry
from skills import types
from skills.learners import actor_critic
from skills.learners import base as learner_base
from skills.networks import policies
from skills.networks import torsos
from skills.objectives import base
from skills.objectives import domino
from skills.ops import neighbours
from skills.ops import returns
from tests import problems

KEY = jax.random.PRNGKey(0)
K = problems.NUM_SKILLS
VDW = {'attractive_coeff': domino.VAN_DER_WAALS}


def make(problem=problems.TABLE, num_skills=K, **settings):
  return problems.compiled(
    registry.make_objective(
      domino.DominoConfig(**settings), problem, num_skills
    )
  )


# The force.


@pytest.mark.parametrize(
  ('distance', 'expected'),
  # At twice the target distance: 0.5 - 0.5 * 8; at half: 0.5 - 0.5 / 8.
  [(2.0, -3.5), (1.0, 0.0), (0.5, 0.4375), (0.0, 0.5)],
)
def test_van_der_waals_force_vanishes_at_the_target(distance, expected):
  config = domino.DominoConfig(**VDW, target_distance=1.0)
  force = domino.vdw_force(config, jnp.float32(distance))
  assert float(force) == pytest.approx(expected)
  # In units of the target distance.
  twice = dataclasses.replace(config, target_distance=2.0)
  assert float(domino.vdw_force(twice, jnp.float32(2 * distance))) == (
    pytest.approx(expected)
  )


def test_repulsion_is_1_at_any_distance():
  config = domino.DominoConfig(target_distance=0.3)
  np.testing.assert_array_equal(
    domino.vdw_force(config, jnp.array([0.0, 0.1, 7.0])), np.ones(3)
  )


def test_the_general_form_has_all_of_its_parameters():
  config = domino.DominoConfig(
    attractive_coeff=0.25,
    target_distance=2.0,
    attractive_power=2.0,
    repulsive_power=1.0,
  )
  # 0.75 * 3 - 0.25 * 9.
  assert float(domino.vdw_force(config, jnp.float32(6.0))) == 0.0
  # 0.75 * 0.5 - 0.25 * 0.25.
  assert float(domino.vdw_force(config, jnp.float32(1.0))) == 0.3125


def test_diversity_is_that_of_the_closed_forms():
  distance = jnp.array([0.1, 0.5, 2.0])
  np.testing.assert_allclose(
    domino.diversity(domino.DominoConfig(), distance), 0.5 * distance**2
  )
  vdw = domino.DominoConfig(**VDW, target_distance=0.7)
  # The general form is half of the closed one.
  closed = 0.5 * distance**2 - 0.2 * distance**5 / 0.7**3
  np.testing.assert_allclose(
    domino.diversity(vdw, distance), 0.5 * closed, rtol=1e-5
  )


@pytest.mark.parametrize(
  ('coeff', 'per_feature', 'expected'),
  [
    # Policies 0 and 1 are 3 apart, 2 is 4 from 0.
    (0.0, False, [[-3, 0], [3, 0], [0, 4]]),
    (0.0, True, [[-1.5, 0], [1.5, 0], [0, 2]]),
    # With l0 = 2: 0.5 (1 - 27 / 8) = -1.1875 and 0.5 (1 - 8) = -3.5.
    (0.5, False, [[3.5625, 0], [-3.5625, 0], [0, -14]]),
  ],
)
def test_directions_lead_away_from_the_nearest_policy(
  coeff, per_feature, expected
):
  config = domino.DominoConfig(
    attractive_coeff=coeff, target_distance=2.0, per_feature=per_feature
  )
  psi = jnp.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
  np.testing.assert_allclose(domino.diversity_gradient(config, psi), expected)


def test_a_push_that_is_the_same_at_any_distance():
  config = domino.DominoConfig(repulsive_power=-1.0, per_feature=False)
  psi = jnp.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
  np.testing.assert_allclose(
    domino.diversity_gradient(config, psi), [[-1, 0], [1, 0], [0, 1]], rtol=1e-6
  )
  # Where it has no direction there is none.
  np.testing.assert_array_equal(
    domino.diversity_gradient(config, jnp.zeros((3, 2))), np.zeros((3, 2))
  )


@pytest.mark.parametrize(
  ('coeff', 'power'), [(0.0, 0.0), (0.5, 0.0), (0.3, 0.0), (0.0, -1.0)]
)
def test_the_reward_is_the_gradient_of_diversity_by_the_occupancy(coeff, power):
  num_states, half_step = 5, 5e-3
  rng = np.random.default_rng(3)
  occupancy = rng.dirichlet(np.ones(num_states), size=K)
  phi = rng.normal(size=(num_states, 3))
  config = domino.DominoConfig(
    attractive_coeff=coeff,
    target_distance=0.6,
    repulsive_power=power,
    per_feature=False,
  )

  def own_term(i, change):
    changed = occupancy + np.eye(K)[i][:, None] * change
    near = neighbours.nearest(jnp.asarray(changed @ phi, jnp.float32))
    return float(domino.diversity(config, near.distance[i]))

  psi = jnp.asarray(occupancy @ phi, jnp.float32)
  rewards = phi @ np.asarray(domino.diversity_gradient(config, psi)).T
  assert np.abs(rewards).max() > 0.1
  for i in range(K):
    for s in range(num_states):
      change = half_step * np.eye(num_states)[s]
      slope = (own_term(i, change) - own_term(i, -change)) / (2 * half_step)
      assert rewards[s, i] == pytest.approx(slope, abs=2e-3)


# The constraint.


def test_multipliers_follow_the_constraint_on_both_sides():
  value = jnp.array([1.0, 0.5, 0.95])
  multiplier = jnp.array([0.3, 0.0, 1.0])
  grads = jax.grad(domino.multiplier_loss)(multiplier, value, 0.9)
  sigmoid = 1 / (1 + np.exp(-1.0))
  np.testing.assert_allclose(
    # lambda (1 - lambda) (v^i - alpha v^0); policy 0 has none.
    grads,
    [0.0, 0.25 * (0.5 - 0.9), sigmoid * (1 - sigmoid) * (0.95 - 0.9)],
    rtol=1e-5,
  )
  assert float(domino.multiplier_loss(multiplier, value, 0.9)) == (
    pytest.approx(0.5 * -0.4 + sigmoid * 0.05)
  )


def test_a_violated_constraint_raises_lambda_and_one_that_holds_lowers_it():
  objective = make(
    problems.TABLE,
    3,
    value_decay=0.0,
    multiplier_learning_rate=0.1,
    max_multiplier=0.25,
  )
  batch = problems.ending_in(problems.TABLE, [0, 1, 2], [1, 2, 3])
  batch = batch._replace(reward=jnp.array([[1.0, 0.5, 0.95]]))
  state = objective.init(KEY)
  update = jax.jit(objective.update)
  after, _ = update(state, batch, KEY)
  # Adam's first step is its rate.
  np.testing.assert_allclose(after.multiplier, [0.0, 0.1, -0.1], atol=1e-4)
  lambda_ = 1 / (1 + np.exp(-0.1))
  np.testing.assert_allclose(
    objective.weights(after),
    [[1, 0], [lambda_, 1 - lambda_], [1 - lambda_, lambda_]],
    atol=1e-4,
  )
  for _ in range(5):
    after, _ = update(after, batch, KEY)
  np.testing.assert_allclose(after.multiplier, [0.0, 0.25, -0.25])


def test_a_policy_that_falls_short_is_weighed_towards_the_task_at_once():
  config = domino.DominoConfig(alpha=0.9, multiplier_gain=10.0)
  multiplier = jnp.array([5.0, -1.0, -1.0, 0.5])
  value = jnp.array([2.0, 1.2, 2.0, 1.8])
  # Shortfalls of .9 - .6, .9 - 1 and 0 of policy 0's value.
  expected = 1 / (1 + np.exp(-np.array([-1 + 3, -1 - 1, 0.5])))
  weights = domino.stream_weights(config, multiplier, value)
  np.testing.assert_allclose(weights[1:, 0], expected, rtol=1e-5)
  np.testing.assert_allclose(weights[1:, 1], 1 - expected, rtol=1e-5)
  np.testing.assert_array_equal(weights[0], [1, 0])
  # In parts of its value, and so whatever rewards are counted in.
  np.testing.assert_allclose(
    domino.stream_weights(config, multiplier, 100 * value), weights, rtol=1e-5
  )


def test_all_policies_learn_from_the_task_alone_until_burn_in_is_over():
  objective = make(
    problems.TABLE,
    3,
    value_decay=0.0,
    multiplier_learning_rate=0.1,
    initial_multiplier=0.2,
    burn_in=2,
  )
  batch = problems.ending_in(problems.TABLE, [0, 1, 2], [1, 2, 3])
  batch = batch._replace(reward=jnp.array([[1.0, 0.5, 0.95]]))
  state = objective.init(KEY)
  for _ in range(2):
    np.testing.assert_array_equal(objective.weights(state), [[1, 0]] * 3)
    state, _ = objective.update(state, batch, KEY)
  np.testing.assert_allclose(state.multiplier, [0.2] * 3)
  lambda_ = 1 / (1 + np.exp(-0.2))
  np.testing.assert_allclose(
    objective.weights(state)[1:], [[lambda_, 1 - lambda_]] * 2, rtol=1e-6
  )
  # Only now does it count who is worth what; Adam's first step is its rate.
  state, _ = objective.update(state, batch, KEY)
  np.testing.assert_allclose(state.multiplier, [0.2, 0.3, 0.1], atol=1e-4)


@pytest.mark.parametrize(
  ('constraint', 'expected'),
  [
    ('none', [[1, 0], [1, 0], [1, 0]]),
    ('linear', [[1, 0], [0.3, 0.7], [0.3, 0.7]]),
    # Policy 1 keeps 0.9 of policy 0, policy 2 does not.
    ('smerl', [[1, 0], [1, 0.3], [1, 0]]),
    ('reverse_smerl', [[1, 0], [0, 1], [0.3, 1]]),
  ],
)
def test_baselines_weigh_by_their_own_rules(constraint, expected):
  config = domino.DominoConfig(constraint=constraint, coefficient=0.3)
  weights = domino.stream_weights(
    config, jnp.zeros(3), jnp.array([1.0, 0.95, 0.5])
  )
  np.testing.assert_allclose(weights, expected, rtol=1e-6)


# Averages.


def test_averages_are_of_each_policy_s_own_steps():
  objective = make(value_decay=0.9, feature_decay=0.5)
  batch = problems.ending_in(problems.TABLE, [1, 3, 1], [2, 4, 5])
  batch = batch._replace(reward=jnp.array([[2.0, 7.0, 4.0]]))
  state = objective.init(KEY)
  after, _ = objective.update(state, batch, KEY)
  np.testing.assert_allclose(after.averages.value, [0, 0.3, 0, 0.7], rtol=1e-5)
  before = np.asarray(state.averages.features)
  expected = before.copy()
  expected[1] = 0.5 * before[1] + 0.25 * (np.eye(6)[2] + np.eye(6)[5])
  expected[3] = 0.5 * before[3] + 0.5 * np.eye(6)[4]
  np.testing.assert_allclose(after.averages.features, expected, rtol=1e-5)
  # Those of policies that are not in the batch stay bit for bit.
  np.testing.assert_array_equal(
    after.averages.features[jnp.array([0, 2])], before[[0, 2]]
  )


def test_learned_successor_features_are_those_of_the_environment():
  # A ring of two states that every policy runs through, seen from either.
  gamma = 0.8
  problem = dataclasses.replace(problems.TABLE, num_states=2)
  objective = make(
    problem,
    2,
    successor_discount=gamma,
    successor_learning_rate=0.03,
    feature_decay=0.0,
  )
  observation = jnp.array([[0, 0], [1, 1], [0, 0], [1, 1]])
  ones = jnp.ones((3, 2))
  batch = types.Trajectory(
    observation=observation,
    action=jnp.zeros((3, 2), jnp.int32),
    reward=ones,
    discount=ones,
    skill=jnp.broadcast_to(jnp.arange(2, dtype=jnp.int32), (3, 2)),
    mask=ones,
  )
  # What stands at its end also begins somewhere.
  batch = jax.tree.map(
    lambda x, y: jnp.concatenate([x, y], axis=1),
    batch,
    batch._replace(observation=1 - observation),
  )
  state = jax.jit(
    lambda state: jax.lax.fori_loop(
      0, 1000, lambda _, s: objective.update(s, batch, KEY)[0], state
    )
  )(objective.init(KEY))
  # From state 0: 1 is reached at once, then 0, ...; from 1 the other way round.
  first = (1 - gamma) / (1 - gamma**2)
  mean = np.mean([[gamma * first, first], [first, gamma * first]], axis=0)
  np.testing.assert_allclose(state.averages.features, [mean, mean], atol=0.02)


# Features.

NAMED = types.ProblemSpec(
  observation_shape=(3,),
  observation_dtype='float32',
  num_states=None,
  num_actions=2,
  entry_names=('height[0]', 'speed[0]', 'speed[1]'),
)


@pytest.mark.parametrize(
  ('names', 'expected'),
  [
    ((), [1, 2, 3]),
    (('speed',), [2, 3]),
    (('speed[1]', 'height'), [3, 1]),
  ],
)
def test_features_are_the_named_entries(names, expected):
  config = domino.DominoConfig(features=names, normalize_features=False)
  features = domino.make_features(config, NAMED)
  assert features.size == len(expected)
  np.testing.assert_array_equal(
    features.apply((), jnp.array([1.0, 2.0, 3.0])), expected
  )


def test_a_feature_that_is_not_there_is_refused_with_those_that_are():
  with pytest.raises(ValueError, match="no 'feet'; there is height, speed"):
    domino.make_features(domino.DominoConfig(features=('feet',)), NAMED)
  with pytest.raises(ValueError, match='there is no names'):
    domino.make_features(
      domino.DominoConfig(features=('feet',)), problems.VECTOR
    )


def test_normalized_features_have_mean_0_and_deviation_1():
  objective = make(problems.VECTOR)
  batch = problems.trajectory(problems.VECTOR)
  batch = batch._replace(observation=100 * batch.observation + 7)
  state, _ = objective.update(objective.init(KEY), batch, KEY)
  features = domino.make_features(domino.DominoConfig(), problems.VECTOR)
  phi = features.apply(state.moments, batch.observation[1:])
  real = np.asarray(phi)[np.asarray(batch.mask) > 0]
  np.testing.assert_allclose(real.mean(axis=0), np.zeros(6), atol=1e-4)
  np.testing.assert_allclose(real.std(axis=0), np.ones(6), atol=1e-3)


# In the learner.


def agent_of(**settings):
  return registry.make_agent(
    config_lib.SkillAgentConfig(
      objective=domino.DominoConfig(**settings),
      num_skills=K,
      skill_length=problems.NUM_STEPS,
      learner=actor_critic.ActorCriticConfig(
        optimizer='sgd', max_gradient_norm=None, entropy_weight=0.0
      ),
    ),
    problems.TABLE,
  )


def whole_batch():
  lengths = (problems.NUM_STEPS,) * 8
  batch = problems.trajectory(problems.TABLE, lengths=lengths)
  skill = jnp.broadcast_to(
    jnp.arange(8, dtype=jnp.int32) % K, batch.action.shape
  )
  record = {policies.LOG_PROB: jnp.full(skill.shape, -1.0)}
  return batch._replace(skill=skill, extras=record)


def test_policy_0_feels_neither_diversity_nor_the_multiplier():
  agent = agent_of()
  batch = whole_batch()
  state = agent.learner.init(KEY)
  # Values that know something of either stream.
  update = jax.jit(agent.learner.update)
  state, _ = update(state, batch)
  averages = state.objective.averages
  noise = jax.random.normal(KEY, averages.features.shape)
  changed = state._replace(
    objective=state.objective._replace(
      averages=averages._replace(features=averages.features + noise),
      multiplier=state.objective.multiplier + 3.0,
    )
  )
  one, _ = update(state, batch)
  other, _ = update(changed, batch)
  num_states = problems.TABLE.num_states
  policy_1, policy_2 = (
    problems.content(s.params.policy).reshape(K, num_states, -1)
    for s in (one, other)
  )
  np.testing.assert_array_equal(policy_1[0], policy_2[0])
  assert np.any(
    policy_1[0]
    != problems.content(state.params.policy).reshape(policy_1.shape)[0]
  )
  for i in range(1, K):
    assert np.any(policy_1[i] != policy_2[i])
  values_1, values_2 = (
    problems.content(s.params.values).reshape(K, num_states, 2)
    for s in (one, other)
  )
  np.testing.assert_array_equal(values_1[0], values_2[0])


def test_policy_0_is_not_paid_for_diversity():
  objective = make()
  state = objective.init(KEY)
  batch = whole_batch()
  rewards = np.asarray(objective.reward(state, batch))
  assert np.all(rewards[:, batch.skill[0] == 0, 1] == 0)
  assert np.all(rewards[:, batch.skill[0] != 0, 1] != 0)
  np.testing.assert_array_equal(rewards[..., 0], batch.reward)


def test_two_streams_are_two_v_traces():
  rng = np.random.default_rng(1)
  rewards, before, after = (
    jnp.asarray(rng.normal(size=(6, 3, 2)), jnp.float32) for _ in range(3)
  )
  ratio = jnp.asarray(rng.uniform(0.3, 2.0, size=(6, 3)), jnp.float32)
  discount = jnp.full((6, 3), 0.9)
  both = returns.vtrace(
    rewards,
    jnp.broadcast_to(discount[..., None], rewards.shape),
    before,
    after,
    ratio[..., None],
    0.8,
  )
  for i in range(2):
    alone = returns.vtrace(
      rewards[..., i], discount, before[..., i], after[..., i], ratio, 0.8
    )
    chex.assert_trees_all_close(
      jax.tree.map(lambda x, i=i: x[..., i], both), alone, rtol=1e-5
    )


def test_streams_are_mixed_by_each_skill_s_own_weights():
  advantages = jnp.array([[[1.0, 10.0], [2.0, 20.0]]])
  skill = jnp.array([[1, 0]])
  weights = jnp.array([[1.0, 0.0], [0.5, 0.1]])
  per_step = base.weights_of(weights, skill)
  np.testing.assert_allclose(
    learner_base.combine_streams(advantages, per_step), [[1.5, 2.0]]
  )
  same = base.weights_of(weights[1], skill)
  np.testing.assert_allclose(
    learner_base.combine_streams(advantages, same), [[1.5, 3.0]]
  )


def test_advantages_of_each_skill_are_normalized_by_themselves():
  values = jnp.array([[1.0, 100.0], [3.0, 500.0], [9.0, 9.0]])
  mask = jnp.array([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
  skill = jnp.array([[0, 1]] * 3)
  normal = actor_critic.normalized_by_skill(values, mask, skill, 3)
  np.testing.assert_allclose(normal[:2], [[-1, -1], [1, 1]], rtol=1e-5)


def test_q_learning_mixes_by_each_skill_s_own_weights():
  agent = registry.make_agent(
    config_lib.SkillAgentConfig(
      objective=domino.DominoConfig(constraint='linear', coefficient=0.0),
      num_skills=2,
      skill_length=2,
    ),
    problems.TABLE,
  )
  state = agent.learner.init(KEY)
  # Action 0 is worth most to the task, action 1 to diversity.
  worth = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
  params = problems.fill(state.params, np.tile(worth, (12, 1, 1)))
  variables = agent.learner.variables(state._replace(params=params))
  for skill, action in ((0, 0), (1, 1)):
    chosen, _ = agent.evaluation_acting_policy.select_action(
      variables,
      jnp.array([3]),
      jnp.array([skill]),
      jax.tree.map(lambda x: x[None], agent.evaluation_acting_policy.init()),
      jnp.full((1, 1), 0.5),
    )
    assert int(chosen[0]) == action


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'constraint': 'hope'}, 'constraint must be one of multiplier'),
    ({'alpha': 1.1}, r'alpha must be in \[0, 1\]'),
    ({'feature_decay': 1.0}, r'feature_decay must be in \[0, 1\)'),
    ({'target_distance': 0.0}, 'target_distance must be positive'),
    ({'coefficient': -1.0}, 'coefficient must be >= 0'),
    ({'burn_in': -1}, 'burn_in must be >= 0'),
    ({'multiplier_gain': -1.0}, 'multiplier_gain must be >= 0'),
    ({'repulsive_power': -2.0}, 'repulsive_power must be above -2'),
    ({'constraint': 'linear', 'coefficient': 2.0}, 'coefficient must be in'),
    ({'initial_multiplier': 16.0}, 'initial_multiplier must be within'),
  ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    domino.DominoConfig(**settings)


@pytest.mark.parametrize(
  ('constraint', 'expected'),
  [('multiplier', 0.7), ('smerl', 0.7), ('none', None), ('linear', None)],
)
def test_objective_offers_its_bound_where_it_has_one(constraint, expected):
  objective = make(alpha=0.7, constraint=constraint)
  assert objective.min_value_ratio == expected


def test_a_set_of_one_policy_is_refused():
  with pytest.raises(ValueError, match='num_skills must be >= 2'):
    make(num_skills=1)


def test_networks_make_successor_features_too():
  config = torsos.NetworkConfig(hidden_sizes=(8,))
  objective = make(
    problems.VECTOR,
    successor_discount=0.5,
    hidden_sizes=config.hidden_sizes,
  )
  batch = problems.trajectory(problems.VECTOR)
  _, metrics = jax.jit(objective.update)(objective.init(KEY), batch, KEY)
  assert metrics['successor_loss'] > 0


def test_only_policies_that_do_the_same_are_as_near_as_by_chance():
  objective = make(problems.TABLE, 3)
  rng = np.random.default_rng(0)
  skills = np.arange(30) % 3

  def apart(chances):
    # Each policy ends in one of two states, by its own chance.
    state = objective.init(KEY)
    update = jax.jit(objective.update)
    for _ in range(500):
      states = 1 + (rng.random(30) < np.asarray(chances)[skills])
      batch = problems.ending_in(problems.TABLE, skills, states)
      state, metrics = update(state, batch, KEY)
    return metrics[domino.DISTANCE_OVER_NOISE]

  assert apart([0.5, 0.5, 0.5]) < 2.0
  assert apart([0.1, 0.5, 0.9]) > 4.0
