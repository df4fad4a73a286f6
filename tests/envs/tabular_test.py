"""Tests of envs/tabular.py."""

import dataclasses
import re

from absl.testing import absltest
import dm_env
from dm_env import specs
from dm_env import test_utils
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.tabular import environment as tabular_environment
from envs.tabular import functional as tabular_functional
from envs.tabular import mdp as tabular_mdp

NUM_STATES = 6
NUM_ACTIONS = 3


def two_states(**changes) -> tabular_mdp.TabularMDP:
  """Action 1 goes from state 0 to 1 for reward 2, 1 back for 0; 0 stays.

  Staying pays 0 in state 0 and 1 in state 1.
  """
  fields = {
    'transitions': [[[1, 0], [0, 1]], [[0, 1], [1, 0]]],
    'rewards': [[0, 2], [1, 0]],
    'terminal': np.array([False, False]),
    'initial': [1, 0],
  }
  return tabular_mdp.TabularMDP(**{**fields, **changes})


def corridor(**changes) -> tabular_mdp.TabularMDP:
  """States 0 -> 1 -> 2 by action 1, action 0 stays; 2 is terminal.

  The last move pays 3. What the terminal rows say must not matter.
  """
  transitions = np.zeros((3, 2, 3))
  transitions[[0, 1], 0, [0, 1]] = 1
  transitions[[0, 1], 1, [1, 2]] = 1
  transitions[2, :, 0] = 1
  fields = {
    'transitions': transitions,
    'rewards': [[0, 0], [0, 3], [7, 7]],
    'terminal': np.array([False, False, True]),
    'initial': [1, 0, 0],
  }
  return tabular_mdp.TabularMDP(**{**fields, **changes})


def random_mdp(
  terminal=(False,) * NUM_STATES, horizon=None, seed=0
) -> tabular_mdp.TabularMDP:
  """A stochastic MDP with impossible transitions and a random first state."""
  rng = np.random.default_rng(seed)
  transitions = rng.dirichlet(
    np.full(NUM_STATES, 0.5), size=(NUM_STATES, NUM_ACTIONS)
  )
  transitions *= rng.random(transitions.shape) < 0.7
  transitions[..., 1] += 1e-3
  transitions /= transitions.sum(axis=-1, keepdims=True)
  initial = rng.dirichlet(np.ones(NUM_STATES)) * ~np.array(terminal)
  return tabular_mdp.TabularMDP(
    transitions=transitions,
    rewards=rng.normal(size=(NUM_STATES, NUM_ACTIONS)),
    terminal=np.array(terminal),
    initial=initial / initial.sum(),
    horizon=horizon,
  )


def with_terminals(horizon=None) -> tabular_mdp.TabularMDP:
  return random_mdp((False, False, False, True, False, True), horizon)


def random_policy(mdp, seed=1):
  rng = np.random.default_rng(seed)
  return rng.dirichlet(np.ones(mdp.num_actions), size=mdp.num_states)


class _Conformance(test_utils.EnvironmentTestMixin):
  """The contract of dm_env, over whole episodes of random actions."""

  def make_action_sequence(self):
    rng = np.random.default_rng(0)
    for _ in range(60):
      yield np.int32(rng.integers(self.environment.action_spec().num_values))


class StochasticConformanceTest(_Conformance, absltest.TestCase):
  def make_object_under_test(self):
    return tabular_environment.TabularEnvironment(random_mdp(horizon=7))


class TerminalConformanceTest(_Conformance, absltest.TestCase):
  def make_object_under_test(self):
    return tabular_environment.TabularEnvironment(with_terminals(horizon=30))


class VectorConformanceTest(_Conformance, absltest.TestCase):
  def make_object_under_test(self):
    table = np.random.default_rng(0).normal(size=(NUM_STATES, 2))
    return tabular_environment.TabularEnvironment(
      with_terminals(), table, observation_name='features'
    )


# Exact answers.


def test_values_of_staying_and_of_swapping_are_those_worked_out_by_hand():
  mdp = two_states()
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


def test_value_of_a_mixed_policy_is_the_one_worked_out_by_hand():
  # Uniform: V0 = 1 + (V0 + V1) / 4 and V1 = 1/2 + (V0 + V1) / 4. The sum is
  # 3/2 + (sum) / 2, so it is 3; V0 = 7/4 and V1 = 5/4.
  uniform = np.full((2, 2), 0.5)
  np.testing.assert_allclose(
    two_states().state_values(uniform, 0.5), [7 / 4, 5 / 4]
  )


