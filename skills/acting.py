"""Acting by skills: draws them, keeps them and records them.

The three functions of a `PolicyCore` are those of Acme's ActorCore. The skill
lives in the actor's state: neither environment nor adder knows of it.
"""

from collections.abc import Callable
import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int

from skills import types
from skills.learners import q_learning


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActingConfig:
  """Settings of acting.

  Attributes:
    epsilon: probability of a random action while training.
    evaluation_epsilon: the same while evaluating.
  """

  epsilon: float = 0.05
  evaluation_epsilon: float = 0.001

  def __post_init__(self) -> None:
    """Refuses values that cannot work."""
    for name in ('epsilon', 'evaluation_epsilon'):
      value = getattr(self, name)
      if not 0 <= value <= 1:
        raise ValueError(f'{name} must be in [0, 1], got {value}.')


class ActorState(NamedTuple):
  """What an actor remembers between steps.

  Attributes:
    key: constant; random numbers of step n come from folding n into it.
    step: steps taken in this episode.
    skill: the skill that it follows.
    skill_step: steps taken with that skill, the last one included.
    learner_step: the learner's number of updates when it made the variables
      that chose the last action.
  """

  key: types.PRNGKey
  step: Int[Array, '']
  skill: Int[Array, '']
  skill_step: Int[Array, '']
  learner_step: Int[Array, '']


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


class PolicyCore(NamedTuple):
  """Three pure functions.

  Attributes:
    init: random key -> state at an episode's start.
    select_action: variables, observation, state -> action and next state.
    get_extras: state after an action -> what replay records beside it: 'skill',
      'skill_step', which counts a skill's steps from 1 (so that 0 marks
      padding), and 'learner_step', as in the state.
  """

  init: Callable[[types.PRNGKey], ActorState]
  select_action: Callable[
    [types.PyTree, Array, ActorState], tuple[Array, ActorState]
  ]
  get_extras: Callable[[ActorState], dict[str, Array]]


def epsilon_greedy(
  values: Float[Array, '*batch A'],
  uniform: Float[Array, '*batch'],
  epsilon: float,
) -> Int[Array, '*batch']:
  """The best action, or with probability `epsilon` any.

  Args:
    values: of each action; the first of equal ones wins.
    uniform: one random number in [0, 1) for each choice. Where it is below
      epsilon it also says which action, so that none further is needed.
    epsilon: in [0, 1].
  """
  num_actions = values.shape[-1]
  greedy = jnp.argmax(values, axis=-1).astype(jnp.int32)
  if epsilon == 0:
    return greedy
  scaled = (uniform * (num_actions / epsilon)).astype(jnp.int32)
  return jnp.where(
    uniform < epsilon, jnp.minimum(scaled, num_actions - 1), greedy
  )


def make(
  network: types.Network,
  num_skills: int,
  skill_length: int,
  epsilon: float,
) -> PolicyCore:
  """Acts by epsilon-greedy choice among a skill's mixed action values.

  A skill is drawn uniformly when an episode starts and whenever one has run for
  its full length.

  Args:
    network: action values, as `q_learning.make` takes it.
    num_skills: number of skills K.
    skill_length: environment steps of a skill.
    epsilon: probability of a random action.
  """

  def init(key: types.PRNGKey) -> ActorState:
    zero = jnp.zeros((), jnp.int32)
    # As if a skill had just ended: the first step draws one.
    return ActorState(
      key, zero, zero, jnp.full((), skill_length, jnp.int32), zero
    )

  def select_action(
    variables: q_learning.Variables, observation: Array, state: ActorState
  ) -> tuple[Array, ActorState]:
    # Two random numbers in one draw: this runs at every step of an actor.
    uniform = jax.random.uniform(
      jax.random.fold_in(state.key, state.step), (2,)
    )
    drawn = jnp.minimum(
      (uniform[0] * num_skills).astype(jnp.int32), num_skills - 1
    )
    is_over = state.skill_step >= skill_length
    skill = jnp.where(is_over, drawn, state.skill)
    skill_step = jnp.where(is_over, 0, state.skill_step) + 1
    values = network.apply(variables.params, observation[None], skill[None])
    action = epsilon_greedy(
      q_learning.mix(values, variables.weights)[0], uniform[1], epsilon
    )
    return action, ActorState(
      state.key, state.step + 1, skill, skill_step, variables.steps
    )

  def get_extras(state: ActorState) -> dict[str, Array]:
    return {
      'skill': state.skill,
      'skill_step': state.skill_step,
      'learner_step': state.learner_step,
    }

  return PolicyCore(init, select_action, get_extras)
