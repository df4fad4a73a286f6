"""Tests of envs/batched.py, and of factory.make_batch."""

import json
import re

import dm_env
import numpy as np
import pytest

from envs import batched
from envs import capabilities
from envs import factory

FIRST, MID, LAST = map(int, dm_env.StepType)
NAMES = ('grid:disdain_release', 'classic:cartpole', 'random:dense')


def actions_for(environments, num_steps, seed=0):
  spec = environments.action_spec()
  rng = np.random.default_rng(seed)
  shape = (num_steps, environments.num_environments)
  return rng.integers(spec.num_values, size=shape, dtype=np.int32)


def grids(num_environments=3, horizon=4, **options):
  return factory.make_batch(
    'grid:disdain_release',
    num_environments,
    seeds=range(num_environments),
    horizon=horizon,
    **options,
  )


def step_types(environments, num_steps):
  actions = actions_for(environments, num_steps)
  timesteps = [environments.reset(), *map(environments.step, actions)]
  return np.stack([timestep.step_type for timestep in timesteps])


def assert_same(mine, theirs):
  for one, other in zip(mine, theirs, strict=True):
    np.testing.assert_array_equal(one, other)
    assert one.dtype == other.dtype


@pytest.mark.parametrize('name', NAMES)
def test_each_environment_has_the_episodes_of_its_own_seed(name):
  seeds = (5, 3, 11)
  environments = factory.make_batch(name, 3, seeds=seeds)
  alone = [factory.make(name, seed=seed) for seed in seeds]
  actions = actions_for(environments, 60)
  batch = [environments.reset(), *map(environments.step, actions)]
  for i, environment in enumerate(alone):
    single = [environment.reset(), *map(environment.step, actions[:, i])]
    for mine, theirs in zip(batch, single, strict=True):
      assert mine.step_type[i] == theirs.step_type
      np.testing.assert_array_equal(mine.observation[i], theirs.observation)
      expected = (0, 1) if theirs.first() else (theirs.reward, theirs.discount)
      assert (mine.reward[i], mine.discount[i]) == expected
    for kind in ('observation', 'action', 'reward', 'discount'):
      own = getattr(environment, f'{kind}_spec')()
      assert repr(getattr(environments, f'{kind}_spec')()) == repr(own)
  spec = environments.observation_spec()
  assert batch[0].observation.dtype == spec.dtype
  assert batch[0].step_type.dtype == np.int32
  assert batch[1].reward.dtype == batch[1].discount.dtype == np.float32


def test_after_a_last_step_the_action_is_ignored_and_an_episode_begins():
  environments = grids(2, horizon=2)
  assert environments.reset().step_type.tolist() == [FIRST] * 2
  actions = np.zeros(2, np.int32)
  assert environments.step(actions).step_type.tolist() == [MID] * 2
  assert environments.step(actions).step_type.tolist() == [LAST] * 2
  timestep = environments.step(np.full(2, -7))  # No action at all.
  assert timestep.step_type.tolist() == [FIRST] * 2
  assert timestep.reward.tolist() == [0, 0]
  assert timestep.discount.tolist() == [1, 1]
  with pytest.raises(ValueError, match='environment 0: action must be'):
    environments.step(np.full(2, -7))


def test_first_episodes_are_truncated_and_later_ones_are_whole():
  environments = grids(3, horizon=4, first_lengths=(1, 3, 4))
  for _ in range(2):  # After each reset.
    types = step_types(environments, 9)
    assert types[:, 0].tolist() == [0, 2, 0, 1, 1, 1, 2, 0, 1, 1]
    assert types[:, 1].tolist() == [0, 1, 1, 2, 0, 1, 1, 1, 2, 0]
    assert types[:, 2].tolist() == [0, 1, 1, 1, 2, 0, 1, 1, 1, 2]


def test_an_episode_that_ended_by_itself_leaves_the_next_one_whole():
  environments = grids(1, horizon=2, first_lengths=(4,))
  assert step_types(environments, 6)[:, 0].tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_truncated_steps_keep_their_discount():
  environments = grids(1, horizon=4, first_lengths=(1,))
  environments.reset()
  timestep = environments.step(np.zeros(1, np.int32))
  assert timestep.step_type[0] == LAST and timestep.discount[0] == 1


def test_staggered_lengths_are_evenly_spread():
  assert batched.staggered(4, 1000) == (250, 500, 750, 1000)
  assert batched.staggered(4, 2) == (1, 1, 2, 2)
  assert batched.staggered(1, 7) == (7,)


def test_time_steps_belong_to_the_caller():
  environments = grids(2)
  first = environments.reset()
  copies = [np.copy(field) for field in first]
  environments.step(np.ones(2, np.int32))
  for field, copy in zip(first, copies, strict=True):
    np.testing.assert_array_equal(field, copy)


def test_saved_state_continues_bit_for_bit():
  mine, theirs = (
    factory.make_batch(
      'random:dense', 2, seeds=seeds, horizon=5, first_lengths=(2, 5)
    )
    for seeds in ((1, 2), (3, 4))
  )
  assert isinstance(mine, capabilities.HasSavedState)
  actions = actions_for(mine, 20)
  mine.reset()
  for action in actions[:3]:
    mine.step(action)
  theirs.restore(json.loads(json.dumps(mine.save())))
  for action in actions[3:]:
    assert_same(mine.step(action), theirs.step(action))
  with pytest.raises(ValueError, match='a batch of 2 environments was saved'):
    grids(3).restore(mine.save())


@pytest.mark.parametrize(
  'count, seeds, options, message',
  [
    (0, (), {}, 'num_environments must be an integer >= 1, got 0.'),
    (3, (1, 2), {}, 'seeds must be one for each of 3 environments, got 2.'),
    (1, (-1,), {}, 'seed must be an integer >= 0, got -1.'),
    (
      2,
      (1, 2),
      {'first_lengths': (4, 0)},
      'first_lengths[1] must be an integer >= 1, got 0.',
    ),
    (
      2,
      (1, 2),
      {'first_lengths': (4,)},
      'first_lengths must be one for each of 2 environments, got 1.',
    ),
    (1, (1,), {'horison': 3}, "option 'horison' is unknown. Did you mean"),
  ],
)
def test_impossible_batches_are_refused(count, seeds, options, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    factory.make_batch('grid:four_rooms', count, seeds=seeds, **options)


def test_environments_with_other_specs_are_refused():
  pair = [factory.make(f'grid:{name}') for name in ('open_11', 'open_41')]
  with pytest.raises(ValueError, match='the same observation_spec, got'):
    batched.Serial(pair)


def test_wrong_numbers_of_actions_are_refused():
  environments = grids(3)
  environments.reset()
  for action in (np.int32(0), np.zeros(2, np.int32)):
    with pytest.raises(ValueError, match='leading axis of 3, one entry for'):
      environments.step(action)
