"""Tests of envs/factory.py."""

import subprocess
import sys

from absl.testing import absltest
from dm_env import specs
from dm_env import test_utils
import numpy as np
import pytest

from envs import factory
from envs import gridworlds
from envs import tabular


def _conformance_test(name, options):
  """dm_env's contract for one environment, over whole episodes."""

  class ConformanceTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
    def make_object_under_test(self):
      return factory.make(name, **options)

    def make_action_sequence(self):
      rng = np.random.default_rng(0)
      for _ in range(50):
        yield np.int32(rng.integers(self.environment.action_spec().num_values))

  label = '_'.join([name.replace(':', '_'), *options.values()])
  ConformanceTest.__name__ = ConformanceTest.__qualname__ = f'Test_{label}'
  return ConformanceTest


for _name in factory.names():
  _kinds = gridworlds.OBSERVATIONS if _name.startswith('grid:') else ()
  for _options in [{}, *({'observation': kind} for kind in _kinds)]:
    _test = _conformance_test(_name, _options)
    globals()[_test.__name__] = _test
del _test  # Else the last one would be collected a second time.


def test_names_are_those_of_the_grids():
  assert factory.names() == ('grid:disdain_release', 'grid:four_rooms')


@pytest.mark.parametrize('name', factory.names())
def test_every_name_makes_an_environment_of_its_own(name):
  first, second = factory.make(name), factory.make(name)
  first.reset()
  assert first is not second
  assert isinstance(first, tabular.TabularEnvironment)
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
      " 'grid'? Allowed: 'grid'.",
    ),
    (
      'grid:four_room',
      {},
      "environment 'grid:four_room': task 'four_room' is unknown. Did you mean"
      " 'four_rooms'? Allowed: 'disdain_release', 'four_rooms'.",
    ),
    (
      'grid:xyz',
      {},
      "environment 'grid:xyz': task 'xyz' is unknown. Allowed:"
      " 'disdain_release', 'four_rooms'.",
    ),
    (
      'four_room',
      {},
      "environment 'four_room' must be written 'suite:task'. Did you mean"
      " 'grid:four_rooms'? Allowed: 'grid:disdain_release',"
      " 'grid:four_rooms'.",
    ),
    (
      'grid_four_rooms',
      {},
      "environment 'grid_four_rooms' must be written 'suite:task'. Did you mean"
      " 'grid:four_rooms'? Allowed: 'grid:disdain_release',"
      " 'grid:four_rooms'.",
    ),
    (
      'grid:four_rooms',
      {'horison': 3},
      "environment 'grid:four_rooms': option 'horison' is unknown. Did you mean"
      " 'horizon'? Allowed: 'observation', 'horizon'.",
    ),
    (
      'grid:four_rooms',
      {'observation': 'onehot'},
      "observation 'onehot' is unknown. Did you mean 'one_hot'? Allowed:"
      " 'index', 'one_hot', 'pixels'.",
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
def test_what_does_not_exist_is_refused_in_one_line(name, options, message):
  with pytest.raises(ValueError) as error:
    factory.make(name, **options)
  assert str(error.value) == message


def test_importing_the_factory_does_not_import_the_suites():
  program = (
    'import sys, envs.factory; '
    "assert 'envs.gridworlds' not in sys.modules; "
    "assert 'jax' not in sys.modules"
  )
  subprocess.run([sys.executable, '-c', program], check=True)
