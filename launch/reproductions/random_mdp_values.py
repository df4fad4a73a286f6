"""Evaluation of a policy in random processes, with losses of self-consistency.

Random Markov decision processes, one for each seed, whose values are known
exactly. The uniform policy is evaluated from its own steps by temporal
differences; a model is learned from the same steps, and a loss of
`skills.objectives.self_consistency` is minimized in it.
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
from skills import optimizers
from skills import types
from skills.networks import models
from skills.networks import torsos
from skills.objectives import self_consistency

DISCOUNT = 0.95

_CURVE_POINTS = 40


class KnownMDP(NamedTuple):
  """A random process as arrays.

  Attributes:
    transitions: probability of each next state.
    rewards: expected reward of each action.
    values: exact values of the uniform policy.
  """

  transitions: Float[Array, 'S A S']
  rewards: Float[Array, 'S A']
  values: Float[Array, 'S']


def draw_all(task: str, seeds: Sequence[int]) -> KnownMDP:
  """Draws one process for each seed, stacked along a first axis.

  Args:
    task: of `envs.random_mdps.TASKS`.
    seeds: one for each process.
  """
  made = []
  for seed in seeds:
    mdp = random_mdps.draw(random_mdps.TASKS[task], seed)
    uniform = np.full((mdp.num_states, mdp.num_actions), 1 / mdp.num_actions)
    values = mdp.state_values(uniform, DISCOUNT)
    made.append(
      KnownMDP(
        transitions=jnp.asarray(mdp.transitions, jnp.float32),
        rewards=jnp.asarray(mdp.rewards, jnp.float32),
        values=jnp.asarray(values, jnp.float32),
      )
    )
  return jax.tree.map(lambda *arrays: jnp.stack(arrays), *made)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TabularSettings:
  """Settings of learning in tables.

  Attributes:
    num_updates: environment steps, with an update of all tables after each.
    value_learning_rate: fraction by which a value moves to its target.
    reward_learning_rate: fraction by which the model's reward moves to the
      observed one.
    transition_learning_rate: step size of the model's logits on its negative
      log-likelihood, in nats.
    noise: standard deviation of observed rewards.
    num_starts: random states where imagined rollouts begin after each step.
  """

  num_updates: int = 4000
  value_learning_rate: float = 0.1
  reward_learning_rate: float = 0.1
  transition_learning_rate: float = 0.5
  noise: float = 0.5
  num_starts: int = 4


def _draw_state(
  cumulative: Float[Array, '... S'], uniform: Float[Array, '...']
) -> Int[Array, '...']:
  """Next states by inverse transform of uniform numbers in [0, 1)."""
  below = cumulative <= uniform[..., None]
  # Rounding may leave the last sum below 1.
  return jnp.minimum(jnp.sum(below, axis=-1), cumulative.shape[-1] - 1)


def tabular_errors(
  settings: TabularSettings,
  loss: self_consistency.SelfConsistencyConfig | None,
  mdp: KnownMDP,
  rate: Float[Array, ''] | float,
  key: types.PRNGKey,
) -> Float[Array, 'num_updates']:
  """Errors of a table of values after each update.

  Args:
    settings: of learning.
    loss: minimized in the model; None for no planning.
    mdp: the process.
    rate: step size on the mean loss of the rollouts of an update.
    key: random key. Environment steps are the same for every loss.

  Returns:
    Root mean square error of the values, relative to their root mean square.
  """
  num_states, num_actions = mdp.rewards.shape
  policy = jnp.full((num_states, num_actions), 1 / num_actions)
  params, under_policy = models.table(num_states, num_actions, policy)
  cumulative = jnp.cumsum(mdp.transitions, axis=-1)

  def real_step(params, state, key):
    action_key, state_key, noise_key = jax.random.split(key, 3)
    action = jax.random.randint(action_key, (), 0, num_actions)
    pair = (state, action)
    next_state = _draw_state(cumulative[pair], jax.random.uniform(state_key))
    noise = settings.noise * jax.random.normal(noise_key)
    reward = mdp.rewards[pair] + noise
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
    error = params.value - mdp.values
    relative = jnp.sqrt(
      jnp.mean(jnp.square(error)) / jnp.mean(jnp.square(mdp.values))
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
  settings: TabularSettings = TabularSettings(),
) -> list[list[dict[str, Any]]]:
  """Learns in tables, in all processes at once.

  Args:
    kind: of the loss; None for no planning.
    num_steps: of each imagined rollout, K.
    rates: step sizes of the loss.
    seeds: of the processes and of learning in them.
    settings: of learning.

  Returns:
    For each step size and seed `error`, the mean over all updates; `final`, the
    mean over the last twentieth; and `curve`, 40 of them.
  """
  loss = None
  if kind is not None:
    loss = self_consistency.SelfConsistencyConfig(
      kind=kind, num_steps=num_steps
    )

  @jax.jit
  def run(rate, mdps, keys):
    return jax.vmap(
      lambda mdp, key: tabular_errors(settings, loss, mdp, rate, key)
    )(mdps, keys)

  mdps = draw_all('dense', seeds)
  return [_summaries(run(rate, mdps, _keys(seeds))) for rate in rates]


def _keys(seeds: Sequence[int]) -> Array:
  return jnp.stack([jax.random.PRNGKey(seed) for seed in seeds])


def _summaries(errors: Float[Array, 'B num_updates']) -> list[dict[str, Any]]:
  every = max(1, errors.shape[1] // _CURVE_POINTS)
  return [
    {
      'error': float(np.mean(row)),
      # A single update says little.
      'final': float(np.mean(row[-len(row) // 20 :])),
      'curve': np.asarray(row[every - 1 :: every]).tolist(),
    }
    for row in np.asarray(errors)
  ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentSettings:
  """Settings of learning a latent model.

  Attributes:
    num_updates: of all parameters, each on one batch.
    batch_size: walks side by side.
    num_steps: of each walk in a batch, along which the model is unrolled with
      the walk's actions.
    learning_rate: of Adam.
    target_update_rate: fraction by which target parameters move at each update.
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
  """Loss of the model's rewards, values and policy along an observed walk.

  The sum over the walk's steps of each head's loss: the value's target is the
  observed reward plus the discounted target value of the next state, and the
  policy's target is the uniform policy.
  """
  value_t = model.head.decode(
    model.value(target, model.encode(target, walk.observation[1:]))[..., 0, :]
  )
  targets = jax.lax.stop_gradient(walk.reward + DISCOUNT * value_t)
  state = model.encode(params, walk.observation[0])
  total = jnp.zeros(state.shape[0])
  for action, reward, value in zip(walk.action, walk.reward, targets):
    outputs = models.of_action(model.reward(params, state), action)
    total += model.head.loss(outputs[:, 0], reward)
    total += model.head.loss(model.value(params, state)[:, 0], value)
    total -= jnp.mean(jax.nn.log_softmax(model.policy(params, state)), axis=-1)
    state = model.transition(params, state, action)
  return jnp.mean(total)


