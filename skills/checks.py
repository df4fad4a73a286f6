"""Checks of settings and arguments, with one-line messages.

`positive`, `at_least`, `in_range`, `in_half_open_range`, `choice` and `equal`
check fields of a configuration, for use in its `__post_init__`. They accept
None where the field's annotation has it. `one_of` and `integer` check a single
argument. Every message names the field, what is allowed and what was given.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import difflib
import typing
from typing import Any

import numpy as np


def positive(config: Any, *fields: str) -> None:
  """Checks that fields of a dataclass are above 0."""
  _check(config, fields, lambda value: value > 0, 'positive')


def at_least(config: Any, low: float, *fields: str) -> None:
  """Checks that fields of a dataclass are `low` or more."""
  _check(config, fields, lambda value: value >= low, f'>= {low}')


def in_range(config: Any, low: float, high: float, *fields: str) -> None:
  """Checks that fields of a dataclass are in [low, high]."""
  _check(
    config, fields, lambda value: low <= value <= high, f'in [{low}, {high}]'
  )


def in_half_open_range(
  config: Any, low: float, high: float, *fields: str
) -> None:
  """Checks that fields of a dataclass are in [low, high)."""
  _check(
    config, fields, lambda value: low <= value < high, f'in [{low}, {high})'
  )


def choice(config: Any, allowed: Iterable[str], *fields: str) -> None:
  """Checks that fields of a dataclass hold an allowed name each."""
  allowed = list(allowed)
  for field in fields:
    value = getattr(config, field)
    if value not in allowed:
      raise ValueError(
        f'{field} must be one of {", ".join(allowed)}; got {value!r}.'
      )


def equal(config: Any, wanted: Any, field: str, why: str) -> None:
  """Checks that a field of a dataclass has the only value that it may have.

  Args:
    config: the dataclass.
    wanted: the value.
    field: name of the field.
    why: under which other settings this is so, such as 'for a table'.
  """
  value = getattr(config, field)
  if value != wanted:
    raise ValueError(f'{field} must be {wanted!r} {why}, got {value!r}.')


def _check(
  config: Any,
  fields: Iterable[str],
  is_allowed: Callable[[Any], bool],
  allowed: str,
) -> None:
  annotations = {f.name: f.type for f in dataclasses.fields(config)}
  for field in fields:
    value = getattr(config, field)
    is_optional = type(None) in typing.get_args(annotations[field])
    if value is None and is_optional:
      continue
    if not is_allowed(value):
      or_none = ' or None' if is_optional else ''
      raise ValueError(f'{field} must be {allowed}{or_none}, got {value!r}.')


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
  """Checks that a value is one of the allowed names.

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
  """Checks that a value is a whole number in a range.

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
