"""Finite Markov decision processes with exact values and occupancies.

Axis letters: S states, A actions. A state is an index in 0..S-1.
"""

import dataclasses
import functools
from typing import Any

from jaxtyping import Bool
from jaxtyping import Float
from jaxtyping import Int
import numpy as np

from skills import checks

# Probabilities may miss a sum of 1 by this much, which float32 input does.
_SUM_TOLERANCE = 1e-5

# Below this, relative to the values' size, an action is not an improvement.
_IMPROVEMENT_TOLERANCE = 1e-10


def readonly(array: np.ndarray) -> np.ndarray:
  """Makes the array read-only."""
  array.setflags(write=False)
  return array


def _first(marked: Bool[np.ndarray, '*shape']) -> tuple[int, ...]:
  """Index of the first marked entry."""
  return tuple(int(i) for i in np.argwhere(marked)[0])


def _distributions(
  field: str, values: Any, shape: tuple[int, ...]
) -> Float[np.ndarray, '*shape']:
  """Checks arrays of probabilities and rescales them to sum to exactly 1.

  Args:
    field: the name in error messages.
    values: probabilities; the last axis sums to 1.
    shape: that of `values`.

  Returns:
    A new float64 array.

  Raises:
    ValueError: if the shape differs or something is not a distribution.
  """
  array = np.array(values, dtype=np.float64)
  if array.shape != shape:
    raise ValueError(f'{field} must have shape {shape}, got {array.shape}.')
  # Written so that NaN is refused too.
  outside = ~((array >= 0) & (array <= 1 + _SUM_TOLERANCE))
  if outside.any():
    where = _first(outside)
    raise ValueError(
      f'{field} must hold probabilities in [0, 1], got {array[where]} at'
      f' {where}.'
    )
  sums = array.sum(axis=-1, keepdims=True)
  wrong = np.abs(sums[..., 0] - 1) > _SUM_TOLERANCE
  if wrong.any():
    where = _first(wrong)
    raise ValueError(
      f'{field} must sum to 1 over its last axis, got {sums[..., 0][where]}'
      f' at {where}.'
    )
  array /= sums
  return array


def cumulative(
  probabilities: Float[np.ndarray, '*batch S'],
) -> Float[np.ndarray, '*batch S']:
  """Cumulative probabilities for sampling by inversion.

  The outcome for a uniform u in [0, 1) is the number of entries <= u, and never
  one of probability 0.

  Args:
    probabilities: distributions over the last axis.

  Returns:
    Cumulative probabilities, exactly 1 from the last possible outcome on.
  """
  cumulative = np.cumsum(probabilities, axis=-1)
  # Rounding may leave 1 - 1e-16 there: a large u would then give an outcome of
  # probability 0.
  ahead = np.cumsum(probabilities[..., ::-1], axis=-1)[..., ::-1]
  is_last = np.roll(ahead, -1, axis=-1) == 0
  is_last[..., -1] = True
  cumulative[is_last] = 1.0
  return cumulative


def _shape(transitions: Any, successors: Any) -> tuple[int, ...]:
  """Shape of whichever of the two is given: S and A come first.

  Raises:
    ValueError: if not exactly one is given, or its shape is wrong.
  """
  if (transitions is None) == (successors is None):
    given = 'neither' if transitions is None else 'both'
    raise ValueError(
      f'one of transitions and successors must be given, got {given}.'
    )
  if successors is None:
    shape = np.shape(transitions)
    if len(shape) != 3 or shape[0] != shape[2] or 0 in shape:
      raise ValueError(
        'transitions must have shape [S, A, S] with S, A >= 1, got'
        f' {list(shape)}.'
      )
  else:
    shape = np.shape(successors)
    if len(shape) != 2 or 0 in shape:
      raise ValueError(
        f'successors must have shape [S, A] with S, A >= 1, got {list(shape)}.'
      )
  return shape


def _probabilities(
  transitions: Any, terminal: Bool[np.ndarray, 'S']
) -> Float[np.ndarray, 'S A S']:
  """Transition probabilities, of which terminal states stay in place."""
  array = np.array(transitions, dtype=np.float64)
  array[terminal] = np.eye(len(terminal))[terminal][:, None, :]
  return _distributions('transitions', array, array.shape)


def _successors(
  values: Any, terminal: Bool[np.ndarray, 'S']
) -> Int[np.ndarray, 'S A']:
  """Next states, of which terminal states stay in place.

  Raises:
    ValueError: if something is not the index of a state.
  """
  array = np.array(values)
  if not np.issubdtype(array.dtype, np.integer):
    raise ValueError(f'successors must be integers, got {array.dtype}.')
  outside = (array < 0) | (array >= len(array))
  if outside.any():
    where = _first(outside)
    raise ValueError(
      f'successors must be states in 0..{len(array) - 1}, got {array[where]} at'
      f' {where}.'
    )
  array[terminal] = np.flatnonzero(terminal)[:, None]
  return array


