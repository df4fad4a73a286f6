"""Soft actor-critic (SAC), with a twin critic for each reward stream.

Haarnoja, Zhou, Hartikainen et al., "Soft actor-critic algorithms and
applications", 2018 (arXiv:1812.05905): equations 5 and 6 for the critics, 9 for
the policy, 18 for the temperature. It learns off-policy from single transitions
of replayed trajectories.

Departures from the paper, all for objectives of several streams:

- The critics have an output for each reward stream and one for the entropy
  bonus to come, -alpha log pi. Their sum, weighted by the objective, is the
  paper's soft value. Weights enter where actions are compared, so that critics
  need not be learned anew when a weight changes, as Lagrange multipliers do.
- The smaller of the twins is the one whose weighted sum is smaller; a target
  takes all of its streams from that one. With a single stream of weight 1 this
  is the paper's minimum.
- `temperature_learning_rate` None keeps the temperature, which suits rewards
  that move, as those of discriminators do.
"""

from collections.abc import Callable
import dataclasses
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Shaped
import optax

from skills import checks
from skills import optimizers
from skills import types
from skills.learners import actor_critic
from skills.learners import base
from skills.networks import critics
from skills.networks import policies
from skills.networks import torsos
from skills.objectives import base as objectives
from skills.ops import gaussian


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoftActorCriticConfig:
  """Settings of the learner.

  Attributes:
    discount: gamma per environment step, in [0, 1].
    transitions: transitions of an update, drawn at random from the steps of its
      trajectories; None for all of them.
    policy_learning_rate: step size of the policy's `optimizer`.
    policy_warmup: first updates, in which critics are learned and the policy
      stays as it is; as in `ActorCriticConfig`.
    critic_learning_rate: step size of the critics' `optimizer`.
    temperature_learning_rate: step size of the temperature's `optimizer`; None
      for a temperature that stays.
    init_temperature: alpha at first, the weight of the policy's entropy.
    target_entropy: entropy per entry of an action, in nats, that the
      temperature is learned for; the paper's is -1.
    target_update_rate: how far the target critics follow the critics in each
      update, in (0, 1].
    optimizer: 'sgd', 'adam', 'adamw' or 'rmsprop'.
    max_gradient_norm: gradients of policy and critics are each scaled down to
      this global norm; None for no limit.
    init_stddev: of the Gaussian under the hyperbolic tangent at first.
    policy_init_scale: initial weights of the policy's last layer, in the usual
      ones' deviations.
    skill_bias_std: deviation of what each skill adds to the means of latents at
      first, wherever it is; as in `ActorCriticConfig`.
  """

  discount: float = 0.99
  transitions: int | None = 256
  policy_learning_rate: float = 3e-4
  policy_warmup: int = 0
  critic_learning_rate: float = 3e-4
  temperature_learning_rate: float | None = 3e-4
  init_temperature: float = 0.1
  target_entropy: float = -1.0
  target_update_rate: float = 0.005
  optimizer: str = 'adam'
  max_gradient_norm: float | None = None
  init_stddev: float = 0.7
  policy_init_scale: float = 0.01
  skill_bias_std: float = 0.0

  def __post_init__(self) -> None:
    """Checks the settings."""
    checks.in_range(self, 0, 1, 'discount')
    checks.at_least(self, 1, 'transitions')
    checks.positive(
      self,
      'policy_learning_rate',
      'critic_learning_rate',
      'temperature_learning_rate',
      'init_temperature',
      'target_update_rate',
      'policy_init_scale',
      'max_gradient_norm',
    )
    checks.in_range(self, 0, 1, 'target_update_rate')
    checks.at_least(self, 0, 'skill_bias_std', 'policy_warmup')
    checks.in_range(self, 0.05, 2, 'init_stddev')
    checks.choice(self, optimizers.OPTIMIZERS, 'optimizer')


class SoftActorCriticParams(NamedTuple):
  """Something of the policy, of the critics and of the temperature.

  Attributes:
    policy: of the policy.
    critic: of both critics.
    log_temperature: log alpha, or what belongs to it.
  """

  policy: Any
  critic: Any
  log_temperature: Any


