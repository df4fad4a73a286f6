"""Two-hot encoding of numbers, for heads that predict by classifying.

As in MuZero (Schrittwieser et al., 2019, arXiv:1911.08265, appendix F): returns
are transformed by `returns.signed_hyperbolic`, and a transformed return is the
mean of a distribution over the two atoms on either side of it. A head's scalar
is the mean of its distribution, transformed back.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float

from skills.ops import returns


def atoms(support_max: float, num_atoms: int) -> Float[Array, 'K']:
  """Evenly spaced numbers from -support_max to support_max, both included."""
  return jnp.linspace(-support_max, support_max, num_atoms)


def encode(
  x: Float[Array, '*batch'], support: Float[Array, 'K']
) -> Float[Array, '*batch K']:
  """Two-hot probabilities of each number, whose mean it is.

  Args:
    x: numbers; those beyond the outermost atoms count as these.
    support: evenly spaced atoms.
  """
  spacing = support[1] - support[0]
  x = jnp.clip(x, support[0], support[-1])[..., None]
  distance = jnp.abs(x - support.reshape((1,) * (x.ndim - 1) + (-1,)))
  return jax.nn.relu(1.0 - distance / spacing)


def decode(
  p: Float[Array, '*batch K'], support: Float[Array, 'K']
) -> Float[Array, '*batch']:
  """Mean of each distribution over the atoms."""
  return p @ support


def from_returns(
  x: Float[Array, '*batch'], support: Float[Array, 'K']
) -> Float[Array, '*batch K']:
  """Two-hot targets of transformed returns or rewards."""
  return encode(returns.signed_hyperbolic(x), support)


def to_returns(
  logits: Float[Array, '*batch K'], support: Float[Array, 'K']
) -> Float[Array, '*batch']:
  """Returns or rewards that a head's logits predict."""
  return returns.signed_parabolic(decode(jax.nn.softmax(logits), support))
