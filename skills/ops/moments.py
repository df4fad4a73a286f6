"""Running mean and variance, and exponential moving mean squares."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float


class Moments(NamedTuple):
  """Running mean and variance, for each feature.

  Attributes:
    count: how many there were.
    mean: their mean.
    sum_squares: sum of their squared deviations from the mean.
  """

  count: Float[Array, '']
  mean: Float[Array, '*features']
  sum_squares: Float[Array, '*features']

  @property
  def variance(self) -> Float[Array, '*features']:
    """Population variance; 1 before two numbers were seen."""
    return jnp.where(
      self.count > 1, self.sum_squares / jnp.maximum(self.count, 1.0), 1.0
    )


def init(shape: tuple[int, ...] = ()) -> Moments:
  """Moments of no numbers; `shape` is that of one number."""
  return Moments(jnp.zeros(()), jnp.zeros(shape), jnp.zeros(shape))


def update(
  moments: Moments,
  values: Float[Array, '*batch_and_features'],
  mask: Float[Array, '*batch'],
) -> Moments:
  """Moments after a batch (Chan, Golub and LeVeque's parallel update).

  Args:
    moments: of what was seen before.
    values: new numbers.
    mask: 1 for those to take in, 0 for those to leave out.
  """
  batch_axes = tuple(range(mask.ndim))
  weights = mask.reshape(mask.shape + (1,) * moments.mean.ndim)
  batch_count = jnp.sum(mask)
  batch_mean = jnp.sum(values * weights, axis=batch_axes) / jnp.maximum(
    batch_count, 1.0
  )
  deviation = values - batch_mean.reshape((1,) * mask.ndim + moments.mean.shape)
  batch_squares = jnp.sum(weights * jnp.square(deviation), axis=batch_axes)
  count = moments.count + batch_count
  delta = batch_mean - moments.mean
  ratio = batch_count / jnp.maximum(count, 1.0)
  return Moments(
    count,
    moments.mean + delta * ratio,
    moments.sum_squares
    + batch_squares
    + jnp.square(delta) * moments.count * ratio,
  )


def whiten(
  moments: Moments, values: Float[Array, '*batch_and_features'], limit: float
) -> Float[Array, '*batch_and_features']:
  """Shifts and scales numbers to mean 0 and variance 1, within +-limit."""
  rank = values.ndim - moments.mean.ndim
  shape = (1,) * rank + moments.mean.shape
  deviation = jnp.sqrt(moments.variance) + 1e-6
  scaled = (values - moments.mean.reshape(shape)) / deviation.reshape(shape)
  return jnp.clip(scaled, -limit, limit)


class MovingSquare(NamedTuple):
  """Exponential moving average of squares.

  Attributes:
    weighted: sum of the batches' mean squares, each times (1 - decay) and as
      many factors `decay` as batches came after it.
    weight: the sum of these factors, 1 - decay^n after n batches, which says
      how much of the mean is still missing.
  """

  weighted: Float[Array, '']
  weight: Float[Array, '']

  @property
  def mean(self) -> Float[Array, '']:
    """The mean square, without bias to 0; 1 before anything was seen."""
    return jnp.where(
      self.weight > 0, self.weighted / jnp.maximum(self.weight, 1e-30), 1.0
    )


def init_square() -> MovingSquare:
  """The moving square of no numbers."""
  return MovingSquare(jnp.zeros(()), jnp.zeros(()))


def update_square(
  moving: MovingSquare,
  values: Float[Array, '*batch'],
  mask: Float[Array, '*batch'],
  decay: float,
) -> MovingSquare:
  """The moving square after a batch; an empty batch changes nothing.

  Args:
    moving: of what was seen before.
    values: new numbers.
    mask: 1 for those to take in, 0 for those to leave out.
    decay: what is kept of the old mean, in [0, 1).
  """
  count = jnp.sum(mask)
  square = jnp.sum(mask * jnp.square(values)) / jnp.maximum(count, 1.0)
  step = (1.0 - decay) * (count > 0)
  return MovingSquare(
    moving.weighted + step * (square - moving.weighted),
    moving.weight + step * (1.0 - moving.weight),
  )


def divide_by_size(
  moving: MovingSquare, values: Float[Array, '*batch'], offset: float = 1e-12
) -> Float[Array, '*batch']:
  """Numbers in units of their root mean square, not centered."""
  return values / jnp.sqrt(moving.mean + offset)