def _rewards(
  values: Any, terminal: Bool[np.ndarray, 'S'], shape: tuple[int, ...]
) -> Float[np.ndarray, 'S A']:
  """Expected rewards, 0 in terminal states.

  Raises:
    ValueError: if the shape differs or something is not finite.
  """
  array = np.array(values, dtype=np.float64)
  if array.shape != shape:
    raise ValueError(f'rewards must have shape {shape}, got {array.shape}.')
  array[terminal] = 0.0
  infinite = ~np.isfinite(array)
  if infinite.any():
    where = _first(infinite)
    raise ValueError(f'rewards must be finite, got {array[where]} at {where}.')
  return array


def _initial(
  values: Any, terminal: Bool[np.ndarray, 'S']
) -> Float[np.ndarray, 'S']:
  """Distribution of the first state.

  Raises:
    ValueError: if it is none, or an episode could start in a terminal state.
  """
  array = _distributions('initial', values, terminal.shape)
  wrong = terminal & (array > 0)
  if wrong.any():
    [where] = _first(wrong)
    raise ValueError(
      f'initial must be 0 in terminal states, got {array[where]} in state'
      f' {where}.'
    )
  return array


def _check_discount(discount: float) -> None:
  if not 0 <= discount < 1:
    raise ValueError(f'discount must be in [0, 1), got {discount}.')


