"""Tests of skills/learners/model_value.py."""

import dataclasses
import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills import registry
from skills import types
from skills.learners import actor_critic
from skills.learners import model_value
from skills.networks import models
from skills.networks import policies
from skills.networks import torsos
from skills.objectives import extrinsic
from skills.objectives import ive
from skills.objectives import self_consistency
from skills.objectives import vic
from skills.ops import moments
from tests import problems

KEY = jax.random.PRNGKey(0)
PROBLEM = types.ProblemSpec(
  observation_shape=(), observation_dtype='int32', num_states=2, num_actions=2
)
CONFIG = model_value.ModelValueConfig(
  discount=0.5,
  lambda_=0.5,
  num_unrolled=2,
  model=models.LatentConfig(size=1, num_atoms=None),
)


# Compiled, as in the learner.
prior = jax.jit(model_value.prior, static_argnums=(0, 3))
targets = jax.jit(model_value.targets, static_argnums=0)
losses = jax.jit(model_value.losses, static_argnums=(0, 1))


def line(in_a, in_b):
  """A linear layer on a state that is 1 in A and -1 in B."""
  in_a, in_b = jnp.asarray(in_a), jnp.asarray(in_b)
  return {'linear': {'w': (in_a - in_b)[None] / 2, 'b': (in_a + in_b) / 2}}


@functools.cache
def two_states():
  """Action 0 leads to A and action 1 to B, from either.

  The model knows that, and says r(A, .) = (1, 0), r(B, .) = (0, 3), v(A) = 4,
  v(B) = 2, pi(.|A) = (1/4, 3/4) and pi(.|B) = (1/2, 1/2).
  """
  model = problems.compiled(
    models.latent(CONFIG.model, torsos.NetworkConfig(), PROBLEM)
  )
  # tanh(20) is 1.
  rows = jnp.array([[20.0], [-20.0]])
  params = models.Params(
    encoder={'linear': {'w': rows, 'b': jnp.zeros(1)}},
    transition={
      'linear': {
        'w': jnp.concatenate([jnp.zeros((1, 1)), rows]),
        'b': jnp.zeros(1),
      }
    },
    reward=line([1.0, 0.0], [0.0, 3.0]),
    value=line([4.0], [2.0]),
    policy=line(np.log([0.25, 0.75]), np.log([0.5, 0.5])),
  )
  like = jax.tree.map(jnp.shape, model.init(KEY))
  assert jax.tree.map(jnp.shape, params) == like
  return model, params


def trajectory(discount=1.0):
  """Action 0 from A to A, paid 2; action 1 from A to B, paid 1.

  Each action was chosen with probability 1/2. A second row holds the first of
  these steps alone, and padding.
  """
  return types.Trajectory(
    observation=jnp.array([[0, 0], [0, 0], [1, 1]]),
    action=jnp.array([[0, 0], [1, 1]]),
    reward=jnp.array([[2.0, 2.0], [1.0, 99.0]]),
    discount=jnp.array([[1.0, 1.0], [discount, 1.0]]),
    skill=jnp.zeros((2, 2), jnp.int32),
    mask=jnp.array([[1.0, 1.0], [1.0, 0.0]]),
    extras={policies.LOG_PROB: jnp.full((2, 2), np.log(0.5), jnp.float32)},
  )


def aim(discount=1.0):
  model, params = two_states()
  batch = trajectory(discount)
  found = prior(model, params, batch.observation, 0.5)
  return targets(
    CONFIG,
    found,
    batch,
    (batch.reward * batch.mask)[..., None],
    0.5 * batch.discount * batch.mask,
    jnp.ones(1),
    moments.init_square(),
  )


