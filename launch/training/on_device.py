"""Environment, acting and learning as one compiled program.

For environments that are JAX functions. Many environments run side by side, one
skill each between two updates, and the learner sweeps over each fresh batch, or
learns from a replay of the newest ones. Objective, network and learner are the
same functions that the Acme path runs.

An episode holds one skill or several, one after the other. Where it holds
several, environments begin at different ages, so that not all of them are reset
at the same time.
"""

from collections.abc import Callable
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
from launch.training import device_replay
from skills import config as config_lib
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

# Environment steps of a rollout up to which an update is so quick that its
# metrics would cost a part of it.
SMALL_ROLLOUT = 2**11


def is_quick(config: config_lib.SkillAgentConfig) -> bool:
  """Whether a rollout with its updates takes microseconds, not milliseconds."""
  steps = config.num_environments * config.skill_length
  return steps <= SMALL_ROLLOUT and not config.device.replays


# States of environments, and the memory of the acting policy in each.
ActingState = tuple[functional_lib.State, base.Memory]


class OnDeviceState(NamedTuple):
  """The state of a run.

  Attributes:
    learner: the learner's state.
    environments: states of the environments.
    memory: of the acting policy in each.
    age: steps of the episode in each; unused where episodes hold one skill.
    skill: followed last in each.
    replay: the newest trajectories; () where nothing is replayed.
    key: source of the random numbers to come.
  """

  learner: base.LearnerState
  environments: functional_lib.State
  memory: base.Memory
  age: Int[Array, 'B']
  skill: Int[Array, 'B']
  replay: device_replay.Replay | tuple[()]
  key: types.PRNGKey


