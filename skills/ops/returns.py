"""Multi-step returns, and their scale."""

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float

# Below this many steps the recursion is unrolled: on a CPU each turn of a
# compiled loop costs more than the arithmetic in it.
_UNROLL = 32


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

  _, returns = jax.lax.scan(
    step,
    v_t[-1],
    (r_t, discount_t, v_t, jnp.broadcast_to(lambda_, r_t.shape)),
    reverse=True,
    unroll=min(r_t.shape[0], _UNROLL),
  )
  return returns


def signed_hyperbolic(
  x: Float[Array, '*batch'], epsilon: float = 1e-3
) -> Float[Array, '*batch']:
  """Makes large returns small, and keeps the sign.

      h(x) = sign(x) (sqrt(|x| + 1) - 1) + epsilon x

  Pohlen et al., "Observe and look further", 2018 (arXiv:1805.11593), and R2D2.

  Args:
    x: returns.
    epsilon: slope of what is left of them where they are large.
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