def test_optimal_values_are_those_worked_out_by_hand():
  # Staying in 1 is worth 2 and reaching it from 0 is worth 2 + 2/2 = 3;
  # going back from 1 would be worth 3/2 only.
  np.testing.assert_allclose(two_states().optimal_values(0.5), [3, 2])
  # Far-sighted: stay in 1 for 1 / (1 - 0.9) = 10, from 0 for 2 + 9 = 11; going
  # back is worth 9.9.
  np.testing.assert_allclose(two_states().optimal_values(0.9), [11, 10])


def test_terminal_states_are_worth_nothing_and_nothing_is_gained_after_them():
  mdp = corridor()
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
  np.testing.assert_allclose(corridor().occupancy(go, 0.5), [0.5, 0.25, 0.25])


@pytest.mark.parametrize('discount', [0.0, 0.5, 0.97])
@pytest.mark.parametrize('mdp', [random_mdp(), with_terminals(), corridor()])
def test_exact_answers_satisfy_their_defining_equations(mdp, discount):
  policy = random_policy(mdp)
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
  mdp, discount = with_terminals(), 0.8
  policy = random_policy(mdp)
  total = sum(
    (1 - discount) * discount**t * mdp.state_distribution(policy, t)
    for t in range(150)
  )
  np.testing.assert_allclose(mdp.occupancy(policy, discount), total, atol=1e-9)


@pytest.mark.parametrize('mdp', [random_mdp(), with_terminals()])
def test_truth_agrees_with_averages_over_episodes(mdp):
  """Both views draw from what the formulas describe: occupancy and return."""
  num_episodes, num_steps, discount = 3000, 25, 0.7
  policy = random_policy(mdp)
  functional = tabular_functional.make(mdp)
  log_policy = jnp.log(jnp.asarray(policy, jnp.float32))

  def episode(key):
    def step(state, key):
      action_key, step_key = jax.random.split(key)
      action = jax.random.categorical(action_key, log_policy[state])
      next_state, reward, _ = functional.step(step_key, state, action)
      return next_state, (state, reward)

    reset_key, key = jax.random.split(key)
    keys = jax.random.split(key, num_steps)
    return jax.lax.scan(step, functional.reset(reset_key), keys)[1]

  keys = jax.random.split(jax.random.PRNGKey(0), num_episodes)
  states, rewards = jax.jit(jax.vmap(episode))(keys)
  weights = discount ** np.arange(num_steps)
  # What is cut off weighs 0.7^25 = 1e-4.
  shares = (1 - discount) * np.stack(
    [
      ((np.asarray(states) == state) * weights).sum(-1)
      for state in range(mdp.num_states)
    ]
  )
  returns = (np.asarray(rewards) * weights).sum(-1)
  for sample, truth in [
    *zip(shares, mdp.occupancy(policy, discount), strict=True),
    (returns, mdp.initial @ mdp.state_values(policy, discount)),
  ]:
    error = sample.std() / np.sqrt(num_episodes)
    assert abs(sample.mean() - truth) < 4 * error + 1e-3

  for t in (0, 1, 5):
    counts = np.bincount(states[:, t], minlength=mdp.num_states)
    truth = mdp.state_distribution(policy, t)
    error = np.sqrt(truth * (1 - truth) / num_episodes)
    assert (abs(counts / num_episodes - truth) <= 4 * error + 1e-3).all()


# The process itself.


def test_determinism_needs_sure_transitions_and_a_sure_start():
  assert two_states().is_deterministic
  assert two_states().successors.tolist() == [[0, 1], [1, 0]]
  assert two_states().successors.dtype == np.int32
  random_start = two_states(initial=[0.5, 0.5])
  assert not random_start.is_deterministic
  assert random_start.successors.tolist() == [[0, 1], [1, 0]]
  assert not random_mdp().is_deterministic
  slippery = two_states(transitions=[[[1, 0], [0.1, 0.9]], [[0, 1], [1, 0]]])
  assert not slippery.is_deterministic
  with pytest.raises(ValueError, match='no transition is random'):
    _ = slippery.successors
  with pytest.raises(ValueError, match='no transition is random'):
    _ = random_mdp().successors


