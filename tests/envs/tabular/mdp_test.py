"""Tests of envs/tabular/mdp.py."""

import dataclasses
import re

import numpy as np
import pytest

from envs.tabular import environment as tabular_environment
from envs.tabular import functional as tabular_functional
from envs.tabular import mdp as tabular_mdp
from tests import mdps


def test_values_of_deterministic_policies_by_hand():
  mdp = mdps.two_states()
  stay, swap = np.eye(2)[[0, 0]], np.eye(2)[[1, 1]]
  # Staying in 1 pays 1 for ever: 1 / (1 - 1/2) = 2.
  np.testing.assert_allclose(mdp.state_values(stay, 0.5), [0, 2])
  # Swapping pays 2, 0, 2, 0, ...: V(0) = 2 / (1 - 1/4) = 8/3, V(1) = V(0) / 2.
  np.testing.assert_allclose(mdp.state_values(swap, 0.5), [8 / 3, 4 / 3])
  # Q(0, stay) = 0 + 8/3 / 2, Q(0, swap) = 2 + 4/3 / 2,
  # Q(1, stay) = 1 + 4/3 / 2, Q(1, swap) = 0 + 8/3 / 2.
  np.testing.assert_allclose(
    mdp.action_values(swap, 0.5), [[4 / 3, 8 / 3], [5 / 3, 4 / 3]]
  )


def test_values_of_a_stochastic_policy_by_hand():
  # Uniform: V0 = 1 + (V0 + V1) / 4 and V1 = 1/2 + (V0 + V1) / 4. The sum is
  # 3/2 + (sum) / 2, so it is 3; V0 = 7/4 and V1 = 5/4.
  uniform = np.full((2, 2), 0.5)
  np.testing.assert_allclose(
    mdps.two_states().state_values(uniform, 0.5), [7 / 4, 5 / 4]
  )


def test_optimal_values_by_hand():
  # Staying in 1 is worth 2 and reaching it from 0 is worth 2 + 2/2 = 3;
  # going back from 1 would be worth 3/2 only.
  np.testing.assert_allclose(mdps.two_states().optimal_values(0.5), [3, 2])
  # Far-sighted: stay in 1 for 1 / (1 - 0.9) = 10, from 0 for 2 + 9 = 11; going
  # back is worth 9.9.
  np.testing.assert_allclose(mdps.two_states().optimal_values(0.9), [11, 10])


def test_values_of_terminal_states_are_zero():
  mdp = mdps.corridor()
  go = np.eye(2)[[1, 1, 1]]
  # One discounted step from the reward of 3; the terminal row's 7 is ignored.
  np.testing.assert_allclose(mdp.state_values(go, 0.5), [1.5, 3, 0])
  np.testing.assert_allclose(
    mdp.action_values(go, 0.5), [[0.75, 1.5], [1.5, 3], [0, 0]]
  )
  np.testing.assert_allclose(mdp.optimal_values(0.5), [1.5, 3, 0])


def test_occupancy_of_a_corridor_stays_in_the_terminal_state():
  # 1/2, then 1/2 * 1/2, and all that is left in the state that absorbs.
  go = np.eye(2)[[1, 1, 1]]
  np.testing.assert_allclose(
    mdps.corridor().occupancy(go, 0.5), [0.5, 0.25, 0.25]
  )


@pytest.mark.parametrize('discount', [0.0, 0.5, 0.97])
@pytest.mark.parametrize(
  'mdp', [mdps.random_mdp(), mdps.with_terminals(), mdps.corridor()]
)
def test_values_and_occupancies_satisfy_their_defining_equations(mdp, discount):
  policy = mdps.random_policy(mdp)
  values = mdp.state_values(policy, discount)
  action_values = mdp.action_values(policy, discount)
  np.testing.assert_allclose(
    (policy * action_values).sum(-1), values, atol=1e-12
  )
  assert not values[mdp.terminal].any()

  # d.r = (1 - g) mu.V: the same return, counted by time or by state.
  occupancy = mdp.occupancy(policy, discount)
  np.testing.assert_allclose(occupancy.sum(), 1.0)
  assert (occupancy >= 0).all()
  np.testing.assert_allclose(
    occupancy @ (policy * mdp.rewards).sum(-1),
    (1 - discount) * mdp.initial @ values,
  )

  # Value iteration, an independent road to the optimum.
  optimal = np.zeros(mdp.num_states)
  for _ in range(1500):
    live = ~mdp.terminal * optimal
    optimal = (mdp.rewards + discount * mdp.transitions @ live).max(-1)
    optimal[mdp.terminal] = 0
  np.testing.assert_allclose(
    mdp.optimal_values(discount), optimal, atol=1e-8, rtol=1e-8
  )
  assert (mdp.optimal_values(discount) >= values - 1e-9).all()


