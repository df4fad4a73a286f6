"""An actor-critic from replay, with a value for each reward stream.

V-trace (Espeholt et al., 2018, arXiv:1802.01561) makes of old steps what they
say of the newest policy: the probability of each action when it was chosen
comes back with the trajectory. Each stream has a value and advantages of its
own; they are mixed by the objective's weights only where the policy is made, so
that each value keeps its own scale and a weight may change at any time.

Where the policy has moved far from the one that chose an action, the step is
not followed further in that direction: the clipped objective of Schulman et
al., "Proximal policy optimization algorithms", 2017 (arXiv:1707.06347), eq. 7,
without which what replay repeats is followed to the end.

Policy and values share no parameters, and each has its own step size and its
own limit of gradients: the scale of a reward is nothing to the policy's
features.
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
import optax

from skills import checks
from skills import optimizers
from skills import types
from skills.learners import base
from skills.networks import heads
from skills.networks import policies
from skills.networks import torsos
from skills.objectives import base as objectives
from skills.ops import returns


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActorCriticConfig:
  """Settings of the learner.

  Attributes:
    discount: gamma per environment step, in [0, 1]. A skill's last step is
      discounted by 0.
    lambda_: mixing of the multi-step returns, in [0, 1].
    clip_rho_threshold: limit of the importance ratio in errors and in the
      policy's gradient.
    clip_c_threshold: limit of the importance ratio in traces, at most
      `clip_rho_threshold`.
    ppo_clip: how far the importance ratio may move from 1 in the direction of
      an action's advantage before the action is not followed any more; None for
      no limit, as V-trace's authors had it.
    policy_learning_rate: step size of the policy's `optimizer`.
    policy_warmup: first updates, in which values are learned and the policy
      stays as it is. A policy that was learned from another reward would else
      be led astray by values that know nothing yet.
    policy_decay: updates, after those, over which `policy_learning_rate` falls
      evenly to a twentieth, where it stays; None for a rate that stays as it
      is. What is learned at the end is then no longer on its way to somewhere
      else.
    value_learning_rate: step size of the values' `optimizer`. Losses are means
      over all real steps, that of the values with a factor 1/2 and a sum over
      streams.
    optimizer: 'sgd', 'adam', 'adamw' or 'rmsprop'.
    max_gradient_norm: the policy's and the values' gradients are each scaled
      down to this global norm; None for no limit.
    entropy_weight: of the policy's entropy in nats, beside the advantages.
    normalize_advantages: whether the mixed advantages are shifted and scaled
      to mean 0 and deviation 1 in each batch; those of each skill by itself,
      where skills weigh streams differently. Then `entropy_weight` means the
      same whatever is paid.
    normalize_streams: whether each stream's own advantages are shifted and
      scaled likewise before they are mixed. Then weights compare streams
      whatever the sizes of their rewards, and a stream that pays next to
      nothing is heard as well as one that pays much.
    values_per_step: whether values are 1 - gamma times the usual ones, and so
      of the size of one step's reward. Where every step pays, the usual ones
      are a hundred times as large, and take an optimizer long to reach; where
      only a skill's end pays, they are of the reward's size as they are.
    init_stddev: of the Gaussian under the hyperbolic tangent that chooses
      continuous actions; unused for discrete ones, whose policy begins
      uniform.
    policy_init_scale: initial weights of the policy's last layer, in the usual
      ones' deviations.
    skill_bias_std: deviation of what each skill adds to the policy's outputs at
      first, wherever it is: to logits, and to means of latents. Skills that
      begin alike take long to find what could tell them apart; a body of many
      joints may never.
    table_init_stddev: the same where policies are tables: the deviation of
      their initial logits.
  """

  discount: float = 0.99
  lambda_: float = 0.95
  clip_rho_threshold: float = 1.0
  clip_c_threshold: float = 1.0
  ppo_clip: float | None = 0.2
  policy_learning_rate: float = 3e-4
  policy_warmup: int = 0
  policy_decay: int | None = None
  value_learning_rate: float = 1e-3
  optimizer: str = 'adam'
  max_gradient_norm: float | None = 1.0
  entropy_weight: float = 0.01
  normalize_advantages: bool = True
  normalize_streams: bool = False
  values_per_step: bool = False
  init_stddev: float = 0.7
  policy_init_scale: float = 0.01
  skill_bias_std: float = 0.0
  table_init_stddev: float = 0.0

  def __post_init__(self) -> None:
    """Checks the settings."""
    checks.in_range(self, 0, 1, 'discount', 'lambda_')
    checks.positive(self, 'clip_rho_threshold', 'clip_c_threshold', 'ppo_clip')
    checks.positive(self, 'policy_learning_rate', 'value_learning_rate')
    checks.positive(self, 'policy_init_scale', 'max_gradient_norm')
    checks.at_least(self, 1, 'policy_decay')
    checks.at_least(
      self,
      0,
      'policy_warmup',
      'entropy_weight',
      'table_init_stddev',
      'skill_bias_std',
    )
    checks.in_range(self, 0.05, 2, 'init_stddev')
    checks.choice(self, optimizers.OPTIMIZERS, 'optimizer')
    if self.values_per_step and self.discount == 1:
      raise ValueError(
        'discount must be below 1 with values_per_step, which would make all '
        'values 0, got 1; or set values_per_step to false.'
      )
    if self.clip_c_threshold > self.clip_rho_threshold:
      raise ValueError(
        'clip_c_threshold must be at most clip_rho_threshold '
        f'({self.clip_rho_threshold}), got {self.clip_c_threshold}.'
      )


class ActorCriticParams(NamedTuple):
  """Something of the policy and the same of the values."""

  policy: Any
  values: Any


class ActorCriticState(NamedTuple):
  """Everything that learning changes.

  Attributes:
    params: of policy and values.
    optimizer: the state of the optimizer of each.
    objective: the objective's state.
    key: constant; random numbers of update n come from folding n into it.
    steps: number of updates so far.
  """

  params: ActorCriticParams
  optimizer: ActorCriticParams
  objective: objectives.ObjectiveState
  key: types.PRNGKey
  steps: Int[Array, '']


class Variables(NamedTuple):
  """What actors need to act.

  Attributes:
    params: of the policy.
    steps: number of the learner's updates when these were made.
  """

  params: types.Params
  steps: Int[Array, '']


def normalized(
  values: Float[Array, 'T B'], mask: Float[Array, 'T B']
) -> Float[Array, 'T B']:
  """Values with mean 0 and deviation 1 over the entries that `mask` marks."""
  centered = values - objectives.masked_mean(values, mask)
  variance = objectives.masked_mean(jnp.square(centered), mask)
  return centered / jnp.sqrt(variance + 1e-8)


def normalized_by_skill(
  values: Float[Array, 'T B'],
  mask: Float[Array, 'T B'],
  skill: Int[Array, 'T B'],
  num_skills: int,
) -> Float[Array, 'T B']:
  """The same within each skill's own entries, whatever the others' are."""
  member = jax.nn.one_hot(skill, num_skills) * mask[..., None]
  count = jnp.maximum(jnp.sum(member, axis=(0, 1)), 1.0)
  mean = jnp.sum(member * values[..., None], axis=(0, 1)) / count
  centered = values - mean[skill]
  squares = member * jnp.square(centered)[..., None]
  variance = jnp.sum(squares, axis=(0, 1)) / count
  return centered / jnp.sqrt(variance[skill] + 1e-8)


def acting_policy(
  outputs: Callable[..., Float[Array, '*batch D']],
  distribution: policies.ActionDistribution,
  *,
  greedy: bool,
  num_uniforms: int = 0,
) -> base.ActingPolicy:
  """Draws actions and records how likely they were, or takes the likeliest.

  Args:
    outputs: parameters, observations `[*batch, ...]`, skills `[*batch]` and
      random numbers `[*batch, U]`, uniform in [0, 1) -> what the distribution
      takes.
    distribution: of actions by these outputs.
    greedy: whether the most likely actions are taken, and nothing is recorded.
    num_uniforms: random numbers that `outputs` takes, U.
  """

  def select_action(variables: Variables, observation, skill, memory, uniform):
    found = outputs(
      variables.params, observation, skill, uniform[..., :num_uniforms]
    )
    if greedy:
      return distribution.mode(found), memory
    return distribution.sample(found, uniform[..., num_uniforms:])

  if greedy:
    return base.ActingPolicy(
      num_uniforms, lambda: (), select_action, lambda memory: {}
    )
  return base.ActingPolicy(
    num_uniforms + distribution.num_uniforms,
    distribution.extras_spec,
    select_action,
    dict,
  )


def acting_policies(
  network: types.Network, distribution: policies.ActionDistribution
) -> tuple[base.ActingPolicy, base.ActingPolicy]:
  """How a network's policy acts while training, and while evaluating.

  Args:
    network: the policy, as `make` takes it.
    distribution: of actions by its outputs.
  """

  def outputs(params, observation, skill, uniform):
    del uniform
    return network.apply(params, observation, skill)

  return (
    acting_policy(outputs, distribution, greedy=False),
    acting_policy(outputs, distribution, greedy=True),
  )


def make_policy(
  network_config: torsos.NetworkConfig,
  problem: types.ProblemSpec,
  num_skills: int,
  distribution: policies.ActionDistribution,
  *,
  init_scale: float,
  skill_bias_std: float,
  table_init_stddev: float = 0.0,
) -> types.Network:
  """Makes the network of a policy.

  Args:
    network_config: what it is made of.
    problem: what observations are.
    num_skills: number of skills K.
    distribution: of actions by its outputs.
    init_scale: initial weights of the last layer, in the usual ones'
      deviations.
    skill_bias_std: deviation of what each skill adds at first to the outputs
      that choose an action.
    table_init_stddev: deviation of the logits of a table at first.
  """
  bias = skill_bias_std * distribution.chooses if skill_bias_std else None
  return heads.make(
    network_config,
    problem,
    num_skills,
    distribution.size,
    init_scale,
    table_init_stddev,
    bias,
  )


def make_agent_functions(
  config: ActorCriticConfig,
  network_config: torsos.NetworkConfig,
  problem: types.ProblemSpec,
  num_skills: int,
  objective: objectives.IntrinsicReward,
) -> base.AgentFunctions:
  """Makes the learner and how it acts.

  Args:
    config: its settings.
    network_config: of the policy and of the values.
    problem: the environment's shapes.
    num_skills: number of skills K.
    objective: what it learns from.

  Raises:
    ValueError: if the network does not fit the observations or has a memory.
  """
  base.check_no_memory('actor_critic', network_config)
  distribution = policies.make(problem, config.init_stddev)
  policy = make_policy(
    network_config,
    problem,
    num_skills,
    distribution,
    init_scale=config.policy_init_scale,
    table_init_stddev=config.table_init_stddev,
    skill_bias_std=config.skill_bias_std,
  )
  values = heads.make(
    network_config, problem, num_skills, len(objective.streams)
  )
  return base.AgentFunctions(
    make(config, policy, values, distribution, objective),
    *acting_policies(policy, distribution),
  )


def _make_optimizers(config: ActorCriticConfig) -> ActorCriticParams:
  """Makes the policy's optimizer, with its schedule, and the values'."""
  policy_learning_rate = config.policy_learning_rate
  if config.policy_decay is not None:
    policy_learning_rate = optax.linear_schedule(
      policy_learning_rate, policy_learning_rate / 20, config.policy_decay
    )
  policy_learning_rate = optimizers.after_warmup(
    policy_learning_rate, config.policy_warmup
  )
  name, max_norm = config.optimizer, config.max_gradient_norm
  return ActorCriticParams(
    optimizers.make(name, policy_learning_rate, max_norm),
    optimizers.make(name, config.value_learning_rate, max_norm),
  )


def _policy_advantages(
  config: ActorCriticConfig,
  advantages: Float[Array, 'T B R'],
  weights: Float[Array, '... R'],
  trajectory: types.Trajectory,
) -> Float[Array, 'T B']:
  """Streams' advantages normalized, mixed and normalized, as `config` says.

  Args:
    config: of the learner.
    advantages: of each stream.
    weights: of the streams, `[R]`, or for each skill, `[K, R]`.
    trajectory: whose steps they are of.
  """
  mask, skill = trajectory.mask, trajectory.skill

  def normalize(values: Float[Array, 'T B']) -> Float[Array, 'T B']:
    if weights.ndim == 1:
      return normalized(values, mask)
    # Else a skill would feel how others are paid and weighed.
    return normalized_by_skill(values, mask, skill, len(weights))

  if config.normalize_streams:
    advantages = jax.vmap(normalize, -1, -1)(advantages)
  mixed = base.combine_streams(
    advantages, objectives.weights_of(weights, skill)
  )
  return normalize(mixed) if config.normalize_advantages else mixed


def _pull(
  config: ActorCriticConfig,
  advantages: Float[Array, 'T B'],
  ratio: Float[Array, 'T B'],
) -> Float[Array, 'T B']:
  """How strongly each action is followed, or its opposite."""
  pull = jnp.minimum(ratio, config.clip_rho_threshold) * advantages
  if config.ppo_clip is None:
    return pull
  moved = jnp.sign(advantages) * (ratio - 1)
  return jnp.where(moved > config.ppo_clip, 0.0, pull)


def _make_loss(
  config: ActorCriticConfig,
  policy: types.Network,
  values: types.Network,
  distribution: policies.ActionDistribution,
  objective: objectives.IntrinsicReward,
) -> Callable[..., tuple[Float[Array, ''], types.Metrics]]:
  """Makes the loss of policy and values; arguments as `make` takes them."""

  def loss(
    params: ActorCriticParams,
    state: ActorCriticState,
    trajectory: types.Trajectory,
    rewards: Float[Array, 'T B R'],
  ) -> tuple[Float[Array, ''], types.Metrics]:
    mask = trajectory.mask
    outputs = policy.apply(
      params.policy, trajectory.observation[:-1], trajectory.skill
    )
    log_prob = distribution.log_prob(
      outputs, trajectory.action, trajectory.extras
    )
    ratio = jax.lax.stop_gradient(
      jnp.exp(log_prob - trajectory.extras[policies.LOG_PROB])
    )
    skill = objectives.skill_of_observations(trajectory)
    v = values.apply(params.values, trajectory.observation, skill)
    constant = jax.lax.stop_gradient(v)
    discounts = base.discounts(
      trajectory.discount,
      mask,
      config.discount,
      bootstrap_at_skill_end=objective.bootstrap_at_skill_end,
    )
    if config.values_per_step:
      rewards = (1 - config.discount) * rewards
    trace = returns.vtrace(
      rewards,
      jnp.broadcast_to(discounts[..., None], rewards.shape),
      constant[:-1],
      constant[1:],
      ratio[..., None],
      # Where a skill was cut short, what follows is its last value alone.
      config.lambda_ * base.has_next_step(mask)[..., None],
      config.clip_rho_threshold,
      config.clip_c_threshold,
    )
    advantages = _policy_advantages(
      config, trace.advantages, objective.weights(state.objective), trajectory
    )
    gain = _pull(config, advantages, ratio) * log_prob
    entropy = objectives.masked_mean(distribution.entropy(outputs), mask)
    policy_loss = (
      -objectives.masked_mean(gain, mask) - config.entropy_weight * entropy
    )
    errors = 0.5 * jnp.square(trace.targets - v[:-1])
    value_losses = [
      objectives.masked_mean(errors[..., i], mask)
      for i in range(len(objective.streams))
    ]
    metrics = {
      f'loss/{stream}': value_losses[i]
      for i, stream in enumerate(objective.streams)
    }
    metrics['entropy'] = entropy
    # 1 where the newest policy chose all actions itself.
    metrics['mean_ratio'] = objectives.masked_mean(
      jnp.minimum(ratio, config.clip_rho_threshold), mask
    )
    return policy_loss + sum(value_losses), metrics

  return loss


def make(
  config: ActorCriticConfig,
  policy: types.Network,
  values: types.Network,
  distribution: policies.ActionDistribution,
  objective: objectives.IntrinsicReward,
) -> base.Learner:
  """Makes the learner.

  Args:
    config: its settings.
    policy: observations `[*batch, ...]`, skills `[*batch]` -> what the
      distribution takes, `[*batch, D]`.
    values: the same -> values `[*batch, R]`.
    distribution: of actions.
    objective: what it learns from; R streams.
  """
  optimizer = _make_optimizers(config)
  loss = _make_loss(config, policy, values, distribution, objective)

  def init(key: types.PRNGKey) -> ActorCriticState:
    policy_key, values_key, objective_key, key = jax.random.split(key, 4)
    params = ActorCriticParams(policy.init(policy_key), values.init(values_key))
    return ActorCriticState(
      params=params,
      optimizer=ActorCriticParams(
        optimizer.policy.init(params.policy),
        optimizer.values.init(params.values),
      ),
      objective=objective.init(objective_key),
      key=key,
      steps=jnp.zeros((), jnp.int32),
    )

  def update(
    state: ActorCriticState, trajectory: types.Trajectory
  ) -> tuple[ActorCriticState, types.Metrics]:
    # Rewards are made anew from the newest discriminators at every update, and
    # no gradient leaves them.
    rewards = objective.reward(state.objective, trajectory)
    grads, metrics = jax.grad(loss, has_aux=True)(
      state.params, state, trajectory, rewards
    )
    policy, policy_optimizer = optimizers.apply_gradients(
      optimizer.policy,
      grads.policy,
      state.params.policy,
      state.optimizer.policy,
    )
    values, values_optimizer = optimizers.apply_gradients(
      optimizer.values,
      grads.values,
      state.params.values,
      state.optimizer.values,
    )
    objective_state, objective_metrics = objective.update(
      state.objective, trajectory, jax.random.fold_in(state.key, state.steps)
    )
    metrics |= base.stream_rewards(objective.streams, rewards)
    state = ActorCriticState(
      ActorCriticParams(policy, values),
      ActorCriticParams(policy_optimizer, values_optimizer),
      objective_state,
      state.key,
      state.steps + 1,
    )
    return state, metrics | objective_metrics

  def variables(state: ActorCriticState) -> Variables:
    return Variables(state.params.policy, state.steps)

  def take_policy(
    state: ActorCriticState, trained: ActorCriticState
  ) -> ActorCriticState:
    policy = trained.params.policy
    return state._replace(params=state.params._replace(policy=policy))

  return base.Learner(init, update, variables, take_policy=take_policy)
