"""Tests of envs/tabular/environment.py."""

import re

from absl.testing import absltest
import dm_env
from dm_env import specs
from dm_env import test_utils
import jax.numpy as jnp
import numpy as np
import pytest

from envs.tabular import environment as tabular_environment
from envs.tabular import functional as tabular_functional
from tests import mdps


class _Conformance(test_utils.EnvironmentTestMixin):
  """The contract of dm_env, over whole episodes of random actions."""

  def make_action_sequence(self):
    rng = np.random.default_rng(0)
    for _ in range(60):
      yield np.int32(rng.integers(self.environment.action_spec().num_values))


class StochasticConformanceTest(_Conformance, absltest.TestCase):
  def make_object_under_test(self):
    return tabular_environment.TabularEnvironment(mdps.random_mdp(horizon=7))


class TerminalConformanceTest(_Conformance, absltest.TestCase):
  def make_object_under_test(self):
    return tabular_environment.TabularEnvironment(
      mdps.with_terminals(horizon=30)
    )


class VectorConformanceTest(_Conformance, absltest.TestCase):
  def make_object_under_test(self):
    table = np.random.default_rng(0).normal(size=(mdps.NUM_STATES, 2))
    return tabular_environment.TabularEnvironment(
      mdps.with_terminals(), table, observation_name='features'
    )


