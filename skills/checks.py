"""One-line refusals of values that cannot be."""

from collections.abc import Iterable
from collections.abc import Mapping
import difflib

import numpy as np


def did_you_mean(value: object, allowed: Mapping[str, str]) -> str:
  """A hint at the nearest name.

  Args:
    value: what the user wrote.
    allowed: what the user may have meant -> what to write for it.

  Returns:
    A sentence that begins with a space, empty if nothing is near.
  """
  near = difflib.get_close_matches(str(value), allowed, n=1)
  return f' Did you mean {allowed[near[0]]!r}?' if near else ''


def one_of(what: str, value: object, allowed: Iterable[str]) -> None:
  """Refuses a value that is not one of the allowed names.

  Args:
    what: what the value was meant to be, as the message's first words.
    value: what the user wrote.
    allowed: every accepted name.

  Raises:
    ValueError: if `value` is not allowed; the message names it, the nearest
      allowed name, if one is near, and all of them.
  """
  allowed = list(allowed)
  if value in allowed:
    return
  hint = did_you_mean(value, dict(zip(allowed, allowed, strict=True)))
  listed = ', '.join(map(repr, allowed)) or 'none'
  raise ValueError(f'{what} {value!r} is unknown.{hint} Allowed: {listed}.')


def integer(
  field: str, value: object, minimum: int, maximum: int | None = None
) -> None:
  """Refuses what is not a whole number in a range.

  Args:
    field: what the number is, as the message's first words.
    value: what the user gave.
    minimum: the least that is allowed.
    maximum: the most that is allowed; None for no limit.

  Raises:
    ValueError: if `value` is not an integer from `minimum` to `maximum`.
  """
  if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
    if minimum <= value and (maximum is None or value <= maximum):
      return
  allowed = (
    f'an integer >= {minimum}'
    if maximum is None
    else f'an integer in {minimum}..{maximum}'
  )
  raise ValueError(f'{field} must be {allowed}, got {value!r}.')