@dataclasses.dataclass(frozen=True, init=False, eq=False)
class TabularMDP:
  """A finite Markov decision process.

  Arrays are copied, made float64 and read-only. Terminal states absorb: what
  was given for them is replaced on construction by staying in place for no
  reward, so that every formula below holds without a special case.

  Where no transition is random only the table of next states is kept, which for
  a thousand states is a thousand times smaller than `transitions`.

  Exact values and occupancies are those of the process without a horizon:
  truncation is a property of the data and not of the values.

  Attributes:
    rewards: expected reward of an action in a state.
    terminal: states whose entering ends the episode with discount 0.
    initial: distribution of an episode's first state; not terminal.
    horizon: episode length in environment steps; reaching it truncates (the
      last discount stays 1). None for no limit.
  """

  rewards: Float[np.ndarray, 'S A']
  terminal: Bool[np.ndarray, 'S']
  initial: Float[np.ndarray, 'S']
  horizon: int | None
  # One of the two; the other is None.
  _successors: Int[np.ndarray, 'S A'] | None
  _probabilities: Float[np.ndarray, 'S A S'] | None

  def __init__(
    self,
    *,
    transitions: Any = None,
    successors: Any = None,
    rewards: Any,
    terminal: Any,
    initial: Any,
    horizon: int | None = None,
  ):
    """Checks and copies a process.

    Args:
      transitions: probability of each next state, `[state, action, next]`.
      successors: instead of `transitions` where none is random: the next
        state, `[state, action]`.
      rewards: `[state, action]`.
      terminal: `[state]`, bool.
      initial: `[state]`.
      horizon: at least 1, or None.

    Raises:
      ValueError: if anything is out of range or does not fit the rest.
    """
    shape = _shape(transitions, successors)
    num_states = shape[0]
    terminal = np.array(terminal)
    if terminal.dtype != bool or terminal.shape != (num_states,):
      raise ValueError(
        f'terminal must be bool of shape {(num_states,)}, got'
        f' {terminal.dtype} of shape {terminal.shape}.'
      )
    probabilities = None
    if successors is None:
      probabilities = _probabilities(transitions, terminal)
      if (probabilities.max(axis=-1) == 1).all():
        successors = probabilities.argmax(axis=-1)
        probabilities = None
    else:
      successors = _successors(successors, terminal)
    rewards = _rewards(rewards, terminal, shape[:2])
    initial = _initial(initial, terminal)
    if horizon is not None:
      checks.integer('horizon', horizon, 1)
      # A NumPy integer would not survive JSON.
      horizon = int(horizon)

    if successors is not None:
      successors = readonly(successors.astype(np.int32))
    if probabilities is not None:
      probabilities = readonly(probabilities)
    object.__setattr__(self, 'rewards', readonly(rewards))
    object.__setattr__(self, 'terminal', readonly(terminal))
    object.__setattr__(self, 'initial', readonly(initial))
    object.__setattr__(self, 'horizon', horizon)
    object.__setattr__(self, '_successors', successors)
    object.__setattr__(self, '_probabilities', probabilities)

  @property
  def num_states(self) -> int:
    """S."""
    return self.rewards.shape[0]

  @property
  def num_actions(self) -> int:
    """A."""
    return self.rewards.shape[1]

  @property
  def has_sure_transitions(self) -> bool:
    """Whether no transition is random."""
    return self._successors is not None

  @property
  def is_deterministic(self) -> bool:
    """Whether neither the first state nor a transition is random."""
    return self.has_sure_transitions and bool(self.initial.max() == 1)

  @property
  def successors(self) -> Int[np.ndarray, 'S A']:
    """The only next state of each state and action, int32.

    Raises:
      ValueError: if some transition is random.
    """
    if self._successors is None:
      raise ValueError('successors exist only where no transition is random.')
    return self._successors

  @functools.cached_property
  def transitions(self) -> Float[np.ndarray, 'S A S']:
    """Probability of each next state, computed when first used.

    Nothing here uses it where no transition is random: for 1681 states and 5
    actions it takes 113 MB.
    """
    if self._probabilities is not None:
      return self._probabilities
    transitions = np.zeros((self.num_states, self.num_actions, self.num_states))
    np.put_along_axis(transitions, self.successors[..., None], 1.0, axis=-1)
    return readonly(transitions)

  # Exact values and occupancies.

  def _policy(self, policy: Float[np.ndarray, 'S A']) -> np.ndarray:
    return _distributions('policy', policy, (self.num_states, self.num_actions))

  def _policy_transitions(self, policy: np.ndarray) -> np.ndarray:
    if self._successors is None:
      return np.einsum('sa,sat->st', policy, self.transitions)
    chain = np.zeros((self.num_states, self.num_states))
    states = np.arange(self.num_states)[:, None]
    np.add.at(chain, (states, self._successors), policy)
    return chain

  def _look_ahead(self, values: np.ndarray, discount: float) -> np.ndarray:
    if self._successors is None:
      return self.rewards + discount * self.transitions @ values
    return self.rewards + discount * values[self._successors]

  def state_values(
    self, policy: Float[np.ndarray, 'S A'], discount: float
  ) -> Float[np.ndarray, 'S']:
    """State values of a policy: V = (I - g P)^-1 r.

    Args:
      policy: probability of each action in each state.
      discount: g in [0, 1), per environment step.

    Returns:
      V in units of reward; 0 in terminal states.

    Raises:
      ValueError: if `policy` or `discount` is out of range.
    """
    _check_discount(discount)
    policy = self._policy(policy)
    system = np.eye(self.num_states)
    system -= discount * self._policy_transitions(policy)
    values = np.linalg.solve(system, np.sum(policy * self.rewards, axis=-1))
    values[self.terminal] = 0.0  # Exactly; elimination leaves rounding errors.
    return values

  def action_values(
    self, policy: Float[np.ndarray, 'S A'], discount: float
  ) -> Float[np.ndarray, 'S A']:
    """Action values of a policy.

    Args:
      policy: probability of each action in each state.
      discount: in [0, 1), per environment step.

    Returns:
      Q in units of reward; 0 in terminal states.

    Raises:
      ValueError: if `policy` or `discount` is out of range.
    """
    return self._look_ahead(self.state_values(policy, discount), discount)

  def optimal_values(self, discount: float) -> Float[np.ndarray, 'S']:
    """Optimal state values, by policy iteration.

    Args:
      discount: in [0, 1), per environment step.

    Returns:
      V* in units of reward; 0 in terminal states.

    Raises:
      ValueError: if `discount` is out of range.
    """
    _check_discount(discount)
    states = np.arange(self.num_states)
    actions = np.zeros(self.num_states, dtype=int)
    while True:
      values = self.state_values(np.eye(self.num_actions)[actions], discount)
      action_values = self._look_ahead(values, discount)
      # Keeping the old action in ties, also those that only rounding breaks,
      # is what makes the loop end.
      gains = action_values.max(axis=-1) - action_values[states, actions]
      improves = gains > _IMPROVEMENT_TOLERANCE * (1 + np.abs(values).max())
      if not improves.any():
        return values
      actions = np.where(improves, action_values.argmax(axis=-1), actions)

  def occupancy(
    self, policy: Float[np.ndarray, 'S A'], discount: float
  ) -> Float[np.ndarray, 'S']:
    """Discounted state occupancy of a policy.

        d(s) = (1 - g) sum_t g^t P(s_t = s)

    An episode that ended stays in its terminal state, so d sums to 1.

    Args:
      policy: probability of each action in each state.
      discount: g in [0, 1), per environment step.

    Returns:
      d, a distribution.

    Raises:
      ValueError: if `policy` or `discount` is out of range.
    """
    _check_discount(discount)
    system = np.eye(self.num_states)
    system -= discount * self._policy_transitions(self._policy(policy)).T
    return np.linalg.solve(system, (1 - discount) * self.initial)

  def state_distribution(
    self, policy: Float[np.ndarray, 'S A'], num_steps: int
  ) -> Float[np.ndarray, 'S']:
    """State distribution of a policy after some environment steps.

    An episode that ended before stays in its terminal state.

    Args:
      policy: probability of each action in each state.
      num_steps: t, at least 0.

    Returns:
      P(s_t = s); for t = 0, `initial`.

    Raises:
      ValueError: if `policy` or `num_steps` is out of range.
    """
    checks.integer('num_steps', num_steps, 0)
    transitions = self._policy_transitions(self._policy(policy))
    distribution = self.initial.copy()
    for _ in range(num_steps):
      distribution = distribution @ transitions
    return distribution