class SoftActorCriticState(NamedTuple):
  """Everything that learning changes.

  Attributes:
    params: of policy, critics and temperature.
    target: slow parameters of the critics.
    optimizer: the state of the optimizer of each.
    objective: the objective's state.
    key: constant; random numbers of update n come from folding n into it.
    steps: number of updates so far.
  """

  params: SoftActorCriticParams
  target: types.Params
  optimizer: SoftActorCriticParams
  objective: objectives.ObjectiveState
  key: types.PRNGKey
  steps: Int[Array, '']


class Transitions(NamedTuple):
  """Single steps of trajectories, N side by side.

  Attributes:
    observation: before the step.
    action: what was done.
    rewards: of each stream.
    discount: after the step, gamma included; 0 where no return follows.
    next_observation: after the step.
    skill: that was followed.
    mask: 1 for real steps.
  """

  observation: Shaped[Array, 'N *observation']
  action: Float[Array, 'N A']
  rewards: Float[Array, 'N R']
  discount: Float[Array, 'N']
  next_observation: Shaped[Array, 'N *observation']
  skill: Int[Array, 'N']
  mask: Float[Array, 'N']


def draw_transitions(
  trajectory: types.Trajectory,
  rewards: Float[Array, 'T B R'],
  discounts: Float[Array, 'T B'],
  size: int | None,
  key: types.PRNGKey,
) -> Transitions:
  """Transitions of trajectories, `size` of them at random or all in order.

  Args:
    trajectory: whose steps they are.
    rewards: of each step.
    discounts: after each step.
    size: how many are drawn, with replacement; None for all.
    key: of the draw.
  """
  num_steps, batch = trajectory.mask.shape
  time, row = jnp.indices((num_steps, batch)).reshape(2, -1)
  if size is not None:
    index = jax.random.randint(key, (size,), 0, num_steps * batch)
    time, row = index // batch, index % batch
  return Transitions(
    trajectory.observation[time, row],
    trajectory.action[time, row],
    rewards[time, row],
    discounts[time, row],
    trajectory.observation[time + 1, row],
    trajectory.skill[time, row],
    trajectory.mask[time, row],
  )


def lower_twin(
  values: Float[Array, '2 N R'], weights: Float[Array, '... R']
) -> Float[Array, 'N R']:
  """Values of the twin whose weighted sum over streams is the smaller.

  Args:
    values: of both critics.
    weights: of the streams, `[R]` or `[N, R]`.
  """
  both = jnp.stack([base.combine_streams(twin, weights) for twin in values])
  return jnp.where((both[0] <= both[1])[:, None], values[0], values[1])


def soft_targets(
  transitions: Transitions,
  next_values: Float[Array, 'N R_plus_1'],
  next_log_prob: Float[Array, 'N'],
  temperature: Float[Array, ''],
) -> Float[Array, 'N R_plus_1']:
  """Targets of the critics: one for each stream, the last of the entropy.

      y_r = r_r + gamma Q_r(s', a'),
      y_H = gamma (Q_H(s', a') - alpha log pi(a'|s'))

  Args:
    transitions: what happened.
    next_values: target critics at the next observation, of a fresh action.
    next_log_prob: log-density of that action.
    temperature: alpha.
  """
  bonus = -temperature * next_log_prob
  next_values = next_values.at[:, -1].add(bonus)
  rewards = jnp.pad(transitions.rewards, ((0, 0), (0, 1)))
  return rewards + transitions.discount[:, None] * next_values


def make_agent_functions(
  config: SoftActorCriticConfig,
  network_config: torsos.NetworkConfig,
  problem: types.ProblemSpec,
  num_skills: int,
  objective: objectives.IntrinsicReward,
) -> base.AgentFunctions:
  """Makes the learner and how it acts.

  Args:
    config: its settings.
    network_config: of the policy and of each critic.
    problem: the environment's shapes.
    num_skills: number of skills K.
    objective: what it learns from.

  Raises:
    ValueError: if actions are discrete, or the network does not fit the
      observations or has a memory.
  """
  if problem.num_actions is not None:
    raise ValueError(
      'learner soft_actor_critic needs continuous actions, got '
      f'{problem.num_actions} discrete ones; use learner=actor_critic or '
      'learner=q_learning.'
    )
  base.check_no_memory('soft_actor_critic', network_config)
  distribution = policies.make(problem, config.init_stddev)
  policy = actor_critic.make_policy(
    network_config,
    problem,
    num_skills,
    distribution,
    init_scale=config.policy_init_scale,
    skill_bias_std=config.skill_bias_std,
  )
  critic = critics.make(
    network_config, problem, num_skills, len(objective.streams) + 1
  )
  return base.AgentFunctions(
    make(config, policy, critic, distribution, objective),
    *actor_critic.acting_policies(policy, distribution),
  )


