"""Multi-step returns."""

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
