"""Multi-step returns: lambda-returns, V-trace, Retrace, value rescaling."""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float

# Below this many steps the recursion is unrolled: on a CPU each turn of a
# compiled loop costs more than the arithmetic in it.
_UNROLL = 32


def _scan_backwards(
  step: Callable[[Array, Any], tuple[Array, Array]],
  last: Float[Array, '*batch'],
  inputs: tuple[Float[Array, 'T *batch'], ...],
) -> Float[Array, 'T *batch']:
  """Results of a recursion from the last step to the first."""
  _, results = jax.lax.scan(
    step, last, inputs, reverse=True, unroll=min(len(inputs[0]), _UNROLL)
  )
  return results


def lambda_returns(
  r_t: Float[Array, 'T *batch'],
  discount_t: Float[Array, 'T *batch'],
  v_t: Float[Array, 'T *batch'],
  lambda_: float | Float[Array, 'T *#batch'],
) -> Float[Array, 'T *batch']:
  """Exponentially weighted mixture of n-step returns.

      G_t = r_t + discount_t * ((1 - lambda) * v_t + lambda * G_{t+1}),

  where G after the last step is v. With v_t the greedy action's value at the
  state that step t leads to, these are the targets of Peng's Q(lambda) (Peng
  and Williams, 1996): no importance correction, no cut at exploratory actions.

  Args:
    r_t: reward of each step.
    discount_t: discount between a step and the next; 0 where nothing follows.
    v_t: value of the state that each step leads to.
    lambda_: mixing, in [0, 1]; of all steps, or of each step between what the
      next one is worth by v and by its own return.

  Returns:
    The return from each step onwards, in units of reward.
  """

  def step(g, inputs):
    r, discount, v, mixing = inputs
    g = r + discount * ((1.0 - mixing) * v + mixing * g)
    return g, g

  return _scan_backwards(
    step, v_t[-1], (r_t, discount_t, v_t, jnp.broadcast_to(lambda_, r_t.shape))
  )


def signed_hyperbolic(
  x: Float[Array, '*batch'], epsilon: float = 1e-3
) -> Float[Array, '*batch']:
  """Signed hyperbolic value transform h(x) (R2D2).

      h(x) = sign(x) (sqrt(|x| + 1) - 1) + epsilon x

  Pohlen et al., "Observe and look further", 2018 (arXiv:1805.11593), and R2D2.

  Args:
    x: returns.
    epsilon: slope of the transform where returns are large.
  """
  return jnp.sign(x) * (jnp.sqrt(jnp.abs(x) + 1.0) - 1.0) + epsilon * x


def signed_parabolic(
  x: Float[Array, '*batch'], epsilon: float = 1e-3
) -> Float[Array, '*batch']:
  """The inverse of `signed_hyperbolic`."""
  root = jnp.sqrt(1.0 + 4.0 * epsilon * (epsilon + 1.0 + jnp.abs(x)))
  # (root - 1) / (2 epsilon), without the difference of numbers that are close.
  inner = 2.0 * (epsilon + 1.0 + jnp.abs(x)) / (root + 1.0)
  return jnp.sign(x) * (jnp.square(inner) - 1.0)


class VTrace(NamedTuple):
  """Targets and advantages of V-trace.

  Attributes:
    targets: what the values of the states before each step regress to.
    advantages: of each action over that value, not yet weighted by how likely
      the action is under the policy that learns.
  """

  targets: Float[Array, 'T *batch']
  advantages: Float[Array, 'T *batch']


