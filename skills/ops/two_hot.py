"""Numbers as distributions over atoms, for heads that predict by classifying.

As in MuZero (Schrittwieser et al., 2019, arXiv:1911.08265, appendix F): returns
are made small by `returns.signed_hyperbolic`, and a small return is written as
the two probabilities, of the atoms on either side of it, whose mean it is. A
head's scalar is its distribution's mean, made large again.
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
  """Probabilities of the two atoms around each number, whose mean it is.

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
  """What a head is trained to say of returns or rewards."""
  return encode(returns.signed_hyperbolic(x), support)


def to_returns(
  logits: Float[Array, '*batch K'], support: Float[Array, 'K']
) -> Float[Array, '*batch']:
  """The return or reward that a head's logits stand for."""
  return returns.signed_parabolic(decode(jax.nn.softmax(logits), support))
