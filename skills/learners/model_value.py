"""A model that predicts values, and a policy improved by looking ahead in it.

Hessel, Danihelka, Viola, Guez, Schmitt, Sifre, Weber, Silver and van Hasselt,
"Muesli: combining improvements in policy optimization", 2021
(arXiv:2104.06159).

A latent model is unrolled with the actions that were taken; nothing ties its
states to what is seen but the rewards, values and policies predicted from them.
Slower parameters give the prior policy and its values, by one step in the
model, q_prior(s, a) = r(s, a) + g v(s'). From these come the improved policy to
which policy and model are drawn, clipped MPO, and Retrace's returns, to which
values are drawn and by which the policy's gradient weighs the actions taken.

Each reward stream has rewards and values of its own in the model. They are
mixed by the objective's weights only where the policy is made. What the model
and the value of the first stream, the task's, disagree about may be paid as one
more stream, and be acted by: see `objectives.ive`.

After the episode's end the model stays in a state that pays nothing and is
worth nothing, whatever is done, as in MuZero: what is imagined may go past it.

Departures from the paper: the model's core is a layer or a perceptron, not an
LSTM; the policy's gradient has no beta-LOO correction of its clipped ratio; the
divergence from the improved policy is exact, not sampled. Agents with skills
are refused: a state of the model knows of no skill.
"""

from collections.abc import Callable
import dataclasses
from typing import Any
from typing import NamedTuple
import warnings

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
from skills.networks import models
from skills.networks import policies
from skills.networks import torsos
from skills.objectives import base as objectives
from skills.objectives import ive as ive_lib
from skills.objectives import self_consistency as self_consistency_lib
from skills.ops import categorical
from skills.ops import improvement
from skills.ops import moments
from skills.ops import returns


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelValueConfig:
  """Settings of the learner.

  Attributes:
    discount: gamma per environment step, in [0, 1].
    lambda_: mixing of Retrace's returns, in [0, 1].
    num_unrolled: steps that the model is unrolled with the actions taken, K.
    advantage_clip: of normalized advantages in the improved policy, in nats.
    improvement_weight: of the divergence from the improved policy.
    reward_weight: of the model's loss of rewards.
    value_weight: of the loss of values, the model's included.
    target_update_rate: how far the slower parameters move at each update, in
      (0, 1].
    advantage_decay: of the moving mean square that advantages are divided by.
    learning_rate: step size of `optimizer`. Losses are means over all real
      steps, and over the K unrolled ones.
    optimizer: 'sgd', 'adam', 'adamw' or 'rmsprop'.
    max_gradient_norm: gradients are scaled down to this global norm; None for
      no limit.
    model: sizes of the model. Its states are normalized, and its rewards,
      values and policy begin at 0, so that nothing is taken for an advantage
      before something was learned; for IVE they should begin at random.
    self_consistency: a loss on imagined rollouts beside these; weight 0 for
      none. With it the disagreement of model and value is no sign of ignorance.
    ive: what is done with that disagreement, IVE.
  """

  discount: float = 0.99
  lambda_: float = 0.95
  num_unrolled: int = 5
  advantage_clip: float = 1.0
  improvement_weight: float = 1.0
  reward_weight: float = 1.0
  value_weight: float = 0.25
  target_update_rate: float = 0.1
  advantage_decay: float = 0.99
  learning_rate: float = 3e-4
  optimizer: str = 'adam'
  max_gradient_norm: float | None = 1.0
  model: models.LatentConfig = models.LatentConfig(
    init_scale=0.0, normalize=True
  )
  self_consistency: self_consistency_lib.SelfConsistencyConfig = (
    self_consistency_lib.SelfConsistencyConfig(weight=0.0)
  )
  ive: ive_lib.IveConfig = ive_lib.IveConfig()

  def __post_init__(self) -> None:
    """Checks the settings."""
    checks.in_range(self, 0, 1, 'discount', 'lambda_', 'target_update_rate')
    checks.positive(self, 'advantage_clip', 'learning_rate')
    checks.positive(self, 'target_update_rate', 'max_gradient_norm')
    checks.at_least(
      self, 0, 'improvement_weight', 'reward_weight', 'value_weight'
    )
    checks.in_half_open_range(self, 0, 1, 'advantage_decay')
    checks.at_least(self, 1, 'num_unrolled')
    checks.choice(self, optimizers.OPTIMIZERS, 'optimizer')


