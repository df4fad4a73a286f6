"""Tests of envs/control_batch.py and envs/control_tasks.py."""

import re

import dm_env
import numpy as np
import pytest

from envs import batched
from envs import control
from envs import control_batch
from envs import control_tasks
from envs import factory
from envs import perturbations

FIRST, MID, LAST = map(int, dm_env.StepType)
# In seconds: a few episodes in every test.
TIME_LIMITS = {'humanoid': 1.0, 'quadruped': 1.0}
# Their bodies take seconds; one task of each is enough.
COSTLY = (
  'humanoid_run',
  'humanoid_run_pure_state',
  'humanoid_walk',
  'quadruped_run',
)
TASKS = [
  pytest.param(task, marks=pytest.mark.slow) if task in COSTLY else task
  for task in control_tasks.TASKS
]


def serial(task, seeds, *, first_lengths=None, **options):
  """dm_control's environments, one after another."""
  environments = [control.make(task, seed=seed, **options) for seed in seeds]
  return batched.Serial(environments, first_lengths=first_lengths)


def actions_for(environments, num_steps, seed=0):
  rng = np.random.default_rng(seed)
  shape = environments.num_environments, *environments.action_spec().shape
  # A little beyond the bounds.
  return rng.uniform(-1.2, 1.2, (num_steps, *shape)).astype(np.float32)


def play(environments, actions):
  return [environments.reset(), *map(environments.step, actions)]


def assert_same(mine, theirs):
  for our, their in zip(mine, theirs, strict=True):
    for one, other in zip(our, their, strict=True):
      assert one.dtype == other.dtype
    np.testing.assert_array_equal(our.step_type, their.step_type)
    np.testing.assert_array_equal(our.observation, their.observation)
    np.testing.assert_array_equal(our.discount, their.discount)
    np.testing.assert_allclose(our.reward, their.reward, rtol=0, atol=1e-6)


def assert_same_as_serial(task, seeds, num_steps, **options):
  mine = control_batch.ControlBatch(task, seeds=seeds, **options)
  theirs = serial(task, seeds, **options)
  actions = actions_for(mine, num_steps)
  timesteps = play(mine, actions)
  assert_same(timesteps, play(theirs, actions))
  for kind in ('observation', 'action', 'reward', 'discount'):
    ours, their = (getattr(each, f'{kind}_spec')() for each in (mine, theirs))
    assert repr(ours) == repr(their)
  return timesteps


def goal_pose(task, physics):
  """Positions at which also the sparse rewards are paid."""
  with physics.reset_context():
    pose = np.copy(physics.data.qpos)
  named = physics.named
  if task == 'ball_in_cup_catch':
    pose[2:] += named.data.site_xpos['target', ::2]
    pose[2:] -= named.data.xpos['ball', ::2]
  if task.startswith('reacher'):
    named.model.geom_pos['target', :2] = named.data.geom_xpos['finger', :2]
  return pose


@pytest.mark.parametrize('task', TASKS)
def test_a_thousand_steps_are_those_of_dm_control(task):
  # 250 steps of two environments that hold actions twice.
  timesteps = assert_same_as_serial(
    task,
    seeds=(7, 3),
    num_steps=250,
    action_repeat=2,
    time_limit=TIME_LIMITS.get(task.partition('_')[0], 1.6),
    first_lengths=(5, 13),
  )
  begun = sum((each.step_type == FIRST).sum() for each in timesteps)
  assert begun >= 6


@pytest.mark.slow
@pytest.mark.parametrize('task', control_tasks.TASKS)
def test_full_episodes_match_dm_control(task):
  timesteps = assert_same_as_serial(task, seeds=(1, 2), num_steps=1200)
  assert timesteps[1001].step_type.tolist() == [FIRST, FIRST]