def test_next_states_say_the_same_as_sure_transitions():
  given = {
    'rewards': [[0, 0], [0, 3], [7, 7]],
    'terminal': np.array([False, False, True]),
    'initial': [1, 0, 0],
  }
  mdp = tabular_mdp.TabularMDP(successors=[[0, 1], [1, 2], [0, 0]], **given)
  dense = corridor()
  assert mdp.successors.tolist() == [[0, 1], [1, 2], [2, 2]]
  assert mdp.successors.dtype == np.int32
  assert dense.successors.tolist() == mdp.successors.tolist()
  np.testing.assert_array_equal(mdp.transitions, dense.transitions)
  assert mdp.transitions is mdp.transitions
  assert mdp.num_states == 3 and mdp.num_actions == 2


def test_the_large_table_of_a_sure_world_is_made_only_when_asked_for():
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
  assert mdp.reachable(2).sum() == 3
  policy = np.full((1681, 2), 0.5)
  # Heads or tails, twice.
  np.testing.assert_array_equal(
    mdp.state_distribution(policy, 2)[:4], [0.25, 0.5, 0.25, 0]
  )
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
def test_next_states_that_cannot_be_are_refused(changes, message):
  fields = {
    'successors': [[0]],
    'rewards': [[0]],
    'terminal': np.array([False]),
    'initial': [1],
  }
  with pytest.raises(ValueError, match=re.escape(message)):
    tabular_mdp.TabularMDP(**{**fields, **changes})


def test_what_is_given_for_terminal_states_is_replaced_by_absorption():
  mdp = corridor()
  assert mdp.successors[2].tolist() == [2, 2]
  assert mdp.rewards[2].tolist() == [0, 0]


