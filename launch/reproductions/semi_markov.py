"""Semi-Markov control by skills and primitive actions, as a compiled program.

Does in deterministic tabular environments what `skills.agents.hierarchy` does
in any dm_env, with a controller that learns from each choice as it is made. A
program trains one controller for each of several goals, side by side.
"""

from collections.abc import Callable
from collections.abc import Mapping
import functools
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Bool
from jaxtyping import Float
from jaxtyping import Int

from envs import functional as functional_lib
from skills import acting
from skills import config as config_lib
from skills import loading
from skills import registry
from skills import types
from skills.learners import base


class Outcome(NamedTuple):
  """Outcome of one choice.

  Attributes:
    state: of the environment, afterwards.
    actor: state of the skills' actor, afterwards.
    reward: discounted sum over the steps.
    discount: product over the steps; 0 at a terminal state.
    taken: number of steps.
    has_ended: whether a terminal state was reached.
  """

  state: Int[Array, '']
  actor: Any
  reward: Float[Array, '']
  discount: Float[Array, '']
  taken: Int[Array, '']
  has_ended: Bool[Array, '']


Decide = Callable[
  [Int[Array, ''], Any, Int[Array, ''], Int[Array, '']], Outcome
]


def with_goal(
  environment: functional_lib.FunctionalEnvironment, goal: Int[Array, '']
) -> functional_lib.FunctionalEnvironment:
  """Makes entering one state terminal, with the only reward, 1.

  Args:
    environment: deterministic; its own rewards are ignored.
    goal: the state; may be traced.
  """

  def step(key, state, action):
    state, _, _ = environment.step(key, state, action)
    reward = (state == goal).astype(jnp.float32)
    return state, reward, 1 - reward

  return environment._replace(step=step)


def make_decide(
  environment: functional_lib.FunctionalEnvironment,
  discount: float,
  trained: loading.TrainedSkills | None = None,
) -> Decide:
  """Makes the function that runs a skill to its end, or one primitive action.

  Args:
    environment: deterministic.
    discount: gamma per step.
    trained: the skills, which are actions 0..K-1; None for primitive actions
      alone.

  Returns:
    A function of the environment's state, the state of the skills' actor, an
    action, and the remaining steps of the episode, at least 1. It gives an
    `Outcome`.
  """
  num_skills = 0 if trained is None else trained.config.num_skills
  longest = 1 if trained is None else trained.config.skill_length
  variables = None if trained is None else trained.variables

  def decide(state, actor, action, left) -> Outcome:
    is_skill = action < num_skills
    primitive = action - num_skills
    wanted = jnp.minimum(jnp.where(is_skill, longest, 1), left)
    if trained is not None:
      actor = _where(is_skill, acting.with_skill(actor, action), actor)

    def step(before: Outcome, _: None) -> tuple[Outcome, None]:
      chosen, next_actor = primitive, before.actor
      if trained is not None:
        by_skill, next_actor = trained.select_action(
          variables, environment.observe(before.state), before.actor
        )
        chosen = jnp.where(is_skill, by_skill, primitive)
        next_actor = _where(is_skill, next_actor, before.actor)
      state, reward, own = environment.step(None, before.state, chosen)
      after = Outcome(
        state,
        next_actor,
        before.reward + before.discount * reward,
        before.discount * discount * own,
        before.taken + 1,
        own == 0,
      )
      has_next_step = (before.taken < wanted) & ~before.has_ended
      return _where(has_next_step, after, before), None

    zero = jnp.float32(0)
    start = Outcome(
      state, actor, zero, zero + 1, jnp.int32(0), jnp.zeros((), bool)
    )
    return jax.lax.scan(step, start, None, length=longest)[0]

  return decide


class _Episode(NamedTuple):
  """State of one controller's episode.

  Attributes:
    memory: of its acting policy.
    state: of the environment.
    actor: state of the skills' actor.
    index: number of episodes before.
    steps: environment steps so far.
  """

  memory: base.Memory
  state: Int[Array, '']
  actor: Any
  index: Int[Array, '']
  steps: Int[Array, '']


class _Carry(NamedTuple):
  """State of one controller.

  Attributes:
    learner: of its agent.
    episode: the current one.
    steps: environment steps in all.
    choices: in all.
    successes: goals reached.
  """

  learner: base.LearnerState
  episode: _Episode
  steps: Int[Array, '']
  choices: Int[Array, '']
  successes: Int[Array, '']


