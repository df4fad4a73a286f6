"""Types that every part of the suite shares.

Axis letters in array annotations, everywhere:

  T  time: environment steps of one skill     K  skills
  B  batch: trajectories side by side         N  members of an ensemble
  A  actions                                  R  reward streams
  S  states of a tabular world                D  features
  M  moments of a trajectory that an objective looks at (1 or T)

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


class Trajectory(NamedTuple):
  """A batch of skills, each from its first step to its last.

  Step t leads from `observation[t]` to `observation[t + 1]`. A skill that was
  cut short by the end of an episode fills a prefix of its T steps, which
  `mask` marks; every row holds at least one real step.

  Attributes:
    observation: what the agent saw, one more than there are steps.
    action: what it did.
    reward: the environment's own reward for the step.
    discount: the environment's discount: 0 where the step ended the world in a
      terminal state, 1 elsewhere, also where an episode was merely cut off.
    skill: the skill that chose the action.
    mask: 1 for real steps, 0 for padding.
    record: what the policy noted of each step for its learner, by name, each
      `[T, B, ...]`; empty if it noted nothing.
  """

  observation: Shaped[Array, 'T+1 B *observation']
  action: Int[Array, 'T B']
  reward: Float[Array, 'T B']
  discount: Float[Array, 'T B']
  skill: Int[Array, 'T B']
  mask: Float[Array, 'T B']
  record: Mapping[str, Array] = {}


def arrival(
  end: Shaped[Array, 'B *observation'],
  start: Shaped[Array, 'B *observation'] | None = None,
) -> Trajectory:
  """Skills of a single step, for those who ask only about where skills end.

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProblemSpec:
  """What networks need to know of an environment.

  Attributes:
    observation_shape: shape of one observation.
    observation_dtype: its NumPy type's name.
    num_states: number of values of an observation that is a state's index;
      None for any other observation.
    num_actions: number of discrete actions.
  """

  observation_shape: tuple[int, ...]
  observation_dtype: str
  num_states: int | None
  num_actions: int

  @classmethod
  def from_specs(cls, observation_spec: Any, action_spec: Any) -> 'ProblemSpec':
    """Reads dm_env's specs, without importing dm_env.

    Args:
      observation_spec: one array spec; with `num_values` if it is an index.
      action_spec: a discrete array spec.

    Returns:
      The problem's shapes and sizes.

    Raises:
      ValueError: if observations are nested or actions are not discrete.
    """
    if not hasattr(observation_spec, 'shape'):
      raise ValueError(
        'observations must be one array, got a nest '
        f'{observation_spec!r}; flatten it with an environment wrapper.'
      )
    num_actions = getattr(action_spec, 'num_values', None)
    if num_actions is None:
      raise ValueError(
        f'actions must be discrete (dm_env.specs.DiscreteArray), '
        f'got {action_spec!r}.'
      )
    return cls(
      observation_shape=tuple(observation_spec.shape),
      observation_dtype=np.dtype(observation_spec.dtype).name,
      num_states=getattr(observation_spec, 'num_values', None),
      num_actions=int(num_actions),
    )