def _make_optimizers(config: SoftActorCriticConfig) -> SoftActorCriticParams:
  """Makes the optimizers of policy, critics and temperature."""
  name, max_norm = config.optimizer, config.max_gradient_norm
  rate = config.temperature_learning_rate
  policy_learning_rate = optimizers.after_warmup(
    config.policy_learning_rate, config.policy_warmup
  )
  return SoftActorCriticParams(
    optimizers.make(name, policy_learning_rate, max_norm),
    optimizers.make(name, config.critic_learning_rate, max_norm),
    optax.set_to_zero() if rate is None else optimizers.make(name, rate),
  )


def _make_loss(
  config: SoftActorCriticConfig,
  policy: types.Network,
  critic: types.Network,
  distribution: policies.ActionDistribution,
) -> Callable[..., tuple[Float[Array, ''], types.Metrics]]:
  """Makes the summed loss of critics, policy and temperature."""

  def fresh_action(params, observation, skill, key):
    uniform = jax.random.uniform(
      key, skill.shape + (distribution.num_uniforms,)
    )
    outputs = policy.apply(params, observation, skill)
    action, extras = distribution.sample(outputs, uniform)
    slope = gaussian.tanh_log_slope(extras[policies.LATENT])
    return action, extras[policies.LOG_PROB] - jnp.sum(slope, axis=-1)

  def loss(
    params: SoftActorCriticParams,
    target: types.Params,
    batch: Transitions,
    weights: Float[Array, '... R_plus_1'],
    key: types.PRNGKey,
  ) -> tuple[Float[Array, ''], types.Metrics]:
    constant = jax.lax.stop_gradient(params)
    temperature = jnp.exp(constant.log_temperature)
    next_key, key = jax.random.split(key)
    seen, skill = batch.next_observation, batch.skill
    next_action, next_log_prob = fresh_action(
      constant.policy, seen, skill, next_key
    )
    next_values = critic.apply(target, seen, next_action, skill)
    targets = soft_targets(
      batch, lower_twin(next_values, weights), next_log_prob, temperature
    )
    values = critic.apply(params.critic, batch.observation, batch.action, skill)
    errors = jnp.sum(jnp.square(values - targets[None]), axis=(0, -1))
    critic_loss = objectives.masked_mean(errors, batch.mask)

    action, log_prob = fresh_action(
      params.policy, batch.observation, skill, key
    )
    # Gradients reach the policy through the action, and no critic.
    now = critic.apply(constant.critic, batch.observation, action, skill)
    soft_value = base.combine_streams(lower_twin(now, weights), weights)
    policy_loss = objectives.masked_mean(
      temperature * log_prob - soft_value, batch.mask
    )
    entropy = -objectives.masked_mean(log_prob, batch.mask)
    excess = jax.lax.stop_gradient(
      entropy - config.target_entropy * batch.action.shape[-1]
    )
    temperature_loss = jnp.exp(params.log_temperature) * excess
    metrics = {
      'critic_loss': critic_loss,
      'soft_value': objectives.masked_mean(soft_value, batch.mask),
      'entropy': entropy,
      'temperature': temperature,
    }
    return critic_loss + policy_loss + temperature_loss, metrics

  return loss


