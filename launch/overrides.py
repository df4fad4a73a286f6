"""Changes to a nested configuration, as text: `replay.capacity=1000`.

A field whose value is itself a configuration of an objective takes the name of
another objective. Its settings start from their defaults, but for the
discriminator's, which stay as they are where both objectives have one.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math
import types as python_types
import typing
from typing import Any

from envs import choices
from skills import registry

_OBJECTIVE_CONFIGS = tuple(
  objective.config for objective in registry.OBJECTIVES.values()
)
_BOOLEANS = {'true': True, '1': True, 'false': False, '0': False}


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
    changes: path from `config` -> value, as text or as `flatten` gives it.
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
    if _is_section(getattr(config, name)):
      if not isinstance(getattr(config, name), _OBJECTIVE_CONFIGS):
        raise ValueError(
          f'{full} is a section; set one of its fields: '
          + ', '.join(f'{full}.{f.name}' for f in _fields(config, name))
          + '.'
        )
      choices.check(f'{full}: objective', value, registry.OBJECTIVES)
      new[name] = _exchange(getattr(config, name), value)
    else:
      new[name] = _convert(full, value, hints[name])
  for name, inner in nested.items():
    section = new.get(name, getattr(config, name))
    if not _is_section(section):
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


def flatten(config: Any, path: str = '') -> dict[str, Any]:
  """Every field by its path, with values that JSON can hold.

  `apply` to any configuration of the same type gives `config` back.
  """
  flat = {}
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    if not _is_section(value):
      flat[path + field.name] = value
      continue
    if isinstance(value, _OBJECTIVE_CONFIGS):
      flat[path + field.name] = registry.name_of(value)
    flat.update(flatten(value, f'{path}{field.name}.'))
  return flat


def _exchange(old: Any, name: str) -> Any:
  """Another objective's configuration in place of `old`."""
  if registry.name_of(old) == name:
    return old
  new = registry.OBJECTIVES[name].config()
  if hasattr(old, 'discriminator') and hasattr(new, 'discriminator'):
    return dataclasses.replace(new, discriminator=old.discriminator)
  if hasattr(old, 'over') and hasattr(new, 'over'):
    return dataclasses.replace(new, over=old.over)
  if hasattr(old, 'over') and hasattr(new, 'discriminator'):
    return dataclasses.replace(new, discriminator=old.over.discriminator)
  return new


def _fields(config: Any, name: str) -> tuple[dataclasses.Field, ...]:
  return dataclasses.fields(getattr(config, name))


def _is_section(value: Any) -> bool:
  return dataclasses.is_dataclass(value)


def _convert(path: str, value: Any, hint: Any) -> Any:
  """Reads a value as the type that a field wants."""
  options = (
    typing.get_args(hint)
    if isinstance(hint, python_types.UnionType)
    else (hint,)
  )
  text = value if isinstance(value, str) else None
  if value is None or (text is not None and text.lower() == 'none'):
    if type(None) in options:
      return None
  for option in options:
    try:
      return _convert_to(value, option)
    except (OverflowError, TypeError, ValueError):
      continue
  wanted = ' or '.join(_describe(option) for option in options)
  raise ValueError(f'{path} must be {wanted}, got {value!r}.')


def _convert_to(value: Any, wanted: Any) -> Any:
  if typing.get_origin(wanted) is tuple:
    element = typing.get_args(wanted)[0]
    parts = value.strip('()[] ').split(',') if isinstance(value, str) else value
    return tuple(
      _convert_to(part, element) for part in parts if str(part).strip()
    )
  if wanted is bool:
    if isinstance(value, bool):
      return value
    spelled = str(value).lower()
    if spelled not in _BOOLEANS:
      raise ValueError(value)
    return _BOOLEANS[spelled]
  if wanted is int:
    number = float(value)
    if isinstance(value, bool) or number != int(number):
      raise ValueError(value)
    return int(number)
  if wanted is float:
    number = float(value)
    if isinstance(value, bool) or not math.isfinite(number):
      raise ValueError(value)
    return number
  if wanted is str:
    return str(value)
  raise TypeError(wanted)


def _describe(option: Any) -> str:
  if option is type(None):
    return 'none'
  if typing.get_origin(option) is tuple:
    return f'{_describe(typing.get_args(option)[0])}, separated by commas'
  names = {
    int: 'a whole number',
    float: 'a finite number',
    bool: 'true or false',
    str: 'text',
  }
  return names.get(option, str(option))
