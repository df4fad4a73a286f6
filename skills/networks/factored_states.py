"""States that are combinations of parts, such as of a row and a column."""

import math

from jaxtyping import Array
from jaxtyping import Int


def check(
  factored_states: tuple[int, ...] | None, hidden_sizes: tuple[int, ...] | None
) -> None:
  """Refuses factors that cannot be, and such of what is no table.

  Raises:
    ValueError: naming `factored_states`.
  """
  if factored_states is None:
    return
  if hidden_sizes is not None:
    raise ValueError(
      'factored_states must be None for a network '
      f'(hidden_sizes={hidden_sizes}), got '
      f'{factored_states}.'
    )
  if not factored_states or min(factored_states) < 1:
    raise ValueError(
      f'factored_states must be sizes >= 1, got {factored_states}.'
    )


def check_product(
  factored_states: tuple[int, ...] | None, num_states: int | None
) -> None:
  """Refuses factors of another number of states.

  Raises:
    ValueError: naming `factored_states`.
  """
  if factored_states is not None and math.prod(factored_states) != num_states:
    raise ValueError(
      f'factored_states must have the product {num_states}, the number of '
      'states, got '
      f'{factored_states}.'
    )


def split(
  state: Int[Array, '*batch'], factors: tuple[int, ...]
) -> list[Int[Array, '*batch']]:
  """The parts of each state, as `numpy.unravel_index` has them.

  Args:
    state: indices below the product of `factors`.
    factored_states: the number of values of each part; the last part changes
      fastest.
  """
  parts = []
  for size in factors[:0:-1]:
    parts.append(state % size)
    state = state // size
  return [state, *reversed(parts)]