def test_one_step_in_the_model_by_hand():
  model, params = two_states()
  found = prior(model, params, jnp.array([[0, 1]]), 0.5)
  # 1 + .5 * 4, 0 + .5 * 2; 0 + .5 * 4, 3 + .5 * 2.
  np.testing.assert_allclose(found.q[..., 0], [[[3, 1], [2, 4]]], rtol=1e-6)
  np.testing.assert_allclose(found.v[..., 0], [[4, 2]], rtol=1e-6)
  np.testing.assert_allclose(
    jnp.exp(found.log_policy), [[[0.25, 0.75], [0.5, 0.5]]], rtol=1e-6
  )


# By the policy's own look-ahead A is worth 1/4 * 3 + 3/4 * 1 = 1.5 and B 3.
# The ratio of the second action is 3/4 / 1/2, cut to 1:
#   G_1 = 1 + .5 * 3 = 2.5
#   G_0 = 2 + .5 * (1.5 + .5 * 1 * (2.5 - 1)) = 3.125
# and in the second row, which ends there, 2 + .5 * 1.5 = 2.75.
GAINS = np.array([[3.125 - 4, 2.75 - 4], [2.5 - 4, 0.0]])
SIZE = np.sqrt(np.sum(GAINS**2) / 3)


def improved():
  """A has (q - v) / size = (-1, -3) / size; B (0, 2) / size, cut to 1."""
  weights = np.array(
    [
      [0.25 * np.exp(-1 / SIZE), 0.75 * np.exp(-1)],
      [0.5, 0.5 * np.exp(1)],
    ]
  )
  assert 1 < SIZE < 2
  return weights / weights.sum(axis=1, keepdims=True)


def test_returns_advantages_and_the_improved_policy_by_hand():
  made, size = aim()
  np.testing.assert_allclose(
    made.value[..., 0], [[3.125, 2.75], [2.5, 1.5], [3.0, 3.0]], rtol=1e-6
  )
  np.testing.assert_allclose(size.mean, SIZE**2, rtol=1e-5)
  marked = np.array(trajectory().mask) > 0
  np.testing.assert_allclose(
    made.advantage[marked], GAINS[marked] / SIZE, rtol=1e-5
  )
  np.testing.assert_allclose(
    jnp.exp(made.log_policy[:, 0]), improved()[[0, 0, 1]], rtol=1e-5
  )


def test_values_after_the_episode_s_end_are_0():
  made, _ = aim(discount=0.0)
  # G_1 = 1; G_0 = 2 + .5 * (1.5 + .5 * (1 - 1)).
  np.testing.assert_allclose(made.value[:, 0, 0], [2.75, 1.0, 0.0], rtol=1e-6)


def test_losses_by_hand():
  model, params = two_states()
  batch = trajectory()
  found = losses(
    CONFIG,
    model,
    params,
    aim()[0],
    batch,
    (batch.reward * batch.mask)[..., None],
    jnp.full((5, 2), 7),
  )
  # Ratios .5, .5 and 1.5, cut to 1.
  pulled = (0.5 * GAINS[0] / SIZE * np.log(0.25)).sum() + GAINS[
    1, 0
  ] / SIZE * np.log(0.75)
  np.testing.assert_allclose(found.policy, -pulled / 3, rtol=1e-5)
  # All three actions were taken in A.
  p, pi = improved()[0], np.array([0.25, 0.75])
  divergence = np.sum(p * np.log(p / pi))
  np.testing.assert_allclose(found.improvement, divergence, rtol=1e-4)
  # Rewards of 2 (twice) and 1, of which the model says 1, 1 and 0; one step
  # ahead there is only the 1.
  np.testing.assert_allclose(found.reward, 0.5, rtol=1e-6)
  # At once 4 for 3.125, 2.75 and 2.5; one step ahead 4 for 2.5, 4 for 1.5 in
  # the second row, and 2 for 3; two steps ahead 2 for 3.
  of_value = (
    (0.875**2 + 1.25**2 + 1.5**2) / 6 + (1.5**2 + 2.5**2 + 1) / 6 + 1 / 2
  ) / 3
  np.testing.assert_allclose(found.value, of_value, rtol=1e-5)
  # One step ahead A once; two steps ahead nothing.
  np.testing.assert_allclose(found.model_policy, divergence / 2, rtol=1e-4)


