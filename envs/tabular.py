"""Finite Markov decision processes: exact truth, pure JAX view, dm_env view.

One `TabularMDP` is the source of three things that therefore cannot disagree:

* exact answers by float64 linear algebra (values, occupancies, reachability),
  against which learned quantities are checked;
* `FunctionalEnvironment`, pure functions for programs that compile environment
  and learner together;
* `TabularEnvironment`, a `dm_env.Environment` for everything else.

Axis letters: S states, A actions. A state is an index in 0..S-1.
"""

from collections.abc import Callable
import dataclasses
import functools
import operator
from typing import Any
from typing import NamedTuple

import dm_env
from dm_env import specs
import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Bool
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Num
import numpy as np

from envs import choices

# Probabilities may miss a sum of 1 by this much, which float32 input does.
_SUM_TOLERANCE = 1e-5
# Below this, relative to the values' size, an action is not an improvement.
_IMPROVEMENT_TOLERANCE = 1e-10


def _readonly(array: np.ndarray) -> np.ndarray:
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


def _cumulative(
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


class FunctionalEnvironment(NamedTuple):
  """A tabular environment as pure JAX functions of a single state.

  Use `jax.vmap` for many environments side by side. The functions do not count
  steps: whoever calls them ends an episode after `horizon` of them, which is
  truncation, so the discount stays 1.

  Attributes:
    reset: key -> state, an int32 scalar.
    step: (key, state, action) -> (next state, reward, discount), scalars of
      int32, float32 and float32. The discount is 0 where the next state is
      terminal, which stays where it is from then on. Indices are trusted:
      one out of range gives an arbitrary state.
    observe: state -> observation.
    horizon: environment steps per episode, None for no limit.
    num_states: S.
    num_actions: A.
    is_deterministic: whether `reset` and `step` ignore their keys, so that
      callers may pass None instead of splitting keys.
  """

  reset: Callable[[Array | None], Int[Array, '']]
  step: Callable[
    [Array | None, Int[Array, ''], Int[Array, '']],
    tuple[Int[Array, ''], Float[Array, ''], Float[Array, '']],
  ]
  observe: Callable[[Int[Array, '']], Array]
  horizon: int | None
  num_states: int
  num_actions: int
  is_deterministic: bool


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
      choices.check_count('horizon', horizon, 1)
      # A NumPy integer would not survive JSON.
      horizon = int(horizon)

    if successors is not None:
      successors = _readonly(successors.astype(np.int32))
    if probabilities is not None:
      probabilities = _readonly(probabilities)
    object.__setattr__(self, 'rewards', _readonly(rewards))
    object.__setattr__(self, 'terminal', _readonly(terminal))
    object.__setattr__(self, 'initial', _readonly(initial))
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
    return _readonly(transitions)

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
    choices.check_count('num_steps', num_steps, 0)
    transitions = self._policy_transitions(self._policy(policy))
    distribution = self.initial.copy()
    for _ in range(num_steps):
      distribution = distribution @ transitions
    return distribution

  def reachable(self, num_steps: int) -> Bool[np.ndarray, 'S']:
    """States that some policy can enter within `num_steps` of the start.

    Args:
      num_steps: at least 0, which gives the possible first states.

    Returns:
      Whether each state can be reached in at most that many steps.

    Raises:
      ValueError: if `num_steps` is negative.
    """
    choices.check_count('num_steps', num_steps, 0)
    # Any policy that has every action in it enters what some policy enters.
    everything = np.full(
      (self.num_states, self.num_actions), 1 / self.num_actions
    )
    edges = self._policy_transitions(everything) > 0
    reached = self.initial > 0
    for _ in range(num_steps):
      before, reached = reached, reached | edges[reached].any(axis=0)
      if (before == reached).all():
        break
    return reached

  # The pure view.

  def functional(
    self, observations: Num[np.ndarray, 'S *shape'] | None = None
  ) -> FunctionalEnvironment:
    """This process as pure JAX functions.

    Args:
      observations: what is seen in each state; None to see its index.

    Returns:
      Functions that close over the tables they need and no others.
    """
    return FunctionalEnvironment(
      reset=_make_reset(self),
      step=_make_step(self),
      observe=_make_observe(self, observations),
      horizon=self.horizon,
      num_states=self.num_states,
      num_actions=self.num_actions,
      is_deterministic=self.is_deterministic,
    )


def _lookup(table: Array, index: Int[Array, '']) -> Array:
  # Unsigned and in bounds: JAX then adds neither the wrapping of negative
  # indices nor a clamp to what is the innermost loop of compiled programs.
  index = index.astype(jnp.uint32)
  return table.at[index].get(mode='promise_in_bounds')


def _draw(key: Array, cumulative: Float[Array, 'S']) -> Int[Array, '']:
  uniform = jax.random.uniform(key, dtype=jnp.float32)
  return jnp.sum(cumulative <= uniform, dtype=jnp.int32)


def _make_reset(mdp: TabularMDP) -> Callable[..., Any]:
  if mdp.initial.max() == 1:
    start = int(mdp.initial.argmax())
    return lambda key: jnp.int32(start)
  cumulative = jnp.asarray(_cumulative(mdp.initial), jnp.float32)
  return lambda key: _draw(key, cumulative)


def _make_step(mdp: TabularMDP) -> Callable[..., Any]:
  """The step, specialised when it is made: constants stay constants."""
  num_actions = mdp.num_actions
  has_rewards = bool(mdp.rewards.any())
  has_terminals = bool(mdp.terminal.any())
  has_sure_transitions = mdp.has_sure_transitions

  if has_sure_transitions:
    successors = jnp.asarray(mdp.successors.reshape(-1))
  else:
    cumulative = jnp.asarray(
      _cumulative(mdp.transitions).reshape(-1, mdp.num_states), jnp.float32
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
  mdp: TabularMDP, observations: Num[np.ndarray, 'S *shape'] | None
) -> Callable[..., Any]:
  if observations is None:
    return lambda state: state
  observations = _observation_table(observations, mdp.num_states)
  if _is_index(observations):
    return lambda state: state
  table = jnp.asarray(observations)
  return lambda state: _lookup(table, jnp.asarray(state))


def _observation_table(
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
  return _readonly(table)


def _is_index(table: Num[np.ndarray, 'S *shape']) -> bool:
  return table.dtype == np.int32 and np.array_equal(
    table, np.arange(len(table))
  )


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


class TabularEnvironment(dm_env.Environment):
  """A `TabularMDP` as a dm_env environment.

  Entering a terminal state ends an episode with discount 0, reaching the
  horizon ends it with discount 1; where both happen, the discount is 0.
  Rewards are the MDP's expected ones, so only states are random.

  Observations are rows of a table shared by all time steps: they are read-only
  and need no copy.
  """

  def __init__(
    self,
    mdp: TabularMDP,
    observations: Num[np.ndarray, 'S *shape'] | None = None,
    *,
    seed: int = 0,
    observation_name: str = 'state',
  ):
    """Initialises the environment; an episode begins with `reset`.

    Args:
      mdp: the process.
      observations: what is seen in each state, at most 32 bits wide (64-bit
        tables are narrowed); None to see the state's index as int32. A table
        of integer scalars has a discrete spec, any other a bounded one.
      seed: of all this environment's randomness, at least 0.
      observation_name: the name in the observation's spec.

    Raises:
      ValueError: if there is not one observation per state, or the seed is
        not an integer >= 0.
    """
    choices.check_count('seed', seed, 0)
    if observations is None:
      observations = np.arange(mdp.num_states, dtype=np.int32)
    self._mdp = mdp
    self._observations = _observation_table(observations, mdp.num_states)
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
    self._initial = _cumulative(mdp.initial)
    self._successors = None
    if mdp.has_sure_transitions:
      self._successors = mdp.successors.tolist()
    else:
      self._cumulative = _cumulative(mdp.transitions)
    self._zero = np.float32(0)
    self._one = np.float32(1)

  @property
  def mdp(self) -> TabularMDP:
    """The process behind this environment."""
    return self._mdp

  @property
  def observations(self) -> Num[np.ndarray, 'S *shape']:
    """What is seen in each state."""
    return self._observations

  @property
  def is_endless(self) -> bool:
    """Whether episodes end in terminal states alone, if at all."""
    return self._mdp.horizon is None

  @property
  def state(self) -> int | None:
    """Index of the current state; None before the first episode."""
    return self._state

  def functional(self) -> FunctionalEnvironment:
    """The same process, with the same observations, as pure JAX functions."""
    return self._mdp.functional(self._observations)

  def reset(self) -> dm_env.TimeStep:
    """Begins an episode."""
    self._state = int(self._initial.searchsorted(self._rng.random(), 'right'))
    self._num_steps = 0
    self._needs_reset = False
    return dm_env.TimeStep(
      dm_env.StepType.FIRST, None, None, self._observations[self._state]
    )

  def step(self, action: int | Int[np.ndarray, '']) -> dm_env.TimeStep:
    """Takes an environment step, or begins an episode if none is under way.

    Args:
      action: an integer or 0-d integer array in 0..A-1; ignored where an
        episode begins.

    Returns:
      The time step, with a float32 reward and discount.

    Raises:
      ValueError: if the action is not one of the A actions.
    """
    if self._needs_reset:
      return self.reset()
    try:
      action_index = operator.index(action)
    except TypeError:
      action_index = -1
    if not 0 <= action_index < self._num_actions:
      raise ValueError(
        f'action must be an integer in 0..{self._num_actions - 1}, got'
        f' {action!r}.'
      )

    reward = self._rewards[self._state, action_index]
    if self._successors is not None:
      state = self._successors[self._state][action_index]
    else:
      row = self._cumulative[self._state, action_index]
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

  def action_spec(  # pyrefly: ignore[bad-override]
    self,
  ) -> specs.DiscreteArray:
    """One of A actions, int32."""
    return specs.DiscreteArray(self._num_actions, np.int32, 'action')

  def reward_spec(self) -> specs.BoundedArray:
    """A float32 scalar between the MDP's smallest and largest reward."""
    return specs.BoundedArray(
      (), np.float32, self._rewards.min(), self._rewards.max(), 'reward'
    )

  def discount_spec(self) -> specs.BoundedArray:
    """A float32 scalar in [0, 1]."""
    return specs.BoundedArray((), np.float32, 0.0, 1.0, 'discount')

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
