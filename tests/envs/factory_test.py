"""Tests of envs/factory.py."""

import subprocess
import sys
import types

from absl.testing import absltest
from dm_env import specs
from dm_env import test_utils
import numpy as np
import pytest

from envs import factory
from envs import gridworlds
from envs.tabular import environment as tabular_environment
from skills import checks
from tests import environments

SUITES = ', '.join(map(repr, factory.SUITES))


def _conformance_test(name, options):
  """dm_env's contract for one environment, over whole episodes."""

  class ConformanceTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
    def make_object_under_test(self):
      return factory.make(name, **options)

    def make_action_sequence(self):
      rng = np.random.default_rng(0)
      spec = self.environment.action_spec()
      for _ in range(50 if name in environments.GRIDS else 10):
        if isinstance(spec, specs.DiscreteArray):
          yield np.int32(rng.integers(spec.num_values))
        else:
          yield rng.uniform(-1, 1, spec.shape).astype(np.float32)

  values = [f'{option}_{value}' for option, value in options.items()]
  label = '_'.join([name.replace(':', '_'), *values])
  ConformanceTest.__name__ = ConformanceTest.__qualname__ = f'Test_{label}'
  if name in environments.QUICK:
    return ConformanceTest
  return pytest.mark.slow(ConformanceTest)


_CASES = [(_name, {}) for _name in factory.names()]
_CASES += [
  (_name, {'observation': _kind})
  for _name in environments.GRIDS
  for _kind in gridworlds.OBSERVATIONS
]
_CASES += [
  ('grid:open_41', {'goal': 5}),
  ('classic:catch', {'observation': 'board'}),
  ('classic:deep_sea', {'observation': 'board', 'size': 3}),
  # Episodes of 20 and of 10 steps: their ends are seen too.
  ('atari:pong', {'max_frames': 80, 'rewards': 'clipped'}),
  ('atari:seaquest', {'max_frames': 38, 'actions': 'minimal'}),
  ('control:walker_stand', {'action_repeat': 250}),
  ('control:lqr_lqr_2_1', {'time_limit': 0.3}),
]
for _case in _CASES:
  _test = _conformance_test(*_case)
  globals()[_test.__name__] = _test
del _test  # Else the last one would be collected a second time.


def test_names_are_those_of_all_suites():
  names = factory.names()
  assert len(names) == len(set(names))
  counts = {'grid': 7, 'control': 51, 'atari': 104, 'random': 2, 'classic': 3}
  for suite, count in counts.items():
    own = [name for name in names if name.startswith(f'{suite}:')]
    assert len(own) == len(factory.load(suite).TASKS) == count
  assert {name.partition(':')[0] for name in names} == set(factory.SUITES)
  assert environments.GRIDS == (
    'grid:disdain_release',
    'grid:four_rooms',
    'grid:open_11',
    'grid:open_41',
    'grid:top_rows',
    'grid:bump',
    'grid:rewards_11',
  )
  assert set(environments.QUICK) < set(names)


def test_a_suite_is_added_by_naming_its_module(monkeypatch):
  module = types.ModuleType('toy_suite')
  module.TASKS = ('small',)

  def make(task, *, seed, size=3):
    checks.integer('size', size, 1)
    return task, seed, size

  module.make = make
  monkeypatch.setitem(sys.modules, 'toy_suite', module)
  monkeypatch.setitem(factory.SUITES, 'toy', 'toy_suite')
  assert 'toy:small' in factory.names()
  assert factory.options('toy') == ('size',)
  assert factory.make('toy:small', seed=2, size=5) == ('small', 2, 5)
  with pytest.raises(ValueError, match="option 'sise' is unknown. Did you"):
    factory.make('toy:small', sise=5)


@pytest.mark.parametrize('name', environments.NAMES)
def test_specs_have_names_and_bounds(name):
  environment = factory.make(name)
  for spec in (
    environment.observation_spec(),
    environment.action_spec(),
    environment.reward_spec(),
    environment.discount_spec(),
  ):
    assert spec.name
    assert isinstance(spec, specs.BoundedArray)
    assert spec.dtype in (np.float32, np.int32, np.uint8)


@pytest.mark.parametrize('name', environments.GRIDS)
def test_every_name_makes_an_environment_of_its_own(name):
  first, second = factory.make(name), factory.make(name)
  first.reset()
  assert first is not second
  assert isinstance(first, tabular_environment.TabularEnvironment)
  assert second.state is None
  assert name == f'grid:{first.grid.name}'


@pytest.mark.parametrize(
  'kind, spec',
  [
    ('index', specs.DiscreteArray(24, np.int32, 'state')),
    ('one_hot', specs.BoundedArray((24,), np.float32, 0, 1, 'one_hot')),
    ('pixels', specs.BoundedArray((8, 7, 3), np.uint8, 0, 255, 'pixels')),
  ],
)
def test_options_reach_the_environment(kind, spec):
  environment = factory.make(
    'grid:disdain_release', seed=5, observation=kind, horizon=2
  )
  # As text, since equality of specs leaves out their names.
  assert repr(environment.observation_spec()) == repr(spec)
  assert environment.mdp.horizon == 2
  endless = factory.make('grid:disdain_release', horizon=None)
  assert endless.mdp.horizon is None