def test_after_the_end_whatever_is_done_pays_nothing_and_is_worth_nothing():
  batch = trajectory(discount=0.0)
  over = model_value.is_over(batch, 5)
  # The second step ends the first row's episode; the second row is cut short.
  np.testing.assert_array_equal(over[:, 0], [0, 0, 1, 1, 1])
  np.testing.assert_array_equal(over[:, 1], [0, 0, 0, 0, 0])
  model, params = two_states()
  # The model goes on to A, where action 1 pays 0 by its own account.
  arguments = CONFIG, model, params, aim(discount=0.0)[0], batch
  rewards = (batch.reward * batch.mask)[..., None]
  found = losses(*arguments, rewards, jnp.ones((5, 2), jnp.int32))
  # Rewards at once: 1, 1 and 1 off; one step ahead those of the step that was
  # made and of the one after the end, which the model begins in B: 3 for 0.
  of_reward = (0.5 + (1 + 3**2) / 2 / 2) / 2
  np.testing.assert_allclose(found.reward, of_reward, rtol=1e-5)
  # Values at once: 4 for 2.75, 2.75 and 1; one step ahead 4 for 1, 4 for 1.5
  # and 2 for 0; two steps ahead 2 for 0 and, after the drawn action 1, B again.
  of_value = (
    (1.25**2 + 1.25**2 + 3**2) / 6
    + (3**2 + 2.5**2 + 2**2) / 6
    + (2**2 + 2**2) / 4
  ) / 3
  np.testing.assert_allclose(found.value, of_value, rtol=1e-5)
  # After the drawn action 0 the model is in A, which it says is worth 4.
  other = losses(*arguments, rewards, jnp.zeros((5, 2), jnp.int32))
  np.testing.assert_allclose(
    other.value - found.value, (4**2 - 2**2) / 4 / 3, rtol=1e-4
  )


def test_streams_are_mixed_where_the_policy_is_made_and_nowhere_else():
  model, params = two_states()
  batch = trajectory()
  found = prior(model, params, batch.observation, 0.5)
  # The second stream is the first one three times as large.
  twice = found._replace(
    q=jnp.concatenate([found.q, 3 * found.q], -1),
    v=jnp.concatenate([found.v, 3 * found.v], -1),
  )
  paid = (batch.reward * batch.mask)[..., None]
  discounts = 0.5 * batch.discount * batch.mask
  made, size = targets(
    CONFIG,
    twice,
    batch,
    jnp.concatenate([paid, 3 * paid], -1),
    discounts,
    jnp.array([1.0, 0.5]),
    moments.init_square(),
  )
  alone = aim()[0]
  np.testing.assert_allclose(made.value[..., :1], alone.value, rtol=1e-6)
  np.testing.assert_allclose(made.value[..., 1:], 3 * alone.value, rtol=1e-6)
  # 1 + .5 * 3 times the advantage, which its own size divides away.
  np.testing.assert_allclose(size.mean, (2.5 * SIZE) ** 2, rtol=1e-5)
  np.testing.assert_allclose(made.advantage, alone.advantage, rtol=1e-5)
  np.testing.assert_allclose(made.log_policy, alone.log_policy, rtol=1e-5)


def test_padding_changes_nothing():
  model, params = two_states()
  batch = trajectory()
  other = batch._replace(
    observation=batch.observation.at[2, 1].set(0),
    action=batch.action.at[1, 1].set(0),
    discount=batch.discount.at[1, 1].set(0.0),
  )
  found = []
  for each in (batch, other):
    found_prior = prior(model, params, each.observation, 0.5)
    rewards = (each.reward * each.mask)[..., None]
    made, _ = targets(
      CONFIG,
      found_prior,
      each,
      rewards,
      0.5 * each.discount * each.mask,
      jnp.ones(1),
      moments.init_square(),
    )
    drawn = jnp.zeros((5, 2), jnp.int32)
    found.append(losses(CONFIG, model, params, made, each, rewards, drawn))
  np.testing.assert_allclose(found[0], found[1], rtol=1e-6)


