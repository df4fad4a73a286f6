"""Tests of envs/control.py."""

import re

import dm_env
from dm_env import specs
import numpy as np
import pytest

from envs import control
from envs import rendering

# dm_control reads it when it is imported.
rendering.choose_renderer()

from dm_control import suite  # noqa: E402

STEPS = 12


def actions_for(environment, num_steps=STEPS, seed=0):
  shape = environment.action_spec().shape
  rng = np.random.default_rng(seed)
  return rng.uniform(-1, 1, (num_steps, *shape)).astype(np.float32)


def play(environment, actions):
  return [environment.reset(), *map(environment.step, actions)]


def observations(timesteps):
  return np.stack([timestep.observation for timestep in timesteps])


class Countdown:
  """In place of a dm_control environment: rewards 1, 2, 4, ... and an end."""

  def __init__(self, num_steps, last_discount):
    self.num_steps = num_steps
    self.last_discount = last_discount
    self.controls = []

  def reset(self):
    self.controls = []
    return dm_env.restart(self.observation())

  def observation(self):
    return {'orientations': np.zeros(14), 'height': 1.0, 'velocity': np.ones(9)}

  def step(self, control):
    self.controls.append(control)
    reward = 2.0 ** (len(self.controls) - 1)
    if len(self.controls) < self.num_steps:
      return dm_env.transition(reward, self.observation())
    return dm_env.TimeStep(
      dm_env.StepType.LAST, reward, self.last_discount, self.observation()
    )


def walker(monkeypatch, inner, **options):
  """A walker whose simulation is replaced."""
  environment = control.ControlEnvironment('walker_walk', **options)
  monkeypatch.setattr(environment, '_environment', inner)
  return environment


def test_tasks_are_all_those_of_the_suite():
  assert set(control.TASKS.values()) == set(suite.ALL_TASKS)
  assert len(control.TASKS) == len(suite.ALL_TASKS)
  assert control.TASKS['ball_in_cup_catch'] == ('ball_in_cup', 'catch')
  assert control.TASKS['dog_fetch'] == ('dog', 'fetch')
  assert control.TASKS['humanoid_CMU_run'] == ('humanoid_CMU', 'run')


@pytest.mark.parametrize(
  'name', ['walker_stand', 'dog_walk', 'manipulator_bring_ball']
)
def test_episodes_are_those_of_the_suite_with_the_same_seed(name):
  environment = control.ControlEnvironment(name, seed=3)
  raw = suite.load(*control.TASKS[name], task_kwargs={'random': 3})
  actions = actions_for(environment)
  ours = play(environment, actions)
  theirs = play(raw, actions)
  slices = environment.observation_slices
  assert list(slices) == list(raw.observation_spec())
  for our, their in zip(ours, theirs, strict=True):
    # One after another without gaps, each row by row.
    expected = np.concatenate(
      [np.asarray(part).reshape(-1) for part in their.observation.values()]
    )
    assert our.observation.dtype == np.float32
    np.testing.assert_array_equal(our.observation, expected.astype(np.float32))
    for key, where in slices.items():
      np.testing.assert_array_equal(
        our.observation[where],
        np.ravel(their.observation[key]).astype(np.float32),
      )
  assert ours[0].reward is None and ours[0].discount is None
  for our, their in zip(ours[1:], theirs[1:], strict=True):
    assert our.reward == np.float32(their.reward)
    assert type(our.reward) is type(our.discount) is np.float32


def test_observation_slices_of_the_walker():
  # 7 bodies with 2 numbers each; one height; 9 joints with the root's 3.
  environment = control.ControlEnvironment('walker_walk')
  assert environment.observation_slices == {
    'orientations': slice(0, 14),
    'height': slice(14, 15),
    'velocity': slice(15, 24),
  }
  observation = environment.reset().observation
  height = environment.physics.torso_height()
  assert observation[14] == np.float32(height)
  assert environment.observation_spec() == specs.BoundedArray(
    (24,), np.float32, -np.inf, np.inf
  )


def test_episodes_are_a_function_of_the_seed():
  first, same, other = (
    control.ControlEnvironment('walker_walk', seed=seed) for seed in (7, 7, 8)
  )
  actions = actions_for(first)
  episodes = [
    observations(play(each, actions) + play(each, actions))
    for each in (first, same, other)
  ]
  np.testing.assert_array_equal(episodes[0], episodes[1])
  assert (episodes[0] != episodes[2]).any()
  # The second episode is not the first again.
  assert (episodes[0][: STEPS + 1] != episodes[0][STEPS + 1 :]).any()


