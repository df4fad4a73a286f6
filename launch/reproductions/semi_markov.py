"""Choosing among skills and primitive actions as one compiled program.

What `skills.agents.hierarchy` makes of any dm_env, for tabular worlds whose
transitions are certain, and a controller that learns from every choice as it is
made. Many goals are learned side by side, each by a controller of its own.
"""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Bool
from jaxtyping import Float
from jaxtyping import Int

from envs.tabular import functional as tabular_functional
from skills import acting
from skills import loading
from skills import registry
from skills import types
from skills.learners import base


class Outcome(NamedTuple):
  """What a choice led to.

  Attributes:
    state: of the world.
    actor: of the skills.
    reward: summed, each step's discounted by those before it.
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
  environment: tabular_functional.FunctionalEnvironment, goal: Int[Array, '']
) -> tabular_functional.FunctionalEnvironment:
  """A world in which entering one state pays 1 and is the end.

  Args:
    environment: without random transitions; its own rewards do not count.
    goal: the state, which need not be known when the program is compiled.
  """

  def step(key, state, action):
    state, _, _ = environment.step(key, state, action)
    reward = (state == goal).astype(jnp.float32)
    return state, reward, 1 - reward

  return environment._replace(step=step)


def make_decide(
  environment: tabular_functional.FunctionalEnvironment,
  discount: float,
  trained: loading.TrainedSkills | None = None,
) -> Decide:
  """Makes the function that runs a skill to its end, or one primitive action.

  Args:
    environment: without random transitions.
    discount: gamma per step.
    trained: the skills, which are actions 0..K-1; None for none, so that all
      actions are primitive.

  Returns:
    A function of the world's state, the actor of the skills, an action, and the
    steps that are left of the episode, at least 1. It gives an `Outcome`.
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
      chosen, following = primitive, before.actor
      if trained is not None:
        by_skill, following = trained.select_action(
          variables, environment.observe(before.state), before.actor
        )
        chosen = jnp.where(is_skill, by_skill, primitive)
        following = _where(is_skill, following, before.actor)
      state, reward, own = environment.step(None, before.state, chosen)
      after = Outcome(
        state,
        following,
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


class _Carry(NamedTuple):
  """Of one controller."""

  learner: base.LearnerState
  memory: base.Memory
  state: Int[Array, '']
  actor: Any
  episode: Int[Array, '']
  steps_of_episode: Int[Array, '']
  steps: Int[Array, '']
  choices: Int[Array, '']
  successes: Int[Array, '']


def make(
  controller: registry.Agent,
  environment: tabular_functional.FunctionalEnvironment,
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
    environment: without random transitions and goals.
    goals: states that are goals, one a controller.
    horizon: steps of an episode that misses its goal.
    num_steps: of the environment, for each controller.
    discount: gamma per step.
    trained: the skills; None for primitive actions alone.

  Returns:
    A function of a random key. It gives how often each controller reached its
    goal within its steps, and how many choices it made.

  Raises:
    ValueError: if the controller learns from longer items, or transitions are
      random.
  """
  if controller.config.skill_length != 1 or controller.config.num_skills != 1:
    raise ValueError(
      'a controller learns here from items of one step: skill_length and '
      f'num_skills must be 1, got {controller.config.skill_length} and '
      f'{controller.config.num_skills}.'
    )
  if not environment.is_deterministic:
    raise ValueError('the environment must have no random transitions.')

  def init(key: types.PRNGKey) -> _Carry:
    zero = jnp.zeros((), jnp.int32)
    return _Carry(
      controller.learner.init(key),
      controller.acting_policy.init(),
      environment.reset(None),
      _begin(trained, key, zero),
      *(zero,) * 5,
    )

  def one(carry: _Carry, goal: Int[Array, ''], key: types.PRNGKey) -> _Carry:
    decide = make_decide(with_goal(environment, goal), discount, trained)
    noise_key, actor_key = jax.random.split(key)
    seen = environment.observe(carry.state)
    action, memory = _choose(controller, carry, seen, noise_key)
    outcome = decide(
      carry.state, carry.actor, action, horizon - carry.steps_of_episode
    )
    learner, _ = controller.learner.update(
      carry.learner,
      _item(
        jnp.stack([seen, environment.observe(outcome.state)]),
        action,
        outcome,
        controller.acting_policy.get_extras(memory),
      ),
    )
    has_next_step = _counted(
      carry._replace(
        learner=learner,
        memory=memory,
        state=outcome.state,
        actor=outcome.actor,
      ),
      outcome,
      num_steps,
    )
    anew = has_next_step._replace(
      memory=controller.acting_policy.init(),
      state=environment.reset(None),
      actor=_begin(trained, actor_key, carry.episode + 1),
      episode=carry.episode + 1,
      steps_of_episode=jnp.zeros_like(has_next_step.steps_of_episode),
    )
    is_over = outcome.has_ended | (has_next_step.steps_of_episode >= horizon)
    small = ('memory', 'state', 'actor', 'episode', 'steps_of_episode')
    return has_next_step._replace(
      **{
        name: _where(is_over, getattr(anew, name), getattr(has_next_step, name))
        for name in small
      }
    )

  def run(key: types.PRNGKey) -> tuple[Int[Array, 'G'], Int[Array, 'G']]:
    keys = jax.random.split(key, goals.shape[0])
    carry = jax.lax.while_loop(
      lambda carry: jnp.any(carry.steps < num_steps),
      lambda carry: jax.vmap(one)(carry, goals, keys),
      jax.vmap(init)(keys),
    )
    return carry.successes, carry.choices

  return run


def _begin(
  trained: loading.TrainedSkills | None,
  key: types.PRNGKey,
  episode: Int[Array, ''],
) -> Any:
  """The actor of the skills as it begins an episode."""
  if trained is None:
    return ()
  return trained.init(jax.random.fold_in(key, episode))


def _choose(
  controller: registry.Agent,
  carry: _Carry,
  seen: Array,
  key: types.PRNGKey,
) -> tuple[Int[Array, ''], base.Memory]:
  """The controller's next choice, and its memory after that."""
  acting_policy = controller.acting_policy
  uniform = jax.random.uniform(
    jax.random.fold_in(key, carry.choices), (acting_policy.num_uniforms,)
  )
  inputs = seen, jnp.int32(0), carry.memory, uniform
  return jax.tree.map(
    lambda x: x[0],
    acting_policy.select_action(
      controller.learner.variables(carry.learner),
      *jax.tree.map(lambda x: x[None], inputs),
    ),
  )


def _item(
  seen: Array,
  action: Int[Array, ''],
  outcome: Outcome,
  step_extras: Mapping[str, Array],
) -> types.Trajectory:
  """One choice as a trajectory of one step.

  Args:
    seen: when it was made, and when its outcome was there, `[2, ...]`.
    action: the choice.
    outcome: what it led to.
    extras: of the acting_policy.
  """
  item = types.Trajectory(
    observation=seen,
    action=action,
    reward=outcome.reward,
    discount=outcome.discount,
    skill=jnp.int32(0),
    mask=jnp.float32(1),
    extras=step_extras,
  )
  return jax.tree.map(lambda x: x[None, None], item)._replace(
    observation=seen[:, None]
  )


def _counted(carry: _Carry, outcome: Outcome, num_steps: int) -> _Carry:
  """The same with a choice more, its steps and its success, if it was one.

  Who is done waits for the others and is not counted any more.
  """
  steps = carry.steps + outcome.taken
  is_success = outcome.has_ended & (steps <= num_steps)
  return carry._replace(
    steps_of_episode=carry.steps_of_episode + outcome.taken,
    steps=steps,
    choices=carry.choices + (carry.steps < num_steps),
    successes=carry.successes + is_success,
  )


def _where(condition: Bool[Array, ''], first: Any, second: Any) -> Any:
  return jax.tree.map(lambda x, y: jnp.where(condition, x, y), first, second)
