"""Peng's Q(lambda) with a value for each reward stream.

Peng and Williams, "Incremental multi-step Q-learning", 1996: lambda-returns
that bootstrap from the greedy action, without importance correction. Streams
are mixed only to find that action, as in DISDAIN's release (arXiv:2107.14226),
so that each value keeps its own scale and a weight may change at any time.

With a recurrent network it is learned from as in R2D2 (Kapturowski et al.,
"Recurrent experience replay in distributed reinforcement learning", 2019): the
actor notes its memory before each step; the learner begins with that memory,
brings it up to date over the steps before the skill, without gradient, and goes
on through the skill. The memory is an episode's, through all of its skills.

Departures from R2D2: lambda-returns in place of n-step double Q-learning, no
dueling heads, and the network does not see the last action and reward.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import functools
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
import optax

from skills import checks
from skills import optimizers
from skills import types
from skills.learners import base
from skills.networks import build
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
    optimizer: 'sgd', 'adam', 'adamw' or 'rmsprop'.
    max_gradient_norm: gradients are scaled down to this global norm; None for
      no limit.
    target_update_period: updates between copies of the parameters to the target
      network that bootstraps; None bootstraps from the parameters themselves.
    epsilon: probability of a random action while training.
    evaluation_epsilon: the same while evaluating.
    random_ties: whether any of several best actions is taken, and not always
      the first one; it matters where values begin equal.
    rescale_values: whether values are of returns made small by R2D2's
      h(x) = sign(x) (sqrt(|x| + 1) - 1) + x / 1000, for tasks whose rewards are
      large or differ much.
    max_error_weight: eta in a trajectory's priority, eta max |TD error| + (1 -
      eta) mean |TD error| over its steps; a step's error is the sum over
      streams. Only for a replay with priorities.
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
  rescale_values: bool = False
  max_error_weight: float = 0.9

  def __post_init__(self) -> None:
    """Checks the settings."""
    checks.in_range(self, 0, 1, 'discount', 'lambda_', 'max_error_weight')
    checks.in_range(self, 0, 1, 'epsilon', 'evaluation_epsilon')
    checks.positive(self, 'learning_rate', 'max_gradient_norm')
    checks.at_least(self, 1, 'target_update_period')
    checks.choice(self, optimizers.OPTIMIZERS, 'optimizer')


class QLearningState(NamedTuple):
  """Everything that learning changes.

  Attributes:
    params: of the action values.
    target_params: of their slow copy; empty if there is none.
    optimizer: the optimizer's state.
    objective: the objective's state.
    key: constant; random numbers of update n come from folding n into it.
    steps: number of updates so far.
  """

  params: types.Params
  target_params: types.Params
  optimizer: optax.OptState
  objective: objectives.ObjectiveState
  key: types.PRNGKey
  steps: Int[Array, '']


class Variables(NamedTuple):
  """What actors need to act.

  Attributes:
    params: of the action values.
    weights: of the reward streams in the mixture, as the objective gives them.
    steps: number of the learner's updates when these were made.
  """

  params: types.Params
  weights: Float[Array, '*skills R']
  steps: Int[Array, '']


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
  weights: Float[Array, '... R'],
  lambda_: float | Float[Array, 'T B 1'],
) -> Float[Array, 'T B R']:
  """The return that each stream's value regresses to.

  Args:
    values: of all actions, at every observation.
    rewards: of each stream.
    discounts: after each step.
    weights: of the streams in the mixture, whose greedy action bootstraps; of
      all observations, `[R]`, or of each, `[T + 1, B, R]`.
    lambda_: mixing, of all steps or of each.
  """
  greedy = jnp.argmax(base.combine_streams(values, weights), axis=-1)
  v = jnp.take_along_axis(values, greedy[..., None, None], axis=-2)[..., 0, :]
  discounts = jnp.broadcast_to(discounts[..., None], rewards.shape)
  return returns.lambda_returns(rewards, discounts, v[1:], lambda_)


def priorities(
  errors: Float[Array, 'T B R'], mask: Float[Array, 'T B'], max_weight: float
) -> Float[Array, 'B']:
  """How much there is to learn from each trajectory.

      eta max_t |error_t| + (1 - eta) mean_t |error_t|

  Args:
    errors: of each stream's value, 0 where the mask is 0.
    mask: 1 for real steps.
    max_weight: eta, in [0, 1].
  """
  size = jnp.sum(jnp.abs(errors), axis=-1)
  mean = jnp.sum(size, axis=0) / jnp.sum(mask, axis=0)
  return max_weight * jnp.max(size, axis=0) + (1.0 - max_weight) * mean


def action_values(
  network: types.RecurrentNetwork,
  params: types.Params,
  trajectory: types.Trajectory,
) -> Float[Array, 'T_plus_1 B A R']:
  """Values at every observation, in the memory of what came before.

  Args:
    network: of the values.
    params: its parameters.
    trajectory: of skills; what their burn_in leaves in memory is taken for
      given, without gradient.
  """
  skill = objectives.skill_of_observations(trajectory)
  is_first = jnp.zeros(skill.shape, bool)
  burn_in = trajectory.burn_in
  if burn_in is None:
    memory = _first_memory(network, trajectory.extras)
  else:
    # An episode begins where padding ends.
    is_real = jnp.concatenate([burn_in.mask, trajectory.mask[:1]]) > 0
    begins = is_real[1:] & ~is_real[:-1]
    _, memory = network.unroll(
      params,
      _first_memory(network, burn_in.extras),
      jnp.concatenate([jnp.zeros_like(begins[:1]), begins[:-1]]),
      burn_in.observation,
      burn_in.skill,
    )
    memory = jax.lax.stop_gradient(memory)
    is_first = is_first.at[0].set(begins[-1])
  values, _ = network.unroll(
    params, memory, is_first, trajectory.observation, skill
  )
  return values


class Memory(NamedTuple):
  """What an actor remembers.

  Attributes:
    now: the network's memory after the last step.
    before: the same before that step, which replay gets to know.
  """

  now: types.PyTree
  before: types.PyTree


def _to_extras(memory: types.PyTree) -> dict[str, Array]:
  return {f'memory_{i}': leaf for i, leaf in enumerate(jax.tree.leaves(memory))}


def _first_memory(
  network: types.RecurrentNetwork, extras: Mapping[str, Array]
) -> types.PyTree:
  """The memory before the first of a record's steps."""
  leaves, structure = jax.tree.flatten(jax.eval_shape(network.memory))
  return jax.tree.unflatten(
    structure, [extras[f'memory_{i}'][0] for i in range(len(leaves))]
  )