def test_the_arrays_are_copies_that_nobody_can_change():
  initial = np.array([1.0, 0.0])
  mdp = two_states(initial=initial)
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
def test_a_wrong_field_is_refused_by_name(changes, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    two_states(**changes)


@pytest.mark.parametrize('discount', [-0.1, 1.0, np.nan])
def test_discounts_outside_zero_and_one_are_refused(discount):
  uniform = np.full((2, 2), 0.5)
  for call in (
    lambda mdp: mdp.state_values(uniform, discount),
    lambda mdp: mdp.optimal_values(discount),
    lambda mdp: mdp.occupancy(uniform, discount),
  ):
    with pytest.raises(ValueError, match=r'discount must be in \[0, 1\)'):
      call(two_states())


def test_policies_and_step_counts_that_make_no_sense_are_refused():
  with pytest.raises(ValueError, match='policy must sum to 1'):
    two_states().state_values(np.ones((2, 2)), 0.5)
  with pytest.raises(ValueError, match=r'policy must have shape \(2, 2\)'):
    two_states().occupancy(np.ones(2), 0.5)
  with pytest.raises(ValueError, match='num_steps must be an integer >= 0'):
    two_states().reachable(-1)
  with pytest.raises(ValueError, match='num_steps must be an integer >= 0'):
    two_states().state_distribution(np.full((2, 2), 0.5), -1)


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


# The pure view.


@pytest.mark.parametrize(
  'mdp', [two_states(), corridor(), two_states(initial=[0.5, 0.5])]
)
def test_pure_step_equals_dm_env_step_where_transitions_are_sure(mdp):
  environment = tabular_environment.TabularEnvironment(mdp)
  functional = environment.functional()
  for state in np.flatnonzero(~mdp.terminal):
    for action in range(mdp.num_actions):
      environment.reset()
      environment.restore({**environment.save(), 'state': int(state)})
      timestep = environment.step(action)
      next_state, reward, discount = functional.step(
        None, jnp.int32(state), jnp.int32(action)
      )
      assert next_state == environment.state
      assert reward == timestep.reward
      assert discount == timestep.discount
      assert functional.observe(next_state) == timestep.observation


def test_both_views_step_with_the_given_probabilities():
  mdp = with_terminals()
  environment = tabular_environment.TabularEnvironment(mdp, seed=3)
  functional = tabular_functional.make(mdp)
  num_draws = 2000
  keys = jax.random.split(jax.random.PRNGKey(0), num_draws)
  pure_step = jax.jit(jax.vmap(functional.step, in_axes=(0, None, None)))
  for state in np.flatnonzero(~mdp.terminal):
    for action in range(mdp.num_actions):
      truth = mdp.transitions[state, action]
      bound = 4.5 * np.sqrt(truth * (1 - truth) / num_draws)
      next_states, rewards, discounts = pure_step(keys, state, action)
      frequency = np.bincount(next_states, minlength=NUM_STATES) / num_draws
      assert (abs(frequency - truth) <= bound).all()
      np.testing.assert_array_equal(
        rewards, np.full(num_draws, mdp.rewards[state, action], np.float32)
      )
      np.testing.assert_array_equal(discounts, ~mdp.terminal[next_states])

      visits = np.zeros(NUM_STATES)
      environment.reset()
      for _ in range(num_draws):
        saved = {**environment.save(), 'state': int(state)}
        environment.restore({**saved, 'needs_reset': False})
        timestep = environment.step(action)
        visits[environment.state] += 1
        assert timestep.discount == (not mdp.terminal[environment.state])
      assert (abs(visits / num_draws - truth) <= bound).all()


def test_both_views_start_with_the_given_probabilities():
  mdp = random_mdp()
  num_draws = 3000
  bound = 4 * np.sqrt(mdp.initial * (1 - mdp.initial) / num_draws)
  keys = jax.random.split(jax.random.PRNGKey(1), num_draws)
  pure = np.bincount(
    jax.vmap(tabular_functional.make(mdp).reset)(keys), minlength=6
  )
  assert (abs(pure / num_draws - mdp.initial) <= bound).all()
  environment = tabular_environment.TabularEnvironment(mdp, seed=1)
  starts = [int(environment.reset().observation) for _ in range(num_draws)]
  frequency = np.bincount(starts, minlength=6) / num_draws
  assert (abs(frequency - mdp.initial) <= bound).all()


@pytest.mark.parametrize('mdp', [two_states(), corridor(), with_terminals()])
def test_pure_functions_give_the_same_under_jit_and_vmap(mdp):
  functional = tabular_functional.make(
    mdp, np.arange(mdp.num_states)[:, None] * 2.0
  )
  keys = jax.random.split(jax.random.PRNGKey(0), 8)
  states = jnp.arange(8, dtype=jnp.int32) % mdp.num_states
  actions = jnp.arange(8, dtype=jnp.int32) % mdp.num_actions
  with jax.numpy_rank_promotion('raise'):
    batch = jax.jit(jax.vmap(functional.step))(keys, states, actions)
    resets = jax.jit(jax.vmap(functional.reset))(keys)
    seen = jax.jit(jax.vmap(functional.observe))(states)
  assert [x.dtype for x in batch] == [jnp.int32, jnp.float32, jnp.float32]
  assert [x.shape for x in batch] == [(8,)] * 3
  assert resets.dtype == jnp.int32 and resets.shape == (8,)
  assert seen.dtype == jnp.float32
  np.testing.assert_array_equal(seen, 2 * np.asarray(states)[:, None])
  for i in range(8):
    single = functional.step(keys[i], states[i], actions[i])
    assert all(x.shape == () for x in single)
    np.testing.assert_array_equal(single, [x[i] for x in batch])
    assert functional.reset(keys[i]) == resets[i]


def test_pure_view_of_a_deterministic_process_needs_no_keys():
  functional = tabular_functional.make(two_states(horizon=4))
  assert functional.is_deterministic
  assert (functional.num_states, functional.num_actions) == (2, 2)
  assert functional.horizon == 4
  assert functional.reset(None) == 0
  assert functional.step(None, jnp.int32(0), jnp.int32(1))[0] == 1
  assert not tabular_functional.make(random_mdp()).is_deterministic
  assert not tabular_functional.make(
    two_states(initial=[0.5, 0.5])
  ).is_deterministic


def test_pure_step_without_rewards_and_terminals_reads_one_table_only():
  mdp = two_states(rewards=np.zeros((2, 2)))
  jaxpr = jax.make_jaxpr(tabular_functional.make(mdp).step)(
    None, jnp.int32(0), jnp.int32(1)
  )
  assert str(jaxpr).count(' gather[') == 1
  assert 'select_n' not in str(jaxpr)


# The dm_env view.


def test_horizon_truncates_with_discount_one_and_the_next_step_begins_anew():
  environment = tabular_environment.TabularEnvironment(two_states(horizon=3))
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
    corridor(horizon=horizon)
  )
  environment.reset()
  assert environment.step(1).mid()
  timestep = environment.step(1)
  assert timestep.last()
  assert (timestep.reward, timestep.discount) == (3, 0)
  assert environment.step(1).first()