def agent(**settings):
  objective = registry.make_objective(extrinsic.ExtrinsicConfig(), PROBLEM, 1)
  config = model_value.ModelValueConfig(**settings)
  parts = model_value.make_agent_functions(
    config, torsos.NetworkConfig(), PROBLEM, 1, objective
  )
  return parts._replace(learner=problems.compiled(parts.learner))


@pytest.mark.parametrize(
  'weight', [0.0, pytest.param(0.3, marks=pytest.mark.slow)]
)
def test_it_learns_which_action_pays_in_each_state(weight):
  # From A action 1 pays, from B action 0 does; actions were chosen by chance.
  parts = agent(
    discount=0.8,
    num_unrolled=2,
    learning_rate=1e-2,
    model=models.LatentConfig(size=8, num_atoms=21, support_max=3.0),
    self_consistency=self_consistency.SelfConsistencyConfig(
      weight=weight, num_steps=2
    ),
  )
  rng = np.random.default_rng(0)
  action = rng.integers(0, 2, (4, 64))
  observation = np.concatenate([rng.integers(0, 2, (1, 64)), action])
  ones = jnp.ones((4, 64))
  batch = types.Trajectory(
    observation=jnp.asarray(observation, jnp.int32),
    action=jnp.asarray(action, jnp.int32),
    reward=jnp.asarray(observation[:-1] != action, jnp.float32),
    discount=ones,
    skill=jnp.zeros((4, 64), jnp.int32),
    mask=ones,
    extras={policies.LOG_PROB: jnp.full((4, 64), np.log(0.5), jnp.float32)},
  )

  @jax.jit
  def learn(state):
    return jax.lax.scan(
      lambda state, _: parts.learner.update(state, batch), state, None, 150
    )

  state, metrics = learn(parts.learner.init(KEY))
  assert ('self_consistency_loss' in metrics) == (weight > 0)
  assert metrics['loss/reward'][-1] < 0.2 * metrics['loss/reward'][0]
  variables = parts.learner.variables(state)
  assert variables.steps == 150
  chosen, _ = parts.evaluation_acting_policy.select_action(
    variables,
    jnp.array([0, 1]),
    jnp.zeros(2, jnp.int32),
    {},
    jnp.zeros((2, 0)),
  )
  np.testing.assert_array_equal(chosen, [1, 0])
  # The slower parameters have followed.
  value = models.latent(
    models.LatentConfig(size=8, num_atoms=21, support_max=3.0),
    torsos.NetworkConfig(),
    PROBLEM,
  )
  worth = value.head.decode(
    value.value(
      state.target_params,
      value.encode(state.target_params, jnp.array([0, 1])),
    )[:, 0]
  )
  # To be paid at every step from now on is worth 1 / (1 - .8) = 5; by chance,
  # half of that.
  assert jnp.all(worth > 2.5)


