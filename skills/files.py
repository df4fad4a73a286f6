"""JSON files that say of which format they are."""

import json
import pathlib
from typing import Any


def read(path: pathlib.Path, version: int, content: str) -> dict[str, Any]:
  """Reads a file whose `format_version` is known.

  Args:
    path: of the file.
    version: that it must have.
    content: what it holds, in words.

  Returns:
    All of it but `format_version`.

  Raises:
    FileNotFoundError: if there is no such file.
    NotADirectoryError: if its folder is none.
    ValueError: if it is broken or of another version; it names the file.
  """
  try:
    fields = json.loads(path.read_text())
  except (FileNotFoundError, NotADirectoryError):
    raise
  except (OSError, ValueError) as error:
    raise ValueError(f'{path} is broken: {error}.') from error
  if not isinstance(fields, dict):
    raise ValueError(f'{path} is broken: it holds no {content}.')
  found = fields.pop('format_version', None)
  if found != version:
    raise ValueError(
      f'{path} has format version {found!r}; this program reads {version}.'
    )
  return fields