def make(
  controller: registry.Agent,
  environment: functional_lib.FunctionalEnvironment,
  *,
  goals: Int[Array, 'G'],
  horizon: int,
  num_steps: int,
  discount: float,
  trained: loading.TrainedSkills | None = None,
) -> Callable[[types.PRNGKey], tuple[Int[Array, 'G'], Int[Array, 'G']]]:
  """Makes the program that trains a controller for each goal.

  Args:
    controller: a task's agent, whose actions are skills and primitive actions.
      It learns from items of one step, and from each once.
    environment: deterministic and without goals.
    goals: one state for each controller.
    horizon: steps of an episode that misses its goal.
    num_steps: environment steps of each controller.
    discount: gamma per step.
    trained: the skills; None for primitive actions alone.

  Returns:
    A function of a random key. It gives how often each controller reached its
    goal within its steps, and how many choices it made.

  Raises:
    ValueError: if the controller learns from longer items, or transitions are
      random.
  """
  _check(controller.config, environment)
  begin = functools.partial(_begin, controller, environment, trained)

  def init(key: types.PRNGKey) -> _Carry:
    zero = jnp.zeros((), jnp.int32)
    learner = controller.learner.init(key)
    return _Carry(learner, begin(key, zero), zero, zero, zero)

  def update(carry: _Carry, goal: Int[Array, ''], key: types.PRNGKey) -> _Carry:
    decide = make_decide(with_goal(environment, goal), discount, trained)
    choice_key, actor_key = jax.random.split(key)
    episode = carry.episode
    observation = environment.observe(episode.state)
    action, memory = _choose(controller, carry, observation, choice_key)
    outcome = decide(
      episode.state, episode.actor, action, horizon - episode.steps
    )
    item = _item(
      jnp.stack([observation, environment.observe(outcome.state)]),
      action,
      outcome,
      controller.acting_policy.get_extras(memory),
    )
    learner, _ = controller.learner.update(carry.learner, item)
    episode_steps = episode.steps + outcome.taken
    is_over = outcome.has_ended | (episode_steps >= horizon)
    going_on = _Episode(
      memory, outcome.state, outcome.actor, episode.index, episode_steps
    )
    episode = _where(is_over, begin(actor_key, episode.index + 1), going_on)
    # A controller that has made its steps waits for the others, uncounted.
    steps = carry.steps + outcome.taken
    return _Carry(
      learner,
      episode,
      steps,
      carry.choices + (carry.steps < num_steps),
      carry.successes + (outcome.has_ended & (steps <= num_steps)),
    )

  def run(key: types.PRNGKey) -> tuple[Int[Array, 'G'], Int[Array, 'G']]:
    keys = jax.random.split(key, goals.shape[0])
    carry = jax.lax.while_loop(
      lambda carry: jnp.any(carry.steps < num_steps),
      lambda carry: jax.vmap(update)(carry, goals, keys),
      jax.vmap(init)(keys),
    )
    return carry.successes, carry.choices

  return run


def _check(
  config: config_lib.SkillAgentConfig,
  environment: functional_lib.FunctionalEnvironment,
) -> None:
  if config.skill_length != 1 or config.num_skills != 1:
    raise ValueError(
      'a controller learns here from items of one step: skill_length and '
      f'num_skills must be 1, got {config.skill_length} and '
      f'{config.num_skills}.'
    )
  if not environment.is_deterministic:
    raise ValueError('the environment must have no random transitions.')


def _begin(
  controller: registry.Agent,
  environment: functional_lib.FunctionalEnvironment,
  trained: loading.TrainedSkills | None,
  key: types.PRNGKey,
  index: Int[Array, ''],
) -> _Episode:
  """The first state of an episode."""
  actor = ()
  if trained is not None:
    actor = trained.init(jax.random.fold_in(key, index))
  memory = controller.acting_policy.init()
  zero = jnp.zeros((), jnp.int32)
  return _Episode(memory, environment.reset(None), actor, index, zero)


def _choose(
  controller: registry.Agent,
  carry: _Carry,
  observation: Array,
  key: types.PRNGKey,
) -> tuple[Int[Array, ''], base.Memory]:
  """The controller's next choice, and its memory after that."""
  acting_policy = controller.acting_policy
  uniform = jax.random.uniform(
    jax.random.fold_in(key, carry.choices), (acting_policy.num_uniforms,)
  )
  inputs = observation, jnp.int32(0), carry.episode.memory, uniform
  return jax.tree.map(
    lambda x: x[0],
    acting_policy.select_action(
      controller.learner.variables(carry.learner),
      *jax.tree.map(lambda x: x[None], inputs),
    ),
  )


def _item(
  observations: Array,
  action: Int[Array, ''],
  outcome: Outcome,
  extras: Mapping[str, Array],
) -> types.Trajectory:
  """One choice as a trajectory of one step.

  Args:
    observations: before and after the choice, `[2, ...]`.
    action: the choice.
    outcome: of it.
    extras: of the acting policy.
  """
  item = types.Trajectory(
    observation=observations,
    action=action,
    reward=outcome.reward,
    discount=outcome.discount,
    skill=jnp.int32(0),
    mask=jnp.float32(1),
    extras=extras,
  )
  return jax.tree.map(lambda x: x[None, None], item)._replace(
    observation=observations[:, None]
  )


def _where(condition: Bool[Array, ''], first: Any, second: Any) -> Any:
  return jax.tree.map(lambda x, y: jnp.where(condition, x, y), first, second)
