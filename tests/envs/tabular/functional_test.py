"""Tests of envs/tabular/functional.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.tabular import environment as tabular_environment
from envs.tabular import functional as tabular_functional
from tests import mdps


@pytest.mark.parametrize(
  'mdp',
  [mdps.two_states(), mdps.corridor(), mdps.two_states(initial=[0.5, 0.5])],
)
def test_functional_step_equals_dm_env_step_without_randomness(mdp):
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


def test_steps_of_both_interfaces_have_the_transition_probabilities():
  mdp = mdps.with_terminals()
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
      frequency = (
        np.bincount(next_states, minlength=mdps.NUM_STATES) / num_draws
      )
      assert (abs(frequency - truth) <= bound).all()
      np.testing.assert_array_equal(
        rewards, np.full(num_draws, mdp.rewards[state, action], np.float32)
      )
      np.testing.assert_array_equal(discounts, ~mdp.terminal[next_states])

      visits = np.zeros(mdps.NUM_STATES)
      environment.reset()
      for _ in range(num_draws):
        saved = {**environment.save(), 'state': int(state)}
        environment.restore({**saved, 'needs_reset': False})
        timestep = environment.step(action)
        visits[environment.state] += 1
        assert timestep.discount == (not mdp.terminal[environment.state])
      assert (abs(visits / num_draws - truth) <= bound).all()


def test_starts_of_both_interfaces_have_the_initial_probabilities():
  mdp = mdps.random_mdp()
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


@pytest.mark.parametrize(
  'mdp', [mdps.two_states(), mdps.corridor(), mdps.with_terminals()]
)
def test_functions_give_the_same_under_jit_and_vmap(mdp):
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


def test_functions_of_a_deterministic_process_need_no_keys():
  functional = tabular_functional.make(mdps.two_states(horizon=4))
  assert functional.is_deterministic
  assert functional.horizon == 4
  assert functional.reset(None) == 0
  assert functional.step(None, jnp.int32(0), jnp.int32(1))[0] == 1
  assert not tabular_functional.make(mdps.random_mdp()).is_deterministic
  assert not tabular_functional.make(
    mdps.two_states(initial=[0.5, 0.5])
  ).is_deterministic


def test_step_without_rewards_and_terminals_reads_one_table_only():
  mdp = mdps.two_states(rewards=np.zeros((2, 2)))
  jaxpr = jax.make_jaxpr(tabular_functional.make(mdp).step)(
    None, jnp.int32(0), jnp.int32(1)
  )
  assert str(jaxpr).count(' gather[') == 1
  assert 'select_n' not in str(jaxpr)


@pytest.mark.parametrize('mdp', [mdps.random_mdp(), mdps.with_terminals()])
def test_exact_values_agree_with_averages_over_episodes(mdp):
  """Both views draw from what the formulas describe: occupancy and return."""
  num_episodes, num_steps, discount = 3000, 25, 0.7
  policy = mdps.random_policy(mdp)
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
