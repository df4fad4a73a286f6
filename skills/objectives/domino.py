"""DOMiNO: policies as different as they can be while each is near-optimal.

Zahavy, Schroecker, Behbahani, Baumli, Flennerhag, Hou and Singh, "Discovering
policies with DOMiNO: Diversity optimization maintaining near optimality", 2022
(arXiv:2205.13521):

    max Diversity(d^0, ..., d^{K-1})  s.t.  <d^i, r_e> >= alpha <d^0, r_e>.

Skills are the policies of the set. Each is known by its expected features
psi^i = E[phi], a moving average over what it does. Skill 0 is paid by the task
alone and is the reference of the constraint; the others are also paid, in a
stream of its own, for features that lead away from the most similar policy, or
towards it, where that one is further than wanted. Streams meet only in the
policy's update, with the multipliers lambda of that moment. A skill should last
for an episode (`SkillAgentConfig.keeps_skill`).

The diversity reward is the gradient of policy i's own term of the diversity
with respect to its own occupancy, the others being held still. The whole sum
has the same fixed points where neighbours are mutual.

Departures from the paper, whose code was not published: repulsion that does not
grow with the distance and multipliers that answer at once, which the paper does
not have and which are off unless asked for; SMERL (Kumar et al., 2020) and its
reverse, the paper's baselines, compare moving averages of policy i and of
policy 0, in place of an episode's return and the best one known; and the
averages of features begin at small random numbers, so that policies that all do
the same are at once paid for different things.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Shaped
import numpy as np
import optax

from skills import checks
from skills import optimizers
from skills import types
from skills.networks import heads
from skills.networks import torsos
from skills.objectives import base
from skills.objectives import extrinsic
from skills.ops import moments as moments_lib
from skills.ops import neighbours
from skills.ops import returns

STREAM = 'diversity'

CONSTRAINTS = ('multiplier', 'none', 'linear', 'smerl', 'reverse_smerl')

DISTANCE_OVER_NOISE = 'policies/distance_over_noise'
"""About 1 where all policies do the same, by chance seldom above 2."""

_COLLAPSED_BELOW = 2.0

# Before so many updates the averages are still those of the beginning.
_DIAGNOSED_AFTER = 1000

# Values of attractive_coeff: the two objectives of the paper.
REPULSIVE = 0.0
VAN_DER_WAALS = 0.5

# Mixing of the returns that successor features are learned from.
_SUCCESSOR_LAMBDA = 0.9

# Limit of normalized features.
_MAX_FEATURE = 5.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class DominoConfig:
  """Settings of DOMiNO.

  Attributes:
    alpha: least value of each policy, as a part of that of policy 0, in [0, 1].
    attractive_coeff: 0 for pure repulsion; 0.5 for Van der Waals' force, which
      vanishes at the target distance and attracts beyond it.
    target_distance: l0, in the units of the features' averages.
    attractive_power: of the distance, in the attraction.
    repulsive_power: the same in the repulsion, above -2. With the paper's 0
      the push grows with the distance, and with -1 it is the same at any.
      Where the task pays less by the square of what policies differ in, a
      weight of streams that moves a policy at all moves it without end with 0,
      and to a place with -1.
    per_feature: whether the diversity reward is divided by the number of
      features.
    features: names of the observation's entries that policies are to differ in,
      such as `velocity`, or `velocity[0]` for the first of several; none for
      all. Where observations are state indices: one for each state.
    normalize_features: whether features are shifted and scaled to mean 0 and
      deviation 1 over all that was seen; those of state indices never are.
    constraint: what weighs the two streams: 'multiplier' the paper's, learned
      for each policy. The baselines: 'none', the task's reward alone; 'linear',
      c r_e + (1 - c) r_d; 'smerl', r_e + c r_d where the constraint holds;
      'reverse_smerl', r_d + c r_e where it does not.
    coefficient: c of the baselines.
    multiplier_learning_rate: step size of the multipliers' Adam.
    multiplier_gain: what falling short of the constraint adds at once to mu,
      beyond its limit too: gain (alpha v^0 - v^i) / |v^0|. A multiplier alone
      sums shortfalls, and policies that take long to follow swing about the
      constraint; 0 for the paper's. From Stooke, Achiam and Abbeel, "Responsive
      safety in reinforcement learning by PID Lagrangian methods", 2020
      (arXiv:2007.03964).
    initial_multiplier: mu at first; lambda is its sigmoid.
    burn_in: updates at first in which all policies learn from the task alone
      and multipliers stand still. Policies that cannot do the task yet are
      hardly worse than policy 0, which cannot either, and would drop it.
    max_multiplier: limit of |mu|. A sigmoid that is saturated is slow to
      return.
    value_decay: of the moving averages of policies' mean rewards.
    feature_decay: of those of their features.
    successor_discount: None for features that are averaged over all of a
      policy's steps; else gamma of learned successor features, whose values
      where trajectories begin are averaged.
    successor_learning_rate: step size of Adam for these.
    hidden_sizes: of their network; None for a table.
  """

  alpha: float = 0.9
  attractive_coeff: float = REPULSIVE
  target_distance: float = 1.0
  attractive_power: float = 3.0
  repulsive_power: float = 0.0
  per_feature: bool = True
  features: tuple[str, ...] = ()
  normalize_features: bool = True
  constraint: str = 'multiplier'
  coefficient: float = 0.5
  multiplier_learning_rate: float = 1e-3
  multiplier_gain: float = 0.0
  initial_multiplier: float = 0.0
  burn_in: int = 0
  max_multiplier: float = 15.0
  value_decay: float = 0.9
  feature_decay: float = 0.99
  successor_discount: float | None = None
  successor_learning_rate: float = 1e-3
  hidden_sizes: tuple[int, ...] | None = None

  def __post_init__(self) -> None:
    """Checks the settings."""
    checks.choice(self, CONSTRAINTS, 'constraint')
    checks.in_range(self, 0, 1, 'alpha', 'attractive_coeff')
    checks.in_half_open_range(self, 0, 1, 'value_decay', 'feature_decay')
    checks.in_half_open_range(self, 0, 1, 'successor_discount')
    checks.positive(self, 'target_distance', 'successor_learning_rate')
    checks.positive(self, 'multiplier_learning_rate', 'max_multiplier')
    checks.at_least(self, 0, 'attractive_power', 'coefficient')
    checks.at_least(self, 0, 'burn_in', 'multiplier_gain')
    if self.constraint == 'linear':
      checks.in_range(self, 0, 1, 'coefficient')
    if self.repulsive_power <= -2:
      raise ValueError(
        f'repulsive_power must be above -2, got {self.repulsive_power}.'
      )
    if abs(self.initial_multiplier) > self.max_multiplier:
      raise ValueError(
        f'initial_multiplier must be within +-max_multiplier '
        f'({self.max_multiplier}), got {self.initial_multiplier}.'
      )


class Averages(NamedTuple):
  """Moving averages of the policies.

  Attributes:
    value: mean reward of a step.
    features: expected features psi.
  """

  value: Float[Array, 'K']
  features: Float[Array, 'K D']


class Successor(NamedTuple):
  """Learned successor features: parameters and their optimizer's state."""

  params: types.Params
  optimizer: optax.OptState