def acting_policy(
  network: types.Network | types.RecurrentNetwork,
  epsilon: float,
  *,
  random_ties: bool = False,
  rescale_values: bool = False,
) -> base.ActingPolicy:
  """Chooses epsilon-greedily among a skill's mixed action values.

  Args:
    network: the action values, as `make` takes them.
    epsilon: probability of a random action.
    random_ties: as in `epsilon_greedy`.
    rescale_values: as in the configuration.
  """
  network = build.recurrent(network)

  def select_action(variables: Variables, observation, skill, memory, uniform):
    # One step of each; none begins an episode, whose memory `init` has made.
    values, now = network.unroll(
      variables.params,
      memory.now,
      jnp.zeros((1,) + skill.shape, bool),
      observation[None],
      skill[None],
    )
    values = values[0]
    if rescale_values:
      values = returns.signed_parabolic(values)
    actions = epsilon_greedy(
      base.combine_streams(
        values, objectives.weights_of(variables.weights, skill)
      ),
      uniform[..., 0],
      epsilon,
      random_ties=random_ties,
    )
    return actions, Memory(now, memory.now)

  return base.ActingPolicy(
    num_uniforms=1,
    init=lambda: Memory(network.memory(), network.memory()),
    select_action=select_action,
    get_extras=lambda memory: _to_extras(memory.before),
  )


def make_agent_functions(
  config: QLearningConfig,
  network_config: torsos.NetworkConfig,
  problem: types.ProblemSpec,
  num_skills: int,
  objective: objectives.IntrinsicReward,
) -> base.AgentFunctions:
  """Makes the learner and how it acts.

  Args:
    config: its settings.
    network_config: of the action values.
    problem: the environment's shapes.
    num_skills: number of skills K.
    objective: what it learns from.

  Raises:
    ValueError: if actions are continuous, or the network does not fit the
      observations.
  """
  if problem.num_actions is None:
    raise ValueError(
      'Q-learning compares discrete actions, and those of this environment are '
      f'vectors of shape {problem.action_shape}; use the learner '
      "'actor_critic' (--set learner=actor_critic)."
    )
  network = q_networks.make(
    network_config, problem, num_skills, len(objective.streams)
  )
  act = functools.partial(
    acting_policy,
    network,
    random_ties=config.random_ties,
    rescale_values=config.rescale_values,
  )
  return base.AgentFunctions(
    make(config, network, objective),
    act(config.epsilon),
    act(config.evaluation_epsilon),
  )