def _make_init(
  config: SoftActorCriticConfig,
  policy: types.Network,
  critic: types.Network,
  optimizer: SoftActorCriticParams,
  objective: objectives.IntrinsicReward,
) -> Callable[[types.PRNGKey], SoftActorCriticState]:
  """Makes the function from a random key to the state before any update."""

  def init(key: types.PRNGKey) -> SoftActorCriticState:
    policy_key, critic_key, objective_key, key = jax.random.split(key, 4)
    params = SoftActorCriticParams(
      policy.init(policy_key),
      critic.init(critic_key),
      jnp.log(jnp.float32(config.init_temperature)),
    )
    return SoftActorCriticState(
      params=params,
      # A copy: the state is donated, and no buffer may be in it twice.
      target=jax.tree.map(jnp.copy, params.critic),
      optimizer=SoftActorCriticParams(
        *(part.init(own) for part, own in zip(optimizer, params))
      ),
      objective=objective.init(objective_key),
      key=key,
      steps=jnp.zeros((), jnp.int32),
    )

  return init


def _make_draw(
  config: SoftActorCriticConfig, objective: objectives.IntrinsicReward
) -> Callable[..., tuple[Transitions, Float[Array, '... R_plus_1']]]:
  """Makes the function that draws transitions and weights of their streams."""

  def draw(
    state: SoftActorCriticState,
    trajectory: types.Trajectory,
    rewards: Float[Array, 'T B R'],
    key: types.PRNGKey,
  ) -> tuple[Transitions, Float[Array, '... R_plus_1']]:
    discounts = base.discounts(
      trajectory.discount,
      trajectory.mask,
      config.discount,
      bootstrap_at_skill_end=objective.bootstrap_at_skill_end,
    )
    batch = draw_transitions(
      trajectory, rewards, discounts, config.transitions, key
    )
    weights = objectives.weights_of(
      objective.weights(state.objective), batch.skill
    )
    # The entropy's own weight is in its temperature.
    padding = ((0, 0),) * (weights.ndim - 1) + ((0, 1),)
    return batch, jnp.pad(weights, padding, constant_values=1.0)

  return draw


def make(
  config: SoftActorCriticConfig,
  policy: types.Network,
  critic: types.Network,
  distribution: policies.ActionDistribution,
  objective: objectives.IntrinsicReward,
) -> base.Learner:
  """Makes the learner.

  Args:
    config: its settings.
    policy: observations `[*batch, ...]`, skills `[*batch]` -> what the
      distribution takes, `[*batch, D]`.
    critic: observations, actions `[*batch, A]`, skills -> values of both
      critics, `[2, *batch, R + 1]`.
    distribution: of actions.
    objective: what it learns from; R streams.
  """
  optimizer = _make_optimizers(config)
  loss = _make_loss(config, policy, critic, distribution)
  draw = _make_draw(config, objective)

  def update(
    state: SoftActorCriticState, trajectory: types.Trajectory
  ) -> tuple[SoftActorCriticState, types.Metrics]:
    key = jax.random.fold_in(state.key, state.steps)
    objective_key, draw_key, key = jax.random.split(key, 3)
    rewards = objective.reward(state.objective, trajectory)
    batch, weights = draw(state, trajectory, rewards, draw_key)
    grads, metrics = jax.grad(loss, has_aux=True)(
      state.params, state.target, batch, weights, key
    )
    steps = [
      optimizers.apply_gradients(*parts)
      for parts in zip(optimizer, grads, state.params, state.optimizer)
    ]
    params = SoftActorCriticParams(*(step[0] for step in steps))
    objective_state, objective_metrics = objective.update(
      state.objective, trajectory, objective_key
    )
    metrics |= base.stream_rewards(objective.streams, rewards)
    state = SoftActorCriticState(
      params,
      optax.incremental_update(
        params.critic, state.target, config.target_update_rate
      ),
      SoftActorCriticParams(*(step[1] for step in steps)),
      objective_state,
      state.key,
      state.steps + 1,
    )
    return state, metrics | objective_metrics

  def variables(state: SoftActorCriticState) -> actor_critic.Variables:
    return actor_critic.Variables(state.params.policy, state.steps)

  def take_policy(
    state: SoftActorCriticState, trained: SoftActorCriticState
  ) -> SoftActorCriticState:
    policy = trained.params.policy
    return state._replace(params=state.params._replace(policy=policy))

  init = _make_init(config, policy, critic, optimizer, objective)
  return base.Learner(init, update, variables, take_policy=take_policy)