class DominoState(NamedTuple):
  """State of the objective.

  Attributes:
    averages: of the policies.
    multiplier: mu; that of policy 0 is unused.
    optimizer: the multipliers' optimizer state.
    moments: of the raw features; empty where they are not normalized.
    successor: of learned successor features; empty if there are none.
    steps: number of updates so far.
  """

  averages: Averages
  multiplier: Float[Array, 'K']
  optimizer: optax.OptState
  moments: moments_lib.Moments | tuple[()]
  successor: Successor | tuple[()]
  steps: Int[Array, '']


def _ratio(
  config: DominoConfig, distance: Float[Array, '*batch']
) -> Float[Array, '*batch']:
  """The part l / l0, above 0 for the sake of negative powers."""
  return jnp.maximum(distance / config.target_distance, 1e-6)


def vdw_force(
  config: DominoConfig, distance: Float[Array, '*batch']
) -> Float[Array, '*batch']:
  """Van der Waals force between policies; below 0 it attracts.

      (1 - a) (l / l0)^p - a (l / l0)^q

  Args:
    config: has a, `attractive_coeff`; p, `repulsive_power`; q,
      `attractive_power`; and l0, `target_distance`.
    distance: l, between neighbours.
  """
  ratio = _ratio(config, distance)
  return (
    1 - config.attractive_coeff
  ) * ratio**config.repulsive_power - config.attractive_coeff * (
    ratio**config.attractive_power
  )


