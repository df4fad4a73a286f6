"""Environment, acting and learning as one compiled program.

For environments that are JAX functions. Many environments run side by side, one
skill each, and the learner learns once from every trajectory: there is no
replay. Objective, network and learner are the same functions that the Acme
path runs.
"""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int

from envs.tabular import functional as tabular_functional
from skills import registry
from skills import types
from skills.learners import base

# Rollouts of so many steps are unrolled as a whole, of longer ones a few steps
# at a time: else it would take minutes to compile them.
_LONGEST_UNROLLED = 32
_UNROLLED_OF_LONGER = 4

# Updates whose random numbers are drawn at once. Drawing them one by one would
# cost more than the updates of a small environment. Calls that train for
# multiples of it give the same result however the whole is cut into calls.
BLOCK = 100


# States of environments, and the memory of the acting policy in each.
ActingState = tuple[Int[Array, 'B'], base.Memory]


class OnDeviceState(NamedTuple):
  """The state of a run.

  Attributes:
    learner: the learner's state.
    environments: states of the environments.
    memory: of the acting policy in each.
    key: source of the random numbers to come.
  """

  learner: base.LearnerState
  environments: Int[Array, 'B']
  memory: base.Memory
  key: types.PRNGKey


class Program(NamedTuple):
  """Pure functions; map them over keys to run many seeds at once.

  Attributes:
    init: random key -> state.
    train: state, number of updates (static) -> state and the metrics of the
      last update.
    evaluate: state, random key, number of skills (static) -> fresh trajectories
      of the evaluation policy. Where episodes end, each begins with a reset.
      Where they do not, there are B chains of skills, each of which goes on
      from where the one before it ended, and the first ones from where training
      is: trajectory i + B follows trajectory i.
  """

  init: Callable[[types.PRNGKey], OnDeviceState]
  train: Callable[[OnDeviceState, int], tuple[OnDeviceState, types.Metrics]]
  evaluate: Callable[[OnDeviceState, types.PRNGKey, int], types.Trajectory]


# Random key, number of environments -> as they begin.
_Reset = Callable[[types.PRNGKey, int], ActingState]
# State; skills, uniform numbers and a key -> state and metrics.
_Update = Callable[[OnDeviceState, Any], tuple[OnDeviceState, types.Metrics]]


def rollout(
  acting_policy: base.ActingPolicy,
  environment: tabular_functional.FunctionalEnvironment,
  variables: base.Variables,
  start: ActingState,
  skill: Int[Array, 'B'],
  uniform: Float[Array, 'T B U'],
  key: types.PRNGKey,
) -> tuple[types.Trajectory, ActingState]:
  """Runs one skill in each of B environments, from its first step to its last.

  Args:
    acting_policy: chooses the actions.
    environment: one of them.
    variables: of the policy.
    start: states to start from, and memories.
    skill: which skill to run in each.
    uniform: random numbers in [0, 1), for each choice of an action.
    key: for environments that are not deterministic.

  Returns:
    The trajectories, and the states and memories in which they end.
  """
  batch = skill.shape[0]
  num_steps = uniform.shape[0]
  observe = jax.vmap(environment.observe)

  def step(carry, inputs):
    state, memory = carry
    noise, time = inputs
    observation = observe(state)
    action, memory = acting_policy.select_action(
      variables, observation, skill, memory, noise
    )
    if environment.is_deterministic:
      keys = None
    else:
      keys = jax.random.split(jax.random.fold_in(key, time), batch)
    axes = (None if keys is None else 0, 0, 0)
    state, reward, discount = jax.vmap(environment.step, axes)(
      keys, state, action
    )
    step_extras = acting_policy.get_extras(memory)
    return (state, memory), (observation, action, reward, discount, step_extras)

  end, (observations, actions, rewards, discounts, step_extras) = jax.lax.scan(
    step,
    start,
    (uniform, jnp.arange(num_steps)),
    unroll=(
      num_steps if num_steps <= _LONGEST_UNROLLED else _UNROLLED_OF_LONGER
    ),
  )
  # An environment that ended stays where it is; its later steps are padding.
  alive = jnp.cumprod(discounts, axis=0) > 0
  mask = jnp.concatenate([jnp.ones_like(alive[:1]), alive[:-1]])
  trajectory = types.Trajectory(
    observation=jnp.concatenate([observations, observe(end[0])[None]]),
    action=actions,
    reward=rewards,
    discount=discounts,
    skill=jnp.broadcast_to(skill, actions.shape),
    mask=mask.astype(jnp.float32),
    extras=step_extras,
  )
  return trajectory, end


def make(
  agent: registry.Agent, environment: tabular_functional.FunctionalEnvironment
) -> Program:
  """Makes the program.

  Args:
    agent: what learns.
    environment: where.

  Raises:
    ValueError: if episodes do not end where skills do, or never, and skills
      are to last as long.
  """
  config = agent.config
  if environment.horizon not in (None, config.skill_length):
    raise ValueError(
      f'skill_length must equal the episode length ({environment.horizon}) on '
      f'device, got {config.skill_length}.'
    )
  if config.keeps_skill and environment.horizon is None:
    raise ValueError(
      'keeps_skill must be false on device where episodes do not end, got true.'
    )

  def reset(key: types.PRNGKey, size: int) -> ActingState:
    memory = jax.tree.map(
      lambda x: jnp.broadcast_to(x, (size,) + x.shape),
      agent.acting_policy.init(),
    )
    return jax.vmap(environment.reset)(jax.random.split(key, size)), memory

  def init(key: types.PRNGKey) -> OnDeviceState:
    learner_key, reset_key, key = jax.random.split(key, 3)
    environments, memory = reset(reset_key, config.batch_size)
    return OnDeviceState(
      agent.learner.init(learner_key), environments, memory, key
    )

  return Program(
    init,
    _make_train(agent, _make_update(agent, environment, reset)),
    _make_evaluate(agent, environment, reset),
  )