def test_occupancy_is_the_discounted_sum_of_state_distributions():
  mdp, discount = mdps.with_terminals(), 0.8
  policy = mdps.random_policy(mdp)
  total = sum(
    (1 - discount) * discount**t * mdp.state_distribution(policy, t)
    for t in range(150)
  )
  np.testing.assert_allclose(mdp.occupancy(policy, discount), total, atol=1e-9)


# The process itself.


def test_determinism_needs_no_random_transition_and_no_random_start():
  assert mdps.two_states().is_deterministic
  assert mdps.two_states().successors.tolist() == [[0, 1], [1, 0]]
  assert mdps.two_states().successors.dtype == np.int32
  random_start = mdps.two_states(initial=[0.5, 0.5])
  assert not random_start.is_deterministic
  assert random_start.successors.tolist() == [[0, 1], [1, 0]]
  assert not mdps.random_mdp().is_deterministic
  slippery = mdps.two_states(
    transitions=[[[1, 0], [0.1, 0.9]], [[0, 1], [1, 0]]]
  )
  assert not slippery.is_deterministic
  with pytest.raises(ValueError, match='no transition is random'):
    _ = slippery.successors
  with pytest.raises(ValueError, match='no transition is random'):
    _ = mdps.random_mdp().successors


def test_successors_and_transitions_define_the_same_process():
  given = {
    'rewards': [[0, 0], [0, 3], [7, 7]],
    'terminal': np.array([False, False, True]),
    'initial': [1, 0, 0],
  }
  mdp = tabular_mdp.TabularMDP(successors=[[0, 1], [1, 2], [0, 0]], **given)
  dense = mdps.corridor()
  assert mdp.successors.tolist() == [[0, 1], [1, 2], [2, 2]]
  assert mdp.successors.dtype == np.int32
  assert dense.successors.tolist() == mdp.successors.tolist()
  np.testing.assert_array_equal(mdp.transitions, dense.transitions)
  assert mdp.transitions is mdp.transitions
  assert mdp.num_states == 3 and mdp.num_actions == 2


def test_transitions_are_computed_from_successors_only_on_use():
  states = np.arange(1681)
  mdp = tabular_mdp.TabularMDP(
    successors=np.stack([states, np.roll(states, -1)], axis=1),
    rewards=np.zeros((1681, 2)),
    terminal=np.zeros(1681, bool),
    initial=np.eye(1681)[0],
    horizon=10,
  )
  tabular_environment.TabularEnvironment(mdp).reset()
  tabular_functional.make(mdp)
  policy = np.full((1681, 2), 0.5)
  # Heads or tails, twice.
  np.testing.assert_array_equal(
    mdp.state_distribution(policy, 2)[:4], [0.25, 0.5, 0.25, 0]
  )
  assert (mdp.state_distribution(policy, 2) > 0).sum() == 3
  assert 'transitions' not in vars(mdp)
  assert mdp.transitions.shape == (1681, 2, 1681)
  assert 'transitions' in vars(mdp)


@pytest.mark.parametrize(
  'changes, message',
  [
    (
      {'transitions': np.ones((1, 1, 1))},
      'one of transitions and successors must be given, got both.',
    ),
    (
      {'successors': None},
      'one of transitions and successors must be given, got neither.',
    ),
    (
      {'successors': [0]},
      'successors must have shape [S, A] with S, A >= 1, got [1].',
    ),
    ({'successors': [[0.0]]}, 'successors must be integers, got float64.'),
    (
      {'successors': [[1]]},
      'successors must be states in 0..0, got 1 at (0, 0).',
    ),
    (
      {'successors': [[-1]]},
      'successors must be states in 0..0, got -1 at (0, 0).',
    ),
  ],
)
def test_invalid_successors_are_refused(changes, message):
  fields = {
    'successors': [[0]],
    'rewards': [[0]],
    'terminal': np.array([False]),
    'initial': [1],
  }
  with pytest.raises(ValueError, match=re.escape(message)):
    tabular_mdp.TabularMDP(**{**fields, **changes})


def test_terminal_states_are_made_absorbing():
  mdp = mdps.corridor()
  assert mdp.successors[2].tolist() == [2, 2]
  assert mdp.rewards[2].tolist() == [0, 0]