def diversity(
  config: DominoConfig, distance: Float[Array, '*batch']
) -> Float[Array, '*batch']:
  """Policy i's term of the diversity, whose slope is the force.

  The integral of `vdw_force(l) l`, and so 0.5 l^2 of pure repulsion, and half
  of 0.5 l^2 - 0.2 l^5 / l0^3 of Van der Waals' force.

  Args:
    config: as in `vdw_force`.
    distance: l.
  """
  p, q = config.repulsive_power, config.attractive_power
  ratio = _ratio(config, distance)
  return jnp.square(distance) * (
    (1 - config.attractive_coeff) * ratio**p / (p + 2)
    - config.attractive_coeff * ratio**q / (q + 2)
  )


def diversity_gradient(
  config: DominoConfig, psi: Float[Array, 'K D']
) -> Float[Array, 'K D']:
  """Gradient of diversity by features: c^i (psi^i - psi^{j*}) [/ D].

  The diversity reward is its product with phi: the gradient of `diversity`
  with respect to the policy's own occupancy.

  Args:
    config: of the force, and whether to divide.
    psi: expected features.
  """
  near = neighbours.nearest(psi)
  difference = psi - psi[near.index]
  slope = vdw_force(config, near.distance)[:, None] * difference
  return slope / psi.shape[-1] if config.per_feature else slope


def multiplier_loss(
  multiplier: Float[Array, 'K'], value: Float[Array, 'K'], alpha: float
) -> Float[Array, '']:
  """The multipliers' loss: sum_{i >= 1} sigmoid(mu_i) (v^i - alpha v^0).

  Args:
    multiplier: mu.
    value: mean rewards, which are constants.
    alpha: of the constraint.
  """
  value = jax.lax.stop_gradient(value)
  slack = value - alpha * value[0]
  return jnp.sum((jax.nn.sigmoid(multiplier) * slack)[1:])


def lagrange_weights(
  config: DominoConfig,
  multiplier: Float[Array, 'K'],
  value: Float[Array, 'K'],
) -> Float[Array, 'K']:
  """Lagrange weights of the task's reward; that of policy 0 is unused.

  Args:
    config: has alpha and `multiplier_gain`.
    multiplier: mu.
    value: mean rewards.
  """
  scale = jnp.maximum(jnp.abs(value[0]), 1e-6)
  shortfall = (config.alpha * value[0] - value) / scale
  return jax.nn.sigmoid(multiplier + config.multiplier_gain * shortfall)


def stream_weights(
  config: DominoConfig,
  multiplier: Float[Array, 'K'],
  value: Float[Array, 'K'],
) -> Float[Array, 'K 2']:
  """Weights of the task's reward and of diversity, for each policy.

  Those of policy 0 are always 1 and 0.

  Args:
    config: says which rule they follow.
    multiplier: mu.
    value: mean rewards.
  """
  ones = jnp.ones_like(value)
  holds = (value >= config.alpha * value[0]).astype(jnp.float32)
  c = config.coefficient
  lambda_ = lagrange_weights(config, multiplier, value)
  task, diverse = {
    'multiplier': (lambda_, 1 - lambda_),
    'none': (ones, 0 * ones),
    'linear': (c * ones, (1 - c) * ones),
    'smerl': (ones, c * holds),
    'reverse_smerl': (c * (1 - holds), ones),
  }[config.constraint]
  weights = jnp.stack([task, diverse], axis=-1)
  return weights.at[0].set(jnp.array([1.0, 0.0]))


def means_by_skill(
  values: Float[Array, 'T B D'],
  skill: Int[Array, 'T B'],
  mask: Float[Array, 'T B'],
  num_skills: int,
) -> tuple[Float[Array, 'K D'], Float[Array, 'K']]:
  """Means over the real steps of each skill; 0 for those that have none.

  Returns:
    The means, and how many steps each is of.
  """
  member = jax.nn.one_hot(skill, num_skills) * mask[..., None]
  count = jnp.sum(member, axis=(0, 1))
  total = jnp.einsum('tbk,tbd->kd', member, values * mask[..., None])
  return total / jnp.maximum(count, 1.0)[:, None], count


