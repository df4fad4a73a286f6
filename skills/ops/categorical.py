"""Categorical distributions, whose categories lie along the last axis."""

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int


def entropy(p: Float[Array, '*batch K']) -> Float[Array, '*batch']:
  """Shannon entropy in nats, in [0, log K].

  Args:
    p: probabilities; those of 0 add nothing.
  """
  return jnp.sum(jax.scipy.special.entr(p), axis=-1)


def log_prob(
  log_p: Float[Array, '*batch K'], index: Int[Array, '*batch']
) -> Float[Array, '*batch']:
  """Log-probability in nats of the category `index`."""
  return jnp.take_along_axis(log_p, index[..., None], axis=-1)[..., 0]


def log_mean(log_p: Float[Array, 'N *batch']) -> Float[Array, '*batch']:
  """Log of the members' mean probability (not of their mean logit).

  In log space, so that what every member holds for impossible stays finite.

  Args:
    log_p: log-probabilities that each of N members gives to some event.
  """
  if log_p.shape[0] == 1:
    return log_p[0]
  return jax.nn.logsumexp(log_p, axis=0) - jnp.log(float(log_p.shape[0]))


def sample(
  log_p: Float[Array, '*batch K'], uniform: Float[Array, '*batch']
) -> Int[Array, '*batch']:
  """Draws a category of each distribution, by the inverse of its sums.

  Args:
    log_p: log-probabilities.
    uniform: one random number in [0, 1) for each draw.
  """
  below = jnp.cumsum(jnp.exp(log_p), axis=-1)[..., :-1]
  return jnp.sum(below <= uniform[..., None], axis=-1).astype(jnp.int32)