@pytest.mark.parametrize(
  'name, options, message',
  [
    (
      'gird:four_rooms',
      {},
      "environment 'gird:four_rooms': suite 'gird' is unknown. Did you mean"
      f" 'grid'? Allowed: {SUITES}.",
    ),
    (
      'grid:four_room',
      {},
      "environment 'grid:four_room': task 'four_room' is unknown. Did you mean"
      " 'four_rooms'? Allowed: 'disdain_release', 'four_rooms', 'open_11',"
      " 'open_41', 'top_rows', 'bump', 'rewards_11'.",
    ),
    (
      'grid:xyz',
      {},
      "environment 'grid:xyz': task 'xyz' is unknown. Allowed:"
      " 'disdain_release', 'four_rooms', 'open_11', 'open_41', 'top_rows',"
      " 'bump', 'rewards_11'.",
    ),
    (
      'four_room',
      {},
      "environment 'four_room' must be written 'suite:task'. Did you mean"
      f" 'grid:four_rooms'? Suites: {SUITES}.",
    ),
    (
      'grid_four_rooms',
      {},
      "environment 'grid_four_rooms' must be written 'suite:task'. Did you mean"
      f" 'grid:four_rooms'? Suites: {SUITES}.",
    ),
    (
      'grid:four_rooms',
      {'horison': 3},
      "environment 'grid:four_rooms': option 'horison' is unknown. Did you mean"
      " 'horizon'? Allowed: 'observation', 'horizon', 'goal'.",
    ),
    (
      'grid:four_rooms',
      {'observation': 'onehot'},
      "observation 'onehot' is unknown. Did you mean 'one_hot'? Allowed:"
      " 'index', 'one_hot', 'row_column', 'pixels'.",
    ),
    (
      'grid:open_11',
      {'goal': 3},
      "map 'open_11' has no goals: goal must be None, got 3. Maps with goals:"
      " 'open_41'.",
    ),
    (
      'grid:open_41',
      {'goal': 32},
      'goal must be an integer in 0..31, got 32.',
    ),
    (
      'walker_stan',
      {},
      "environment 'walker_stan' must be written 'suite:task'. Did you mean"
      f" 'control:walker_stand'? Suites: {SUITES}.",
    ),
    (
      'control:walker_walk',
      {'observation': 'pixel'},
      "observation 'pixel' is unknown. Did you mean 'pixels'? Allowed:"
      " 'features', 'pixels'.",
    ),
    (
      'control:walker_walk',
      {'action_repeat': 0},
      'action_repeat must be an integer >= 1, got 0.',
    ),
    (
      'control:walker_walk',
      {'time_limit': 0},
      'time_limit must be None or positive (seconds), got 0.',
    ),
    (
      'control:walker_walk',
      {'time_limit': 'long'},
      "time_limit must be None or positive (seconds), got 'long'.",
    ),
    (
      'control:walker_walk',
      {'control_timestep': -1},
      'control_timestep must be None or positive (seconds), got -1.',
    ),
    (
      'control:cartpole_balance',
      {'control_timestep': 0.025},
      'Control timestep (0.025) must be an integer multiple of physics timestep'
      ' (0.01)',
    ),
    (
      'control:walker_walk',
      {'size': 8.5},
      'size must be an integer >= 1, got 8.5.',
    ),
    (
      'control:walker_walk',
      {'seed': 2**32},
      'seed must be an integer in 0..4294967295, got 4294967296.',
    ),
    (
      'control:walker_walk',
      {'frame_skip': 2},
      "environment 'control:walker_walk': option 'frame_skip' is unknown."
      " Allowed: 'observation', 'size', 'action_repeat', 'time_limit',"
      " 'control_timestep'.",
    ),
    (
      'atari:pong',
      {'actions': 'all'},
      "actions 'all' is unknown. Allowed: 'full', 'minimal'.",
    ),
    (
      'atari:pong',
      {'rewards': 'clip'},
      "rewards 'clip' is unknown. Did you mean 'clipped'? Allowed: 'score',"
      " 'clipped'.",
    ),
    (
      'atari:pong',
      {'sticky': 25},
      'sticky must be a number in [0, 1], got 25.',
    ),
    (
      'atari:pong',
      {'max_frames': 0},
      'max_frames must be an integer >= 1, got 0.',
    ),
    (
      'atari:pong',
      {'seed': -1},
      'seed must be an integer >= 0, got -1.',
    ),
    (
      'random:dense',
      {'branching': 21},
      'branching must be an integer in 1..20, got 21.',
    ),
    (
      'random:sparse',
      {'rewarded': 'no'},
      "rewarded must be a number in [0, 1], got 'no'.",
    ),
    (
      'grid:four_rooms',
      {'horizon': 0},
      'horizon must be an integer >= 1, got 0.',
    ),
    (
      'grid:four_rooms',
      {'horizon': '8'},
      "horizon must be an integer >= 1, got '8'.",
    ),
    (
      'grid:four_rooms',
      {'seed': -1},
      'seed must be an integer >= 0, got -1.',
    ),
  ],
)
def test_unknown_names_and_values_are_refused_in_one_line(
  name, options, message
):
  with pytest.raises(ValueError) as error:
    factory.make(name, **options)
  assert str(error.value) == message


def test_a_misspelled_game_is_refused_with_the_nearest():
  with pytest.raises(ValueError, match="Did you mean 'montezuma_revenge'"):
    factory.make('atari:montezumas_revenge')
  with pytest.raises(ValueError, match="Did you mean 'dog_trot'"):
    factory.make('control:dog_trott')


def test_importing_the_factory_does_not_import_the_suites():
  program = (
    'import sys, envs.factory; '
    "assert 'envs.gridworlds' not in sys.modules; "
    "assert 'jax' not in sys.modules"
  )
  subprocess.run([sys.executable, '-c', program], check=True)


def test_listing_names_does_not_import_the_simulators():
  program = (
    'import sys; from envs import factory; assert factory.names(); '
    "assert not {'mujoco', 'dm_control', 'ale_py'} & set(sys.modules)"
  )
  subprocess.run([sys.executable, '-c', program], check=True)