def ema(
  average: Float[Array, 'K *features'],
  mean: Float[Array, 'K *features'],
  count: Float[Array, 'K'],
  decay: float,
) -> Float[Array, 'K *features']:
  """Moving averages after a batch; those of policies not in it stay.

  Args:
    average: before.
    mean: of each policy's steps in the batch.
    count: how many there were.
    decay: of the average.
  """
  present = (count > 0).reshape((-1,) + (1,) * (average.ndim - 1))
  return jnp.where(present, decay * average + (1 - decay) * mean, average)


def _entries(
  names: tuple[str, ...], problem: types.ProblemSpec
) -> np.ndarray | None:
  """Indices of the named entries of an observation; None for all of it."""
  if not names:
    return None
  known = problem.entry_names
  groups = dict.fromkeys(name.partition('[')[0] for name in known)
  chosen = []
  for name in names:
    found = [
      i
      for i, entry in enumerate(known)
      if name in (entry, entry.partition('[')[0])
    ]
    if not found:
      there = ', '.join(groups) or 'no names'
      raise ValueError(
        f'features: the observation has no {name!r}; there is {there}.'
      )
    chosen += found
  return np.array(chosen)


class Features(NamedTuple):
  """Features that policies are compared by.

  Attributes:
    size: how many features there are, D.
    is_normalized: whether there are moments.
    raw: observations `[*batch, ...]` -> features as seen, `[*batch, D]`.
    apply: moments (or `()`), observations -> phi.
  """

  size: int
  is_normalized: bool
  raw: Callable[
    [Shaped[Array, '*batch_and_observation']], Float[Array, '*batch D']
  ]
  apply: Callable[
    [
      moments_lib.Moments | tuple[()],
      Shaped[Array, '*batch_and_observation'],
    ],
    Float[Array, '*batch D'],
  ]


def make_features(config: DominoConfig, problem: types.ProblemSpec) -> Features:
  """Makes the features phi of an environment's observations.

  Args:
    config: which features.
    problem: the environment's shapes.

  Raises:
    ValueError: if a named one is not there, with the names that are.
  """
  entries = _entries(config.features, problem)
  is_normalized = config.normalize_features and problem.num_states is None

  def raw(observation):
    vector = torsos.encode(observation, problem)
    return vector if entries is None else vector[..., entries]

  def apply(moments, observation):
    values = raw(observation)
    if not isinstance(moments, moments_lib.Moments):
      return values
    return moments_lib.whiten(moments, values, _MAX_FEATURE)

  example = jax.eval_shape(
    raw,
    jax.ShapeDtypeStruct(problem.observation_shape, problem.observation_dtype),
  )
  return Features(example.shape[-1], is_normalized, raw, apply)


def make(
  config: DominoConfig, context: base.ObjectiveContext
) -> base.IntrinsicReward:
  """The task's reward and, as a second stream, what makes policies differ.

  Raises:
    ValueError: if there are fewer than two policies, or features that the
      observation does not have.
  """
  num_skills = context.num_skills
  if num_skills < 2:
    raise ValueError(
      f'num_skills must be >= 2 for policies that differ, got {num_skills}.'
    )
  features = make_features(config, context.problem)
  optimizer = optax.adam(config.multiplier_learning_rate)
  successor = _make_successor(config, context, features)

  def init(key: types.PRNGKey) -> DominoState:
    psi_key, successor_key = jax.random.split(key)
    multiplier = jnp.full((num_skills,), config.initial_multiplier, jnp.float32)
    psi = jax.random.normal(psi_key, (num_skills, features.size))
    return DominoState(
      Averages(jnp.zeros((num_skills,)), psi / features.size),
      multiplier,
      optimizer.init(multiplier),
      moments_lib.init((features.size,)) if features.is_normalized else (),
      successor.init(successor_key) if successor else (),
      jnp.zeros((), jnp.int32),
    )

  def reward(state: DominoState, trajectory: types.Trajectory):
    seen = base.EVERY_STEP.select(trajectory)
    phi = features.apply(state.moments, seen.observation)
    worth = diversity_gradient(config, state.averages.features)
    # Policy 0 is not paid for diversity.
    worth = worth.at[0].set(0.0)[trajectory.skill]
    rewards = jnp.stack(
      [
        trajectory.reward * trajectory.mask,
        base.EVERY_STEP.place(jnp.sum(phi * worth, axis=-1), trajectory),
      ],
      axis=-1,
    )
    return jax.lax.stop_gradient(rewards)

  def weights(state: DominoState) -> Float[Array, 'K 2']:
    return jnp.where(
      state.steps < config.burn_in,
      jnp.array([1.0, 0.0]),
      # A state that was loaded has NumPy arrays.
      stream_weights(
        config,
        jnp.asarray(state.multiplier),
        jnp.asarray(state.averages.value),
      ),
    )

  def update(
    state: DominoState, trajectory: types.Trajectory, key: types.PRNGKey
  ):
    del key
    return _update(config, features, successor, optimizer, state, trajectory)

  return base.IntrinsicReward(
    streams=(extrinsic.STREAM, STREAM),
    init=init,
    reward=reward,
    weights=weights,
    update=update,
    bootstrap_at_skill_end=True,
    features=base.PolicyFeatures(
      features.raw,
      lambda state, observation: features.apply(state.moments, observation),
    ),
    min_value_ratio=(
      None if config.constraint in ('none', 'linear') else config.alpha
    ),
    diagnose=diagnose,
  )


