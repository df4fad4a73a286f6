"""Nearest neighbours."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int


class Nearest(NamedTuple):
  """The nearest other point of each of K points.

  Attributes:
    index: which one it is.
    distance: how far it is, in the Euclidean norm.
  """

  index: Int[Array, 'K']
  distance: Float[Array, 'K']


def nearest(points: Float[Array, 'K D']) -> Nearest:
  """Finds each point's nearest other point.

      j*(i) = argmin_{j != i} || x_i - x_j ||

  Args:
    points: two or more. Of a single one the distance is infinite.
  """
  difference = points[:, None] - points[None]
  distances = jnp.sqrt(jnp.sum(jnp.square(difference), axis=-1))
  # Not the largest distance: between two points that would be a tie.
  others = jnp.where(jnp.eye(len(points), dtype=bool), jnp.inf, distances)
  return Nearest(
    jnp.argmin(others, axis=-1).astype(jnp.int32), jnp.min(others, axis=-1)
  )