class ModelValueState(NamedTuple):
  """Everything that learning changes.

  Attributes:
    params: of model, value and policy.
    target_params: the slower ones.
    optimizer: the optimizer's state.
    size: of advantages.
    objective: the objective's state.
    key: constant; random numbers of update n come from folding n into it.
    steps: number of updates so far.
  """

  params: models.Params
  target_params: models.Params
  optimizer: Any
  size: moments.MovingSquare
  objective: objectives.ObjectiveState
  key: types.PRNGKey
  steps: Int[Array, '']


class Prior(NamedTuple):
  """What the slower parameters say of every state that was seen.

  Attributes:
    log_policy: of each action.
    q: of each action and stream, by one step in the model.
    v: of the state, by the value itself.
  """

  log_policy: Float[Array, 'T_plus_1 B A']
  q: Float[Array, 'T_plus_1 B A R']
  v: Float[Array, 'T_plus_1 B R']


class Targets(NamedTuple):
  """What is learned towards; constants.

  Attributes:
    value: of each state that was seen; 0 in one that ended the episode.
    advantage: of each action that was taken, of all streams as they are mixed,
      in units of their usual size.
    log_policy: the improved policy in each state.
  """

  value: Float[Array, 'T_plus_1 B R']
  advantage: Float[Array, 'T B']
  log_policy: Float[Array, 'T_plus_1 B A']


def prior(
  model: models.Model,
  params: models.Params,
  observation: Shaped[Array, 'T_plus_1 B *observation'],
  discount: float,
) -> Prior:
  """Policy, values and q_prior(s, a) = r(s, a) + discount v(s')."""
  state = model.encode(params, observation)
  logits = model.policy(params, state)

  def worth(state):
    return model.head.decode(model.value(params, state))

  def after(action):
    actions = jnp.full(state.shape[:-1], action, jnp.int32)
    return worth(model.transition(params, state, actions))

  following = jnp.stack(
    [after(action) for action in range(logits.shape[-1])], axis=-2
  )
  paid = model.head.decode(model.reward(params, state))
  return Prior(
    jax.nn.log_softmax(logits), paid + discount * following, worth(state)
  )


def targets(
  config: ModelValueConfig,
  found: Prior,
  trajectory: types.Trajectory,
  rewards: Float[Array, 'T B R'],
  discounts: Float[Array, 'T B'],
  weights: Float[Array, 'R'],
  size: moments.MovingSquare,
) -> tuple[Targets, moments.MovingSquare]:
  """Retrace's returns, advantages by them, and the improved policy.

  Args:
    config: the learner's settings.
    found: what the slower parameters say.
    trajectory: what was done, with log-probabilities of the actions.
    rewards: of each step.
    discounts: after each step.
    weights: of the streams in the mixture.
    size: of mixed advantages so far.

  Returns:
    The targets, and the size with this batch taken in.
  """
  mask = trajectory.mask
  expected = jnp.sum(jnp.exp(found.log_policy)[..., None] * found.q, axis=-2)
  log_prob = categorical.log_prob(found.log_policy[:-1], trajectory.action)
  taken = jnp.take_along_axis(
    found.q[:-1], trajectory.action[..., None, None], axis=-2
  )[..., 0, :]
  ratio = jnp.exp(log_prob - trajectory.extras[policies.LOG_PROB])
  g = returns.retrace(
    rewards,
    jnp.broadcast_to(discounts[..., None], rewards.shape),
    expected[1:],
    taken,
    ratio[..., None],
    # Where a skill was cut short, what follows is its last value alone.
    config.lambda_ * base.has_next_step(mask)[..., None],
  )
  gain = (g - found.v[:-1]) @ weights
  size = moments.update_square(size, gain, mask, config.advantage_decay)
  log_policy = improvement.cmpo(
    found.log_policy,
    moments.divide_by_size(size, (found.q - found.v[..., None, :]) @ weights),
    config.advantage_clip,
  )
  # The state after the last step has no action of its own; after the episode's
  # end there is nothing to come.
  starts = jnp.concatenate([mask, jnp.zeros_like(mask[:1])])[..., None]
  value = jnp.concatenate([g, jnp.zeros_like(g[:1])])
  ends = jnp.concatenate([jnp.ones_like(mask[:1]), trajectory.discount])
  value = jnp.where(starts > 0, value, ends[..., None] * expected)
  made = Targets(value, moments.divide_by_size(size, gain), log_policy)
  return jax.lax.stop_gradient(made), size