def diagnose(metrics: Mapping[str, Any], num_updates: int) -> str | None:
  """Says that all policies do the same, and what helps, where they do."""
  if (
    num_updates < _DIAGNOSED_AFTER
    or metrics[DISTANCE_OVER_NOISE] >= _COLLAPSED_BELOW
  ):
    return None
  return (
    'All policies do the same, so nothing tells them how to differ. Raise '
    'learner.entropy_weight, learner.policy_init_scale or (of tables) '
    'learner.table_init_stddev, or lower objective.initial_multiplier.'
  )


def _update(
  config: DominoConfig,
  features: Features,
  successor: '_SuccessorFeatures | None',
  optimizer: optax.GradientTransformation,
  state: DominoState,
  trajectory: types.Trajectory,
) -> tuple[DominoState, types.Metrics]:
  """Averages, moments, successor features and multipliers after a batch."""
  seen = base.EVERY_STEP.select(trajectory)
  if isinstance(state.moments, moments_lib.Moments):
    state = state._replace(
      moments=moments_lib.update(
        state.moments, features.raw(seen.observation), seen.mask
      )
    )
  metrics = {}
  if successor:
    learned, mean, metrics = successor.update(state, trajectory)
    state = state._replace(successor=learned)
  else:
    phi = features.apply(state.moments, seen.observation)
    mean, _ = means_by_skill(phi, seen.skill, seen.mask, len(state.multiplier))
  value, count = means_by_skill(
    trajectory.reward[..., None], seen.skill, seen.mask, len(state.multiplier)
  )
  before = state.averages
  averages = Averages(
    ema(before.value, value[:, 0], count, config.value_decay),
    ema(before.features, mean, count, config.feature_decay),
  )
  multiplier, optimizer_state = _next_multiplier(
    config, optimizer, state, averages.value
  )
  state = state._replace(
    averages=averages,
    multiplier=multiplier,
    optimizer=optimizer_state,
    steps=state.steps + 1,
  )
  lag = jnp.linalg.norm(mean - before.features, axis=-1)
  error = base.masked_mean(lag, (count > 0).astype(jnp.float32))
  return state, metrics | _summary(config, state, error)


def _next_multiplier(
  config: DominoConfig,
  optimizer: optax.GradientTransformation,
  state: DominoState,
  value: Float[Array, 'K'],
) -> tuple[Float[Array, 'K'], optax.OptState]:
  """The multipliers and their optimizer state; during burn-in, the old ones.

  Args:
    config: has alpha and the multipliers' limits.
    optimizer: of the multipliers.
    state: before the update.
    value: mean rewards after it.
  """
  grads = jax.grad(multiplier_loss)(state.multiplier, value, config.alpha)
  multiplier, optimizer_state = optimizers.apply_gradients(
    optimizer, grads, state.multiplier, state.optimizer
  )
  multiplier = jnp.clip(
    multiplier, -config.max_multiplier, config.max_multiplier
  )
  moves = state.steps >= config.burn_in
  return jax.tree.map(
    lambda new, old: jnp.where(moves, new, old),
    (multiplier, optimizer_state),
    (state.multiplier, state.optimizer),
  )