def _walk(
  settings: LatentSettings, mdp: KnownMDP, state: Array, key: types.PRNGKey
) -> types.Trajectory:
  """Continues walks by the uniform policy."""
  num_actions = mdp.rewards.shape[-1]
  cumulative = jnp.cumsum(mdp.transitions, axis=-1)
  shape = (settings.num_steps, settings.batch_size)
  action_key, state_key = jax.random.split(key)
  actions = jax.random.randint(action_key, shape, 0, num_actions)
  uniforms = jax.random.uniform(state_key, shape)
  states, rewards = [state], []
  for action, uniform in zip(actions, uniforms):
    rewards.append(mdp.rewards[states[-1], action])
    states.append(_draw_state(cumulative[states[-1], action], uniform))
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
  settings: LatentSettings,
  loss: self_consistency.SelfConsistencyConfig | None,
  mdp: KnownMDP,
  key: types.PRNGKey,
) -> Float[Array, 'num_updates']:
  """Errors of a latent model's values after each update.

  Args:
    settings: of learning.
    loss: minimized in the model; None for no planning.
    mdp: the process.
    key: random key. Walks and initial parameters are the same for every loss.

  Returns:
    Root mean square error of the values, relative to their standard deviation.
  """
  num_states, num_actions = mdp.rewards.shape
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
    return total, None

  def update(carry, key):
    params, target, optimizer_state, state = carry
    walk_key, loss_key = jax.random.split(key)
    walk = _walk(settings, mdp, state, walk_key)
    params, optimizer_state, _ = optimizers.gradient_step(
      optimizer, total_loss, params, optimizer_state, target, walk, loss_key
    )
    target = optax.incremental_update(
      params, target, settings.target_update_rate
    )
    value = under_policy.value(params, model.encode(params, everywhere))
    error = jnp.sqrt(jnp.mean(jnp.square(value - mdp.values)))
    carry = params, target, optimizer_state, walk.observation[-1]
    return carry, error / jnp.std(mdp.values)

  init_key, start_key, key = jax.random.split(key, 3)
  params = model.init(init_key)
  start = jax.random.randint(start_key, (settings.batch_size,), 0, num_states)
  carry = params, params, optimizer.init(params), start
  keys = jax.random.split(key, settings.num_updates)
  return jax.lax.scan(update, carry, keys)[1]


def latent_runs(
  kind: str | None,
  seeds: Sequence[int],
  settings: LatentSettings = LatentSettings(),
) -> list[dict[str, Any]]:
  """Learns a latent model, in all processes at once.

  Args:
    kind: of the loss, of weight 1 and 3 steps; None for no planning.
    seeds: of processes, initial parameters and walks.
    settings: of learning.

  Returns:
    For each seed what `tabular_runs` gives for a step size and seed.
  """
  loss = None
  if kind is not None:
    # With target values Dyna is no better than the residual.
    loss = self_consistency.SelfConsistencyConfig(kind=kind, values='online')

  @jax.jit
  def run(mdps, keys):
    return jax.vmap(lambda mdp, key: latent_errors(settings, loss, mdp, key))(
      mdps, keys
    )

  return _summaries(run(draw_all('sparse', seeds), _keys(seeds)))