def _longer(
  x: Shaped[Array, 'T *rest'], rows: int
) -> Shaped[Array, 'T_and_more *rest']:
  """With rows of zeros behind it, so that there are so many."""
  missing = jnp.zeros((rows - len(x), *x.shape[1:]), x.dtype)
  return jnp.concatenate([x, missing])


def is_over(
  trajectory: types.Trajectory, rows: int
) -> Float[Array, 'T_and_more B']:
  """1 for times after the step that ended the episode.

  Args:
    trajectory: what was seen.
    rows: times in question, from the first step on; more than there are steps.
  """
  ended = trajectory.mask * (trajectory.discount == 0)
  ended = jnp.concatenate([jnp.zeros_like(ended[:1]), ended])
  return jnp.minimum(jnp.cumsum(_longer(ended, rows), axis=0), 1.0)


class Losses(NamedTuple):
  """Losses, each a mean over real steps."""

  policy: Float[Array, '']
  improvement: Float[Array, '']
  reward: Float[Array, '']
  value: Float[Array, '']
  model_policy: Float[Array, '']


def losses(
  config: ModelValueConfig,
  model: models.Model,
  params: models.Params,
  aim: Targets,
  trajectory: types.Trajectory,
  rewards: Float[Array, 'T B R'],
  drawn: Int[Array, 'T_and_more B'],
) -> Losses:
  """What is learned from a batch.

      policy        -min(1, pi / mu) advantage log pi(a|s)
      improvement   KL(improved, pi)
      reward        of r(s^k, a_{t+k}), k < K
      value         of v(s^k), k <= K
      model_policy  KL(improved(s_{t+k}), pi(s^k)), 1 <= k <= K,

  where s^k is the model's state after k of the actions taken, and the last
  three are means over k. After the episode's end rewards and values are 0 for
  whatever is done. Those of several streams are added up.

  Args:
    config: the learner's settings.
    model: its functions.
    params: that learn.
    aim: the targets.
    trajectory: what was done.
    rewards: of each step.
    drawn: actions for the times after the episode's end, T + K + 1 of them.
  """
  mask, action = trajectory.mask, trajectory.action
  state = model.encode(params, trajectory.observation[:-1])
  log_policy = jax.nn.log_softmax(model.policy(params, state))
  log_prob = categorical.log_prob(log_policy, action)
  ratio = jnp.minimum(
    1.0, jnp.exp(log_prob - trajectory.extras[policies.LOG_PROB])
  )
  gain = jax.lax.stop_gradient(ratio) * aim.advantage * log_prob
  aims = aim.log_policy[: len(mask)]
  divergence = jnp.sum(jnp.exp(aims) * (aims - log_policy), axis=-1)
  reward, value, model_policy = _model_losses(
    config, model, params, state, aim, trajectory, rewards, drawn
  )
  return Losses(
    policy=-objectives.masked_mean(gain, mask),
    improvement=objectives.masked_mean(divergence, mask),
    reward=reward,
    value=value,
    model_policy=model_policy,
  )