@pytest.mark.parametrize('task', control_tasks.TASKS)
def test_rewards_and_observations_of_any_state_are_those_of_dm_control(task):
  environment = control.make(task, seed=0)
  environment.reset()
  physics = environment.physics
  suite_task = environment.suite_environment.task
  pose = goal_pose(task, physics)
  made = control_tasks.TASKS[task](physics.model.ptr)
  rng = np.random.default_rng(0)
  rewards, observations, fields, controls = [], [], [], []
  for _ in range(400):
    # Near the pose and far away.
    size = rng.choice([0.0, 0.01, 0.1, 1.0])
    with physics.reset_context():
      physics.data.qpos[:] = pose + size * rng.normal(size=physics.model.nq)
      physics.data.qvel[:] = 20 * size * rng.normal(size=physics.model.nv)
    physics.set_control(rng.uniform(-1, 1, physics.model.nu))
    rewards.append(suite_task.get_reward(physics))
    parts = suite_task.get_observation(physics).values()
    observations.append(np.concatenate([np.ravel(part) for part in parts]))
    fields.append([np.copy(getattr(physics.data, f)) for f in made.fields])
    controls.append(physics.control().copy())
  stacked = map(np.stack, zip(*fields, strict=True))
  data = control_tasks.Data(**dict(zip(made.fields, stacked, strict=True)))
  ours = made.reward(data, np.stack(controls))
  assert ours.shape == (400,)
  np.testing.assert_allclose(ours, rewards, rtol=0, atol=1e-6)
  parts = [part.reshape(400, -1) for part in made.observe(data)]
  np.testing.assert_allclose(
    np.concatenate(parts, axis=1), observations, rtol=1e-12, atol=1e-12
  )
  # Rewards that are all alike would show nothing.
  assert len(np.unique(rewards)) > 1


@pytest.mark.parametrize(
  'options',
  [
    {'control_timestep': 0.05, 'time_limit': 0.5},
    {'action_repeat': 3, 'time_limit': 0.25},  # 10 steps: the last is cut.
    {'time_limit': 0.26, 'first_lengths': (1, 4)},  # 10.4 steps make 11.
    {'time_limit': 0.26, 'first_lengths': (11, 14)},  # Whole episodes.
  ],
)
def test_options_are_those_of_one_environment(options):
  assert_same_as_serial('walker_walk', seeds=(5, 6), num_steps=40, **options)


def test_environments_do_not_depend_on_their_neighbors():
  # Each draws its target from its own generator, and MuJoCo's model is shared.
  options = {'time_limit': 0.2, 'first_lengths': (3, 5, 10)}
  batch = control_batch.ControlBatch('reacher_easy', seeds=(4, 8, 9), **options)
  options['first_lengths'] = (5,)
  alone = control_batch.ControlBatch('reacher_easy', seeds=(8,), **options)
  actions = actions_for(batch, 60)
  theirs = play(alone, actions[:, 1:2])
  for mine, their in zip(play(batch, actions), theirs, strict=True):
    for one, other in zip(mine, their, strict=True):
      np.testing.assert_array_equal(one[1:2], other)
  # The same seed and other neighbors that change the order of resets.
  options['first_lengths'] = (10, 1, 5)
  other = control_batch.ControlBatch('reacher_easy', seeds=(1, 2, 8), **options)
  shuffled = play(other, actions[:, [0, 2, 1]])
  for mine, their in zip(shuffled, theirs, strict=True):
    np.testing.assert_array_equal(mine.observation[2:], their.observation)


def test_after_a_last_step_the_action_is_ignored_and_an_episode_begins():
  batch = control_batch.ControlBatch(
    'pendulum_swingup', seeds=(0, 1), time_limit=0.06, first_lengths=(1, 3)
  )
  action = np.zeros((2, 1))
  timesteps = play(batch, [action] * 2)
  types = [timestep.step_type.tolist() for timestep in timesteps]
  assert types == [[FIRST, FIRST], [LAST, MID], [FIRST, MID]]
  # The limit truncates, and does not terminate.
  assert all(timestep.discount.tolist() == [1, 1] for timestep in timesteps)
  assert timesteps[2].reward[0] == 0
  with pytest.raises(
    ValueError, match=re.escape('environment 1: action must be finite, got [n')
  ):
    batch.step([[0.0], [np.nan]])
  assert batch.step(action).step_type.tolist() == [MID, LAST]
  # Not looked at where an episode begins.
  timestep = batch.step([[0.0], [np.nan]])
  assert timestep.step_type.tolist() == [MID, FIRST]
  assert np.isfinite(timestep.observation).all()


