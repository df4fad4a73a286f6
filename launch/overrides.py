"""Changes to a nested configuration, as text: `replay.capacity=1000`.

A field whose value is itself the configuration of an objective or a learner
takes the name of another one. Its settings start from their defaults, but for
the discriminator's, which stay as they are where both objectives have one.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import typing
from typing import Any

from envs import choices
from skills import settings


def parse(assignments: Sequence[str]) -> dict[str, str]:
  """Splits `path=value`.

  Args:
    assignments: as written by the user.

  Raises:
    ValueError: if one has no `=`.
  """
  parsed = {}
  for assignment in assignments:
    path, equals, value = assignment.partition('=')
    if not equals or not path:
      raise ValueError(
        f"a setting is written 'field=value', got {assignment!r}."
      )
    parsed[path.strip()] = value.strip()
  return parsed


def apply(config: Any, changes: Mapping[str, Any], path: str = '') -> Any:
  """Makes a changed copy; all changes to a section count at once.

  Args:
    config: a frozen dataclass, with sections that are dataclasses too.
    changes: path from `config` -> value, as text or as
      `settings.flatten` gives it.
    path: of `config` itself, for messages.

  Returns:
    The copy.

  Raises:
    ValueError: naming a field that does not exist or a value that does not
      fit, with what is allowed.
  """
  fields = {field.name: field for field in dataclasses.fields(config)}
  hints = typing.get_type_hints(type(config))
  direct, nested = {}, {}
  for name, value in changes.items():
    head, _, rest = name.partition('.')
    if head not in fields:
      section = f'{path.rstrip(".")}: ' if path else ''
      choices.check(f'{section}field', head, fields)
    if rest:
      nested.setdefault(head, {})[rest] = value
    else:
      direct[head] = value
  new = {}
  for name, value in direct.items():
    full = path + name
    if settings.is_section(getattr(config, name)):
      family = settings.family(type(getattr(config, name)))
      if family is None:
        raise ValueError(
          f'{full} is a section; set one of its fields: '
          + ', '.join(f'{full}.{f.name}' for f in _fields(config, name))
          + '.'
        )
      what, entries = family
      choices.check(f'{full}: {what}', value, entries)
      new[name] = _exchange(getattr(config, name), entries[value].config)
    else:
      new[name] = settings.convert(full, value, hints[name])
  for name, inner in nested.items():
    section = new.get(name, getattr(config, name))
    if not settings.is_section(section):
      raise ValueError(
        f'{path}{name} is a plain value, so {path}{name}.{next(iter(inner))} '
        'does not exist.'
      )
    new[name] = apply(section, inner, f'{path}{name}.')
  try:
    return dataclasses.replace(config, **new)
  except ValueError as error:
    message = str(error)
    raise ValueError(message if not path else f'{path}{message}') from error


def _exchange(old: Any, wanted: type) -> Any:
  """A configuration of another class in place of `old`."""
  if type(old) is wanted:
    return old
  new = wanted()
  if hasattr(old, 'discriminator') and hasattr(new, 'discriminator'):
    return dataclasses.replace(new, discriminator=old.discriminator)
  if hasattr(old, 'over') and hasattr(new, 'over'):
    return dataclasses.replace(new, over=old.over)
  if hasattr(old, 'over') and hasattr(new, 'discriminator'):
    return dataclasses.replace(new, discriminator=old.over.discriminator)
  return new


def _fields(config: Any, name: str) -> tuple[dataclasses.Field, ...]:
  return dataclasses.fields(getattr(config, name))