def _model_losses(
  config: ModelValueConfig,
  model: models.Model,
  params: models.Params,
  state: Any,
  aim: Targets,
  trajectory: types.Trajectory,
  rewards: Float[Array, 'T B R'],
  drawn: Int[Array, 'T_and_more B'],
) -> tuple[Float[Array, ''], Float[Array, ''], Float[Array, '']]:
  """Losses of reward, value and policy along the unrolled model.

  Args:
    config: the learner's settings.
    model: its functions.
    params: that learn.
    state: the model's states before each step.
    aim: the targets.
    trajectory: what was done.
    rewards: of each step.
    drawn: as in `losses`.
  """
  mask = trajectory.mask
  length = len(mask)
  rows = length + config.num_unrolled + 1
  over = is_over(trajectory, rows)
  aims = _longer(aim.log_policy, rows)
  values = _longer(aim.value, rows) * (1 - over[..., None])
  # A value may also be learned where a row's last step led.
  reached = jnp.concatenate([jnp.ones_like(mask[:1]), mask])
  reached = jnp.maximum(_longer(reached, rows), over)
  steps = _longer(mask, rows)
  made = jnp.maximum(steps, over)
  paid = _longer(rewards * mask[..., None], rows)
  actions = jnp.where(over > 0, drawn, _longer(trajectory.action, rows))

  def ahead(x: Shaped[Array, 'T_and_more *rest'], k: int):
    return x[k : k + length]

  def divergence(k, log_policy):
    log_p = ahead(aims, k)
    return jnp.sum(jnp.exp(log_p) * (log_p - log_policy), axis=-1)

  def each(outputs, right, marks):
    """Sum over streams of the mean over marked steps."""
    found = jnp.sum(model.head.loss(outputs, right), axis=-1)
    return objectives.masked_mean(found, marks)

  of_reward, of_value, of_policy = [], [], []
  for k in range(config.num_unrolled + 1):
    of_value.append(
      each(
        model.value(params, state), ahead(values, k), mask * ahead(reached, k)
      )
    )
    if k > 0:
      of_policy.append(
        objectives.masked_mean(
          divergence(k, jax.nn.log_softmax(model.policy(params, state))),
          ahead(steps, k),
        )
      )
    if k < config.num_unrolled:
      next_actions = ahead(actions, k)
      outputs = models.of_action(model.reward(params, state), next_actions)
      of_reward.append(each(outputs, ahead(paid, k), mask * ahead(made, k)))
      state = model.transition(params, state, next_actions)
  return (
    jnp.mean(jnp.stack(of_reward)),
    jnp.mean(jnp.stack(of_value)),
    jnp.mean(jnp.stack(of_policy)),
  )


