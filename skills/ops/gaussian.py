"""Independent Gaussians, and Gaussians squashed into [-1, 1].

A bounded action is the hyperbolic tangent of a Gaussian number, its latent. Its
density under one policy over that under another is that of the latents, since
both are squashed alike: comparing policies needs no more than these, and
never undoes the tangent, which is lost to rounding near the bounds.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
import numpy as np

# Random numbers are taken as within these quantiles: 4.75 deviations.
_SMALLEST = 1e-6

# Gauss-Hermite: means over a Gaussian of what is nearly a polynomial.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(8)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def sample(
  mean: Float[Array, '*batch A'],
  deviation: Float[Array, '*batch A'],
  uniform: Float[Array, '*batch A'],
) -> Float[Array, '*batch A']:
  """Samples of Gaussians, by the inverse of their distribution function.

  Args:
    mean: of each.
    deviation: of each, positive.
    uniform: one random number in [0, 1) for each draw.
  """
  inside = jnp.clip(uniform, _SMALLEST, 1 - _SMALLEST)
  return mean + deviation * jax.scipy.special.ndtri(inside)


def log_prob(
  mean: Float[Array, '*batch A'],
  deviation: Float[Array, '*batch A'],
  value: Float[Array, '*batch A'],
) -> Float[Array, '*batch']:
  """Joint log-density of independent values, in nats."""
  each = jax.scipy.stats.norm.logpdf((value - mean) / deviation)
  return jnp.sum(each - jnp.log(deviation), axis=-1)


def tanh_log_slope(
  latent: Float[Array, '*axes'],
) -> Float[Array, '*axes']:
  """log(1 - tanh(u)^2): what squashing takes off a latent's log-density.

      log p(tanh u) = log p(u) - log(1 - tanh(u)^2)

  Args:
    latent: u, of any size; nothing is lost to rounding far from 0.
  """
  # Without the difference of nearly equal numbers.
  return 2 * (jnp.log(2.0) - latent - jax.nn.softplus(-2 * latent))


def tanh_entropy(
  mean: Float[Array, '*batch A'], deviation: Float[Array, '*batch A']
) -> Float[Array, '*batch']:
  """Differential entropy of squashed values, in nats.

      H(tanh u) = H(u) + E[log(1 - tanh(u)^2)],

  the mean by quadrature: no random number, and exact to a hundredth of a nat
  where the deviation is at most 1. The largest there is, that of the uniform
  distribution, is log 2 for each value.

  Args:
    mean: of the latents.
    deviation: of the latents.
  """
  nodes = jnp.asarray(_NODES, jnp.float32)
  latent = mean[..., None] + deviation[..., None] * nodes.reshape(
    (1,) * mean.ndim + nodes.shape
  )
  squeezed = tanh_log_slope(latent) @ jnp.asarray(_WEIGHTS, jnp.float32)
  gaussian = 0.5 * jnp.log(2 * jnp.pi * jnp.e) + jnp.log(deviation)
  return jnp.sum(gaussian + squeezed, axis=-1)
