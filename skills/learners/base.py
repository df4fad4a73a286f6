"""What a learner is, and how its variables act."""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple
from typing import Protocol

import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Shaped

from skills import types
from skills.networks import models
from skills.networks import torsos

Variables = types.PyTree
Memory = types.PyTree


class LearnerState(Protocol):
  """What callers use of any learner's state, a NamedTuple of arrays."""

  @property
  def params(self) -> types.Params:
    """Parameters that gradients change."""
    ...

  @property
  def objective(self) -> types.PyTree:
    """The objective's state."""
    ...

  @property
  def steps(self) -> Int[Array, '']:
    """Number of updates so far."""
    ...


class Learner(NamedTuple):
  """A pure update step.

  Attributes:
    init: random key -> state.
    update: state, trajectory -> next state and metrics; jit it, and donate the
      state.
    variables: state -> what actors need; its field `steps` is the number of
      updates that made it.
    update_with_priorities: the same as `update`, which also gives a number
      above 0 for each trajectory `[B]`, that says how much there is to learn
      from it; None for learners that cannot tell.
    take_policy: state, trained state of the same shapes -> the state with the
      trained policy; None for learners without a policy beside their values.
    model: the model that is learned, whose parameters are those of `variables`;
      None for learners without one.
  """

  init: Callable[[types.PRNGKey], LearnerState]
  # Each learner takes the class of states that its own `init` makes.
  update: Callable[[Any, types.Trajectory], tuple[LearnerState, types.Metrics]]
  variables: Callable[[Any], Variables]
  update_with_priorities: (
    Callable[
      [Any, types.Trajectory],
      tuple[LearnerState, types.Metrics, Float[Array, 'B']],
    ]
    | None
  ) = None
  take_policy: Callable[[Any, Any], LearnerState] | None = None
  model: models.Model | None = None


class ActingPolicy(NamedTuple):
  """How actions are chosen.

  Attributes:
    num_uniforms: random numbers that a choice takes, U.
    init: the memory before an episode's first step, without batch axes; `()`
      for those that need none.
    select_action: variables, observations `[*batch, ...]`, skills `[*batch]`,
      memory `[*batch, ...]` and random numbers `[*batch, U]`, uniform in [0, 1)
      -> actions and the memory after them.
    get_extras: memory after an action -> what the learner must know of how it
      was chosen, by name; it comes back in `Trajectory.extras`.
  """

  num_uniforms: int
  init: Callable[[], Memory]
  select_action: Callable[
    [
      Variables,
      Shaped[Array, '*batch_and_observation'],
      Int[Array, '*batch'],
      Memory,
      Float[Array, '*batch U'],
    ],
    tuple[Array, Memory],
  ]
  get_extras: Callable[[Memory], dict[str, Array]]


class AgentFunctions(NamedTuple):
  """An algorithm for one problem and one objective.

  Attributes:
    learner: how it learns.
    acting_policy: how it acts while training.
    evaluation_acting_policy: how it acts while evaluating.
  """

  learner: Learner
  acting_policy: ActingPolicy
  evaluation_acting_policy: ActingPolicy


def check_no_memory(learner: str, network: torsos.NetworkConfig) -> None:
  """Refuses a recurrent core.

  Args:
    learner: name of a learner whose networks have no memory.
    network: of its networks.

  Raises:
    ValueError: naming `network.lstm_size`.
  """
  if network.lstm_size is not None:
    raise ValueError(
      f'network.lstm_size must be None for the learner {learner}, whose '
      f'networks have no memory, got {network.lstm_size}; use '
      'learner=q_learning.'
    )


def discounts(
  discount_t: Float[Array, 'T B'],
  mask: Float[Array, 'T B'],
  gamma: float,
  *,
  bootstrap_at_skill_end: bool,
) -> Float[Array, 'T B']:
  """The discount after each step; 0 at the last step of a skill that is over.

  Args:
    discount_t: the environment's.
    mask: 1 for the skill's steps, which come first.
    gamma: discount per step.
    bootstrap_at_skill_end: whether returns go on past a skill's last step, as
      `IntrinsicReward.bootstrap_at_skill_end` says.
  """
  if bootstrap_at_skill_end:
    return gamma * discount_t * mask
  return gamma * discount_t * has_next_step(mask)


def has_next_step(mask: Float[Array, 'T B']) -> Float[Array, 'T B']:
  """1 for steps after which the trajectory holds another one."""
  return jnp.concatenate([mask[1:], jnp.zeros_like(mask[:1])])


def stream_rewards(
  streams: tuple[str, ...], rewards: Float[Array, 'T B R']
) -> types.Metrics:
  """Each stream's reward summed over a trajectory, mean over the batch."""
  batch_size = rewards.shape[1]
  return {
    f'reward/{stream}': jnp.sum(rewards[..., i]) / batch_size
    for i, stream in enumerate(streams)
  }


def combine_streams(
  values: Float[Array, '*axes R'], weights: Float[Array, '... R']
) -> Float[Array, '*axes']:
  """Weighted sum over reward streams; they meet where actions are compared.

  Args:
    values: values or advantages of each stream.
    weights: of the streams, the same for all, `[R]`, or `[*batch, R]` with the
      leading axes of `values`.
  """
  if weights.ndim == 1:
    return values @ weights
  missing = (1,) * (values.ndim - weights.ndim)
  shape = (*weights.shape[:-1], *missing, weights.shape[-1])
  return jnp.sum(values * weights.reshape(shape), axis=-1)
