"""What a learner is, and how its variables act."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Shaped

from skills import types

LearnerState = types.PyTree
Variables = types.PyTree
Memory = types.PyTree


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
  """

  init: Callable[[types.PRNGKey], LearnerState]
  update: Callable[
    [LearnerState, types.Trajectory], tuple[LearnerState, types.Metrics]
  ]
  variables: Callable[[LearnerState], Variables]
  update_with_priorities: (
    Callable[
      [LearnerState, types.Trajectory],
      tuple[LearnerState, types.Metrics, Float[Array, 'B']],
    ]
    | None
  ) = None
  take_policy: Callable[[LearnerState, LearnerState], LearnerState] | None = (
    None
  )


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
