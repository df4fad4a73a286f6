"""Tests of launch/training/device_replay.py and of runs that use it."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import factory
from launch.runs import experiment as experiment_lib
from launch.training import device_replay
from launch.training import on_device
from launch.training import on_device_run
from skills import config as config_lib
from skills import registry
from skills import types
from skills.learners import base

KEY = jax.random.PRNGKey(3)
T, B = 2, 3


def batch_of(number):
  """Trajectories that tell their batch and their place in it."""
  place = 10.0 * number + jnp.arange(B)
  ones = jnp.ones((T, B))
  return types.Trajectory(
    observation=jnp.broadcast_to(place[None, :, None], (T + 1, B, 1)),
    action=jnp.zeros((T, B), jnp.int32),
    reward=ones * place[None],
    discount=ones,
    skill=jnp.zeros((T, B), jnp.int32),
    mask=ones,
  )


def filled(num_batches, capacity):
  replay = device_replay.init(batch_of(0), capacity)
  for number in range(1, num_batches + 1):
    replay = jax.jit(device_replay.add)(replay, batch_of(number))
  return replay


@pytest.mark.parametrize(
  ('num_batches', 'capacity', 'kept'),
  [
    (1, 9, {1}),
    (2, 9, {1, 2}),
    (3, 9, {1, 2, 3}),
    (5, 9, {3, 4, 5}),
    # Rounded up to whole batches.
    (5, 4, {4, 5}),
  ],
)
def test_draws_are_of_the_newest_trajectories_alone(
  num_batches, capacity, kept
):
  replay = filled(num_batches, capacity)
  drawn = device_replay.sample(replay, 500, KEY)
  chex.assert_shape(drawn.observation, (T + 1, 500, 1))
  expected = sorted(10.0 * number + i for number in kept for i in range(B))
  found, counts = np.unique(drawn.reward[0], return_counts=True)
  np.testing.assert_array_equal(found, expected)
  # Uniformly: by five deviations of a binomial.
  share = 1 / len(expected)
  deviation = np.sqrt(500 * share * (1 - share))
  assert np.all(np.abs(counts - 500 * share) < 5 * deviation + 1e-9)
  # Steps and observations stay together.
  np.testing.assert_array_equal(drawn.reward[1], drawn.reward[0])
  np.testing.assert_array_equal(drawn.observation[2, :, 0], drawn.reward[0])


def test_each_update_draws_anew_and_the_last_one_is_told():
  def update(state, trajectory):
    total = jnp.sum(trajectory.reward)
    return (state[0] + total, state[1] + 1), {'total': total}

  learner = base.Learner(
    init=lambda key: (), update=update, variables=lambda state: ()
  )
  replay = filled(3, 9)
  (total, steps), metrics = device_replay.learn(
    learner,
    (jnp.float32(0), jnp.int32(0)),
    replay,
    KEY,
    num_updates=7,
    batch_size=5,
    min_size=9,
  )
  each = [
    float(jnp.sum(device_replay.sample(replay, 5, key).reward))
    for key in jax.random.split(KEY, 7)
  ]
  assert steps == 7
  assert len(set(each)) > 4
  np.testing.assert_allclose(total, sum(each), rtol=1e-6)
  np.testing.assert_allclose(metrics['total'], each[-1], rtol=1e-6)


@pytest.mark.parametrize(
  ('rate', 'environments', 'updates'), [(1.0, 4, 20), (0.1, 4, 2), (0.4, 5, 10)]
)
def test_updates_of_a_rollout_are_those_of_the_rate(
  rate, environments, updates
):
  config = config_lib.SkillAgentConfig(
    skill_length=5,
    replay=config_lib.ReplayConfig(updates_per_environment_step=rate),
    device=config_lib.DeviceConfig(environments=environments, replays=True),
  )
  assert config.updates_per_rollout == updates


@pytest.mark.parametrize('rate', [None, 0.01, 0.13])
def test_a_rate_that_makes_no_whole_updates_is_refused(rate):
  with pytest.raises(ValueError, match=f'updates for 20 steps .* got {rate}'):
    config_lib.SkillAgentConfig(
      skill_length=5,
      replay=config_lib.ReplayConfig(updates_per_environment_step=rate),
      device=config_lib.DeviceConfig(environments=4, replays=True),
    )


def test_sweeps_and_replay_exclude_each_other():
  with pytest.raises(ValueError, match='minibatches must be 1 .* got 2 and 1'):
    config_lib.DeviceConfig(epochs=2, replays=True)


def soft_actor_critic(tmp_path, **settings):
  return experiment_lib.make(
    agent='extrinsic',
    environment='control:cartpole_swingup',
    on_device=True,
    num_steps=1000,
    settings={
      'learner': 'soft_actor_critic',
      'network.hidden_sizes': '8',
      'device.environments': 4,
      'replay.updates_per_environment_step': 0.125,
      'replay.capacity': 8,
      'replay.min_size': 5,
      **settings,
    },
    output_dir=str(tmp_path),
  )


def test_rollouts_enter_the_ring_and_are_learned_from(tmp_path):
  experiment = soft_actor_critic(tmp_path)
  config = experiment.config
  assert config.device.replays and config.updates_per_rollout == 4
  environment = factory.make('control:cartpole_swingup')
  agent = registry.make_agent(config, experiment.problem)
  program = on_device.make(agent, environment.functional())
  train = jax.jit(program.train, static_argnums=1)
  first = program.init(KEY)
  assert first.replay.num_added == 0
  # The first four are too few to learn from.
  state, metrics = train(first, 1)
  assert state.learner.steps == 0
  assert not any(np.any(value) for value in jax.tree.leaves(metrics))
  state, metrics = train(first, 3)
  assert state.learner.steps == 8
  assert state.replay.num_added == 12
  chex.assert_shape(state.replay.trajectories.observation, (9, 8, 5))
  assert np.all(np.abs(state.replay.trajectories.action).sum(axis=(0, 2)) > 0)
  assert all(np.isfinite(value) for value in jax.tree.leaves(metrics))
  # The newest four are where the oldest four were; they are what was seen last.
  newest = state.replay.trajectories.observation[-1, :4]
  is_reset = np.asarray(state.age) == 0
  functional = environment.functional()
  seen = jax.vmap(functional.observe)(state.environments)
  np.testing.assert_allclose(newest[~is_reset], seen[~is_reset], rtol=1e-6)
  assert not np.allclose(newest, state.replay.trajectories.observation[-1, 4:])


def test_calls_are_short_where_there_are_many_updates(tmp_path):
  config = soft_actor_critic(tmp_path).config
  assert on_device_run.rollouts_per_call(config) == 64
  config = soft_actor_critic(
    tmp_path, **{'replay.updates_per_environment_step': 16.0}
  ).config
  assert on_device_run.rollouts_per_call(config) == 1
