"""IVE: disagreement of a model and a value as a sign of ignorance.

Filos, Vertes, Marinho, Farquhar, Borsa, Friesen, Behbahani, Schaul, Barreto and
Osindero, "Model-value inconsistency as a signal for epistemic uncertainty",
2022 (arXiv:2112.04153).

A model m and a value v of the same policy make n + 1 estimates of what a state
is worth, the k-step model-predicted values

    v^k(s) = sum_{i<k} g^i r^i + g^k v(s^k),   k = 0..n,

all along the same imagined rollout; v^0 is the value itself. Where both were
trained they agree, as the true model and value satisfy Bellman's equation;
elsewhere nothing makes them agree. So their standard deviation is high where
data are missing, and their mean is more robust than any of them.

Estimates are in units of reward: heads that classify are decoded first. If the
model or the policy is random, one rollout's estimates differ by luck, too;
several are averaged for each k before the spread is taken. Spreads of different
n must not be compared: a model's look-ahead contracts, so that late estimates
approach its own fixed point and each other, although nothing is better known.

A value and a reward that begin at 0 agree wherever nothing was learned, and
losses of `self_consistency` train the disagreement away, also where there were
no data: with either of them the spread says little.

A model that knows no end would go on imagining past it, where it was never
taught anything: its training must show it what comes then, or the last steps
 of every episode look unknown for ever.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Shaped

from skills import checks
from skills import types
from skills.networks import models

STREAM = 'ive'
# How actions are chosen: by the agent's policy, or by estimates of what each of
# them leads to.
ACTING = ('policy', 'estimates')


@dataclasses.dataclass(frozen=True, kw_only=True)
class IveConfig:
  """What an agent does with its estimates; by default, nothing.

  Attributes:
    num_steps: of imagined rollouts, n; there are n + 1 estimates.
    num_rollouts: rollouts that each estimate is the mean of.
    bonus_weight: of a reward stream that pays the spread of each state that is
      reached; 0 for none.
    acting: one of `ACTING`, while training.
    evaluation: the same while evaluating.
    beta: while training, an action's estimate is the mean of its estimates and
      so many of their deviations; above 0 to explore, below 0 to avoid what is
      not known. For `acting='estimates'` alone.
    evaluation_beta: the same while evaluating.
    k: the one estimate v^k that is acted by, k in 0..n, in place of all.
    temperature: while training, actions are drawn in proportion to exp(estimate
      / temperature); in units of reward.
  """

  num_steps: int = 5
  num_rollouts: int = 1
  bonus_weight: float = 0.0
  acting: str = 'policy'
  evaluation: str = 'policy'
  beta: float = 0.0
  evaluation_beta: float = 0.0
  k: int | None = None
  temperature: float = 0.1

  def __post_init__(self) -> None:
    """Checks the settings."""
    checks.at_least(self, 1, 'num_steps', 'num_rollouts')
    checks.at_least(self, 0, 'bonus_weight')
    checks.positive(self, 'temperature')
    checks.choice(self, ACTING, 'acting', 'evaluation')
    for name, beta in (('acting', 'beta'), ('evaluation', 'evaluation_beta')):
      if getattr(self, name) != 'estimates':
        checks.equal(self, 0, beta, f"unless {name}='estimates'")
      if self.k is not None:
        checks.equal(self, 0, beta, 'where one estimate is acted by (k is set)')
    if self.k is not None:
      if not 0 <= self.k <= self.num_steps:
        raise ValueError(
          f'k must be None or in 0..num_steps ({self.num_steps}), got {self.k}.'
        )
      if 'estimates' not in (self.acting, self.evaluation):
        why = "unless acting or evaluation is 'estimates'"
        checks.equal(self, None, 'k', why)

  @property
  def is_used(self) -> bool:
    """Whether anything hangs on the estimates."""
    return self.bonus_weight > 0 or 'estimates' in (
      self.acting,
      self.evaluation,
    )

  @property
  def reads_spread(self) -> bool:
    """Whether anything hangs on how far the estimates are apart."""
    return any((self.bonus_weight, self.beta, self.evaluation_beta))


def predicted_values(
  reward: Float[Array, 'n *batch'],
  value: Float[Array, 'n_plus_1 *batch'],
  discount: float,
) -> Float[Array, 'n_plus_1 *batch']:
  """The k-step model-predicted values of a rollout's first state, k = 0..n.

  Args:
    reward: of each imagined step.
    value: of each imagined state, the first included.
    discount: gamma per step.
  """
  steps = jnp.arange(len(value)).reshape((-1,) + (1,) * (value.ndim - 1))
  factors = jnp.power(discount, steps)
  paid = jnp.cumsum(factors[:-1] * reward, axis=0)
  return factors * value + jnp.concatenate([jnp.zeros_like(value[:1]), paid])


def rollout_keys(
  key: types.PRNGKey, num_rollouts: int, num_steps: int
) -> Shaped[Array, 'm n ...']:
  """A random key for each step of each rollout."""
  return jax.vmap(lambda key: jax.random.split(key, num_steps))(
    jax.random.split(key, num_rollouts)
  )


def estimates(
  under_policy: models.ModelUnderPolicy,
  params: models.Params,
  start: models.State,
  draws: Shaped[Array, 'm n ...'],
  *,
  discount: float,
) -> Float[Array, 'n_plus_1 *batch']:
  """The n + 1 estimates of the values of states, without gradient.

  Args:
    under_policy: the model under the policy that is valued.
    params: of model, value and policy.
    start: states of the model.
    draws: what each of n steps is drawn by, in each of m rollouts that an
      estimate is the mean of, such as `rollout_keys`; one rollout is enough
      where neither the model nor the policy is random.
    discount: gamma per step.
  """

  def one(draws: Array) -> Any:
    rollout = models.unroll(under_policy, params, params, start, draws)
    value = under_policy.value(params, rollout.state)
    return predicted_values(rollout.reward, value, discount)

  found = jax.vmap(one)(draws)
  return jax.lax.stop_gradient(jnp.mean(found, axis=0))


def mean(
  members: Float[Array, 'n_plus_1 *batch'],
) -> Float[Array, '*batch']:
  """mu-IVE(n): an estimate more robust than its members."""
  return jnp.mean(members, axis=0)


def spread(
  members: Float[Array, 'n_plus_1 *batch'],
) -> Float[Array, '*batch']:
  """sigma-IVE(n): the population standard deviation, in units of reward."""
  return jnp.std(members, axis=0)


def signal(
  members: Float[Array, 'n_plus_1 *batch'], beta: float
) -> Float[Array, '*batch']:
  """mu-IVE(n) + beta sigma-IVE(n), by which to act.

  Args:
    members: the estimates.
    beta: above 0 to seek what is not known, below 0 to avoid it, 0 to plan with
      the mean.
  """
  return mean(members) + beta * spread(members)


def bonus(
  config: IveConfig,
  under_policy: models.ModelUnderPolicy,
  params: models.Params,
  trajectory: types.Trajectory,
  key: types.PRNGKey,
  discount: float,
) -> Float[Array, 'T B']:
  """The spread of the state that each step led to, without gradient.

  0 where that is no state to act in, since the episode ended there, and in
  padding.

  Args:
    config: of rollouts.
    under_policy: the agent's own model, of the task's rewards.
    params: its parameters.
    trajectory: what was seen.
    key: of what is drawn.
    discount: gamma per step.
  """
  members = estimates(
    under_policy,
    params,
    under_policy.encode(params, trajectory.observation[1:]),
    rollout_keys(key, config.num_rollouts, config.num_steps),
    discount=discount,
  )
  return spread(members) * trajectory.mask * trajectory.discount


def num_uniforms(config: IveConfig, num_actions: int) -> int:
  """Random numbers that `look_ahead` takes for each state, U."""
  return config.num_rollouts * config.num_steps * num_actions


def look_ahead(
  config: IveConfig,
  model: models.Model,
  params: models.Params,
  state: models.State,
  uniform: Float[Array, '*batch U'],
  *,
  beta: float,
  discount: float,
) -> Float[Array, '*batch A']:
  """Action values, by one step of the model and estimates of what follows.

      r(s, a) + g (mean_k + beta std_k)(s'),

  which is mean and deviation of the action's own estimates, r(s, a) + g
  v^k(s'), as they share the reward; or with v^k of one k in place of the
  bracket.

  Args:
    config: of rollouts, and whether one estimate or all count.
    model: the agent's own; of its first stream, the task's.
    params: its parameters.
    state: of the model, in which actions are compared.
    uniform: `num_uniforms` random numbers in [0, 1) for each state.
    beta: deviations that are added.
    discount: gamma per step.
  """
  under_policy = models.sampled(model, choose=models.choose_by_uniforms)
  reward = model.head.decode(model.reward(params, state)[..., 0, :])
  num_actions = reward.shape[-1]
  following = jnp.stack(
    [
      model.transition(
        params, state, jnp.full(state.shape[:-1], action, jnp.int32)
      )
      for action in range(num_actions)
    ],
    axis=-2,
  )
  # Every step of every rollout after each action has a number of its own.
  draws = uniform.reshape(
    *uniform.shape[:-1], config.num_rollouts, config.num_steps, num_actions
  )
  members = estimates(
    under_policy,
    params,
    following,
    jnp.moveaxis(draws, (-3, -2), (0, 1)),
    discount=discount,
  )
  if config.k is None:
    worth = signal(members, beta)
  else:
    worth = members[config.k]
  return reward + discount * worth