def make_agent_functions(
  config: ModelValueConfig,
  network_config: torsos.NetworkConfig,
  problem: types.ProblemSpec,
  num_skills: int,
  objective: objectives.IntrinsicReward,
) -> base.AgentFunctions:
  """Makes the learner and how it acts.

  Args:
    config: its settings.
    network_config: of the model's encoder.
    problem: the environment's shapes.
    num_skills: number of skills, 1.
    objective: what it learns from; its first stream is the task.

  Raises:
    ValueError: if there are skills, actions are continuous, or the network does
      not fit the observations or has a memory.
  """
  if num_skills != 1:
    raise ValueError(
      'the learner model_value needs num_skills=1 and an objective without '
      f'skills, such as extrinsic, got {num_skills} skills.'
    )
  base.check_no_memory('model_value', network_config)
  if config.ive.is_used and config.self_consistency.weight > 0:
    warnings.warn(
      'learner.ive is used with learner.self_consistency.weight='
      f'{config.self_consistency.weight:g}: self-consistency trains away the '
      'very disagreement of model and value that it reads, also where there '
      'were no data, so that it is no sign of ignorance any more. Set one of '
      'the two to 0.',
      stacklevel=2,
    )
  if config.ive.reads_spread and config.model.init_scale == 0:
    warnings.warn(
      'learner.ive is used with learner.model.init_scale=0: rewards and '
      'values begin at 0, so that model and value agree wherever nothing was '
      'learned, and ignorance does not show. Set learner.model.init_scale=1.',
      stacklevel=2,
    )
  num_streams = len(_streams(config, objective))
  model = models.latent(config.model, network_config, problem, num_streams)
  distribution = policies.make(problem, 1.0)

  def outputs(params, observation, skill, uniform):
    del skill, uniform
    return model.policy(params, model.encode(params, observation))

  def act(how: str, *, greedy: bool) -> base.ActingPolicy:
    if how == 'estimates':
      return acting_by_estimates(config, model, distribution, greedy=greedy)
    return actor_critic.acting_policy(outputs, distribution, greedy=greedy)

  return base.AgentFunctions(
    make(config, model, objective),
    act(config.ive.acting, greedy=False),
    act(config.ive.evaluation, greedy=True),
  )


def _streams(
  config: ModelValueConfig, objective: objectives.IntrinsicReward
) -> tuple[str, ...]:
  """The objective's streams and, if it has a weight, that of the IVE bonus."""
  if config.ive.bonus_weight > 0:
    return (*objective.streams, ive_lib.STREAM)
  return objective.streams


def acting_by_estimates(
  config: ModelValueConfig,
  model: models.Model,
  distribution: policies.ActionDistribution,
  *,
  greedy: bool,
) -> base.ActingPolicy:
  """Draws actions by what they are worth in the model, or takes the best.

  Args:
    config: the learner's settings.
    model: its functions.
    distribution: of actions by logits.
    greedy: whether the action that is worth most is taken, as in evaluation.
  """
  beta = config.ive.evaluation_beta if greedy else config.ive.beta

  def outputs(params, observation, skill, uniform):
    del skill
    worth = ive_lib.look_ahead(
      config.ive,
      model,
      params,
      model.encode(params, observation),
      uniform,
      beta=beta,
      discount=config.discount,
    )
    return worth / config.ive.temperature

  return actor_critic.acting_policy(
    outputs,
    distribution,
    greedy=greedy,
    num_uniforms=ive_lib.num_uniforms(config.ive, distribution.size),
  )


def _make_loss(
  config: ModelValueConfig,
  model: models.Model,
  objective: objectives.IntrinsicReward,
) -> Callable[..., tuple[Float[Array, ''], types.Metrics]]:
  """Makes the weighted sum of all losses."""
  # Self-consistency is asked of what the objective pays, not of the bonus.
  auxiliary = [
    self_consistency_lib.make(
      config.self_consistency, models.sampled(model, stream), config.discount
    )
    for stream in range(len(objective.streams))
    if config.self_consistency.weight > 0
  ]

  def loss(params, state, aim, trajectory, rewards, key):
    drawn_key, *keys = jax.random.split(key, 1 + len(auxiliary))
    length, batch = trajectory.mask.shape
    drawn = jax.random.randint(
      drawn_key,
      (length + config.num_unrolled + 1, batch),
      0,
      aim.log_policy.shape[-1],
    )
    parts = losses(config, model, params, aim, trajectory, rewards, drawn)
    total = (
      parts.policy
      + config.improvement_weight * parts.improvement
      + config.reward_weight * parts.reward
      + config.value_weight * parts.value
      + parts.model_policy
    )
    metrics = {f'loss/{k}': v for k, v in parts._asdict().items()}
    for each, each_key in zip(auxiliary, keys):
      extra, found = each.loss(
        params, state.target_params, trajectory, each_key
      )
      # Metrics are the first stream's.
      total, metrics = total + each.weight * extra, found | metrics
    return total, metrics

  return loss


