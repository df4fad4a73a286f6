"""Types that every part of the suite shares.

Axis letters in array annotations, everywhere:

  T  time: environment steps of one skill     K  skills
  B  batch: trajectories side by side         N  members of an ensemble;
                                                environments of an actor
  A  actions                                  R  reward streams
  S  states of a tabular environment          D  features
  M  timesteps that an objective looks at (1 or T)

Arrays are time-major, `[T, B]`, and `float32` or `int32`.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
from typing import Any
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Shaped
from jaxtyping import UInt32
import numpy as np

PRNGKey = UInt32[Array, '2']
PyTree = Any
Params = PyTree
Metrics = dict[str, Float[Array, '']]


class BurnIn(NamedTuple):
  """The L steps right before each of a batch of skills.

  Where an episode has fewer, the rest comes first and is padding.

  Attributes:
    observation: what the agent saw before each step.
    skill: that it followed then.
    mask: 1 for steps that were made.
    extras: as in `Trajectory`.
  """

  observation: Shaped[Array, 'L B *observation']
  skill: Int[Array, 'L B']
  mask: Float[Array, 'L B']
  extras: Mapping[str, Array]


class Trajectory(NamedTuple):
  """A batch of skills, each from its first step to its last.

  Step t leads from `observation[t]` to `observation[t + 1]`. A skill that was
  cut short by the end of an episode fills a prefix of its T steps, which
  `mask` marks; every row holds at least one real step.

  Attributes:
    observation: what the agent saw, one more than there are steps.
    action: what it did; an index, or a vector where actions are continuous.
    reward: the environment's own reward for the step.
    discount: the environment's discount: 0 where the step led to a terminal
      state, 1 elsewhere, also where an episode was merely cut off.
    skill: the skill that chose the action.
    mask: 1 for real steps, 0 for padding.
    extras: what the policy recorded at each step for its learner, by name, each
      `[T, B, ...]`; empty if it recorded nothing.
    burn_in: what came before, for learners that bring a memory up to date by
      it; None if nothing is known of it.
    importance_weights: how much each trajectory counts, in (0, 1], where some
      are drawn more often than others; None where all count alike.
  """

  observation: Shaped[Array, 'T+1 B *observation']
  action: Shaped[Array, 'T B *action']
  reward: Float[Array, 'T B']
  discount: Float[Array, 'T B']
  skill: Int[Array, 'T B']
  mask: Float[Array, 'T B']
  extras: Mapping[str, Array] = {}
  burn_in: BurnIn | None = None
  importance_weights: Float[Array, 'B'] | None = None


def arrival(
  end: Shaped[Array, 'B *observation'],
  start: Shaped[Array, 'B *observation'] | None = None,
) -> Trajectory:
  """Trajectories of one step, for functions that look only at where skills end.

  Args:
    end: what was seen after the step.
    start: what was seen before it; None for the same.
  """
  zeros = jnp.zeros((1, len(end)))
  return Trajectory(
    observation=jnp.stack([end if start is None else start, end]),
    action=zeros.astype(jnp.int32),
    reward=zeros,
    discount=jnp.ones_like(zeros),
    skill=zeros.astype(jnp.int32),
    mask=jnp.ones_like(zeros),
  )


class Network(NamedTuple):
  """A pair of pure functions.

  Attributes:
    init: random key -> parameters.
    apply: parameters, inputs -> outputs; inputs carry any batch axes.
  """

  init: Callable[[PRNGKey], Params]
  apply: Callable[..., Array]


class RecurrentNetwork(NamedTuple):
  """Three pure functions of a network that may have a memory.

  Attributes:
    init: random key -> parameters.
    memory: the memory before an episode's first step, without batch axes; `()`
      for a network that has none.
    unroll: parameters, memories `[B, ...]`, whether a step is an episode's
      first `[T, B]`, inputs `[T, B, ...]` -> outputs `[T, B, ...]` and the
      memories after the last step. A first step begins with no memory of those
      before it.
  """

  init: Callable[[PRNGKey], Params]
  memory: Callable[[], PyTree]
  unroll: Callable[..., tuple[Array, PyTree]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProblemSpec:
  """What networks need to know of an environment.

  Attributes:
    observation_shape: shape of one observation.
    observation_dtype: its NumPy type's name.
    num_states: number of values of an observation that is a state's index;
      None for any other observation.
    num_actions: number of discrete actions; None where they are continuous.
    action_shape: of a continuous action, whose entries lie in [-1, 1]; () where
      actions are discrete.
    entry_names: of an observation's entries, where they have names, such as
      'velocity[0]'. They say nothing of shapes, and are not compared.
  """

  observation_shape: tuple[int, ...]
  observation_dtype: str
  num_states: int | None
  num_actions: int | None
  action_shape: tuple[int, ...] = ()
  entry_names: tuple[str, ...] = dataclasses.field(default=(), compare=False)

  def __post_init__(self) -> None:
    """Refuses what is neither discrete nor continuous."""
    is_vector = len(self.action_shape) == 1 and self.action_shape[0] > 0
    if is_vector != (self.num_actions is None):
      raise ValueError(
        'action_shape must be () beside a number of discrete actions and have '
        'one axis beside None, got '
        f'action_shape={self.action_shape}, num_actions={self.num_actions}.'
      )

  @classmethod
  def from_specs(cls, observation_spec: Any, action_spec: Any) -> 'ProblemSpec':
    """Reads dm_env's specs, without importing dm_env.

    Args:
      observation_spec: one array spec; with `num_values` if it is an index, and
        with `entry_names` if its entries have names.
      action_spec: a discrete array spec, or of a vector in [-1, 1].

    Returns:
      The problem's shapes and sizes.

    Raises:
      ValueError: if observations are nested, or actions neither discrete nor
        a vector in [-1, 1].
    """
    if not hasattr(observation_spec, 'shape'):
      raise ValueError(
        'observations must be one array, got a nest '
        f'{observation_spec!r}; flatten it with an environment wrapper.'
      )
    num_actions = getattr(action_spec, 'num_values', None)
    action_shape = ()
    if num_actions is None:
      action_shape = tuple(getattr(action_spec, 'shape', ()))
      low = getattr(action_spec, 'minimum', None)
      high = getattr(action_spec, 'maximum', None)
      is_unit = low is not None and np.all(low == -1) and np.all(high == 1)
      if len(action_shape) != 1 or not is_unit:
        raise ValueError(
          'actions must be discrete (dm_env.specs.DiscreteArray) or a vector '
          f'in [-1, 1] (dm_env.specs.BoundedArray), got {action_spec!r}; '
          'rescale them with an environment wrapper.'
        )
    return cls(
      observation_shape=tuple(observation_spec.shape),
      observation_dtype=np.dtype(observation_spec.dtype).name,
      num_states=getattr(observation_spec, 'num_values', None),
      num_actions=None if num_actions is None else int(num_actions),
      action_shape=action_shape,
      entry_names=tuple(getattr(observation_spec, 'entry_names', ())),
    )
