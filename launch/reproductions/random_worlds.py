"""How fast values become right when an agent also imagines.

Random worlds, whose values are known exactly, one for each seed. A policy that
draws actions uniformly is evaluated from the steps that it makes, by temporal
differences; beside that, a model is learned from the same steps, and a loss of
`skills.objectives.self_consistency` is followed in it.
"""

from collections.abc import Sequence
import dataclasses
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
import numpy as np
import optax

from envs import random_mdps
from skills import types
from skills.networks import models
from skills.networks import torsos
from skills.objectives import self_consistency

DISCOUNT = 0.95

_CURVE_POINTS = 40


class World(NamedTuple):
  """A random world as arrays.

  Attributes:
    transitions: probability of each next state.
    rewards: expected reward of each action.
    values: of the uniform policy.
  """

  transitions: Float[Array, 'S A S']
  rewards: Float[Array, 'S A']
  values: Float[Array, 'S']


def worlds(task: str, seeds: Sequence[int]) -> World:
  """One world for each seed, side by side along a first axis.

  Args:
    task: of `random_mdps.TASKS`.
    seeds: their numbers.
  """
  made = []
  for seed in seeds:
    mdp = random_mdps.draw(random_mdps.TASKS[task], seed)
    uniform = np.full((mdp.num_states, mdp.num_actions), 1 / mdp.num_actions)
    values = mdp.state_values(uniform, DISCOUNT)
    made.append((mdp.transitions, mdp.rewards, values))
  return World(
    *(jnp.asarray(np.stack(part), jnp.float32) for part in zip(*made))
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tabular:
  """How tables learn.

  Attributes:
    num_updates: environment steps, with an update of everything after each.
    value_learning_rate: how far a value moves towards its target.
    reward_learning_rate: how far a reward of the model moves towards what was
      paid.
    transition_learning_rate: step size of the model's logits on its negative
      log-likelihood, in nats.
    noise: standard deviation of what rewards are paid with.
    num_starts: random states from which is imagined after each step.
  """

  num_updates: int = 4000
  value_learning_rate: float = 0.1
  reward_learning_rate: float = 0.1
  transition_learning_rate: float = 0.5
  noise: float = 0.5
  num_starts: int = 4


def _drawn(
  cumulative: Float[Array, '... S'], uniform: Float[Array, '...']
) -> Int[Array, '...']:
  """The next states that uniform numbers in [0, 1) stand for."""
  below = cumulative <= uniform[..., None]
  # Rounding may leave the last sum below 1.
  return jnp.minimum(jnp.sum(below, axis=-1), cumulative.shape[-1] - 1)


def tabular_errors(
  settings: Tabular,
  loss: self_consistency.SelfConsistencyConfig | None,
  world: World,
  rate: Float[Array, ''] | float,
  key: types.PRNGKey,
) -> Float[Array, 'num_updates']:
  """Learns in tables, and compares with the truth after each update.

  Args:
    settings: how.
    loss: what is followed in the model; None for nothing.
    world: where.
    rate: step size on the mean loss of the rollouts of an update.
    key: of all that is drawn. Worlds and steps are the same whatever the loss.

  Returns:
    Root mean square of the values' errors, relative to that of the values.
  """
  num_states, num_actions = world.rewards.shape
  policy = jnp.full((num_states, num_actions), 1 / num_actions)
  params, under_policy = models.table(num_states, num_actions, policy)
  cumulative = jnp.cumsum(world.transitions, axis=-1)

  def real_step(params, state, key):
    action_key, state_key, noise_key = jax.random.split(key, 3)
    action = jax.random.randint(action_key, (), 0, num_actions)
    pair = (state, action)
    next_state = _drawn(cumulative[pair], jax.random.uniform(state_key))
    noise = settings.noise * jax.random.normal(noise_key)
    reward = world.rewards[pair] + noise
    error = reward + DISCOUNT * params.value[next_state] - params.value[state]
    surprise = jax.nn.one_hot(next_state, num_states) - jax.nn.softmax(
      params.transition[pair]
    )
    params = params._replace(
      value=params.value.at[state].add(settings.value_learning_rate * error),
      reward=params.reward.at[pair].add(
        settings.reward_learning_rate * (reward - params.reward[pair])
      ),
      transition=params.transition.at[pair].add(
        settings.transition_learning_rate * surprise
      ),
    )
    return params, next_state

  def plan(params, key):
    assert loss is not None
    starts_key, key = jax.random.split(key)
    starts = jax.random.randint(
      starts_key, (settings.num_starts,), 0, num_states
    )

    def mean_loss(params):
      found = self_consistency.losses(
        loss, under_policy, DISCOUNT, params, params, starts, key
      )
      return jnp.mean(jnp.sum(found, axis=0))

    grads = jax.grad(mean_loss)(params)
    return jax.tree.map(lambda x, g: x - rate * g, params, grads)

  def update(carry, key):
    params, state = carry
    step_key, plan_key = jax.random.split(key)
    params, state = real_step(params, state, step_key)
    if loss is not None:
      params = plan(params, plan_key)
    error = params.value - world.values
    relative = jnp.sqrt(
      jnp.mean(jnp.square(error)) / jnp.mean(jnp.square(world.values))
    )
    return (params, state), relative

  start_key, key = jax.random.split(key)
  start = jax.random.randint(start_key, (), 0, num_states)
  keys = jax.random.split(key, settings.num_updates)
  _, errors = jax.lax.scan(update, (params, start), keys)
  return errors


def tabular_runs(
  kind: str | None,
  num_steps: int,
  rates: Sequence[float],
  seeds: Sequence[int],
  settings: Tabular = Tabular(),
) -> list[list[dict[str, Any]]]:
  """Learns in tables, in all worlds at once.

  Args:
    kind: of the loss; None for nothing but the steps that were made.
    num_steps: of each imagined rollout, K.
    rates: step sizes of the loss.
    seeds: of worlds and of what happens in them.
    settings: how.

  Returns:
    For each step size and seed `error`, the mean over all updates, and
    `curve`, some of them.
  """
  loss = None
  if kind is not None:
    loss = self_consistency.SelfConsistencyConfig(
      kind=kind, num_steps=num_steps
    )

  @jax.jit
  def run(rate, world, keys):
    return jax.vmap(
      lambda world, key: tabular_errors(settings, loss, world, rate, key)
    )(world, keys)

  world = worlds('dense', seeds)
  return [_summaries(run(rate, world, _keys(seeds))) for rate in rates]


def _keys(seeds: Sequence[int]) -> Array:
  return jnp.stack([jax.random.PRNGKey(seed) for seed in seeds])


def _summaries(errors: Float[Array, 'B num_updates']) -> list[dict[str, Any]]:
  every = max(1, errors.shape[1] // _CURVE_POINTS)
  return [
    {
      'error': float(np.mean(row)),
      # Of the last twentieth: one moment says little.
      'final': float(np.mean(row[-len(row) // 20 :])),
      'curve': np.asarray(row[every - 1 :: every]).tolist(),
    }
    for row in np.asarray(errors)
  ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Latent:
  """How a latent model learns.

  Attributes:
    num_updates: of everything, each on one batch.
    batch_size: walks side by side.
    num_steps: of each walk in a batch, along which the model is unrolled with
      the actions that were taken.
    learning_rate: of Adam.
    target_update_rate: how far the slower parameters, of which targets are
      made, move at each update.
    model: sizes of the model.
  """

  num_updates: int = 2500
  batch_size: int = 16
  num_steps: int = 4
  learning_rate: float = 3e-3
  target_update_rate: float = 0.05
  model: models.LatentConfig = models.LatentConfig(size=16, num_atoms=None)


def grounded_loss(
  model: models.Model,
  params: models.Params,
  target: models.Params,
  walk: types.Trajectory,
) -> Float[Array, '']:
  """What the model says of rewards, values and actions along a real walk.

  The sum over the walk's steps of each head's loss: the value's target is the
  reward that was paid and the slower value of the state that was reached; the
  policy is told to be the uniform one.
  """
  value_t = model.head.decode(
    model.value(target, model.encode(target, walk.observation[1:]))[..., 0, :]
  )
  right = jax.lax.stop_gradient(walk.reward + DISCOUNT * value_t)
  state = model.encode(params, walk.observation[0])
  total = jnp.zeros(state.shape[0])
  for action, reward, value in zip(walk.action, walk.reward, right):
    outputs = models.of_action(model.reward(params, state), action)
    total += model.head.loss(outputs[:, 0], reward)
    total += model.head.loss(model.value(params, state)[:, 0], value)
    total -= jnp.mean(jax.nn.log_softmax(model.policy(params, state)), axis=-1)
    state = model.transition(params, state, action)
  return jnp.mean(total)


def _walk(
  settings: Latent, world: World, state: Array, key: types.PRNGKey
) -> types.Trajectory:
  """The next steps of walks by the uniform policy."""
  num_actions = world.rewards.shape[-1]
  cumulative = jnp.cumsum(world.transitions, axis=-1)
  shape = (settings.num_steps, settings.batch_size)
  action_key, state_key = jax.random.split(key)
  actions = jax.random.randint(action_key, shape, 0, num_actions)
  uniforms = jax.random.uniform(state_key, shape)
  states, rewards = [state], []
  for action, uniform in zip(actions, uniforms):
    rewards.append(world.rewards[states[-1], action])
    states.append(_drawn(cumulative[states[-1], action], uniform))
  ones = jnp.ones(shape)
  return types.Trajectory(
    observation=jnp.stack(states),
    action=actions,
    reward=jnp.stack(rewards),
    discount=ones,
    skill=jnp.zeros(shape, jnp.int32),
    mask=ones,
  )


def latent_errors(
  settings: Latent,
  loss: self_consistency.SelfConsistencyConfig | None,
  world: World,
  key: types.PRNGKey,
) -> Float[Array, 'num_updates']:
  """Learns a latent model, and compares with the truth after each update.

  Args:
    settings: how.
    loss: what is followed in the model; None for nothing.
    world: where.
    key: of all that is drawn. Worlds, walks and initial parameters are the same
      whatever the loss.

  Returns:
    Root mean square of the values' errors, relative to the deviation of the
    values from their mean.
  """
  num_states, num_actions = world.rewards.shape
  problem = types.ProblemSpec(
    observation_shape=(),
    observation_dtype='int32',
    num_states=num_states,
    num_actions=num_actions,
  )
  model = models.latent(settings.model, torsos.NetworkConfig(), problem)
  under_policy = models.sampled(model)
  auxiliary = None
  if loss is not None:
    auxiliary = self_consistency.make(loss, under_policy, DISCOUNT)
  optimizer = optax.adam(settings.learning_rate)
  everywhere = jnp.arange(num_states)

  def total_loss(params, target, walk, key):
    total = grounded_loss(model, params, target, walk)
    if auxiliary is not None:
      total += auxiliary.weight * auxiliary.loss(params, target, walk, key)[0]
    return total

  def update(carry, key):
    params, target, optimizer_state, state = carry
    walk_key, loss_key = jax.random.split(key)
    walk = _walk(settings, world, state, walk_key)
    grads = jax.grad(total_loss)(params, target, walk, loss_key)
    updates, optimizer_state = optimizer.update(grads, optimizer_state)
    params: Any = optax.apply_updates(params, updates)
    target = optax.incremental_update(
      params, target, settings.target_update_rate
    )
    value = under_policy.value(params, model.encode(params, everywhere))
    error = jnp.sqrt(jnp.mean(jnp.square(value - world.values)))
    carry = params, target, optimizer_state, walk.observation[-1]
    return carry, error / jnp.std(world.values)

  init_key, start_key, key = jax.random.split(key, 3)
  params = model.init(init_key)
  start = jax.random.randint(start_key, (settings.batch_size,), 0, num_states)
  carry = params, params, optimizer.init(params), start
  keys = jax.random.split(key, settings.num_updates)
  return jax.lax.scan(update, carry, keys)[1]


def latent_runs(
  kind: str | None, seeds: Sequence[int], settings: Latent = Latent()
) -> list[dict[str, Any]]:
  """Learns a latent model, in all worlds at once.

  Args:
    kind: of the loss, of weight 1 and 3 steps; None for none.
    seeds: of worlds, initial parameters and what happens.
    settings: how.

  Returns:
    For each seed `error`, the mean over all updates, `final`, and `curve`.
  """
  loss = None
  if kind is not None:
    # With slower values Dyna is no better than the residual.
    loss = self_consistency.SelfConsistencyConfig(kind=kind, values='online')

  @jax.jit
  def run(world, keys):
    return jax.vmap(
      lambda world, key: latent_errors(settings, loss, world, key)
    )(world, keys)

  return _summaries(run(worlds('sparse', seeds), _keys(seeds)))
