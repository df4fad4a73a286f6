"""States that are combinations of parts, such as of a row and a column.

Tables of such states are sums, of one table for each part.
"""

import math

import haiku as hk
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
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
    factors: the number of values of each part; the last part changes fastest.
  """
  parts = []
  for size in factors[:0:-1]:
    parts.append(state % size)
    state = state // size
  return [state, *reversed(parts)]


def sum_of_tables(
  name: str,
  factors: tuple[int, ...],
  shape: tuple[int, ...],
  initializer: hk.initializers.Initializer,
  *states: Int[Array, '*batch'],
  skill: Int[Array, '*batch'] | None = None,
  num_skills: int = 1,
) -> Float[Array, '*batch_and_shape']:
  """Values of states, the sum of what a table for each part holds.

  Within a Haiku transformation, which gets a parameter `name_i` for part i.

  Args:
    name: of the parameters.
    factors: sizes of the parts of a state; their product is S.
    shape: of the value of one state.
    initializer: of each table.
    *states: one index, or several, for which a table has a row for each
      combination of their values of its part.
    skill: where each skill has rows of its own, the skill of each state.
    num_skills: number of skills K; 1 where they share all rows.
  """
  parts = [split(state, factors) for state in states]
  values = jnp.zeros(())
  for i, size in enumerate(factors):
    # Stored by row: a gather along one axis costs half of one along two.
    row = 0 if skill is None else skill
    for part in parts:
      row = row * size + part[i]
    table = hk.get_parameter(
      f'{name}_{i}',
      (num_skills * size ** len(states), *shape),
      init=initializer,
    )
    values = values + table[row]
  return values
