"""Self-consistency: losses on imagined rollouts of a model and a value.

Farquhar, Baumli, Marinho, Filos, Hessel, van Hasselt and Silver,
"Self-consistent models and values", 2021 (arXiv:2110.12840).

A model is followed under a policy for K steps, s^0, a^0, r^0, s^1, ..., s^K,
and each of the K temporal differences on the way is a loss. With sg for what is
held constant,

    direct    sg(r^k + g v(s^{k+1})) - v(s^k)
    reverse   r^k + g v(s^{k+1}) - sg(v(s^k))
    residual  r^k + g v(s^{k+1}) - v(s^k)

Each of these moves value and model, so far as they stand outside of sg: with
`direct` imagined states move to where their value is what follows it, and
rewards are not trained. None moves the policy that imagines. `dyna` is `direct`
with everything but the value held constant, and so the control, at the same
compute, for what training the model brings.

None of them learns from the environment. They are added to losses that do,
since a constant value with a reward that fits is consistent too. And as they
make model and value agree also where there were no data, their disagreement is
no sign of ignorance any more.

Departures from the paper: K counts temporal differences, so that K = 1 looks
one step ahead, and `dyna` and `direct` are then the same in a table. The error
is a square, with a factor 1/2, also where values are predicted by classifying.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Shaped

from skills import checks
from skills import types
from skills.networks import models
from skills.objectives import base
from skills.ops import returns

KINDS = ('dyna', 'direct', 'reverse', 'residual')
STARTS = ('every', 'first')
# Those that learn, and the slower ones of which targets are made.
PARAMETERS = ('online', 'target')


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelfConsistencyConfig:
  """Settings of the loss.

  Attributes:
    kind: one of `KINDS`.
    num_steps: temporal differences of each imagined rollout, K.
    weight: of the loss beside the learner's own.
    starts: where rollouts begin: 'every' state before an action of a batch, or
      the 'first' of each trajectory.
    policy: whose policy imagines: 'online' for the parameters that learn,
      'target' for the slower ones of a learner that has such.
    values: the same of the values that are held constant.
    lambda_: mixing of the multi-step returns along a rollout, in [0, 1]; 0 for
      the one-step targets above.
  """

  kind: str = 'direct'
  num_steps: int = 3
  weight: float = 1.0
  starts: str = 'every'
  policy: str = 'online'
  values: str = 'target'
  lambda_: float = 0.0

  def __post_init__(self) -> None:
    """Checks the settings."""
    checks.choice(self, KINDS, 'kind')
    checks.choice(self, STARTS, 'starts')
    checks.choice(self, PARAMETERS, 'policy', 'values')
    checks.at_least(self, 1, 'num_steps')
    checks.at_least(self, 0, 'weight')
    checks.in_range(self, 0, 1, 'lambda_')


def temporal_differences(
  kind: str,
  reward: Float[Array, 'K *batch'],
  value: Float[Array, 'K_plus_1 *batch'],
  fixed: Float[Array, 'K_plus_1 *batch'],
  discount: float,
  lambda_: float,
) -> Float[Array, 'K *batch']:
  """Temporal differences along an imagined rollout.

  Args:
    kind: one of `KINDS`; what is held constant.
    reward: of each step.
    value: of each state, by the parameters that learn.
    fixed: the same where it is held constant; no gradient passes.
    discount: gamma per step.
    lambda_: mixing of the returns.
  """
  reward_fixed, fixed = jax.lax.stop_gradient((reward, fixed))

  def ahead(reward, value):
    discounts = jnp.full(reward.shape, discount)
    return returns.lambda_returns(reward, discounts, value[1:], lambda_)

  if kind == 'reverse':
    return ahead(reward, value) - fixed[:-1]
  if kind == 'residual':
    return ahead(reward, value) - value[:-1]
  return ahead(reward_fixed, fixed) - value[:-1]


def losses(
  config: SelfConsistencyConfig,
  under_policy: models.ModelUnderPolicy,
  discount: float,
  params: models.Params,
  target: models.Params,
  observation: Shaped[Array, '*observation'],
  key: types.PRNGKey,
) -> Float[Array, 'K *batch']:
  """Half the square of each temporal difference of a rollout.

  Args:
    config: which, how many and by which policy.
    under_policy: the model and its value.
    discount: gamma per step.
    params: that learn.
    target: the slower ones; those that learn, where there are none.
    observation: what was seen where each rollout begins.
    key: of what is drawn.
  """
  constant = jax.lax.stop_gradient(params)
  if config.kind == 'dyna':
    params = constant._replace(value=params.value)
  else:
    params = params._replace(policy=constant.policy)
  either = {'online': constant, 'target': jax.lax.stop_gradient(target)}
  rollout = models.unroll(
    under_policy,
    params,
    either[config.policy],
    under_policy.encode(params, observation),
    jax.random.split(key, config.num_steps),
  )
  return 0.5 * jnp.square(
    temporal_differences(
      config.kind,
      rollout.reward,
      under_policy.value(params, rollout.state),
      under_policy.value(either[config.values], rollout.state),
      discount,
      config.lambda_,
    )
  )


def make(
  config: SelfConsistencyConfig,
  under_policy: models.ModelUnderPolicy,
  discount: float,
) -> base.AuxiliaryLoss:
  """The sum of a rollout's losses, as the mean over where rollouts begin.

  Args:
    config: its settings.
    under_policy: the agent's own model and value.
    discount: gamma per step.
  """

  def loss(params, target, trajectory, key):
    observation, mask = trajectory.observation[:-1], trajectory.mask
    if config.starts == 'first':
      observation, mask = observation[:1], mask[:1]
    found = losses(
      config, under_policy, discount, params, target, observation, key
    )
    mean = base.masked_mean(jnp.sum(found, axis=0), mask)
    return mean, {'self_consistency_loss': mean}

  return base.AuxiliaryLoss(config.weight, loss)
