"""Tests of skills/objectives/self_consistency.py."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills import types
from skills.networks import models
from skills.objectives import self_consistency
from tests import problems

KEY = jax.random.PRNGKey(0)


def line(value):
  """States are numbers, and every part of the model is one factor.

  s^0 = e o, r = w s + p', s' = t s, v = c s; p' is 0 and stands for what the
  policy adds, so that a gradient to it would be seen.
  """
  params = models.Params(*map(jnp.float32, (2.0, 0.5, 3.0, value, 1.0)))

  def step(params, acting, state, key):
    del key
    reward = params.reward * state + (params.policy - acting.policy)
    return reward[..., 0], params.transition * state

  return params, models.ModelUnderPolicy(
    encode=lambda params, observation: params.encoder * observation[..., None],
    step=step,
    value=lambda params, state: params.value * state[..., 0],
  )


def gradients(kind, value, num_steps=2, **settings):
  params, under_policy = line(value)
  config = self_consistency.SelfConsistencyConfig(
    kind=kind, num_steps=num_steps, **settings
  )

  def loss(params, target):
    found = self_consistency.losses(
      config, under_policy, 0.5, params, target, jnp.array([1.0]), KEY
    )
    return found.sum(), found

  gradient = jax.grad(loss, argnums=(0, 1), has_aux=True)
  (of_params, of_target), found = jax.jit(gradient)(params, params)
  chex.assert_trees_all_equal(of_target, jax.tree.map(jnp.zeros_like, params))
  return of_params, found


# States are 2, 1 and .5, rewards 6 and 3. With the value 4 s the temporal
# differences are 6 + .5 * 4 - 8 = 0 and 3 + .5 * 2 - 4 = 0; with 6 s they are
# 6 + .5 * 6 - 12 = -3 and 3 + .5 * 3 - 6 = -1.5.


@pytest.mark.parametrize('kind', self_consistency.KINDS)
def test_where_model_and_value_agree_there_is_nothing_to_learn(kind):
  of_params, found = gradients(kind, 4.0)
  np.testing.assert_array_equal(found, [[0.0], [0.0]])
  chex.assert_trees_all_equal(
    of_params, jax.tree.map(jnp.zeros_like, of_params)
  )


@pytest.mark.parametrize('kind', self_consistency.KINDS)
def test_losses_are_half_the_squares_of_temporal_differences(kind):
  _, found = gradients(kind, 6.0)
  np.testing.assert_allclose(found, [[4.5], [1.125]])


# The gradient of the loss is the sum over k of d^k times that of d^k, with
# d = (-3, -1.5), encoder e = 2, transition t = .5, reward w = 3, value c = 6,
# s = e (1, t, t^2), o = 1.
@pytest.mark.parametrize(
  ('kind', 'expected'),
  [
    # Only -v(s^k), whose derivatives by c are -s = -2 and -1.
    ('dyna', models.Params(0.0, 0.0, 0.0, 3 * 2 + 1.5 * 1, 0.0)),
    # And s itself: by e, -c (1, t) = -6 and -3; by t, -c (0, e) = 0 and -12.
    ('direct', models.Params(22.5, 18.0, 0.0, 7.5, 0.0)),
    # Gradients of w s^k + .5 c s^{k+1}.
    # By e, (w + .5 c t) (1, t) = 4.5 and 2.25; by t,
    # w e (0, 1) + .5 c e (1, 2 t) = 6 and 12; by w, 2 and 1; by c, .5 and .25.
    (
      'reverse',
      models.Params(
        -3 * 4.5 - 1.5 * 2.25,
        -3 * 6 - 1.5 * 12,
        -3 * 2 - 1.5 * 1,
        -3 * 0.5 - 1.5 * 0.25,
        0.0,
      ),
    ),
    # Both together.
    (
      'residual',
      models.Params(22.5 - 16.875, 18.0 - 36.0, 0.0 - 7.5, 7.5 - 1.875, 0.0),
    ),
  ],
)
def test_gradients_by_hand_and_exactly_zero_elsewhere(kind, expected):
  of_params, _ = gradients(kind, 6.0)
  chex.assert_trees_all_close(of_params, expected, rtol=1e-6, atol=0.0)


def test_targets_are_those_of_the_slower_parameters():
  params, under_policy = line(6.0)
  # Twice the value for targets: 6 + .5 * 12 - 12 = 0 and 3 + .5 * 6 - 6 = 0.
  target = params._replace(value=2 * params.value)

  def found(kind, **settings):
    config = self_consistency.SelfConsistencyConfig(
      kind=kind, num_steps=2, **settings
    )
    return jax.jit(
      lambda params, target: self_consistency.losses(
        config, under_policy, 0.5, params, target, jnp.array([1.0]), KEY
      )
    )(params, target)

  np.testing.assert_allclose(found('direct'), [[0.0], [0.0]])
  np.testing.assert_allclose(found('dyna'), [[0.0], [0.0]])
  # 6 + .5 * 6 - 24 = -15 and 3 + .5 * 3 - 12 = -7.5.
  np.testing.assert_allclose(found('reverse'), [[112.5], [28.125]])
  # No slower value stands in it.
  np.testing.assert_allclose(found('residual'), [[4.5], [1.125]])
  # Nor in others, if they are told so.
  for kind in self_consistency.KINDS:
    np.testing.assert_allclose(found(kind, values='online'), [[4.5], [1.125]])


def test_returns_along_a_rollout_may_be_mixed():
  # lambda 1: 3 + .5 * 3 = 4.5 from the second state, 6 + .5 * 4.5 = 8.25 from
  # the first, less 6 and 12.
  _, found = gradients('direct', 6.0, lambda_=1.0)
  np.testing.assert_allclose(found, [[0.5 * 3.75**2], [1.125]])


def test_the_true_value_of_a_table_s_model_is_consistent():
  params, under_policy = problems.tables_of_a_model()
  # v_1 = 2 / (1 - .5) = 4, v_0 = 1 + .5 (3/4 v_0 + 1/4 * 4) = 2.4.
  params = params._replace(value=jnp.array([2.4, 4.0]))
  found = self_consistency.losses(
    self_consistency.SelfConsistencyConfig(kind='residual', num_steps=5),
    under_policy,
    0.5,
    params,
    params,
    jnp.array([0, 1]),
    KEY,
  )
  np.testing.assert_allclose(found, np.zeros((5, 2)), atol=1e-12)


def test_in_a_table_one_step_of_dyna_and_direct_are_the_same():
  params, under_policy = problems.tables_of_a_model()

  def of(kind, num_steps):
    config = self_consistency.SelfConsistencyConfig(
      kind=kind, num_steps=num_steps
    )
    gradient = jax.grad(
      lambda params: self_consistency.losses(
        config, under_policy, 0.5, params, params, jnp.array([0, 1]), KEY
      ).sum()
    )
    return jax.jit(gradient)(params._replace(transition=params.transition / 60))

  chex.assert_trees_all_equal(of('dyna', 1), of('direct', 1))
  chex.assert_trees_all_equal(of('dyna', 2).value, of('direct', 2).value)
  assert jnp.abs(of('direct', 2).transition).max() > 0.01
  assert jnp.abs(of('dyna', 2).transition).max() == 0


def trajectory():
  return types.Trajectory(
    observation=jnp.array([[0, 1], [1, 0], [0, 0]]),
    action=jnp.zeros((2, 2), jnp.int32),
    reward=jnp.zeros((2, 2)),
    discount=jnp.ones((2, 2)),
    skill=jnp.zeros((2, 2), jnp.int32),
    mask=jnp.array([[1.0, 1.0], [1.0, 0.0]]),
  )


@pytest.mark.parametrize(('starts', 'begun'), [('every', 3), ('first', 2)])
def test_rollouts_begin_at_real_states_as_configured(starts, begun):
  params, under_policy = problems.tables_of_a_model()
  config = self_consistency.SelfConsistencyConfig(
    num_steps=1, weight=0.3, starts=starts
  )
  auxiliary = self_consistency.make(config, under_policy, 0.5)
  mean, metrics = auxiliary.loss(params, params, trajectory(), KEY)
  # From the first state 1 + .5 (3/4 * 8 + 1/4 * 4) - 8 = -3.5; from the second
  # 2 + .5 * 4 - 4 = 0. The first steps are in states 0 and 1, the only other
  # real one in 1.
  np.testing.assert_allclose(mean, 0.5 * 3.5**2 / begun, rtol=1e-6)
  assert auxiliary.weight == 0.3
  assert metrics == {'self_consistency_loss': mean}


@pytest.mark.parametrize(('policy', 'reward'), [('online', 0), ('target', 2.5)])
def test_the_policy_that_imagines_is_as_configured(policy, reward):
  params, under_policy = line(4.0)
  # An action adds to the reward how far the acting policy is from the model's.
  target = params._replace(policy=params.policy - 2.5)
  found = self_consistency.losses(
    self_consistency.SelfConsistencyConfig(num_steps=1, policy=policy),
    under_policy,
    0.5,
    params,
    target,
    jnp.array([1.0]),
    KEY,
  )
  np.testing.assert_allclose(found, [[0.5 * reward**2]])


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'kind': 'both'}, 'kind must be one of dyna, direct, reverse, residual'),
    ({'starts': 'last'}, 'starts must be one of every, first'),
    ({'policy': 'mine'}, 'policy must be one of online, target'),
    ({'values': 'mine'}, 'values must be one of online, target'),
    ({'num_steps': 0}, 'num_steps must be >= 1, got 0'),
    ({'weight': -1.0}, 'weight must be >= 0, got -1.0'),
    ({'lambda_': 2.0}, r'lambda_ must be in \[0, 1\], got 2.0'),
  ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    self_consistency.SelfConsistencyConfig(**settings)
