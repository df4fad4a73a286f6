"""Skill-conditioned acting: draws skills, keeps them and records them.

The three functions of a `ActorCore` are those of Acme's ActorCore. The skill
lives in the actor's state: neither environment nor adder knows of it.
"""

from collections.abc import Callable
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Bool
from jaxtyping import Int
from jaxtyping import Shaped
from jaxtyping import UInt32

from skills import types
from skills.learners import base


class ActorState(NamedTuple):
  """State of an actor.

  Attributes:
    key: constant; random numbers of step n come from folding n into it.
    step: steps taken in this episode.
    skill: the skill that it follows.
    skill_step: steps taken with that skill, the last one included.
    learner_step: the learner's number of updates when it made the variables
      that chose the last action.
    memory: that of the acting policy.
  """

  key: types.PRNGKey
  step: Int[Array, '']
  skill: Int[Array, '']
  skill_step: Int[Array, '']
  learner_step: Int[Array, '']
  memory: base.Memory


def with_skill(state: ActorState, skill: int | Int[Array, '']) -> ActorState:
  """The same actor, about to begin a skill of the caller's choice.

  It follows that skill for the skill's full length, and then draws another.

  Args:
    state: at any time.
    skill: in 0..K-1.
  """
  return state._replace(
    skill=jnp.asarray(skill, jnp.int32),
    skill_step=jnp.zeros_like(state.skill_step),
  )


class ActorCore(NamedTuple):
  """The pure functions of an actor.

  Attributes:
    init: random key -> state at an episode's start.
    select_action: variables, observation, state -> action and next state.
    get_extras: state after an action -> what replay records beside it: 'skill',
      'skill_step', which counts a skill's steps from 1 (so that 0 marks
      padding), 'learner_step', as in the state, and what the acting policy
      records.
  """

  init: Callable[[types.PRNGKey], ActorState]
  select_action: Callable[
    [types.PyTree, Array, ActorState], tuple[Array, ActorState]
  ]
  get_extras: Callable[[ActorState], dict[str, Array]]


def make(
  acting_policy: base.ActingPolicy,
  num_skills: int,
  skill_length: int,
  fixed_skill: int | None = None,
  *,
  keeps_skill: bool = False,
) -> ActorCore:
  """Acts by one skill after the other.

  A skill is drawn uniformly when an episode starts and, unless it is kept,
  whenever one has run for its full length.

  Args:
    acting_policy: chooses the actions.
    num_skills: number of skills K.
    skill_length: environment steps of a skill.
    fixed_skill: what is followed all the time, in place of skills drawn.
    keeps_skill: whether the same skill begins anew after its full length.
  """

  def init(key: types.PRNGKey) -> ActorState:
    zero = jnp.zeros((), jnp.int32)
    # As if a skill had just ended: the first step draws one.
    return ActorState(
      key,
      zero,
      zero,
      jnp.full((), skill_length, jnp.int32),
      zero,
      acting_policy.init(),
    )

  def select_action(
    variables: base.Variables, observation: Array, state: ActorState
  ) -> tuple[Array, ActorState]:
    # All random numbers in one draw: this runs at every step of an actor.
    uniform = jax.random.uniform(
      jax.random.fold_in(state.key, state.step),
      (1 + acting_policy.num_uniforms,),
    )
    drawn = jnp.minimum(
      (uniform[0] * num_skills).astype(jnp.int32), num_skills - 1
    )
    if fixed_skill is not None:
      drawn = jnp.full_like(drawn, fixed_skill)
    is_over = state.skill_step >= skill_length
    begins = is_over & (state.step == 0) if keeps_skill else is_over
    skill = jnp.where(begins, drawn, state.skill)
    skill_step = jnp.where(is_over, 0, state.skill_step) + 1
    inputs = observation, skill, state.memory, uniform[1:]
    action, memory = jax.tree.map(
      lambda x: x[0],
      acting_policy.select_action(
        variables, *jax.tree.map(lambda x: jnp.asarray(x)[None], inputs)
      ),
    )
    return action, ActorState(
      state.key, state.step + 1, skill, skill_step, variables.steps, memory
    )

  def get_extras(state: ActorState) -> dict[str, Array]:
    return {
      'skill': state.skill,
      'skill_step': state.skill_step,
      'learner_step': state.learner_step,
      **acting_policy.get_extras(state.memory),
    }

  return ActorCore(init, select_action, get_extras)


class BatchState(NamedTuple):
  """State of N actors.

  Attributes:
    keys: random key of each actor, from which its episodes' keys are split.
    actors: the state of each actor; leaves have a leading axis N.
  """

  keys: UInt32[Array, 'N 2']
  actors: ActorState


class BatchCore(NamedTuple):
  """The pure functions of N actors that share one policy.

  Actor i takes the actions of a single actor that has its key.

  Attributes:
    init: random keys `[N, 2]` -> state.
    select_action: variables, (observations `[N, ...]`, where an episode begins
      `[N]`), state -> (actions and extras, with a leading axis N) and the next
      state. The policy is evaluated once.
  """

  init: Callable[[UInt32[Array, 'N 2']], BatchState]
  select_action: Callable[
    [
      types.PyTree,
      tuple[Shaped[Array, 'N *observation'], Bool[Array, 'N']],
      BatchState,
    ],
    tuple[tuple[Array, dict[str, Array]], BatchState],
  ]


def batch(core: ActorCore) -> BatchCore:
  """Acts in N environments at once, each with a skill and a key of its own."""

  def init(keys: UInt32[Array, 'N 2']) -> BatchState:
    return BatchState(keys, jax.vmap(core.init)(keys))

  def select_action(
    variables: base.Variables,
    inputs: tuple[Shaped[Array, 'N *observation'], Bool[Array, 'N']],
    state: BatchState,
  ) -> tuple[tuple[Array, dict[str, Array]], BatchState]:
    observation, begins = inputs

    def select(observation, begins, key, actor):
      next_key, episode_key = jax.random.split(key)
      actor = jax.tree.map(
        lambda fresh, old: jnp.where(begins, fresh, old),
        core.init(episode_key),
        actor,
      )
      action, actor = core.select_action(variables, observation, actor)
      return (
        (action, core.get_extras(actor)),
        jnp.where(begins, next_key, key),
        actor,
      )

    output, keys, actors = jax.vmap(select)(
      observation, begins, state.keys, state.actors
    )
    return output, BatchState(keys, actors)

  return BatchCore(init, select_action)


def learner_extras(extras: Mapping[str, Array]) -> dict[str, Array]:
  """The extras that the acting policy itself recorded."""
  own = ('skill', 'skill_step', 'learner_step')
  return {name: extras[name] for name in extras if name not in own}
