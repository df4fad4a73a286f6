"""IVE: what a model and a value disagree about, they do not know.

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
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Shaped

from skills import types
from skills.networks import models


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


def estimates(
  imagination: models.Imagination,
  params: models.Params,
  observation: Shaped[Array, '*observation'],
  key: types.PRNGKey,
  *,
  num_steps: int,
  num_rollouts: int,
  discount: float,
) -> Float[Array, 'n_plus_1 *batch']:
  """The n + 1 estimates of what states are worth, without gradient.

  Args:
    imagination: the model under the policy that is valued.
    params: of model, value and policy.
    observation: what was seen in each state.
    key: of what is drawn.
    num_steps: of a rollout, n.
    num_rollouts: rollouts that each estimate is the mean of; 1 is enough where
      neither the model nor the policy is random.
    discount: gamma per step.
  """

  def one(key: types.PRNGKey) -> Any:
    rollout = models.imagine(
      imagination, params, params, observation, key, num_steps
    )
    value = imagination.value(params, rollout.state)
    return predicted_values(rollout.reward, value, discount)

  found = jax.vmap(one)(jax.random.split(key, num_rollouts))
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