def vtrace(
  r_t: Float[Array, 'T *batch'],
  discount_t: Float[Array, 'T *batch'],
  v_tm1: Float[Array, 'T *batch'],
  v_t: Float[Array, 'T *batch'],
  ratio: Float[Array, 'T *#batch'],
  lambda_: float | Float[Array, 'T *#batch'],
  clip_rho_threshold: float = 1.0,
  clip_c_threshold: float = 1.0,
) -> VTrace:
  """V-trace targets and policy-gradient advantages.

  Espeholt et al., "IMPALA: Scalable distributed deep-RL with importance
  weighted actor-learner architectures", 2018 (arXiv:1802.01561), eq. 1 and
  remark 2:

      vs_t = v_t + delta_t + discount_t c_t (vs_{t+1} - v_{t+1}),
      delta_t = min(rho_max, ratio_t) (r_t + discount_t v_{t+1} - v_t),
      c_t = lambda_t min(c_max, ratio_t),

  where nothing follows the last step. An action is worth what it paid and what
  follows, r_t + discount_t ((1 - lambda_t) v_{t+1} + lambda_t vs_{t+1}).
  Without clipping the values' fixed point is that of the policy in the ratio's
  numerator; with it, that of a policy between the two.

  Args:
    r_t: reward of each step.
    discount_t: discount between a step and the next; 0 where nothing follows.
    v_tm1: value of the state before each step.
    v_t: value of the state that each step leads to; where the next row is the
      next step, that row of `v_tm1`.
    ratio: probability of the action under the policy that learns, over that
      under the policy that chose it.
    lambda_: mixing, as in `lambda_returns`; 0 at a step also keeps what the
      later rows hold from it.
    clip_rho_threshold: limit of the ratio in the errors; infinite for none.
    clip_c_threshold: limit of the ratio in the trace.

  Returns:
    Targets and advantages, in units of reward.
  """
  mixing = jnp.broadcast_to(lambda_, r_t.shape)
  ratio = jnp.broadcast_to(ratio, r_t.shape)
  delta = jnp.minimum(ratio, clip_rho_threshold) * (
    r_t + discount_t * v_t - v_tm1
  )

  def step(error, inputs):
    delta, discount, c = inputs
    error = delta + discount * c * error
    return error, error

  errors = _scan_backwards(
    step,
    jnp.zeros_like(delta[-1]),
    (delta, discount_t, mixing * jnp.minimum(ratio, clip_c_threshold)),
  )
  # How far the target of the next state lies from its value.
  following = jnp.concatenate([errors[1:], jnp.zeros_like(errors[:1])])
  return VTrace(
    targets=v_tm1 + errors,
    advantages=r_t + discount_t * (v_t + mixing * following) - v_tm1,
  )


def retrace(
  r_t: Float[Array, 'T *batch'],
  discount_t: Float[Array, 'T *batch'],
  v_t: Float[Array, 'T *batch'],
  q_tm1: Float[Array, 'T *batch'],
  ratio: Float[Array, 'T *#batch'],
  lambda_: float | Float[Array, 'T *#batch'],
) -> Float[Array, 'T *batch']:
  """Retrace(lambda) action-value targets.

  Munos et al., "Safe and efficient off-policy reinforcement learning", 2016
  (arXiv:1606.02647), eq. 3 and 4:

      G_t = r_t + discount_t (v_{t+1} + c_{t+1} (G_{t+1} - q_{t+1})),
      c_{t+1} = lambda_t min(1, ratio_{t+1}),

  where nothing follows the last step, whose G is r + discount v.

  Args:
    r_t: reward of each step.
    discount_t: discount between a step and the next; 0 where nothing follows.
    v_t: value of the state that each step leads to.
    q_tm1: value of each step's action in the state before it. The first row
      does not matter, as the action there is what is valued.
    ratio: probability of each step's action under the policy that is valued,
      over that under the policy that chose it. The same of its first row.
    lambda_: mixing, in [0, 1]; 0 at a step keeps what the later rows hold from
      it.

  Returns:
    The return from each step onwards, in units of reward.
  """
  mixing = jnp.broadcast_to(lambda_, r_t.shape)
  ratio = jnp.broadcast_to(ratio, r_t.shape)
  # The last step's own action value in place of what follows it: the difference
  # is 0, whatever its trace.
  q_t = jnp.concatenate([q_tm1[1:], q_tm1[-1:]])
  next_ratio = jnp.concatenate([ratio[1:], ratio[-1:]])
  c_t = mixing * jnp.minimum(next_ratio, 1.0)

  def step(g, inputs):
    r, discount, v, q, c = inputs
    g = r + discount * (v + c * (g - q))
    return g, g

  return _scan_backwards(step, q_t[-1], (r_t, discount_t, v_t, q_t, c_t))
