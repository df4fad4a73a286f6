"""One-line refusals of names that are not on a list."""

from collections.abc import Iterable
from collections.abc import Mapping
import difflib


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


def check(what: str, value: object, allowed: Iterable[str]) -> None:
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