def test_a_repeated_action_is_the_same_as_giving_it_again():
  once = control.ControlEnvironment('cheetah_run')
  thrice = control.ControlEnvironment('cheetah_run', action_repeat=3)
  actions = actions_for(once, 4)
  slow = play(once, np.repeat(actions, 3, axis=0))
  fast = play(thrice, actions)
  np.testing.assert_array_equal(observations(slow)[::3], observations(fast))
  rewards = np.array([timestep.reward for timestep in slow[1:]])
  np.testing.assert_allclose(
    [timestep.reward for timestep in fast[1:]],
    rewards.reshape(4, 3).sum(axis=1),
    rtol=1e-5,
  )
  assert thrice.reward_spec().maximum == 3


@pytest.mark.parametrize('last_discount', [0.0, 1.0])
def test_the_end_cuts_a_repeated_action_short(monkeypatch, last_discount):
  inner = Countdown(5, last_discount)
  environment = walker(monkeypatch, inner, action_repeat=3)
  action = np.zeros(6, np.float32)
  timesteps = play(environment, [action, action])
  # 1 + 2 + 4, and then 8 + 16 although a third step was asked for.
  assert [timestep.reward for timestep in timesteps] == [None, 7, 24]
  assert len(inner.controls) == 5
  assert timesteps[1].mid() and timesteps[1].discount == 1
  assert timesteps[2].last() and timesteps[2].discount == last_discount
  assert environment.step(action).first()
  assert inner.controls == []


def test_the_time_limit_truncates_and_does_not_terminate():
  environment = control.ControlEnvironment('pendulum_swingup')
  action = np.zeros(1, np.float32)
  timesteps = play(environment, [action] * 1000)
  assert [t.last() for t in timesteps] == [False] * 1000 + [True]
  assert all(timestep.discount == 1 for timestep in timesteps[1:])
  assert environment.step(action).first()


@pytest.mark.parametrize('name', ['pendulum_swingup', 'lqr_lqr_2_1'])
def test_episodes_are_as_long_as_the_time_limit(name):
  # A step of the pendulum takes .02 s, of the regulator .03 s. The suite's own
  # regulator has no end.
  environment = control.ControlEnvironment(name, time_limit=0.6)
  steps = {'pendulum_swingup': 30, 'lqr_lqr_2_1': 20}[name]
  timesteps = play(environment, [np.zeros(1, np.float32)] * steps)
  assert [t.last() for t in timesteps] == [False] * steps + [True]
  assert timesteps[-1].discount == 1


@pytest.mark.parametrize('name', ['cartpole_swingup', 'walker_walk'])
def test_an_action_is_held_and_rewarded_once_per_control_timestep(name):
  # Both take steps of their own of .01 or .025 s.
  own = control.ControlEnvironment(name)
  step = own._environment.control_timestep()
  longer = control.ControlEnvironment(
    name, control_timestep=4 * step, time_limit=40 * step
  )
  actions = actions_for(own, 10)
  slow = play(own, np.repeat(actions, 4, axis=0))[::4]
  fast = play(longer, actions)
  np.testing.assert_array_equal(observations(slow), observations(fast))
  np.testing.assert_allclose(
    [timestep.reward for timestep in fast[1:]],
    [timestep.reward for timestep in slow[1:]],
    rtol=1e-6,
  )
  assert [t.last() for t in fast] == [False] * 10 + [True]
  # Without a limit of one's own, the suite's seconds.
  default = control.ControlEnvironment(name, control_timestep=100 * step)
  assert play(default, actions_for(default, 10))[-1].last()


def test_a_solved_regulator_ends_with_discount_zero():
  environment = control.ControlEnvironment('lqr_lqr_2_1')
  environment.reset()
  with environment.physics.reset_context():  # All at rest at the origin.
    pass
  timestep = environment.step(np.zeros(1, np.float32))
  assert timestep.last()
  assert timestep.discount == 0