def test_without_a_horizon_nothing_ends():
  environment = tabular_environment.TabularEnvironment(two_states())
  environment.reset()
  assert all(environment.step(1).mid() for _ in range(500))


def test_dtypes_are_strict():
  environment = tabular_environment.TabularEnvironment(random_mdp(horizon=2))
  for timestep in [environment.reset(), environment.step(0)]:
    assert timestep.observation.dtype == np.int32
    assert timestep.observation.shape == ()
  assert timestep.reward.dtype == np.float32
  assert timestep.discount.dtype == np.float32
  assert environment.step(0).discount.dtype == np.float32
  terminal = tabular_environment.TabularEnvironment(corridor())
  terminal.reset()
  terminal.step(1)
  assert terminal.step(1).discount.dtype == np.float32


def test_specs_have_names_and_bounds():
  # Compared as text, since equality of specs leaves out their names.
  environment = tabular_environment.TabularEnvironment(two_states())
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
    two_states(), table, observation_name='features'
  )
  assert repr(environment.observation_spec()) == repr(
    specs.BoundedArray((2,), np.float32, -1.0, 2.0, 'features')
  )
  np.testing.assert_array_equal(environment.observations, table)


def test_states_that_look_alike_share_an_observation():
  environment = tabular_environment.TabularEnvironment(
    corridor(), np.array([4, 0, 4])
  )
  assert environment.observation_spec().num_values == 5
  seen = [int(environment.reset().observation)]
  seen += [int(environment.step(1).observation) for _ in range(2)]
  assert seen == [4, 0, 4]
  observe = environment.functional().observe
  assert [int(observe(jnp.int32(s))) for s in range(3)] == [4, 0, 4]


def test_actions_may_be_any_integer_scalar():
  environment = tabular_environment.TabularEnvironment(two_states())
  environment.reset()
  for action in (1, np.int32(1), np.array(1, np.int32), jnp.int32(1)):
    before = environment.state
    environment.step(action)
    assert environment.state == 1 - before


@pytest.mark.parametrize('action', [2, -1, 0.0, np.array([1]), None, 'up'])
def test_an_action_that_does_not_exist_is_refused_and_changes_nothing(action):
  environment = tabular_environment.TabularEnvironment(two_states())
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
    tabular_environment.TabularEnvironment(two_states(), np.zeros((3, 4)))
  with pytest.raises(ValueError, match='observations must have 2 rows'):
    tabular_functional.make(two_states(), np.float32(1.0))
  with pytest.raises(ValueError, match='seed must be an integer >= 0, got -1'):
    tabular_environment.TabularEnvironment(two_states(), seed=-1)


def rollout(environment, num_steps=200):
  rng = np.random.default_rng(9)
  steps = [
    environment.step(rng.integers(NUM_ACTIONS)) for _ in range(num_steps)
  ]
  return [(t.step_type, t.reward, int(t.observation)) for t in steps]


def test_the_seed_decides_everything():
  def run(seed):
    return rollout(
      tabular_environment.TabularEnvironment(with_terminals(9), seed=seed)
    )

  assert run(0) == run(0)
  assert run(0) != run(1)


@pytest.mark.parametrize('num_steps', [0, 1, 13, 50])
def test_a_restored_environment_continues_bit_for_bit(num_steps):
  mdp = with_terminals(horizon=5)
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


def test_the_step_count_is_part_of_what_is_saved():
  environment = tabular_environment.TabularEnvironment(two_states(horizon=3))
  environment.reset()
  environment.step(0)
  saved = environment.save()
  other = tabular_environment.TabularEnvironment(two_states(horizon=3))
  other.restore(saved)
  assert other.step(0).mid()
  assert other.step(0).last()
  at_end = other.save()
  environment.restore(at_end)
  assert environment.step(0).first()


def test_something_else_than_a_saved_environment_is_refused():
  environment = tabular_environment.TabularEnvironment(two_states())
  with pytest.raises(ValueError, match='saved must have the keys'):
    environment.restore({'state': 0})
  with pytest.raises(ValueError, match='saved state must be None or in 0..1'):
    environment.restore({**environment.save(), 'state': 2})


def test_observations_cannot_be_changed_by_who_receives_them():
  environment = tabular_environment.TabularEnvironment(two_states(), np.eye(2))
  with pytest.raises(ValueError, match='read-only'):
    environment.reset().observation[0] = 5