def test_skills_and_a_memory_are_refused():
  with pytest.raises(ValueError, match='num_skills=1.*got 4 skills'):
    model_value.make_agent_functions(
      CONFIG,
      torsos.NetworkConfig(),
      PROBLEM,
      4,
      registry.make_objective(vic.VicConfig(), PROBLEM, 4),
    )
  with pytest.raises(ValueError, match='lstm_size must be None'):
    model_value.make_agent_functions(
      CONFIG,
      torsos.NetworkConfig(hidden_sizes=(4,), lstm_size=4),
      PROBLEM,
      1,
      registry.make_objective(extrinsic.ExtrinsicConfig(), PROBLEM, 1),
    )


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'discount': 1.5}, r'discount must be in \[0, 1\], got 1.5'),
    ({'advantage_clip': 0.0}, 'advantage_clip must be positive, got 0.0'),
    (
      {'target_update_rate': 2.0},
      r'target_update_rate must be in \[0, 1\], got 2.0',
    ),
    ({'value_weight': -1.0}, 'value_weight must be >= 0, got -1.0'),
    ({'num_unrolled': 0}, 'num_unrolled must be >= 1, got 0'),
    ({'advantage_decay': 1.0}, r'advantage_decay must be in \[0, 1\), got 1.0'),
    ({'max_gradient_norm': 0.0}, 'must be positive or None, got 0.0'),
    ({'optimizer': 'adma'}, 'optimizer must be one of'),
  ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    model_value.ModelValueConfig(**settings)


def chosen_by_estimates(config, params, size, *, greedy):
  model, _ = two_states()
  policy = model_value.acting_by_estimates(
    config, model, policies.make(PROBLEM, 1.0), greedy=greedy
  )
  variables = actor_critic.Variables(params, jnp.int32(0))
  skill = jnp.zeros(size, jnp.int32)
  return policy.select_action(
    variables,
    jnp.zeros_like(skill),
    skill,
    {},
    jax.random.uniform(KEY, (size, policy.num_uniforms)),
  )


def test_actions_are_drawn_by_what_the_model_says_they_lead_to():
  _, params = two_states()
  config = dataclasses.replace(
    CONFIG,
    ive=ive.IveConfig(num_steps=1, acting='estimates', k=0, temperature=2.0),
  )
  # By v^0 the actions of A are worth 1 + .5 * 4 = 3 and 0 + .5 * 2 = 1.
  probability = 1 / (1 + np.exp(-1.0))
  actions, extras = chosen_by_estimates(config, params, 4000, greedy=False)
  # Four deviations of 4000 draws are .028.
  assert abs(np.mean(actions == 0) - probability) < 0.028
  np.testing.assert_allclose(
    jnp.exp(extras[policies.LOG_PROB]),
    np.where(actions == 0, probability, 1 - probability),
    rtol=1e-5,
  )


@pytest.mark.parametrize(('beta', 'best'), [(0.0, 0), (4.0, 0), (-4.0, 1)])
def test_evaluation_by_estimates_takes_the_action_that_is_worth_most(
  beta, best
):
  _, params = two_states()
  # Action 0 for certain: v^1(A) = 1 + .5 * 4 = 3 and v^1(B) = 0 + .5 * 4 = 2,
  # so that of A mean and deviation are 3.5 and .5, of B 2 and 0.
  params = params._replace(policy=line([60.0, 0.0], [60.0, 0.0]))
  config = dataclasses.replace(
    CONFIG,
    ive=ive.IveConfig(
      num_steps=1, evaluation='estimates', evaluation_beta=beta
    ),
  )
  # Actions 0 and 1 of A: 1 + .5 (3.5 + .5 beta) and 0 + .5 * 2, but with
  # action 1 paying 1.5 it is the better one where what is not known is avoided:
  # 2.75 + .25 beta and 2.5.
  params = params._replace(reward=line([1.0, 1.5], [0.0, 3.0]))
  actions, _ = chosen_by_estimates(config, params, 3, greedy=True)
  np.testing.assert_array_equal(actions, [best] * 3)