def test_actions_in_the_unit_box_reach_the_whole_range_of_the_actuators():
  environment = control.ControlEnvironment('quadruped_walk')
  raw = suite.load('quadruped', 'walk').action_spec()
  assert raw.maximum.max() > 1 > abs(raw.minimum).min()  # What is rescaled.
  spec = environment.action_spec()
  assert spec.dtype == np.float32
  np.testing.assert_array_equal(spec.minimum, -1)
  np.testing.assert_array_equal(spec.maximum, 1)
  inner = Countdown(9, 1.0)
  environment._environment = inner
  environment._slices = {}
  low, middle, high, beyond = -1.0, 0.0, 1.0, 7.0
  play(
    environment,
    [np.full(12, value, np.float32) for value in (low, middle, high, beyond)],
  )
  np.testing.assert_allclose(inner.controls[0], raw.minimum)
  np.testing.assert_allclose(inner.controls[1], (raw.minimum + raw.maximum) / 2)
  np.testing.assert_allclose(inner.controls[2], raw.maximum)
  np.testing.assert_allclose(inner.controls[3], raw.maximum)


def test_actuators_without_limits_are_left_as_they_are():
  environment = control.ControlEnvironment('lqr_lqr_6_2')
  raw = suite.load('lqr', 'lqr_6_2').action_spec()
  spec = environment.action_spec()
  np.testing.assert_array_equal(spec.maximum, raw.maximum.astype(np.float32))
  inner = Countdown(9, 1.0)
  environment._environment = inner
  environment._slices = {}
  play(environment, [np.array([30.0, -0.5], np.float32)])
  np.testing.assert_array_equal(inner.controls[0], [30.0, -0.5])


@pytest.mark.parametrize(
  'action, message',
  [
    (np.zeros(5), 'action must have shape (6,), got (5,).'),
    (np.array([0, 0, np.nan, 0, 0, 0]), 'action must be finite, got [ 0.'),
  ],
)
def test_invalid_actions_are_refused(action, message):
  environment = control.ControlEnvironment('walker_walk')
  environment.reset()
  with pytest.raises(ValueError, match=re.escape(message)):
    environment.step(action)


def test_the_physics_can_be_changed_for_good():
  first, changed = (control.ControlEnvironment('walker_walk') for _ in range(2))
  changed.physics.model.dof_damping[:] *= 50
  actions = actions_for(first)
  for _ in range(2):  # Also in the episode after.
    plain, damped = (observations(play(e, actions)) for e in (first, changed))
    np.testing.assert_array_equal(plain[0], damped[0])
    assert np.abs(plain[-1] - damped[-1]).max() > 0.1


@pytest.fixture
def can_render():
  environment = control.ControlEnvironment('pendulum_swingup')
  environment.reset()
  try:
    environment.physics.render(8, 8)
  except Exception as error:  # Whatever a machine without a renderer raises.
    pytest.skip(f'nothing can draw here: {error}')


@pytest.mark.parametrize('name', ['walker_walk', 'dog_walk', 'quadruped_walk'])
def test_pixels_show_the_body_as_it_moves(can_render, name):
  environment = control.ControlEnvironment(
    name, observation='pixels', size=32, action_repeat=8
  )
  first, *_, last = play(environment, actions_for(environment, 3))
  spec = environment.observation_spec()
  assert repr(spec) == repr(
    specs.BoundedArray((32, 32, 3), np.uint8, 0, 255, 'pixels')
  )
  spec.validate(first.observation)
  assert first.observation.std() > 5
  assert (first.observation != last.observation).any()
  assert environment.observation_slices == {}


def test_pixels_without_a_renderer_are_refused(monkeypatch):
  monkeypatch.setenv('MUJOCO_GL', 'disable')
  with pytest.raises(ValueError, match="MUJOCO_GL is 'disable'"):
    control.ControlEnvironment('walker_walk', observation='pixels')


@pytest.mark.slow
@pytest.mark.parametrize('name', control.TASKS)
def test_every_task_keeps_to_its_specs_and_its_order(name):
  environment = control.ControlEnvironment(name, action_repeat=2)
  ends = [where.stop for where in environment.observation_slices.values()]
  starts = [where.start for where in environment.observation_slices.values()]
  assert starts == [0, *ends[:-1]]
  assert environment.observation_spec().shape == (ends[-1],)
  for timestep in play(environment, actions_for(environment))[1:]:
    environment.observation_spec().validate(timestep.observation)
    environment.reward_spec().validate(timestep.reward)
    assert np.isfinite(timestep.observation).all()