def test_a_refused_action_changes_nothing():
  batch, other = (
    control_batch.ControlBatch('pendulum_swingup', seeds=(0, 1))
    for _ in range(2)
  )
  actions = actions_for(batch, 3)
  play(batch, actions[:1]), play(other, actions[:1])
  with pytest.raises(ValueError):
    batch.step(np.full((2, 1), np.inf))
  assert_same(map(batch.step, actions[1:]), map(other.step, actions[1:]))


def test_episodes_begin_anew_after_a_reset_in_between():
  options = {'seeds': (0, 1), 'first_lengths': (2, 5)}
  batch = control_batch.ControlBatch('reacher_hard', **options)
  theirs = serial('reacher_hard', **options)
  actions = actions_for(batch, 5)
  for environments in (batch, theirs):
    play(environments, actions)
  assert_same(play(batch, actions), play(theirs, actions))


def test_time_steps_belong_to_the_caller():
  batch = control_batch.ControlBatch('point_mass_easy', seeds=(0, 1))
  actions = actions_for(batch, 2)
  first, second, _ = timesteps = play(batch, actions)
  copies = [np.copy(field) for field in (*first, *second)]
  for action in actions:
    batch.step(action)
  for field, copy in zip((*first, *second), copies, strict=True):
    np.testing.assert_array_equal(field, copy)
  assert (timesteps[1].observation != timesteps[2].observation).any()


def test_all_environments_have_the_perturbed_body():
  changes = ['motor:right_hip=0', 'length:left_leg=1.5']
  batch = control_batch.ControlBatch('walker_walk', seeds=(0, 1))
  perturbations.apply(
    batch.physics,
    [each for text in changes for each in perturbations.parse(text)],
  )
  theirs = batched.Serial(
    [
      perturbations.Perturbed(control.make('walker_walk', seed=seed), changes)
      for seed in (0, 1)
    ]
  )
  actions = actions_for(batch, 30)
  assert_same(play(batch, actions), play(theirs, actions))


def test_a_state_of_which_mujoco_warns_is_refused():
  batch = control_batch.ControlBatch('walker_walk', seeds=(0, 1, 2))
  actions = actions_for(batch, 1)
  play(batch, actions)
  batch._simulations._datas[1].qvel[:] = 1e12
  with pytest.raises(
    Exception, match='environment 1: physics state is inv'
  ) as e:
    batch.step(actions[0])
  assert type(e.value).__name__ == 'PhysicsError'
  assert 'mjWARN_BAD' in str(e.value)


def test_the_factory_makes_native_batches_where_there_are_any():
  def kind(task, **options):
    batch = factory.make_batch(f'control:{task}', 1, seeds=(0,), **options)
    return type(batch)

  assert kind('cheetah_run') is control_batch.ControlBatch
  assert kind('cheetah_run', action_repeat=2) is control_batch.ControlBatch
  assert kind('lqr_lqr_2_1') is batched.Serial
  assert control_batch.supports('cheetah_run', observation='features')
  assert not control_batch.supports('cheetah_run', observation='pixels')


@pytest.mark.parametrize(
  'seeds, options, message',
  [
    (
      (0, 2**32),
      {},
      'seed must be an integer in 0..4294967295, got 4294967296',
    ),
    ((0, -1), {}, 'seed must be an integer in 0..4294967295, got -1.'),
    (
      (0,),
      {'action_repeat': 0},
      'action_repeat must be an integer >= 1, got 0',
    ),
    ((0,), {'first_lengths': (0,)}, 'first_lengths[0] must be an integer >= 1'),
    ((0,), {'sise': 3}, "option 'sise' is unknown. Did you mean 'size'"),
  ],
)
def test_impossible_batches_are_refused(seeds, options, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    factory.make_batch(
      'control:walker_walk', len(seeds), seeds=seeds, **options
    )


def test_tasks_without_a_batch_are_refused_by_name():
  with pytest.raises(ValueError, match="control task in batches 'dog_walk' is"):
    control_batch.ControlBatch('dog_walk', seeds=(0,))


@pytest.mark.parametrize('shape', [(2,), (3, 6), (2, 5)])
def test_actions_of_wrong_shapes_are_refused(shape):
  batch = control_batch.ControlBatch('walker_walk', seeds=(0, 1))
  batch.reset()
  with pytest.raises(ValueError, match='action must have'):
    batch.step(np.zeros(shape))