def _with_bonus(
  config: ModelValueConfig,
  model: models.Model,
  state: ModelValueState,
  trajectory: types.Trajectory,
  rewards: Float[Array, 'T B R'],
  weights: Float[Array, 'R'],
  key: types.PRNGKey,
) -> tuple[Float[Array, 'T B R_plus_1'], Float[Array, 'R_plus_1']]:
  """Rewards and weights with the IVE bonus as one more stream."""
  bonus = ive_lib.bonus(
    config.ive,
    models.sampled(model),
    state.params,
    trajectory,
    key,
    config.discount,
  )
  return (
    jnp.concatenate([rewards, bonus[..., None]], axis=-1),
    jnp.append(weights, config.ive.bonus_weight),
  )


def _make_init(
  model: models.Model,
  optimizer: optax.GradientTransformation,
  objective: objectives.IntrinsicReward,
) -> Callable[[types.PRNGKey], ModelValueState]:
  """Makes the function that gives the state to begin with."""

  def init(key: types.PRNGKey) -> ModelValueState:
    params_key, objective_key, key = jax.random.split(key, 3)
    params = model.init(params_key)
    return ModelValueState(
      params=params,
      target_params=jax.tree.map(jnp.copy, params),
      optimizer=optimizer.init(params),
      size=moments.init_square(),
      objective=objective.init(objective_key),
      key=key,
      steps=jnp.zeros((), jnp.int32),
    )

  return init


def make(
  config: ModelValueConfig,
  model: models.Model,
  objective: objectives.IntrinsicReward,
) -> base.Learner:
  """Makes the learner.

  Args:
    config: its settings.
    model: what it learns; of the objective's streams and, if it has a weight,
      of the bonus.
    objective: what it learns from; its first stream is the task.
  """
  optimizer = optimizers.make(
    config.optimizer, config.learning_rate, config.max_gradient_norm
  )
  streams = _streams(config, objective)
  has_bonus = len(streams) > len(objective.streams)
  loss = _make_loss(config, model, objective)

  def update(
    state: ModelValueState, trajectory: types.Trajectory
  ) -> tuple[ModelValueState, types.Metrics]:
    key, objective_key, bonus_key = jax.random.split(
      jax.random.fold_in(state.key, state.steps), 3
    )
    rewards = objective.reward(state.objective, trajectory)
    weights = objective.weights(state.objective)
    if has_bonus:
      rewards, weights = _with_bonus(
        config, model, state, trajectory, rewards, weights, bonus_key
      )
    found = prior(
      model, state.target_params, trajectory.observation, config.discount
    )
    discounts = base.discounts(
      trajectory.discount,
      trajectory.mask,
      config.discount,
      bootstrap_at_skill_end=objective.bootstrap_at_skill_end,
    )
    aim, size = targets(
      config, found, trajectory, rewards, discounts, weights, state.size
    )
    params, optimizer_state, metrics = optimizers.gradient_step(
      optimizer,
      loss,
      state.params,
      state.optimizer,
      state,
      aim,
      trajectory,
      rewards,
      key,
    )
    target: Any = optax.incremental_update(
      params, state.target_params, config.target_update_rate
    )
    objective_state, objective_metrics = objective.update(
      state.objective, trajectory, objective_key
    )
    metrics |= base.stream_rewards(streams, rewards)
    metrics['advantage_size'] = jnp.sqrt(size.mean)
    state = ModelValueState(
      params=params,
      target_params=target,
      optimizer=optimizer_state,
      size=size,
      objective=objective_state,
      key=state.key,
      steps=state.steps + 1,
    )
    return state, metrics | objective_metrics

  def variables(state: ModelValueState) -> actor_critic.Variables:
    return actor_critic.Variables(state.params, state.steps)

  init = _make_init(model, optimizer, objective)
  return base.Learner(init, update, variables, model=model)