class Program(NamedTuple):
  """Pure functions; map them over keys to run many seeds at once.

  Attributes:
    init: random key -> state.
    train: state, number of rollouts (static), each followed by its updates ->
      state and the metrics of the last update.
    evaluate: state, random key, number of skills (static) -> fresh trajectories
      of the evaluation policy. Where episodes hold one skill, each begins with
      a reset. Where they hold several, there are whole episodes, at least so
      many skills in all: of E episodes, trajectory i + E follows trajectory i.
      Where they never end, there are B chains of skills, which begin where
      training is: trajectory i + B follows trajectory i.
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
  environment: functional_lib.FunctionalEnvironment,
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
  # What follows the end of an environment is padding.
  alive = jnp.cumprod(discounts, axis=0) > 0
  mask = jnp.concatenate([jnp.ones_like(alive[:1]), alive[:-1]])
  trajectory = types.Trajectory(
    observation=jnp.concatenate([observations, observe(end[0])[None]]),
    action=actions,
    reward=rewards,
    discount=discounts,
    skill=jnp.broadcast_to(skill, rewards.shape),
    mask=mask.astype(jnp.float32),
    extras=step_extras,
  )
  return trajectory, end


def links_of(
  agent: registry.Agent, environment: functional_lib.FunctionalEnvironment
) -> int | None:
  """Skills in an episode; None where episodes do not end.

  Raises:
    ValueError: if an episode does not hold a whole number of skills.
  """
  if environment.horizon is None:
    return None
  length = agent.config.skill_length
  if environment.horizon % length:
    raise ValueError(
      f'skill_length must divide the episode length ({environment.horizon}) on '
      f'device, got {length}.'
    )
  return environment.horizon // length


def make(
  agent: registry.Agent, environment: functional_lib.FunctionalEnvironment
) -> Program:
  """Makes the program.

  Args:
    agent: what learns.
    environment: where.

  Raises:
    ValueError: if episodes do not hold whole skills, or never end, and skills
      are to last as long.
  """
  config = agent.config
  num_links = links_of(agent, environment)
  if config.keeps_skill and num_links is None:
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
    size = config.num_environments
    environments, memory = reset(reset_key, size)
    zeros = jnp.zeros((size,), jnp.int32)
    age = zeros
    if num_links is not None:
      # Staggered, so that not all begin anew together.
      links = jnp.arange(size, dtype=jnp.int32) % num_links
      age = config.skill_length * links
    learner = agent.learner.init(learner_key)
    replay = ()
    if config.device.replays:
      shape = config.skill_length, size, agent.acting_policy.num_uniforms
      batch, _ = jax.eval_shape(
        functools.partial(rollout, agent.acting_policy, environment),
        agent.learner.variables(learner),
        (environments, memory),
        zeros,
        jax.ShapeDtypeStruct(shape, jnp.float32),
        key,
      )
      replay = device_replay.init(batch, config.replay.capacity)
    return OnDeviceState(learner, environments, memory, age, zeros, replay, key)

  return Program(
    init,
    _make_train(agent, _make_update(agent, environment, reset)),
    _make_evaluate(agent, environment, reset, num_links),
  )


def _reset_ended(
  reset: _Reset,
  has_ended: Bool[Array, 'B'],
  end: ActingState,
  key: types.PRNGKey,
) -> ActingState:
  """Resets the environments whose episode ended; the others go on."""
  return jax.tree.map(
    lambda new, old: jnp.where(
      has_ended.reshape((-1,) + (1,) * (old.ndim - 1)), new, old
    ),
    reset(key, has_ended.shape[0]),
    end,
  )


def _has_terminated(trajectory: types.Trajectory) -> Bool[Array, 'B']:
  return jnp.any(trajectory.discount == 0, axis=0)


def sweep(
  learner: base.Learner,
  state: base.LearnerState,
  trajectory: types.Trajectory,
  key: types.PRNGKey,
  *,
  epochs: int,
  minibatches: int,
) -> tuple[base.LearnerState, types.Metrics]:
  """Learns from a batch several times, part by part.

  Args:
    learner: whose update it is.
    state: of the learner.
    trajectory: the batch.
    key: of the order in which trajectories are parted.
    epochs: how often each trajectory is learned from.
    minibatches: parts of equal size.

  Returns:
    The state after `epochs * minibatches` updates, and the last one's metrics.
  """
  if epochs == minibatches == 1:
    return learner.update(state, trajectory)
  size = trajectory.mask.shape[1]
  order = jax.vmap(lambda key: jax.random.permutation(key, size))(
    jax.random.split(key, epochs)
  )
  parts = order.reshape(epochs * minibatches, size // minibatches)

  def update(state, part):
    return learner.update(
      state, jax.tree.map(lambda x: jnp.take(x, part, axis=1), trajectory)
    )

  state, metrics = jax.lax.scan(update, state, parts)
  return state, jax.tree.map(lambda x: x[-1], metrics)


def _make_update(
  agent: registry.Agent,
  environment: functional_lib.FunctionalEnvironment,
  reset: _Reset,
) -> _Update:
  """Runs a skill in every environment, and learns from it."""
  config = agent.config
  horizon = environment.horizon
  is_one_skill = horizon == config.skill_length

  def update(state, inputs):
    skill, uniform, key = inputs
    start = state.environments, state.memory
    if is_one_skill:
      start = reset(key, config.num_environments)
    elif config.keeps_skill:
      skill = jnp.where(state.age == 0, skill, state.skill)
    trajectory, end = rollout(
      agent.acting_policy,
      environment,
      agent.learner.variables(state.learner),
      start,
      skill,
      uniform,
      key,
    )
    age = state.age
    if not is_one_skill:
      has_ended = _has_terminated(trajectory)
      if horizon is not None:
        age = age + config.skill_length
        has_ended = has_ended | (age >= horizon)
        age = jnp.where(has_ended, 0, age)
      end = _reset_ended(reset, has_ended, end, key)
    learn_key, replay = jax.random.fold_in(key, 1), state.replay
    if isinstance(replay, device_replay.Replay):
      replay = device_replay.add(replay, trajectory)
      learner, metrics = device_replay.learn(
        agent.learner,
        state.learner,
        replay,
        learn_key,
        num_updates=config.updates_per_rollout,
        batch_size=config.batch_size,
        min_size=config.replay.min_size,
      )
    else:
      learner, metrics = sweep(
        agent.learner,
        state.learner,
        trajectory,
        learn_key,
        epochs=config.device.epochs,
        minibatches=config.device.minibatches,
      )
    environments, memory = end
    return OnDeviceState(
      learner, environments, memory, age, skill, replay, state.key
    ), metrics

  return update


def _make_train(
  agent: registry.Agent, update: _Update
) -> Callable[[OnDeviceState, int], tuple[OnDeviceState, types.Metrics]]:
  """Many updates; random numbers are drawn a block of them at a time."""
  config = agent.config
  batch = config.num_environments
  is_large = not is_quick(config)

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
    if is_large:
      # Compiled once, which for networks takes most of the time there is.
      _, metrics = jax.eval_shape(update, state, _at(inputs, 0))
      zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), metrics)
      carry, _ = jax.lax.scan(
        lambda carry, x: (update(carry[0], x), None), (state, zeros), inputs
      )
      return carry
    # All but the last update drop their metrics, and so do not compute them.
    first = jax.tree.map(lambda x: x[:-1], inputs)
    state, _ = jax.lax.scan(lambda s, x: (update(s, x)[0], None), state, first)
    return update(state, _at(inputs, -1))

  def train(
    state: OnDeviceState, num_rollouts: int
  ) -> tuple[OnDeviceState, types.Metrics]:
    if num_rollouts < 1:
      raise ValueError(f'num_rollouts must be >= 1, got {num_rollouts}.')
    num_blocks = (num_rollouts - 1) // BLOCK
    if num_blocks:
      state = jax.lax.fori_loop(
        0, num_blocks, lambda _, state: block(state, BLOCK)[0], state
      )
    return block(state, num_rollouts - num_blocks * BLOCK)

  return train


def _at(tree: Any, index: int) -> Any:
  return jax.tree.map(lambda x: x[index], tree)


def episode_returns(
  trajectory: types.Trajectory, num_links: int
) -> Float[Array, 'E']:
  """Sums of the environment's rewards over whole episodes.

  Args:
    trajectory: of `Program.evaluate`, where trajectory i + E follows i.
    num_links: skills in an episode.

  Returns:
    The return of the episode that begins each chain, up to where the
    environment ended it.
  """

  def by_chain(values: Float[Array, 'T B']) -> Float[Array, 'L_T E']:
    num_steps, size = values.shape
    links = values.reshape(num_steps, num_links, size // num_links)
    return links.swapaxes(0, 1).reshape(num_links * num_steps, -1)

  alive = jnp.cumprod(by_chain(trajectory.discount), axis=0) > 0
  is_first = jnp.concatenate([jnp.ones_like(alive[:1]), alive[:-1]])
  return jnp.sum(
    by_chain(trajectory.reward * trajectory.mask) * is_first, axis=0
  )


def _make_chains(
  agent: registry.Agent,
  environment: functional_lib.FunctionalEnvironment,
  reset: _Reset,
) -> Callable[..., types.Trajectory]:
  """Runs skills one after the other in each of E environments."""
  acting_policy = agent.evaluation_acting_policy
  num_steps = agent.config.skill_length

  def chains(
    variables: base.Variables,
    start: ActingState,
    skill: Int[Array, 'L E'],
    key: types.PRNGKey,
  ) -> types.Trajectory:
    length, size = skill.shape

    def link(start, inputs):
      skill, key = inputs
      uniform_key, key = jax.random.split(key)
      uniform = jax.random.uniform(
        uniform_key, (num_steps, size, acting_policy.num_uniforms)
      )
      trajectory, end = rollout(
        acting_policy, environment, variables, start, skill, uniform, key
      )
      return _reset_ended(
        reset, _has_terminated(trajectory), end, key
      ), trajectory

    _, links = jax.lax.scan(link, start, (skill, jax.random.split(key, length)))
    # Links are [L, T, E]: chain after chain, one skill of each.
    return jax.tree.map(
      lambda x: jnp.moveaxis(x, 0, 1).reshape(
        (x.shape[1], length * size) + x.shape[3:]
      ),
      links,
    )

  return chains


def _make_evaluate(
  agent: registry.Agent,
  environment: functional_lib.FunctionalEnvironment,
  reset: _Reset,
  num_links: int | None,
) -> Callable[[OnDeviceState, types.PRNGKey, int], types.Trajectory]:
  """Runs fresh skills of the evaluation policy: single ones, or chains."""
  config = agent.config
  num_steps = config.skill_length
  acting_policy = agent.evaluation_acting_policy
  chains = _make_chains(agent, environment, reset)

  def singles(
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

  def evaluate(
    state: OnDeviceState, key: types.PRNGKey, size: int
  ) -> types.Trajectory:
    reset_key, skill_key, uniform_key, key = jax.random.split(key, 4)
    variables = agent.learner.variables(state.learner)
    if num_links is None:
      batch = config.num_environments
      shape = (-(-size // batch), batch)
      start = state.environments, state.memory
    elif num_links > 1:
      shape = (num_links, -(-size // num_links))
      start = reset(reset_key, shape[1])
      size = shape[0] * shape[1]
    else:
      shape, start = (size,), None
    skill = jax.random.randint(skill_key, shape, *config.skills_run, jnp.int32)
    if start is None:
      return singles(variables, reset_key, skill, uniform_key, key)
    if config.keeps_skill:
      skill = jnp.broadcast_to(skill[:1], shape)
    # Not all of an endless environment's last links were asked for.
    return jax.tree.map(
      lambda x: x[:, :size], chains(variables, start, skill, key)
    )

  return evaluate