def test_the_bonus_is_one_more_stream_of_the_task_s_own_disagreement():
  parts = agent(
    model=models.LatentConfig(size=4, num_atoms=None),
    num_unrolled=1,
    ive=ive.IveConfig(num_steps=1, bonus_weight=0.5),
  )
  state = parts.learner.init(KEY)
  batch = trajectory()
  after, metrics = jax.jit(parts.learner.update)(state, batch)
  # 2 + 1 + 2 of two rows.
  np.testing.assert_allclose(metrics['reward/extrinsic'], 2.5, rtol=1e-6)
  assert metrics['reward/ive'] > 0
  model = models.latent(
    models.LatentConfig(size=4, num_atoms=None),
    torsos.NetworkConfig(),
    PROBLEM,
    num_streams=2,
  )

  @jax.jit
  def paid(params):
    bonus = ive.bonus(
      ive.IveConfig(num_steps=1, num_rollouts=1),
      models.sampled(model),
      params,
      batch,
      jax.random.split(jax.random.fold_in(state.key, 0), 3)[2],
      0.99,
    )
    return jnp.sum(bonus) / 2

  np.testing.assert_allclose(metrics['reward/ive'], paid(state.params), 1e-5)
  # What the second stream says does not matter to it.
  other = state.params.value['linear']
  changed = state.params._replace(
    value={
      'linear': {
        'w': other['w'].at[:, 1].add(5.0),
        'b': other['b'].at[1].add(5.0),
      }
    }
  )
  np.testing.assert_allclose(paid(changed), paid(state.params), rtol=1e-6)
  assert after.params.value['linear']['b'].shape == (2,)


def test_ive_beside_self_consistency_warns():
  weight = self_consistency.SelfConsistencyConfig(weight=0.5)
  random = models.LatentConfig(size=4)
  with pytest.warns(UserWarning, match='no sign of ignorance'):
    agent(
      self_consistency=weight,
      model=random,
      ive=ive.IveConfig(bonus_weight=1.0),
    )
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    agent(self_consistency=weight)
    agent(model=random, ive=ive.IveConfig(bonus_weight=1.0))


@pytest.mark.parametrize(
  'settings',
  [
    {'bonus_weight': 1.0},
    {'acting': 'estimates', 'beta': 1.0},
    {'evaluation': 'estimates', 'evaluation_beta': -1.0},
  ],
)
def test_a_spread_that_begins_at_0_warns_if_it_is_read(settings):
  used = ive.IveConfig(**settings)
  with pytest.warns(UserWarning, match='Set learner.model.init_scale=1'):
    agent(ive=used)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    agent(model=models.LatentConfig(size=4, init_scale=0.5), ive=used)


def test_the_mean_alone_of_a_model_that_begins_at_0_does_not_warn():
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    agent(ive=ive.IveConfig(evaluation='estimates'))
    agent(ive=ive.IveConfig(acting='estimates', k=1))


@pytest.mark.slow
def test_pictures_are_learned_from_through_a_residual_network():
  problem = types.ProblemSpec(
    observation_shape=(6, 6, 2),
    observation_dtype='float32',
    num_states=None,
    num_actions=3,
  )
  parts = model_value.make_agent_functions(
    model_value.ModelValueConfig(
      num_unrolled=1,
      learning_rate=1e-2,
      model=models.LatentConfig(size=8, num_atoms=None),
    ),
    torsos.NetworkConfig(
      torso='resnet', channels=(4,), num_blocks=1, hidden_sizes=(8,)
    ),
    problem,
    1,
    registry.make_objective(extrinsic.ExtrinsicConfig(), problem, 1),
  )
  batch = problems.trajectory(problem)
  batch = batch._replace(
    extras={policies.LOG_PROB: jnp.full(batch.mask.shape, -np.log(3.0))}
  )
  update = problems.jit_once(parts.learner.update)
  first = state = parts.learner.init(KEY)
  history = []
  for _ in range(40):
    state, metrics = update(state, batch)
    history.append(float(metrics['loss/reward']))
  assert history[-1] < 0.5 * history[0]
  # Every layer of the encoder has learned.
  moved = jax.tree.map(
    lambda old, new: float(jnp.abs(new - old).max()),
    first.params.encoder,
    state.params.encoder,
  )
  assert all(max(layer.values()) > 1e-4 for layer in moved.values()), moved