def test_arrays_are_read_only_copies():
  initial = np.array([1.0, 0.0])
  mdp = mdps.two_states(initial=initial)
  initial[:] = 0.5
  assert mdp.initial.tolist() == [1, 0]
  for field in ('transitions', 'rewards', 'terminal', 'initial'):
    with pytest.raises(ValueError, match='read-only'):
      getattr(mdp, field)[...] = 0
  with pytest.raises(dataclasses.FrozenInstanceError):
    mdp.horizon = 3


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'transitions': np.eye(2)}, 'transitions must have shape [S, A, S]'),
    (
      {'transitions': np.ones((2, 2, 3))},
      'transitions must have shape [S, A, S] with S, A >= 1, got [2, 2, 3].',
    ),
    (
      {'transitions': [[[2, -1], [0, 1]], [[0, 1], [1, 0]]]},
      'transitions must hold probabilities in [0, 1], got 2.0 at (0, 0, 0).',
    ),
    (
      {'transitions': [[[1, 0], [0, np.nan]], [[0, 1], [1, 0]]]},
      'transitions must hold probabilities in [0, 1], got nan at (0, 1, 1).',
    ),
    (
      {'transitions': [[[1, 0], [0.5, 0]], [[0, 1], [1, 0]]]},
      'transitions must sum to 1 over its last axis, got 0.5 at (0, 1).',
    ),
    ({'rewards': [0, 1]}, 'rewards must have shape (2, 2), got (2,).'),
    (
      {'rewards': [[0, np.inf], [0, 0]]},
      'rewards must be finite, got inf at (0, 1).',
    ),
    ({'terminal': [0, 1]}, 'terminal must be bool of shape (2,), got int64'),
    ({'terminal': [True]}, 'terminal must be bool of shape (2,)'),
    ({'initial': [1]}, 'initial must have shape (2,), got (1,).'),
    ({'initial': [0.5, 0.4]}, 'initial must sum to 1 over its last axis'),
    (
      {'initial': [0, 1], 'terminal': [False, True]},
      'initial must be 0 in terminal states, got 1.0 in state 1.',
    ),
    ({'horizon': 0}, 'horizon must be an integer >= 1, got 0.'),
    ({'horizon': 2.5}, 'horizon must be an integer >= 1, got 2.5.'),
    ({'horizon': True}, 'horizon must be an integer >= 1, got True.'),
  ],
)
def test_invalid_fields_are_refused_by_name(changes, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    mdps.two_states(**changes)


@pytest.mark.parametrize('discount', [-0.1, 1.0, np.nan])
def test_discounts_outside_zero_and_one_are_refused(discount):
  uniform = np.full((2, 2), 0.5)
  for call in (
    lambda mdp: mdp.state_values(uniform, discount),
    lambda mdp: mdp.optimal_values(discount),
    lambda mdp: mdp.occupancy(uniform, discount),
  ):
    with pytest.raises(ValueError, match=r'discount must be in \[0, 1\)'):
      call(mdps.two_states())


def test_invalid_policies_and_step_counts_are_refused():
  with pytest.raises(ValueError, match='policy must sum to 1'):
    mdps.two_states().state_values(np.ones((2, 2)), 0.5)
  with pytest.raises(ValueError, match=r'policy must have shape \(2, 2\)'):
    mdps.two_states().occupancy(np.ones(2), 0.5)
  with pytest.raises(ValueError, match='num_steps must be an integer >= 0'):
    mdps.two_states().state_distribution(np.full((2, 2), 0.5), -1)


def test_float32_probabilities_are_rescaled_and_sampling_stays_possible():
  rows = np.full((3, 1, 3), 1 / 3, dtype=np.float32)
  rows[:, :, 2] = 0
  rows[:, :, :2] = np.float32(0.5) - np.float32(1e-7)
  mdp = tabular_mdp.TabularMDP(
    transitions=rows,
    rewards=np.zeros((3, 1)),
    terminal=np.zeros(3, dtype=bool),
    initial=np.full(3, 1 / 3, dtype=np.float32),
  )
  np.testing.assert_allclose(mdp.transitions.sum(-1), 1, rtol=1e-15)
  np.testing.assert_allclose(mdp.initial.sum(), 1, rtol=1e-15)


def test_sampling_cannot_reach_an_outcome_of_probability_zero():
  # Ten times 0.1 sums to 1 - 1e-16: the largest u below 1 is beyond it.
  probabilities = np.array([0.0] + [0.1] * 10 + [0.0, 0.0])
  assert np.cumsum(probabilities)[-1] < 1
  cumulative = tabular_mdp.cumulative(probabilities)
  largest = np.nextafter(1.0, 0.0)
  assert cumulative.searchsorted(largest, 'right') == 10
  assert cumulative.searchsorted(0.0, 'right') == 1
  assert cumulative.searchsorted(0.15, 'right') == 2
