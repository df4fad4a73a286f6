"""Peng's Q(lambda) with a value for each reward stream.

Peng and Williams, "Incremental multi-step Q-learning", 1996: lambda-returns
that bootstrap from the greedy action, without importance correction. Streams
are mixed only to find that action, as in DISDAIN's release (arXiv:2107.14226),
so that each value keeps its own scale and a weight may change at any time.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
import optax

from skills import optimizers
from skills import types
from skills.learners import base
from skills.networks import q_networks
from skills.networks import torsos
from skills.objectives import base as objectives
from skills.ops import returns


@dataclasses.dataclass(frozen=True, kw_only=True)
class QLearningConfig:
  """Settings of the learner.

  Attributes:
    discount: gamma per environment step, in [0, 1]. A skill's last step is
      discounted by 0.
    lambda_: mixing of the multi-step returns, in [0, 1].
    learning_rate: step size of `optimizer`. The loss is a sum over a skill's
      steps and streams and a mean over the batch, without a factor 1/2.
    optimizer: 'sgd', 'adam' or 'rmsprop'.
    max_gradient_norm: gradients are scaled down to this global norm; None for
      no limit.
    target_update_period: updates between copies of the parameters to the target
      network that bootstraps; None bootstraps from the parameters themselves.
    epsilon: probability of a random action while training.
    evaluation_epsilon: the same while evaluating.
    random_ties: whether any of several best actions is taken, and not always
      the first one; it matters where values begin equal.
  """

  discount: float = 0.99
  lambda_: float = 0.7
  learning_rate: float = 0.1
  optimizer: str = 'sgd'
  max_gradient_norm: float | None = None
  target_update_period: int | None = None
  epsilon: float = 0.05
  evaluation_epsilon: float = 0.001
  random_ties: bool = False

  def __post_init__(self) -> None:
    """Refuses values that cannot work."""
    for name in ('discount', 'lambda_', 'epsilon', 'evaluation_epsilon'):
      value = getattr(self, name)
      if not 0 <= value <= 1:
        raise ValueError(f'{name} must be in [0, 1], got {value}.')
    if self.learning_rate <= 0:
      raise ValueError(
        f'learning_rate must be positive, got {self.learning_rate}.'
      )
    if self.max_gradient_norm is not None and self.max_gradient_norm <= 0:
      raise ValueError(
        'max_gradient_norm must be positive or None, got '
        f'{self.max_gradient_norm}.'
      )
    if self.target_update_period is not None and self.target_update_period < 1:
      raise ValueError(
        'target_update_period must be >= 1 or None, got '
        f'{self.target_update_period}.'
      )
    optimizers.check(self.optimizer)


class State(NamedTuple):
  """Everything that learning changes.

  Attributes:
    params: of the action values.
    target_params: of their slow copy; empty if there is none.
    optimizer: the optimiser's state.
    objective: the objective's state.
    key: constant; random numbers of update n come from folding n into it.
    steps: number of updates so far.
  """

  params: types.Params
  target_params: types.Params
  optimizer: optax.OptState
  objective: objectives.State
  key: types.PRNGKey
  steps: Int[Array, '']


class Variables(NamedTuple):
  """What actors need to act.

  Attributes:
    params: of the action values.
    weights: of the reward streams in the mixture.
    steps: number of the learner's updates when these were made.
  """

  params: types.Params
  weights: Float[Array, 'R']
  steps: Int[Array, '']


def mix(
  values: Float[Array, '*batch A R'], weights: Float[Array, 'R']
) -> Float[Array, '*batch A']:
  """The one value by which actions are compared."""
  return values @ weights


def epsilon_greedy(
  values: Float[Array, '*batch A'],
  uniform: Float[Array, '*batch'],
  epsilon: float,
  *,
  random_ties: bool = False,
) -> Int[Array, '*batch']:
  """The best action, or with probability `epsilon` any.

  Args:
    values: of each action.
    uniform: one random number in [0, 1) for each choice. It also says which
      action is taken where there is a choice, so that none further is needed.
    epsilon: in [0, 1].
    random_ties: whether any of the best actions is taken, and not the first.
  """
  num_actions = values.shape[-1]
  greedy = jnp.argmax(values, axis=-1).astype(jnp.int32)
  if random_ties:
    # What is left of the random number where it is no random action.
    left = (uniform - epsilon) / max(1 - epsilon, 1e-6)
    is_best = values == jnp.max(values, axis=-1, keepdims=True)
    rank = jnp.cumsum(is_best, axis=-1)
    wanted = jnp.floor(left * rank[..., -1]) + 1
    wanted = jnp.clip(wanted, 1, rank[..., -1])
    greedy = jnp.argmax(rank >= wanted[..., None], axis=-1).astype(jnp.int32)
  if epsilon == 0:
    return greedy
  scaled = (uniform * (num_actions / epsilon)).astype(jnp.int32)
  return jnp.where(
    uniform < epsilon, jnp.minimum(scaled, num_actions - 1), greedy
  )


def targets(
  values: Float[Array, 'T_plus_1 B A R'],
  rewards: Float[Array, 'T B R'],
  discounts: Float[Array, 'T B'],
  weights: Float[Array, 'R'],
  lambda_: float | Float[Array, 'T B 1'],
) -> Float[Array, 'T B R']:
  """The return that each stream's value regresses to.

  Args:
    values: of all actions, at every observation.
    rewards: of each stream.
    discounts: after each step.
    weights: of the streams in the mixture, whose greedy action bootstraps.
    lambda_: mixing, of all steps or of each.
  """
  greedy = jnp.argmax(mix(values, weights), axis=-1)
  v = jnp.take_along_axis(values, greedy[..., None, None], axis=-2)[..., 0, :]
  discounts = jnp.broadcast_to(discounts[..., None], rewards.shape)
  return returns.lambda_returns(rewards, discounts, v[1:], lambda_)


def behaviour(
  network: types.Network, epsilon: float, *, random_ties: bool = False
) -> base.Behaviour:
  """Chooses epsilon-greedily among a skill's mixed action values.

  Args:
    network: the action values, as `make` takes them.
    epsilon: probability of a random action.
    random_ties: as in `epsilon_greedy`.
  """

  def choose(variables: Variables, observation, skill, memory, uniform):
    values = network.apply(variables.params, observation, skill)
    mixed = mix(values, variables.weights)
    action = epsilon_greedy(
      mixed, uniform[..., 0], epsilon, random_ties=random_ties
    )
    return action, memory

  return base.Behaviour(1, lambda: (), choose, lambda memory: {})


def make_parts(
  config: QLearningConfig,
  network_config: torsos.NetworkConfig,
  problem: types.ProblemSpec,
  num_skills: int,
  objective: objectives.IntrinsicReward,
) -> base.Parts:
  """Makes the learner and how it acts.

  Args:
    config: its settings.
    network_config: of the action values.
    problem: the environment's shapes.
    num_skills: number of skills K.
    objective: what it learns from.

  Raises:
    ValueError: if the network does not fit the observations.
  """
  network = q_networks.make(
    network_config, problem, num_skills, len(objective.streams)
  )
  ties = config.random_ties
  return base.Parts(
    make(config, network, objective),
    behaviour(network, config.epsilon, random_ties=ties),
    behaviour(network, config.evaluation_epsilon, random_ties=ties),
  )


def make(
  config: QLearningConfig,
  network: types.Network,
  objective: objectives.IntrinsicReward,
) -> base.Learner:
  """Makes the learner.

  Args:
    config: its settings.
    network: observations `[*batch, ...]`, skills `[*batch]` -> action values
      `[*batch, A, R]`.
    objective: what it learns from; R streams.
  """
  optimizer = optimizers.make(
    config.optimizer, config.learning_rate, config.max_gradient_norm
  )
  has_target = config.target_update_period is not None

  def init(key: types.PRNGKey) -> State:
    params_key, objective_key, key = jax.random.split(key, 3)
    params = network.init(params_key)
    return State(
      params=params,
      target_params=jax.tree.map(jnp.copy, params) if has_target else (),
      optimizer=optimizer.init(params),
      objective=objective.init(objective_key),
      key=key,
      steps=jnp.zeros((), jnp.int32),
    )

  def loss(
    params: types.Params,
    state: State,
    trajectory: types.Trajectory,
    rewards: Float[Array, 'T B R'],
  ) -> tuple[Float[Array, ''], types.Metrics]:
    # The skill that leads to the last observation is the one that is valued.
    skill = jnp.concatenate([trajectory.skill, trajectory.skill[-1:]])
    values = network.apply(params, trajectory.observation, skill)
    bootstrap = (
      network.apply(state.target_params, trajectory.observation, skill)
      if has_target
      else values
    )
    g = targets(
      bootstrap,
      rewards,
      base.discounts(
        trajectory.discount,
        trajectory.mask,
        config.discount,
        continues=objective.continues,
      ),
      objective.weights(state.objective),
      # Where a skill was cut short, what follows is its last value alone.
      config.lambda_ * base.goes_on(trajectory.mask)[..., None],
    )
    taken = jnp.take_along_axis(
      values[:-1], trajectory.action[..., None, None], axis=-2
    )[..., 0, :]
    error = (jax.lax.stop_gradient(g) - taken) * trajectory.mask[..., None]
    losses = jnp.mean(jnp.sum(jnp.square(error), axis=0), axis=0)
    metrics = {
      f'loss/{stream}': losses[i] for i, stream in enumerate(objective.streams)
    }
    return jnp.sum(losses), metrics

  def update(
    state: State, trajectory: types.Trajectory
  ) -> tuple[State, types.Metrics]:
    # Rewards are made anew from the newest discriminators at every update, and
    # no gradient leaves them.
    rewards = objective.reward(state.objective, trajectory)
    grads, metrics = jax.grad(loss, has_aux=True)(
      state.params, state, trajectory, rewards
    )
    updates, optimizer_state = optimizer.update(
      grads, state.optimizer, state.params
    )
    params = optax.apply_updates(state.params, updates)
    objective_state, objective_metrics = objective.update(
      state.objective, trajectory, jax.random.fold_in(state.key, state.steps)
    )
    target_params = state.target_params
    steps = state.steps + 1
    if config.target_update_period is not None:
      target_params = optax.periodic_update(
        params, target_params, steps, config.target_update_period
      )
    num_skills = trajectory.mask.shape[1]
    for i, stream in enumerate(objective.streams):
      metrics[f'reward/{stream}'] = jnp.sum(rewards[..., i]) / num_skills
    state = State(
      params, target_params, optimizer_state, objective_state, state.key, steps
    )
    return state, metrics | objective_metrics

  def variables(state: State) -> Variables:
    return Variables(
      state.params, objective.weights(state.objective), state.steps
    )

  return base.Learner(init, update, variables)
