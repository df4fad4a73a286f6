"""Tests of skills/networks/models.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills import types
from skills.networks import models
from skills.networks import torsos
from tests import problems

KEY = jax.random.PRNGKey(0)


def test_tables_imagine_the_expectation_under_the_policy():
  params, under_policy = problems.tables_of_a_model()
  start = under_policy.encode(params, jnp.array([0, 1]))
  rollout = models.unroll(
    under_policy, params, params, start, jax.random.split(KEY, 2)
  )
  # From the first state 1/4 * 4 = 1, and 1/4 leads to the second one, which
  # pays 2 and stays: 3/4 * 1 + 1/4 * 2 = 1.25.
  np.testing.assert_allclose(rollout.reward, [[1.0, 2.0], [1.25, 2.0]])
  np.testing.assert_allclose(
    rollout.state[:, 0], [[1, 0], [0.75, 0.25], [0.5625, 0.4375]]
  )
  # 3/4 * 8 + 1/4 * 4
  np.testing.assert_allclose(under_policy.value(params, rollout.state)[1, 0], 7)


PROBLEM = types.ProblemSpec(
  observation_shape=(),
  observation_dtype='int32',
  num_states=3,
  num_actions=2,
)


def test_a_head_that_classifies_is_trained_by_cross_entropy():
  # Atoms -1, 0 and 1; a return of 0 is the middle one, of which the logits say
  # 1/4. One of 3 is made small to 1.003 and cut to 1, of which they say 1/2.
  head = models.two_hot_head(1.0, 3)
  outputs = jnp.log(jnp.array([[0.25, 0.25, 0.5]] * 2))
  np.testing.assert_allclose(
    head.loss(outputs, jnp.array([0.0, 3.0])),
    [np.log(4), np.log(2)],
    rtol=1e-6,
  )
  # The mean is .25: sqrt(x + 1) - 1 + x / 1000 = .25.
  x = head.decode(outputs)[0]
  np.testing.assert_allclose(jnp.sqrt(x + 1) - 1 + x / 1000, 0.25, rtol=1e-5)


def test_a_scalar_head_is_trained_by_half_the_square():
  head = models.scalar_head()
  outputs = jnp.array([[3.0], [1.0]])
  np.testing.assert_allclose(head.decode(outputs), [3.0, 1.0])
  np.testing.assert_allclose(
    head.loss(outputs, jnp.array([1.0, 2.0])), [2.0, 0.5]
  )


@pytest.mark.parametrize('num_atoms', [None, 5])
def test_every_part_of_a_latent_model_uses_its_own_parameters_alone(num_atoms):
  model = problems.compiled(
    models.latent(
      models.LatentConfig(size=4, hidden_sizes=(5,), num_atoms=num_atoms),
      torsos.NetworkConfig(),
      PROBLEM,
    )
  )
  params = model.init(KEY)
  state = model.encode(params, jnp.arange(3))
  assert state.shape == (3, 4)
  action = jnp.array([0, 1, 1])
  calls = {
    'encoder': lambda p: model.encode(p, jnp.arange(3)),
    'transition': lambda p: model.transition(p, state, action),
    'reward': lambda p: model.reward(p, state),
    'value': lambda p: model.value(p, state),
    'policy': lambda p: model.policy(p, state),
  }
  for name, call in calls.items():

    def loss(p, call=call):
      return jnp.sum(jnp.square(call(p)))

    grads = jax.jit(jax.grad(loss))(params)
    for part, leaves in grads._asdict().items():
      size = sum(float(jnp.abs(x).sum()) for x in jax.tree.leaves(leaves))
      assert (size > 0) == (part == name), (name, part)
  # Another action leads elsewhere.
  moved = model.transition(params, state, 1 - action)
  assert jnp.abs(moved - model.transition(params, state, action)).max() > 0.01


def test_actions_are_drawn_from_the_acting_policy_and_pay_their_own_reward():
  model = problems.compiled(
    models.latent(
      models.LatentConfig(size=4, num_atoms=None),
      torsos.NetworkConfig(),
      PROBLEM,
    )
  )
  params = model.init(KEY)
  # Biases alone: action 1 pays 7 and action 0 pays 3, wherever.
  reward = jax.tree.map(jnp.zeros_like, params.reward)
  reward['linear']['b'] = jnp.array([3.0, 7.0])
  policy = jax.tree.map(jnp.zeros_like, params.policy)
  policy['linear']['b'] = jnp.log(jnp.array([0.2, 0.8]))
  acting = params._replace(policy=policy)
  under_policy = models.sampled(model)
  rollout = models.unroll(
    under_policy,
    params._replace(reward=reward),
    acting,
    model.encode(params, jnp.zeros(4000, jnp.int32)),
    KEY[None],
  )
  assert set(np.asarray(rollout.reward[0]).tolist()) == {3.0, 7.0}
  # 4000 draws: 4 deviations are 4 * sqrt(.16 / 4000) = .025.
  assert abs(np.mean(rollout.reward[0] == 7.0) - 0.8) < 0.025
  for action, pays in enumerate((3.0, 7.0)):
    [row, *_] = np.flatnonzero(rollout.reward[0] == pays)
    expected = model.transition(
      params, rollout.state[0, row], jnp.int32(action)
    )
    np.testing.assert_allclose(rollout.state[1, row], expected, rtol=1e-5)


def test_streams_of_a_model_have_rewards_and_values_of_their_own():
  model = problems.compiled(
    models.latent(
      models.LatentConfig(size=4, num_atoms=None),
      torsos.NetworkConfig(),
      PROBLEM,
      num_streams=2,
    )
  )
  params = jax.tree.map(jnp.zeros_like, model.init(KEY))
  # Biases alone, of two actions and of two streams each.
  params.reward['linear']['b'] = jnp.array([1.0, 2.0, 3.0, 4.0])
  params.value['linear']['b'] = jnp.array([5.0, 6.0])
  # Action 1 for certain.
  params.policy['linear']['b'] = jnp.array([0.0, 60.0])
  state = model.encode(params, jnp.arange(3))
  for stream, (pays, worth) in enumerate([(3.0, 5.0), (4.0, 6.0)]):
    under_policy = models.sampled(model, stream)
    rollout = models.unroll(
      under_policy, params, params, state, jax.random.split(KEY, 2)
    )
    np.testing.assert_array_equal(rollout.reward, np.full((2, 3), pays))
    np.testing.assert_array_equal(
      under_policy.value(params, rollout.state), np.full((3, 3), worth)
    )


def test_problems_that_do_not_fit_a_latent_model_are_refused():
  continuous = types.ProblemSpec(
    observation_shape=(2,),
    observation_dtype='float32',
    num_states=None,
    num_actions=None,
    action_shape=(1,),
  )
  network = torsos.NetworkConfig(hidden_sizes=(8,))
  with pytest.raises(ValueError, match='needs discrete actions'):
    problems.compiled(models.latent(models.LatentConfig(), network, continuous))
  for change, message in (
    ({'size': 0}, 'size must be >= 1, got 0'),
    ({'num_atoms': 1}, 'num_atoms must be >= 2 or None, got 1'),
    ({'support_max': 0.0}, 'support_max must be positive, got 0.0'),
    ({'init_scale': -1.0}, 'init_scale must be >= 0, got -1.0'),
    ({'size': 1, 'normalize': True}, 'size must be >= 2 where .* got 1'),
  ):
    with pytest.raises(ValueError, match=message):
      models.LatentConfig(**change)


@pytest.mark.parametrize('normalize', [True, False])
def test_normalised_states_do_not_saturate_however_large_a_layer_has_grown(
  normalize,
):
  problem = types.ProblemSpec(
    observation_shape=(3,),
    observation_dtype='float32',
    num_states=None,
    num_actions=2,
  )
  model = problems.compiled(
    models.latent(
      models.LatentConfig(size=16, normalize=normalize),
      torsos.NetworkConfig(hidden_sizes=(8,)),
      problem,
    )
  )
  params = model.init(KEY)

  def grown(part):
    return part | {'linear': jax.tree.map(lambda x: 100 * x, part['linear'])}

  params = params._replace(
    encoder=grown(params.encoder), transition=grown(params.transition)
  )
  states = model.encode(params, jnp.eye(3))
  following = model.transition(params, states, jnp.array([0, 1, 0]))
  for found in (states, following):
    # Where it is below .96 tanh has a gradient of at least .07.
    has_gradient = jnp.mean(jnp.abs(found) < 0.96)
    assert has_gradient > 0.8 if normalize else has_gradient < 0.2
