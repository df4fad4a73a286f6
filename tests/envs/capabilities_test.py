"""Tests of envs/capabilities.py."""

import pytest

from envs import capabilities
from envs import endless
from envs import factory
from envs import wrappers
from tests import environments

CAPABILITIES = {
  protocol.__name__: protocol
  for protocol in (
    capabilities.HasTables,
    capabilities.HasGrid,
    capabilities.HasFunctional,
    capabilities.MayBeEndless,
    capabilities.HasSavedState,
    capabilities.HasObservationSlices,
    capabilities.HasPhysics,
    capabilities.HasScreen,
    capabilities.HasConsole,
  )
}
TABULAR = {'HasTables', 'HasFunctional', 'MayBeEndless', 'HasSavedState'}
# By suite, or by name where a task differs from its suite.
EXPECTED = {
  'grid': TABULAR | {'HasGrid'},
  'random': TABULAR,
  'classic': TABULAR,
  'classic:cartpole': {'HasFunctional', 'HasSavedState'},
  'control': {'HasObservationSlices', 'HasPhysics'},
  'atari': {'HasScreen', 'HasConsole'},
}


def offered(environment):
  return {
    name
    for name, protocol in CAPABILITIES.items()
    if isinstance(environment, protocol)
  }


def expected(name):
  suite = name.partition(':')[0]
  return EXPECTED.get(name, EXPECTED.get(suite))


@pytest.mark.parametrize('name', environments.NAMES)
def test_each_environment_has_its_suite_s_capabilities(name):
  environment = factory.make(name)
  known = expected(name)
  if known is None:  # A suite that this file does not know; see its own test.
    known = offered(environment)
  assert offered(environment) == known
  assert offered(wrappers.Wrapper(environment)) == known
  environment.close()


def test_each_capability_has_a_row_in_the_table():
  protocols = {
    name
    for name, value in vars(capabilities).items()
    if getattr(value, '_is_protocol', False) and name != 'Protocol'
  }
  assert protocols == set(CAPABILITIES)
  for name in protocols:
    assert f'| `{name}` |' in capabilities.__doc__


def test_bare_environments_have_no_capability():
  bare = object()
  assert offered(bare) == set()
  assert not capabilities.is_endless(bare)
  assert not capabilities.can_film(bare)
  assert capabilities.observation_slices(bare) == {}
  assert capabilities.save(bare) is None
  capabilities.restore(bare, None)


def test_endless_environments_stay_endless_when_cut_into_episodes():
  assert capabilities.is_endless(factory.make('grid:open_11'))
  assert not capabilities.is_endless(factory.make('grid:four_rooms'))
  cut = endless.Segments(factory.make('grid:open_11'), 5)
  assert capabilities.is_endless(cut)


def test_simulations_and_screens_can_be_filmed():
  for name in environments.QUICK:
    environment = factory.make(name)
    films = name.startswith(('control:', 'atari:'))
    assert capabilities.can_film(environment) == films
    environment.close()


def test_saved_state_continues_in_another_environment():
  first, other = (factory.make('random:dense', seed=seed) for seed in (1, 2))
  first.reset()
  capabilities.restore(other, capabilities.save(first))
  for _ in range(5):
    assert first.step(1).observation == other.step(1).observation


@pytest.mark.parametrize(
  'saved, is_whole',
  [
    (None, False),
    ({'state': None}, True),
    ({'environment': {'state': 1}, 'observation': None}, True),
    ({'environment': None}, False),
    ({'environments': [{'state': 1}, {'environment': {'state': 2}}]}, True),
    ({'environments': [{'state': 1}, None]}, False),
    ({'environments': [{'environment': None}]}, False),
  ],
)
def test_saved_state_is_whole_if_no_environment_inside_lacks_its_own(
  saved, is_whole
):
  assert capabilities.is_whole(saved) == is_whole