def _reset_ended(
  reset: _Reset,
  trajectory: types.Trajectory,
  end: ActingState,
  key: types.PRNGKey,
) -> ActingState:
  """Resets the environments that ended; the others go on."""
  has_ended = jnp.any(trajectory.discount == 0, axis=0)
  return jax.tree.map(
    lambda new, old: jnp.where(
      has_ended.reshape((-1,) + (1,) * (old.ndim - 1)), new, old
    ),
    reset(key, has_ended.shape[0]),
    end,
  )


def _make_update(
  agent: registry.Agent,
  environment: tabular_functional.FunctionalEnvironment,
  reset: _Reset,
) -> _Update:
  """Runs a skill in every environment, and learns from it."""
  is_episodic = environment.horizon is not None

  def update(state, inputs):
    skill, uniform, key = inputs
    start = state.environments, state.memory
    if is_episodic:
      start = reset(key, agent.config.batch_size)
    trajectory, end = rollout(
      agent.acting_policy,
      environment,
      agent.learner.variables(state.learner),
      start,
      skill,
      uniform,
      key,
    )
    if not is_episodic:
      end = _reset_ended(reset, trajectory, end, key)
    learner, metrics = agent.learner.update(state.learner, trajectory)
    environments, memory = end
    return OnDeviceState(learner, environments, memory, state.key), metrics

  return update


def _make_train(
  agent: registry.Agent, update: _Update
) -> Callable[[OnDeviceState, int], tuple[OnDeviceState, types.Metrics]]:
  """Many updates; random numbers are drawn a block of them at a time."""
  config = agent.config
  batch = config.batch_size

  def block(
    state: OnDeviceState, size: int
  ) -> tuple[OnDeviceState, types.Metrics]:
    key, skill_key, uniform_key, update_key = jax.random.split(state.key, 4)
    inputs = (
      jax.random.randint(
        skill_key, (size, batch), *config.skills_run, jnp.int32
      ),
      jax.random.uniform(
        uniform_key,
        (size, config.skill_length, batch, agent.acting_policy.num_uniforms),
      ),
      jax.random.split(update_key, size),
    )
    state = state._replace(key=key)
    # All but the last update drop their metrics, and so do not compute them.
    first = jax.tree.map(lambda x: x[:-1], inputs)
    last = jax.tree.map(lambda x: x[-1], inputs)
    state, _ = jax.lax.scan(lambda s, x: (update(s, x)[0], None), state, first)
    return update(state, last)

  def train(
    state: OnDeviceState, num_updates: int
  ) -> tuple[OnDeviceState, types.Metrics]:
    if num_updates < 1:
      raise ValueError(f'num_updates must be >= 1, got {num_updates}.')
    num_blocks = (num_updates - 1) // BLOCK
    state = jax.lax.fori_loop(
      0, num_blocks, lambda _, state: block(state, BLOCK)[0], state
    )
    return block(state, num_updates - num_blocks * BLOCK)

  return train


def _make_evaluate(
  agent: registry.Agent,
  environment: tabular_functional.FunctionalEnvironment,
  reset: _Reset,
) -> Callable[[OnDeviceState, types.PRNGKey, int], types.Trajectory]:
  """Rollouts of the evaluation policy: episodes, or chains of skills."""
  config = agent.config
  batch = config.batch_size
  num_steps = config.skill_length
  acting_policy = agent.evaluation_acting_policy

  def episodes(
    variables: base.Variables,
    reset_key: types.PRNGKey,
    skill: Int[Array, 'N'],
    uniform_key: types.PRNGKey,
    key: types.PRNGKey,
  ) -> types.Trajectory:
    size = skill.shape[0]
    trajectory, _ = rollout(
      acting_policy,
      environment,
      variables,
      reset(reset_key, size),
      skill,
      jax.random.uniform(
        uniform_key, (num_steps, size, acting_policy.num_uniforms)
      ),
      key,
    )
    return trajectory

  def chains(
    variables: base.Variables,
    start: ActingState,
    skill: Int[Array, 'L B'],
    key: types.PRNGKey,
  ) -> types.Trajectory:
    def link(start, inputs):
      skill, key = inputs
      uniform_key, key = jax.random.split(key)
      uniform = jax.random.uniform(
        uniform_key, (num_steps, batch, acting_policy.num_uniforms)
      )
      trajectory, end = rollout(
        acting_policy, environment, variables, start, skill, uniform, key
      )
      return _reset_ended(reset, trajectory, end, key), trajectory

    length = skill.shape[0]
    _, links = jax.lax.scan(link, start, (skill, jax.random.split(key, length)))
    # Links are [length, T, batch]: chain after chain, one skill of each.
    return jax.tree.map(
      lambda x: jnp.moveaxis(x, 0, 1).reshape(
        (x.shape[1], length * batch) + x.shape[3:]
      ),
      links,
    )

  def evaluate(
    state: OnDeviceState, key: types.PRNGKey, size: int
  ) -> types.Trajectory:
    reset_key, skill_key, uniform_key, key = jax.random.split(key, 4)
    variables = agent.learner.variables(state.learner)
    is_episodic = environment.horizon is not None
    shape = (size,) if is_episodic else (-(-size // batch), batch)
    skill = jax.random.randint(skill_key, shape, *config.skills_run, jnp.int32)
    if is_episodic:
      return episodes(variables, reset_key, skill, uniform_key, key)
    start = state.environments, state.memory
    # Not all of the last links were asked for.
    return jax.tree.map(
      lambda x: x[:, :size], chains(variables, start, skill, key)
    )

  return evaluate
