"""Tests of skills/learners/soft_actor_critic.py."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills.learners import soft_actor_critic
from skills.networks import torsos
from skills.objectives import base as objectives
from tests import problems

KEY = jax.random.PRNGKey(0)
SMALL = torsos.NetworkConfig(hidden_sizes=(32,))


def paying(*functions, weights):
  """An objective whose streams pay functions of trajectories."""
  return objectives.IntrinsicReward(
    streams=tuple(f'stream_{i}' for i in range(len(functions))),
    init=lambda key: (),
    reward=lambda state, trajectory: jnp.stack(
      [function(trajectory) for function in functions], -1
    ),
    weights=lambda state: jnp.asarray(weights, jnp.float32),
    update=lambda state, trajectory, key: (state, {}),
  )


def make(objective, network=SMALL, num_skills=1, **settings):
  return soft_actor_critic.make_agent_functions(
    soft_actor_critic.SoftActorCriticConfig(**settings),
    network,
    problems.CONTROL,
    num_skills,
    objective,
  )


def one_skill(trajectory):
  return trajectory._replace(skill=jnp.zeros_like(trajectory.skill))


def test_lower_twin_is_chosen_by_the_weighted_sum():
  # Sums with weights (2, -1): 0 and 1 in row 0, 5 and -2 in row 1.
  values = jnp.array([[[1.0, 2.0], [3.0, 1.0]], [[0.0, -1.0], [0.0, 2.0]]])
  chosen = soft_actor_critic.lower_twin(values, jnp.array([2.0, -1.0]))
  np.testing.assert_array_equal(chosen, [[1, 2], [0, 2]])
  # A minimum of each stream by itself would mix the two.
  assert np.any(chosen != values.min(axis=0))


def test_lower_twin_takes_weights_of_each_row():
  values = jnp.array([[[1.0, 2.0], [1.0, 2.0]], [[2.0, 1.0], [2.0, 1.0]]])
  weights = jnp.array([[1.0, 0.0], [0.0, 1.0]])
  chosen = soft_actor_critic.lower_twin(values, weights)
  np.testing.assert_array_equal(chosen, [[1, 2], [2, 1]])


def test_soft_targets_by_hand():
  transitions = soft_actor_critic.Transitions(
    observation=jnp.zeros((2, 3)),
    action=jnp.zeros((2, 2)),
    rewards=jnp.array([[1.0, 10.0], [2.0, 20.0]]),
    discount=jnp.array([0.5, 0.0]),
    next_observation=jnp.zeros((2, 3)),
    skill=jnp.zeros((2,), jnp.int32),
    mask=jnp.ones((2,)),
  )
  targets = soft_actor_critic.soft_targets(
    transitions,
    jnp.array([[4.0, 6.0, 8.0], [5.0, 5.0, 5.0]]),
    jnp.array([-3.0, -3.0]),
    jnp.float32(0.2),
  )
  # The entropy bonus, 0.2 * 3, is the last stream's alone.
  np.testing.assert_allclose(
    targets, [[3.0, 13.0, 0.5 * 8.6], [2.0, 20.0, 0.0]], rtol=1e-6
  )


def numbered_trajectory(num_steps=3, batch=2):
  """Observations and actions that tell their time and row."""
  time, row = np.indices((num_steps + 1, batch))
  observation = np.stack([time, row, time + 10 * row], -1).astype(np.float32)
  trajectory = problems.trajectory(
    problems.CONTROL, lengths=(num_steps, 2), num_steps=num_steps
  )
  return trajectory._replace(
    observation=jnp.asarray(observation),
    action=jnp.asarray(observation[:-1, :, :2] / 10),
    discount=jnp.asarray(0.9 ** (1 + time[:-1]), jnp.float32),
  )


@pytest.mark.parametrize('size', [None, 50])
def test_transitions_are_steps_of_the_trajectory(size):
  trajectory = numbered_trajectory()
  rewards = (100 * trajectory.observation[:-1, :, :1]) + 7
  found = soft_actor_critic.draw_transitions(
    trajectory, rewards, trajectory.discount, size, KEY
  )
  time, row = np.asarray(found.observation[:, :2]).T.astype(int)
  np.testing.assert_array_equal(found.next_observation[:, 0], time + 1)
  np.testing.assert_array_equal(found.next_observation[:, 1], row)
  np.testing.assert_allclose(found.action[:, 0], time / 10, rtol=1e-6)
  np.testing.assert_array_equal(found.rewards[:, 0], 100 * time + 7)
  np.testing.assert_allclose(found.discount, 0.9 ** (1 + time), rtol=1e-5)
  np.testing.assert_array_equal(found.mask, (row == 0) | (time < 2))
  steps = set(zip(time, row))
  assert len(time) == (size or 6)
  assert len(steps) == 6


def trained(parts, batch, num_updates):
  state = parts.learner.init(KEY)

  def step(state, _):
    return parts.learner.update(state, batch)[0], None

  return jax.jit(lambda state: jax.lax.scan(step, state, None, num_updates)[0])(
    state
  )


def peak(center, trajectory):
  """Pays most for a first action entry at `center`."""
  return -4 * jnp.square(trajectory.action[..., 0] - center)


@pytest.mark.parametrize('weight', [1.0, 0.0, -1.0])
def test_policy_goes_where_its_weighted_streams_pay(weight):
  objective = paying(
    functools.partial(peak, 0.6),
    lambda trajectory: jnp.sum(trajectory.action, -1),
    weights=(weight, 0.0),
  )
  parts = make(
    objective,
    torsos.NetworkConfig(hidden_sizes=(32, 32)),
    discount=0.0,
    temperature_learning_rate=None,
    policy_learning_rate=3e-3,
    critic_learning_rate=1e-2,
  )
  batch = problems.trajectory(problems.CONTROL, lengths=(5,) * 400, num_steps=5)
  state = trained(parts, one_skill(batch), 900)
  memory = parts.evaluation_acting_policy.init()
  action, _ = parts.evaluation_acting_policy.select_action(
    parts.learner.variables(state),
    batch.observation[0],
    jnp.zeros((400,), jnp.int32),
    memory,
    jnp.zeros((400, 0)),
  )
  mean = np.asarray(action).mean(0)
  if weight == 1:
    assert mean[0] == pytest.approx(0.6, abs=0.1)
  elif weight == 0:
    # Nothing pays, and entropy keeps it in the middle.
    assert abs(mean[0]) < 0.2
  else:
    assert mean[0] < -0.6
  assert abs(mean[1]) < 0.2


def test_critics_learn_the_reward_of_each_stream_whatever_its_weight():
  objective = paying(
    functools.partial(peak, 0.6),
    lambda trajectory: 2 * trajectory.action[..., 1],
    weights=(0.0, 0.0),
  )
  parts = make(objective, discount=0.0, critic_learning_rate=1e-2)
  batch = one_skill(
    problems.trajectory(problems.CONTROL, lengths=(5,) * 40, num_steps=5)
  )
  state = trained(parts, batch, 600)
  _, metrics = parts.learner.update(state, batch)
  rewards = objective.reward((), batch)
  # Both twins and streams together, against guessing the mean.
  assert metrics['critic_loss'] < 0.2 * float(
    2 * jnp.sum(jnp.var(rewards, axis=(0, 1)))
  )


@pytest.mark.parametrize(
  ('settings', 'sign'),
  [
    ({'target_entropy': 0.69}, 1),
    ({'target_entropy': -5.0}, -1),
    ({'target_entropy': 0.69, 'temperature_learning_rate': None}, 0),
  ],
)
def test_temperature_moves_toward_the_target_entropy(settings, sign):
  parts = make(paying(functools.partial(peak, 0.0), weights=(1.0,)), **settings)
  batch = one_skill(problems.trajectory(problems.CONTROL))
  before = parts.learner.init(KEY)
  after, metrics = jax.jit(parts.learner.update)(before, batch)
  # The uniform distribution has log 2 nats an entry.
  assert metrics['entropy'] < 2 * np.log(2)
  move = after.params.log_temperature - before.params.log_temperature
  assert np.sign(move) == sign


def test_policy_stays_while_critics_warm_up():
  parts = make(
    paying(functools.partial(peak, 0.0), weights=(1.0,)), policy_warmup=2
  )
  batch = one_skill(problems.trajectory(problems.CONTROL))
  first = trained(parts, batch, 0)
  second, third = trained(parts, batch, 2), trained(parts, batch, 3)
  chex.assert_trees_all_equal(second.params.policy, first.params.policy)
  for later, part in ((second, 'critic'), (third, 'policy')):
    moved = jax.tree.map(
      lambda x, y: np.abs(x - y).max(),
      getattr(later.params, part),
      getattr(first.params, part),
    )
    assert max(jax.tree.leaves(moved)) > 1e-5


def test_target_critics_follow_slowly():
  parts = make(
    paying(functools.partial(peak, 0.0), weights=(1.0,)), target_update_rate=0.1
  )
  batch = one_skill(problems.trajectory(problems.CONTROL))
  before = trained(parts, batch, 5)
  after, _ = parts.learner.update(before, batch)
  expected = jax.tree.map(
    lambda old, new: 0.9 * old + 0.1 * new, before.target, after.params.critic
  )
  chex.assert_trees_all_close(after.target, expected, rtol=1e-5)
  gap = jax.tree.map(lambda x, y: np.abs(x - y).max(), expected, before.target)
  assert max(jax.tree.leaves(gap)) > 1e-5


@pytest.mark.parametrize(
  ('network', 'problem', 'message'),
  [
    (SMALL, problems.VECTOR, 'needs continuous actions, got 3 discrete'),
    (
      torsos.NetworkConfig(hidden_sizes=(8,), lstm_size=4),
      problems.CONTROL,
      r'network\.lstm_size must be None .* got 4',
    ),
  ],
)
def test_discrete_actions_and_memories_are_refused(network, problem, message):
  with pytest.raises(ValueError, match=message):
    soft_actor_critic.make_agent_functions(
      soft_actor_critic.SoftActorCriticConfig(),
      network,
      problem,
      1,
      paying(functools.partial(peak, 0.0), weights=(1.0,)),
    )
