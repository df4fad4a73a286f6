"""Tabular environments behind the interface of dm_env."""

from typing import Any

import dm_env
from dm_env import specs
from jaxtyping import Num
import numpy as np

from envs import base
from envs import functional as functional_lib
from envs.tabular import functional as tabular_functional
from envs.tabular import mdp as tabular_mdp
from skills import checks


def _observation_spec(table: np.ndarray, name: str) -> specs.BoundedArray:
  """The tightest description that the table's type suggests."""
  if table.ndim == 1 and table.dtype == np.int32 and table.min() >= 0:
    return specs.DiscreteArray(int(table.max()) + 1, np.int32, name)
  minimum, maximum = table.min(), table.max()
  if table.dtype == np.uint8:
    minimum, maximum = 0, 255
  return specs.BoundedArray(
    table.shape[1:], table.dtype, minimum, maximum, name
  )


class TabularEnvironment(base.DiscreteEnvironment):
  """A `tabular_mdp.TabularMDP` as a dm_env environment.

  Entering a terminal state ends an episode with discount 0, reaching the
  horizon ends it with discount 1; where both happen, the discount is 0.
  Rewards are the MDP's expected ones, so only states are random.

  Observations are rows of a table shared by all time steps: they are read-only
  and need no copy.
  """

  def __init__(
    self,
    mdp: tabular_mdp.TabularMDP,
    observations: Num[np.ndarray, 'S *shape'] | None = None,
    *,
    seed: int = 0,
    observation_name: str = 'state',
  ):
    """Initializes the environment; an episode begins with `reset`.

    Args:
      mdp: the process.
      observations: observation of each state, at most 32 bits wide (64-bit
        tables are narrowed); None to see the state's index as int32. A table
        of integer scalars has a discrete spec, any other a bounded one.
      seed: of all this environment's randomness, at least 0.
      observation_name: the name in the observation's spec.

    Raises:
      ValueError: if there is not one observation per state, or the seed is
        not an integer >= 0.
    """
    checks.integer('seed', seed, 0)
    if observations is None:
      observations = np.arange(mdp.num_states, dtype=np.int32)
    self._mdp = mdp
    self._observations = tabular_functional.observation_table(
      observations, mdp.num_states
    )
    self._observation_name = observation_name
    self._rng = np.random.default_rng(seed)

    self._state: int | None = None
    self._num_steps = 0
    self._needs_reset = True

    # Tables in the form that is quickest to read one element from.
    self._num_actions = mdp.num_actions
    self._horizon = np.inf if mdp.horizon is None else mdp.horizon
    self._is_terminal = mdp.terminal.tolist()
    self._rewards = mdp.rewards.astype(np.float32)
    self._initial = tabular_mdp.cumulative(mdp.initial)
    self._successors = None
    if mdp.has_sure_transitions:
      self._successors = mdp.successors.tolist()
    else:
      self._cumulative = tabular_mdp.cumulative(mdp.transitions)
    self._zero = np.float32(0)
    self._one = np.float32(1)

  @property
  def mdp(self) -> tabular_mdp.TabularMDP:
    """The process behind this environment."""
    return self._mdp

  @property
  def observations(self) -> Num[np.ndarray, 'S *shape']:
    """Observation of each state."""
    return self._observations

  @property
  def is_endless(self) -> bool:
    """Whether there is no horizon."""
    return self._mdp.horizon is None

  @property
  def state(self) -> int | None:
    """Index of the current state; None before the first episode."""
    return self._state

  def functional(self) -> functional_lib.FunctionalEnvironment:
    """The same process, with the same observations, as pure JAX functions."""
    return tabular_functional.make(self._mdp, self._observations)

  def reset(self) -> dm_env.TimeStep:
    """Begins an episode."""
    self._state = int(self._initial.searchsorted(self._rng.random(), 'right'))
    self._num_steps = 0
    self._needs_reset = False
    return dm_env.TimeStep(
      dm_env.StepType.FIRST, None, None, self._observations[self._state]
    )

  def _step(self, action: int) -> dm_env.TimeStep:
    reward = self._rewards[self._state, action]
    if self._successors is not None:
      state = self._successors[self._state][action]
    else:
      row = self._cumulative[self._state, action]
      state = int(row.searchsorted(self._rng.random(), 'right'))
    self._state = state
    self._num_steps += 1

    step_type = dm_env.StepType.MID
    discount = self._one
    if self._is_terminal[state]:
      step_type = dm_env.StepType.LAST
      discount = self._zero
    elif self._num_steps >= self._horizon:
      step_type = dm_env.StepType.LAST
    self._needs_reset = step_type is dm_env.StepType.LAST
    return dm_env.TimeStep(
      step_type, reward, discount, self._observations[state]
    )

  # dm_env leaves its spec methods without annotations, which reads as None.
  def observation_spec(  # pyrefly: ignore[bad-override]
    self,
  ) -> specs.BoundedArray:
    """Discrete for integer scalars, else bounded by what the table holds."""
    return _observation_spec(self._observations, self._observation_name)

  def reward_spec(self) -> specs.BoundedArray:
    """A float32 scalar between the MDP's smallest and largest reward."""
    return specs.BoundedArray(
      (), np.float32, self._rewards.min(), self._rewards.max(), 'reward'
    )

  def save(self) -> dict[str, Any]:
    """Everything that a continued run needs besides the constructor.

    Returns:
      A new dict of plain Python values: the generator's state, the current
      state, the steps taken in this episode and whether it is over.
    """
    return {
      'rng': self._rng.bit_generator.state,
      'state': self._state,
      'num_steps': self._num_steps,
      'needs_reset': self._needs_reset,
    }

  def restore(self, saved: dict[str, Any]) -> None:
    """Continues bit for bit from where `save` was called.

    Args:
      saved: a result of `save`, of an environment of the same MDP.

    Raises:
      ValueError: if `saved` is not such a dict; nothing is changed then.
    """
    expected = {'rng', 'state', 'num_steps', 'needs_reset'}
    if set(saved) != expected:
      raise ValueError(
        f'saved must have the keys {sorted(expected)}, got {sorted(saved)}.'
      )
    state = saved['state']
    if state is not None and not 0 <= state < self._mdp.num_states:
      raise ValueError(
        f'saved state must be None or in 0..{self._mdp.num_states - 1}, got'
        f' {state!r}.'
      )
    self._rng.bit_generator.state = saved['rng']
    self._state = state
    self._num_steps = saved['num_steps']
    self._needs_reset = saved['needs_reset']
