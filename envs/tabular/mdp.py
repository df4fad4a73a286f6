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
  """The array, which can no longer be written to."""
  array.setflags(write=False)
  return array


def _distributions(
  field: str, values: Any, shape: tuple[int, ...]
) -> Float[np.ndarray, '*shape']:
  """Checks arrays of probabilities and rescales them to sum to exactly 1.

  Args:
    field: the name that a refusal mentions.
    values: probabilities; the last axis is the one that sums to 1.
    shape: what `values` must have.

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
    where = tuple(int(i) for i in np.argwhere(outside)[0])
    raise ValueError(
      f'{field} must hold probabilities in [0, 1], got {array[where]} at'
      f' {where}.'
    )
  sums = array.sum(axis=-1, keepdims=True)
  wrong = np.abs(sums[..., 0] - 1) > _SUM_TOLERANCE
  if wrong.any():
    where = tuple(int(i) for i in np.argwhere(wrong)[0])
    raise ValueError(
      f'{field} must sum to 1 over its last axis, got {sums[..., 0][where]}'
      f' at {where}.'
    )
  array /= sums
  return array


def cumulative(
  probabilities: Float[np.ndarray, '*batch S'],
) -> Float[np.ndarray, '*batch S']:
  """Cumulative sums for sampling, which never reach impossible outcomes.

  The outcome for a uniform u in [0, 1) is the number of entries <= u.

  Args:
    probabilities: distributions over the last axis.

  Returns:
    Cumulative probabilities, exactly 1 from the last possible outcome on.
  """
  cumulative = np.cumsum(probabilities, axis=-1)
  # Rounding may leave 1 - 1e-16 there: a large u would then fall into an
  # outcome of probability zero.
  ahead = np.cumsum(probabilities[..., ::-1], axis=-1)[..., ::-1]
  is_last = np.roll(ahead, -1, axis=-1) == 0
  is_last[..., -1] = True
  cumulative[is_last] = 1.0
  return cumulative


def _next_states(values: Any) -> Int[np.ndarray, 'S A']:
  """A new array of checked states.

  Raises:
    ValueError: if something is not the index of a state.
  """
  array = np.array(values)
  if not np.issubdtype(array.dtype, np.integer):
    raise ValueError(f'successors must be integers, got {array.dtype}.')
  outside = (array < 0) | (array >= len(array))
  if outside.any():
    where = tuple(int(i) for i in np.argwhere(outside)[0])
    raise ValueError(
      f'successors must be states in 0..{len(array) - 1}, got {array[where]} at'
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

  Where no transition is random only the table of next states is kept: it is a
  thousand times smaller than `transitions` in a world of a thousand states.

  The exact answers are those of the endless process: they ignore `horizon`,
  because truncation is a property of the data and not of the values.

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
  # Exactly one of the two is there.
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
          f'successors must have shape [S, A] with S, A >= 1, got'
          f' {list(shape)}.'
        )
    num_states, num_actions = shape[:2]

    terminal = np.array(terminal)
    if terminal.dtype != bool or terminal.shape != (num_states,):
      raise ValueError(
        f'terminal must be bool of shape {(num_states,)}, got'
        f' {terminal.dtype} of shape {terminal.shape}.'
      )

    if successors is None:
      probabilities = np.array(transitions, dtype=np.float64)
      probabilities[terminal] = np.eye(num_states)[terminal][:, None, :]
      probabilities = _distributions('transitions', probabilities, shape)
      if (probabilities.max(axis=-1) == 1).all():
        successors = probabilities.argmax(axis=-1)
        probabilities = None
    else:
      successors = _next_states(successors)
      successors[terminal] = np.flatnonzero(terminal)[:, None]
      probabilities = None

    rewards = np.array(rewards, dtype=np.float64)
    if rewards.shape != (num_states, num_actions):
      raise ValueError(
        f'rewards must have shape {(num_states, num_actions)}, got'
        f' {rewards.shape}.'
      )
    rewards[terminal] = 0.0
    if not np.isfinite(rewards).all():
      where = tuple(int(i) for i in np.argwhere(~np.isfinite(rewards))[0])
      raise ValueError(
        f'rewards must be finite, got {rewards[where]} at {where}.'
      )

    initial = _distributions('initial', initial, (num_states,))
    if initial[terminal].any():
      where = int(np.flatnonzero(terminal & (initial > 0))[0])
      raise ValueError(
        f'initial must be 0 in terminal states, got {initial[where]} in state'
        f' {where}.'
      )

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
    """Whether every next state is certain."""
    return self._successors is not None

  @property
  def is_deterministic(self) -> bool:
    """Whether the first state and every next state are certain."""
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
    """Probability of each next state, made when it is first asked for.

    Nothing here asks for it in a world without random transitions: of 1681
    states and 5 actions it takes 113 MB.
    """
    if self._probabilities is not None:
      return self._probabilities
    transitions = np.zeros((self.num_states, self.num_actions, self.num_states))
    np.put_along_axis(transitions, self.successors[..., None], 1.0, axis=-1)
    return readonly(transitions)

  # Exact answers.

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
    """Expected discounted return of a policy: V = (I - g P)^-1 r.

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
    """Expected discounted return of an action, the policy acting after it.

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
    """Largest expected discounted return from each state.

    By policy iteration, which ends after finitely many exact evaluations.

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
    """Discounted share of time spent in each state.

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
    """Distribution of the state after some environment steps.

    An episode that ended before stays in its terminal state.

    Args:
      policy: probability of each action in each state.
      num_steps: at least 0, which gives `initial`.

    Returns:
      P(s_t = s) for t = `num_steps`.

    Raises:
      ValueError: if `policy` or `num_steps` is out of range.
    """
    checks.integer('num_steps', num_steps, 0)
    transitions = self._policy_transitions(self._policy(policy))
    distribution = self.initial.copy()
    for _ in range(num_steps):
      distribution = distribution @ transitions
    return distribution