def _make_loss(
  config: QLearningConfig,
  network: types.RecurrentNetwork,
  objective: objectives.IntrinsicReward,
) -> Callable[..., Any]:
  """Makes the loss, whose auxiliary outputs are metrics and priorities."""
  has_target = config.target_update_period is not None
  if config.rescale_values:
    transform, inverse_transform = (
      returns.signed_hyperbolic,
      returns.signed_parabolic,
    )
  else:
    transform = inverse_transform = lambda x: x

  def loss(
    params: types.Params,
    state: QLearningState,
    trajectory: types.Trajectory,
    rewards: Float[Array, 'T B R'],
  ) -> tuple[Float[Array, ''], tuple[types.Metrics, Float[Array, 'B']]]:
    values = action_values(network, params, trajectory)
    bootstrap = (
      action_values(network, state.target_params, trajectory)
      if has_target
      else values
    )
    weights = objectives.weights_of(
      objective.weights(state.objective),
      objectives.skill_of_observations(trajectory),
    )
    g = targets(
      inverse_transform(bootstrap),
      rewards,
      base.discounts(
        trajectory.discount,
        trajectory.mask,
        config.discount,
        bootstrap_at_skill_end=objective.bootstrap_at_skill_end,
      ),
      weights,
      # Where a skill was cut short, what follows is its last value alone.
      config.lambda_ * base.has_next_step(trajectory.mask)[..., None],
    )
    taken = jnp.take_along_axis(
      values[:-1], trajectory.action[..., None, None], axis=-2
    )[..., 0, :]
    g = jax.lax.stop_gradient(transform(g))
    error = (g - taken) * trajectory.mask[..., None]
    losses = jnp.sum(jnp.square(error), axis=0)
    if trajectory.importance_weights is not None:
      losses = losses * trajectory.importance_weights[:, None]
    losses = jnp.mean(losses, axis=0)
    metrics = {
      f'loss/{stream}': losses[i] for i, stream in enumerate(objective.streams)
    }
    return jnp.sum(losses), (
      metrics,
      priorities(error, trajectory.mask, config.max_error_weight),
    )

  return loss


def make(
  config: QLearningConfig,
  network: types.Network | types.RecurrentNetwork,
  objective: objectives.IntrinsicReward,
) -> base.Learner:
  """Makes the learner.

  Args:
    config: its settings.
    network: observations `[*batch, ...]`, skills `[*batch]` -> action values
      `[*batch, A, R]`.
    objective: what it learns from; R streams.
  """
  network = build.recurrent(network)
  optimizer = optimizers.make(
    config.optimizer, config.learning_rate, config.max_gradient_norm
  )
  loss = _make_loss(config, network, objective)
  has_target = config.target_update_period is not None

  def init(key: types.PRNGKey) -> QLearningState:
    params_key, objective_key, key = jax.random.split(key, 3)
    params = network.init(params_key)
    return QLearningState(
      params=params,
      target_params=jax.tree.map(jnp.copy, params) if has_target else (),
      optimizer=optimizer.init(params),
      objective=objective.init(objective_key),
      key=key,
      steps=jnp.zeros((), jnp.int32),
    )

  def update(
    state: QLearningState, trajectory: types.Trajectory
  ) -> tuple[QLearningState, types.Metrics, Float[Array, 'B']]:
    # Rewards are made anew from the newest discriminators at every update, and
    # no gradient leaves them.
    rewards = objective.reward(state.objective, trajectory)
    params, optimizer_state, (metrics, errors) = optimizers.gradient_step(
      optimizer, loss, state.params, state.optimizer, state, trajectory, rewards
    )
    objective_state, objective_metrics = objective.update(
      state.objective, trajectory, jax.random.fold_in(state.key, state.steps)
    )
    target_params = state.target_params
    steps = state.steps + 1
    if config.target_update_period is not None:
      target_params = optax.periodic_update(
        params, target_params, steps, config.target_update_period
      )
    metrics |= base.stream_rewards(objective.streams, rewards)
    state = QLearningState(
      params, target_params, optimizer_state, objective_state, state.key, steps
    )
    return state, metrics | objective_metrics, errors

  def variables(state: QLearningState) -> Variables:
    return Variables(
      state.params, objective.weights(state.objective), state.steps
    )

  return base.Learner(
    init=init,
    # Compiled without the priorities, which only prioritized replay needs.
    update=lambda state, trajectory: update(state, trajectory)[:2],
    variables=variables,
    update_with_priorities=update,
  )