def test_horizon_truncates_with_discount_one_and_the_next_step_begins_anew():
  environment = tabular_environment.TabularEnvironment(
    mdps.two_states(horizon=3)
  )
  assert environment.state is None
  assert environment.step(1).first()
  timesteps = [environment.step(1) for _ in range(4)]
  assert [t.step_type for t in timesteps] == [
    dm_env.StepType.MID,
    dm_env.StepType.MID,
    dm_env.StepType.LAST,
    dm_env.StepType.FIRST,
  ]
  # Swapping pays 2 from state 0 and 0 from state 1.
  assert [t.reward for t in timesteps] == [2, 0, 2, None]
  assert [t.discount for t in timesteps] == [1, 1, 1, None]
  assert [int(t.observation) for t in timesteps] == [1, 0, 1, 0]
  # The count starts again: three more steps to the end.
  assert [environment.step(0).last() for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize('horizon', [None, 2, 5])
def test_terminal_state_ends_with_discount_zero_also_at_the_horizon(horizon):
  environment = tabular_environment.TabularEnvironment(
    mdps.corridor(horizon=horizon)
  )
  environment.reset()
  assert environment.step(1).mid()
  timestep = environment.step(1)
  assert timestep.last()
  assert (timestep.reward, timestep.discount) == (3, 0)
  assert environment.step(1).first()


def test_without_a_horizon_nothing_ends():
  environment = tabular_environment.TabularEnvironment(mdps.two_states())
  environment.reset()
  assert all(environment.step(1).mid() for _ in range(500))


def test_dtypes_are_strict():
  environment = tabular_environment.TabularEnvironment(
    mdps.random_mdp(horizon=2)
  )
  for timestep in [environment.reset(), environment.step(0)]:
    assert timestep.observation.dtype == np.int32
    assert timestep.observation.shape == ()
  assert timestep.reward.dtype == np.float32
  assert timestep.discount.dtype == np.float32
  assert environment.step(0).discount.dtype == np.float32
  terminal = tabular_environment.TabularEnvironment(mdps.corridor())
  terminal.reset()
  terminal.step(1)
  assert terminal.step(1).discount.dtype == np.float32


def test_specs_have_names_and_bounds():
  # Compared as text, since equality of specs leaves out their names.
  environment = tabular_environment.TabularEnvironment(mdps.two_states())
  for spec, expected in [
    (
      environment.observation_spec(),
      specs.DiscreteArray(2, np.int32, 'state'),
    ),
    (environment.action_spec(), specs.DiscreteArray(2, np.int32, 'action')),
    (
      environment.reward_spec(),
      specs.BoundedArray((), np.float32, 0.0, 2.0, 'reward'),
    ),
    (
      environment.discount_spec(),
      specs.BoundedArray((), np.float32, 0.0, 1.0, 'discount'),
    ),
  ]:
    assert repr(spec) == repr(expected)
  table = np.array([[0.5, 2.0], [-1.0, 0.0]])
  environment = tabular_environment.TabularEnvironment(
    mdps.two_states(), table, observation_name='features'
  )
  assert repr(environment.observation_spec()) == repr(
    specs.BoundedArray((2,), np.float32, -1.0, 2.0, 'features')
  )
  np.testing.assert_array_equal(environment.observations, table)


def test_states_that_look_alike_share_an_observation():
  environment = tabular_environment.TabularEnvironment(
    mdps.corridor(), np.array([4, 0, 4])
  )
  assert environment.observation_spec().num_values == 5
  seen = [int(environment.reset().observation)]
  seen += [int(environment.step(1).observation) for _ in range(2)]
  assert seen == [4, 0, 4]
  observe = environment.functional().observe
  assert [int(observe(jnp.int32(s))) for s in range(3)] == [4, 0, 4]


def test_actions_may_be_any_integer_scalar():
  environment = tabular_environment.TabularEnvironment(mdps.two_states())
  environment.reset()
  for action in (1, np.int32(1), np.array(1, np.int32), jnp.int32(1)):
    before = environment.state
    environment.step(action)
    assert environment.state == 1 - before


@pytest.mark.parametrize('action', [2, -1, 0.0, np.array([1]), None, 'up'])
def test_invalid_actions_are_refused_and_change_nothing(action):
  environment = tabular_environment.TabularEnvironment(mdps.two_states())
  environment.reset()
  before = environment.save()
  with pytest.raises(
    ValueError,
    match=re.escape(f'action must be an integer in 0..1, got {action!r}.'),
  ):
    environment.step(action)
  assert environment.save() == before


def test_wrong_observations_and_seeds_are_refused():
  with pytest.raises(ValueError, match='observations must have 2 rows'):
    tabular_environment.TabularEnvironment(mdps.two_states(), np.zeros((3, 4)))
  with pytest.raises(ValueError, match='observations must have 2 rows'):
    tabular_functional.make(mdps.two_states(), np.float32(1.0))
  with pytest.raises(ValueError, match='seed must be an integer >= 0, got -1'):
    tabular_environment.TabularEnvironment(mdps.two_states(), seed=-1)


def rollout(environment, num_steps=200):
  rng = np.random.default_rng(9)
  steps = [
    environment.step(rng.integers(mdps.NUM_ACTIONS)) for _ in range(num_steps)
  ]
  return [(t.step_type, t.reward, int(t.observation)) for t in steps]


def test_episodes_are_a_function_of_the_seed():
  def run(seed):
    return rollout(
      tabular_environment.TabularEnvironment(mdps.with_terminals(9), seed=seed)
    )

  assert run(0) == run(0)
  assert run(0) != run(1)


@pytest.mark.parametrize('num_steps', [0, 1, 13, 50])
def test_a_restored_environment_continues_bit_for_bit(num_steps):
  mdp = mdps.with_terminals(horizon=5)
  environment = tabular_environment.TabularEnvironment(mdp, seed=0)
  rollout(environment, num_steps)
  saved = environment.save()
  expected = rollout(environment)
  other = tabular_environment.TabularEnvironment(mdp, seed=77)
  rollout(other, 3)
  other.restore(saved)
  assert rollout(other) == expected
  # What was saved is a copy, good for a second time.
  other.restore(saved)
  assert rollout(other) == expected


def test_saved_state_includes_the_step_count():
  environment = tabular_environment.TabularEnvironment(
    mdps.two_states(horizon=3)
  )
  environment.reset()
  environment.step(0)
  saved = environment.save()
  other = tabular_environment.TabularEnvironment(mdps.two_states(horizon=3))
  other.restore(saved)
  assert other.step(0).mid()
  assert other.step(0).last()
  at_end = other.save()
  environment.restore(at_end)
  assert environment.step(0).first()


def test_invalid_saved_states_are_refused():
  environment = tabular_environment.TabularEnvironment(mdps.two_states())
  with pytest.raises(ValueError, match='saved must have the keys'):
    environment.restore({'state': 0})
  with pytest.raises(ValueError, match='saved state must be None or in 0..1'):
    environment.restore({**environment.save(), 'state': 2})


def test_observations_are_read_only():
  environment = tabular_environment.TabularEnvironment(
    mdps.two_states(), np.eye(2)
  )
  with pytest.raises(ValueError, match='read-only'):
    environment.reset().observation[0] = 5
