"""JAX ports of dm_control's bodies against MuJoCo."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import control
from envs import control_ports

NUM_STEPS = 400
LIMITS = {'point_mass_easy': 0.29, 'cartpole_swingup': 1.8}


def make(name, **options):
  environment = control.ControlEnvironment(name, **options)
  model = environment.physics.model.ptr
  body = control_ports.PORTS[name](model)
  return environment, control_ports.make(
    body, num_substeps=1, action_repeat=1, horizon=1000
  )


def state_of(environment):
  data = environment.physics.data
  return np.concatenate([data.qpos, data.qvel]).astype(np.float32)


def actions_into_both_limits(size):
  """Random actions around a push that changes its direction twice."""
  generator = np.random.default_rng(0)
  push = np.where((np.arange(NUM_STEPS) // 100) % 2, 0.8, -0.8)[:, None]
  noise = generator.uniform(-1, 1, (NUM_STEPS, size))
  return np.clip(push + noise, -1, 1).astype(np.float32)


@pytest.mark.parametrize('name', sorted(control_ports.PORTS))
def test_one_step_is_mujoco_s_up_to_rounding_at_the_limits_too(name):
  environment, port = make(name)
  step, observe = jax.jit(port.step), jax.jit(port.observe)
  timestep = environment.reset()
  visited = []
  limit = LIMITS.get(name)
  for i, action in enumerate(
    actions_into_both_limits(environment.action_spec().shape[0])
  ):
    if limit and i % 100 == 0:
      # Near the limit that the action pushes towards.
      with environment.physics.reset_context():
        environment.physics.data.qpos[0] = limit * (0.98 if i % 200 else -0.98)
    before = state_of(environment)
    after, reward, discount = step(None, jnp.asarray(before), action)
    timestep = environment.step(action)
    expected = state_of(environment)
    np.testing.assert_allclose(
      observe(jnp.asarray(expected)), timestep.observation, atol=2e-5
    )
    np.testing.assert_allclose(after, expected, rtol=1e-6, atol=2e-5)
    # A sparse reward may change at the very border.
    if 'sparse' not in name and name != 'pendulum_swingup':
      assert abs(float(reward) - timestep.reward) < 2e-5
    assert float(discount) == 1.0
    visited.append(expected[0])
  if limit:
    # Both limits of the first joint were active.
    assert max(visited) > limit and min(visited) < -limit


@pytest.mark.parametrize(
  ('name', 'state', 'control', 'expected'),
  [
    ('cartpole_balance_sparse', [0.25, 0.0, 0, 0], [0.0], 1.0),
    ('cartpole_balance_sparse', [0.26, 0.0, 0, 0], [0.0], 0.0),
    # cos(.2) is .98.
    ('cartpole_balance_sparse', [0.0, 0.2, 0, 0], [0.0], 0.0),
    ('cartpole_swingup', [0.0, 0.0, 0, 0], [0.0], 1.0),
    # A full push costs a fifth.
    ('cartpole_swingup', [0.0, 0.0, 0, 0], [1.0], 0.8),
    # The tolerance is .1 at the margin: (1 + .1) / 2.
    ('cartpole_swingup', [2.0, 0.0, 0, 0], [0.0], 0.55),
    # Eight degrees are .1396.
    ('pendulum_swingup', [0.139, 0.0], [0.0], 1.0),
    ('pendulum_swingup', [-0.141, 0.0], [0.0], 0.0),
    ('point_mass_easy', [0.015, 0.0, 9, 9], [0.0, 0.0], 1.0),
    ('point_mass_easy', [0.0, -0.03, 0, 0], [0.0, 0.0], 0.1),
    ('point_mass_easy', [0.0, 0.0, 0, 0], [1.0, 0.0], 0.9),
  ],
)
def test_rewards_are_those_of_the_tasks(name, state, control, expected):
  environment, _ = make(name)
  body = control_ports.PORTS[name](environment.physics.model.ptr)
  reward = body.reward(jnp.array(state, jnp.float32), jnp.array(control))
  assert float(reward) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize('name', sorted(control_ports.PORTS))
def test_episodes_start_as_the_suite_s_do(name):
  environment, port = make(name)
  starts = []
  for _ in range(200):
    environment.reset()
    starts.append(state_of(environment))
  starts = np.array(starts)
  ours = np.array(
    jax.vmap(port.reset)(jax.random.split(jax.random.PRNGKey(0), 2000))
  )
  deviation = starts.std(axis=0)
  np.testing.assert_allclose(ours.std(axis=0), deviation, rtol=0.2, atol=1e-6)
  error = deviation / np.sqrt(len(starts)) + 1e-6
  assert np.all(np.abs(ours.mean(axis=0) - starts.mean(axis=0)) < 4 * error)


def test_held_actions_sum_rewards_and_long_control_steps_pay_once():
  environment, _ = make('cartpole_swingup')
  body = control_ports.PORTS['cartpole_swingup'](environment.physics.model.ptr)
  state = jnp.array([0.0, 0.3, 0.0, 0.0])
  action = jnp.array([0.5])
  once = control_ports.make(
    body, num_substeps=1, action_repeat=1, horizon=None
  ).step
  middle, first, _ = once(None, state, action)
  end, second, _ = once(None, middle, action)
  held = control_ports.make(
    body, num_substeps=1, action_repeat=2, horizon=None
  ).step(None, state, action)
  long = control_ports.make(
    body, num_substeps=2, action_repeat=1, horizon=None
  ).step(None, state, action)
  np.testing.assert_allclose(held[0], end, rtol=1e-6)
  np.testing.assert_allclose(long[0], end, rtol=1e-6)
  np.testing.assert_allclose(held[1], first + second, rtol=1e-6)
  np.testing.assert_allclose(long[1], second, rtol=1e-6)
