"""Tabular environments as pure JAX functions of a single state."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Num
import numpy as np

from envs import functional
from envs.tabular import mdp as tabular_mdp


def make(
  mdp: tabular_mdp.TabularMDP,
  observations: Num[np.ndarray, 'S *shape'] | None = None,
) -> functional.FunctionalEnvironment:
  """A process as pure JAX functions.

  Args:
    mdp: the process.
    observations: what is seen in each state; None to see its index.

  Returns:
    Functions that close over the tables they need and no others. A terminal
    state stays where it is. Indices are trusted: one out of range gives an
    arbitrary state.
  """
  return functional.FunctionalEnvironment(
    reset=_make_reset(mdp),
    step=_make_step(mdp),
    observe=_make_observe(mdp, observations),
    horizon=mdp.horizon,
    is_deterministic=mdp.is_deterministic,
  )


def _lookup(table: Array, index: Int[Array, '']) -> Array:
  # Unsigned and in bounds: JAX then adds neither the wrapping of negative
  # indices nor a clamp to what is the innermost loop of compiled programs.
  index = index.astype(jnp.uint32)
  return table.at[index].get(mode='promise_in_bounds')


def _draw(key: Array, cumulative: Float[Array, 'S']) -> Int[Array, '']:
  uniform = jax.random.uniform(key, dtype=jnp.float32)
  return jnp.sum(cumulative <= uniform, dtype=jnp.int32)


def _make_reset(mdp: tabular_mdp.TabularMDP) -> Callable[..., Any]:
  if mdp.initial.max() == 1:
    start = int(mdp.initial.argmax())
    return lambda key: jnp.int32(start)
  cumulative = jnp.asarray(tabular_mdp.cumulative(mdp.initial), jnp.float32)
  return lambda key: _draw(key, cumulative)


def _make_step(mdp: tabular_mdp.TabularMDP) -> Callable[..., Any]:
  """The step, specialized when it is made: constants stay constants."""
  num_actions = mdp.num_actions
  has_rewards = bool(mdp.rewards.any())
  has_terminals = bool(mdp.terminal.any())
  has_sure_transitions = mdp.has_sure_transitions

  if has_sure_transitions:
    successors = jnp.asarray(mdp.successors.reshape(-1))
  else:
    cumulative = jnp.asarray(
      tabular_mdp.cumulative(mdp.transitions).reshape(-1, mdp.num_states),
      jnp.float32,
    )
  rewards = jnp.asarray(mdp.rewards.reshape(-1), jnp.float32)
  discounts = jnp.asarray(~mdp.terminal, jnp.float32)

  def step(key, state, action):
    pair = jnp.asarray(state) * num_actions + action
    if has_sure_transitions:
      next_state = _lookup(successors, pair)
    else:
      next_state = _draw(key, _lookup(cumulative, pair))
    reward = _lookup(rewards, pair) if has_rewards else jnp.float32(0)
    discount = (
      _lookup(discounts, next_state) if has_terminals else jnp.float32(1)
    )
    return next_state, reward, discount

  return step


def _make_observe(
  mdp: tabular_mdp.TabularMDP, observations: Num[np.ndarray, 'S *shape'] | None
) -> Callable[..., Any]:
  if observations is None:
    return lambda state: state
  observations = observation_table(observations, mdp.num_states)
  if _is_index(observations):
    return lambda state: state
  table = jnp.asarray(observations)
  return lambda state: _lookup(table, jnp.asarray(state))


def observation_table(
  observations: Num[np.ndarray, 'S *shape'], num_states: int
) -> Num[np.ndarray, 'S *shape']:
  """A read-only copy, at most 32 bits wide as JAX and replay expect."""
  table = np.array(observations)
  narrow = {np.dtype(np.float64): np.float32, np.dtype(np.int64): np.int32}
  table = table.astype(narrow.get(table.dtype, table.dtype))
  if table.ndim == 0 or len(table) != num_states:
    raise ValueError(
      f'observations must have {num_states} rows, one per state, got shape'
      f' {table.shape}.'
    )
  return tabular_mdp.readonly(table)


def _is_index(table: Num[np.ndarray, 'S *shape']) -> bool:
  return table.dtype == np.int32 and np.array_equal(
    table, np.arange(len(table))
  )