def _summary(
  config: DominoConfig, state: DominoState, error: Float[Array, '']
) -> types.Metrics:
  """Diversity and quality of the policies, by the moving averages.

  Args:
    config: of the constraint and the averages.
    state: after the update.
    error: distance of a batch's mean features from their average.
  """
  value = state.averages.value
  distance = neighbours.nearest(state.averages.features).distance
  ratio = value[1:] / jnp.where(value[0] == 0, 1.0, value[0])
  lambda_ = lagrange_weights(config, state.multiplier, value)[1:]
  return {
    'policies/distance': jnp.mean(distance),
    'policies/min_distance': jnp.min(distance),
    'policies/value_0': value[0],
    'policies/value_ratio': jnp.mean(ratio),
    'policies/min_value_ratio': jnp.min(ratio),
    'policies/lambda': jnp.mean(lambda_),
    'policies/min_lambda': jnp.min(lambda_),
    'policies/max_lambda': jnp.max(lambda_),
    'features_error': error,
    DISTANCE_OVER_NOISE: _over_noise(distance, error, config.feature_decay),
  }


def _over_noise(
  distance: Float[Array, 'K'], error: Float[Array, ''], decay: float
) -> Float[Array, '']:
  """Mean distance of policies over the one that chance would make.

  A moving average of batches that miss their mean by `error` misses it by
  `error sqrt((1 - decay) / (1 + decay))`, and a difference of two by `sqrt(2)`
  as much.
  """
  noise = error * jnp.sqrt(2 * (1 - decay) / (1 + decay))
  return jnp.mean(distance) / jnp.maximum(noise, 1e-6)


class _SuccessorFeatures(NamedTuple):
  """Discounted successor features of each state and skill, (1 - gamma) psi.

  Attributes:
    init: random key -> what is learned.
    update: the objective's state, trajectory -> what is learned, the mean of
      each skill's features where its trajectories begin, metrics.
  """

  init: Callable[[types.PRNGKey], Successor]
  update: Callable[
    [DominoState, types.Trajectory],
    tuple[Successor, Float[Array, 'K D'], types.Metrics],
  ]


def _make_successor(
  config: DominoConfig, context: base.ObjectiveContext, features: Features
) -> _SuccessorFeatures | None:
  """Successor features learned by lambda-returns, as from on-policy data."""
  gamma = config.successor_discount
  if gamma is None:
    return None
  network = heads.make(
    torsos.NetworkConfig(hidden_sizes=config.hidden_sizes),
    context.problem,
    context.num_skills,
    features.size,
  )
  optimizer = optax.adam(config.successor_learning_rate)

  def init(key: types.PRNGKey) -> Successor:
    params = network.init(key)
    return Successor(params, optimizer.init(params))

  def update(state: DominoState, trajectory: types.Trajectory):
    assert isinstance(state.successor, Successor)
    mask = trajectory.mask
    phi = features.apply(state.moments, trajectory.observation[1:])
    skill = base.skill_of_observations(trajectory)
    has_next_step = jnp.concatenate([mask[1:], jnp.zeros_like(mask[:1])])

    def loss_fn(params: types.Params):
      psi = network.apply(params, trajectory.observation, skill)
      targets = returns.lambda_returns(
        (1 - gamma) * phi,
        jnp.broadcast_to((gamma * trajectory.discount)[..., None], phi.shape),
        jax.lax.stop_gradient(psi[1:]),
        _SUCCESSOR_LAMBDA * has_next_step[..., None],
      )
      errors = jnp.mean(jnp.square(targets - psi[:-1]), axis=-1)
      loss = base.masked_mean(errors, mask)
      return loss, (loss, psi[:1])

    params, optimizer_state, (loss, first) = optimizers.gradient_step(
      optimizer, loss_fn, state.successor.params, state.successor.optimizer
    )
    mean, _ = means_by_skill(
      first, trajectory.skill[:1], mask[:1], context.num_skills
    )
    return Successor(params, optimizer_state), mean, {'successor_loss': loss}

  return _SuccessorFeatures(init, update)
