"""Configurations as flat mappings for JSON, and changes given as text.

Every field stands under its path, `replay.capacity`. A section that may be one
of several classes, as an objective's or a learner's, also stands there itself,
by its name in the registry.

A change is written `replay.capacity=1000`. A section that may be one of several
classes takes the name of another one. Its settings start from their defaults,
but for the discriminator's, which stay where both objectives have one.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math
import types as python_types
import typing
from typing import Any

from skills import checks
from skills import registry
from skills.objectives import base as objectives

# The entries of the registry that a section may be.
_FAMILIES: Mapping[str, Mapping[str, Any]] = {
  'objective': registry.OBJECTIVES,
  'learner': registry.LEARNERS,
}
_BOOLEANS = {'true': True, '1': True, 'false': False, '0': False}


def flatten(config: Any, path: str = '') -> dict[str, Any]:
  """All fields by their paths, with values that JSON can hold.

  Args:
    config: a frozen dataclass, with sections that are dataclasses too.
    path: of `config` itself.

  Returns:
    What `restore` takes.
  """
  flat = {}
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    if not is_section(value):
      flat[path + field.name] = value
      continue
    if family(type(value)):
      flat[path + field.name] = registry.name_of(value)
    flat.update(flatten(value, f'{path}{field.name}.'))
  return flat


def restore(wanted: type, flat: Mapping[str, Any], path: str = '') -> Any:
  """The configuration that `flatten` wrote.

  A field that is missing has its default, so a field that is added must do by
  default what was done before.

  Args:
    wanted: class of the configuration.
    flat: path -> value.
    path: of the configuration itself, for messages.

  Returns:
    The configuration.

  Raises:
    ValueError: if a field is unknown, has a value that does not fit, or is
      missing and has no default.
  """
  hints = typing.get_type_hints(wanted)
  fields = {field.name: field for field in dataclasses.fields(wanted)}
  direct, nested = _split(flat)
  for name in [*direct, *nested]:
    if name not in fields:
      raise ValueError(f'{path}{name} is no setting of this version.')
  values = {}
  for name, field in fields.items():
    section = hints[name]
    if section is Any and name in direct:
      section = _named(path + name, direct[name], field)
    if name not in direct and name not in nested:
      if _default(field) is dataclasses.MISSING:
        raise ValueError(f'{path}{name} is missing.')
    elif dataclasses.is_dataclass(section):
      values[name] = restore(section, nested.get(name, {}), f'{path}{name}.')
    elif name in nested:
      raise ValueError(f'{path}{name} is a plain value, not a section.')
    else:
      values[name] = convert(path + name, direct[name], section)
  try:
    return wanted(**values)
  except ValueError as error:
    raise ValueError(f'{path}{error}') from error


def _split(
  flat: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
  """Values by field, and those of sections by section and inner path."""
  direct: dict[str, Any] = {}
  nested: dict[str, dict[str, Any]] = {}
  for path, value in flat.items():
    name, _, rest = path.partition('.')
    if rest:
      nested.setdefault(name, {})[rest] = value
    else:
      direct[name] = value
  return direct, nested


def is_section(value: Any) -> bool:
  """Whether a field's value has fields of its own."""
  return dataclasses.is_dataclass(value)


def family(config: type) -> tuple[str, Mapping[str, Any]] | None:
  """The family of a configuration: objectives or learners.

  Args:
    config: its class.

  Returns:
    'objective' or 'learner', and the entries of the registry that may stand in
    its place; None if nothing may.
  """
  for name, entries in _FAMILIES.items():
    if any(config is entry.config for entry in entries.values()):
      return name, entries
  return None


def convert(path: str, value: Any, hint: Any) -> Any:
  """Reads a value as the type that a field wants.

  Args:
    path: of the field, for messages.
    value: as text, or as `flatten` or JSON gives it.
    hint: the field's annotation.

  Raises:
    ValueError: if the value cannot be read so.
  """
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


def _default(field: dataclasses.Field) -> Any:
  if field.default_factory is dataclasses.MISSING:
    return field.default
  return field.default_factory()


def _named(path: str, name: Any, field: dataclasses.Field) -> type:
  found = family(type(_default(field)))
  if found is None:
    return Any
  _, entries = found
  if name not in entries:
    raise ValueError(
      f'{path} must be one of {", ".join(entries)}, got {name!r}.'
    )
  return entries[name].config


def _convert_to(value: Any, wanted: Any) -> Any:
  if typing.get_origin(wanted) is tuple:
    element = typing.get_args(wanted)[0]
    parts = value
    if isinstance(value, str):
      # Brackets within belong to the elements.
      text = value.strip()
      is_enclosed = text[:1] in ('(', '[') and text[-1:] in (')', ']')
      parts = (text[1:-1] if is_enclosed else text).split(',')
    return tuple(
      _convert_to(part.strip() if isinstance(part, str) else part, element)
      for part in parts
      if str(part).strip()
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


def parse_assignments(assignments: Sequence[str]) -> dict[str, str]:
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


def apply_changes(
  config: Any, changes: Mapping[str, Any], path: str = ''
) -> Any:
  """Makes a changed copy; all changes to a section count at once.

  Args:
    config: a frozen dataclass, with sections that are dataclasses too.
    changes: path from `config` -> value, as text or as
      `flatten` gives it.
    path: of `config` itself, for messages.

  Returns:
    The copy.

  Raises:
    ValueError: naming a field that does not exist or a value that does not
      fit, with what is allowed.
  """
  fields = {field.name: field for field in dataclasses.fields(config)}
  hints = typing.get_type_hints(type(config))
  direct, nested = _split(changes)
  section = f'{path.rstrip(".")}: ' if path else ''
  for name in [*direct, *nested]:
    checks.one_of(f'{section}field', name, fields)
  new = {}
  for name, value in direct.items():
    full = path + name
    if is_section(getattr(config, name)):
      found = family(type(getattr(config, name)))
      if found is None:
        raise ValueError(
          f'{full} is a section; set one of its fields: '
          + ', '.join(f'{full}.{f.name}' for f in _fields(config, name))
          + '.'
        )
      what, entries = found
      checks.one_of(f'{full}: {what}', value, entries)
      new[name] = _exchange(getattr(config, name), entries[value].config)
    else:
      new[name] = convert(full, value, hints[name])
  for name, inner in nested.items():
    section = new.get(name, getattr(config, name))
    if not is_section(section):
      raise ValueError(
        f'{path}{name} is a plain value, so {path}{name}.{next(iter(inner))} '
        'does not exist.'
      )
    new[name] = apply_changes(section, inner, f'{path}{name}.')
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
  if hasattr(old, 'over') and hasattr(new, 'over'):
    return dataclasses.replace(new, over=old.over)
  discriminator = objectives.discriminator_of(old)
  if discriminator is not None and hasattr(new, 'discriminator'):
    return objectives.with_discriminator(new, discriminator)
  return new


def _fields(config: Any, name: str) -> tuple[dataclasses.Field, ...]:
  return dataclasses.fields(getattr(config, name))
