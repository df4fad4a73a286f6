"""Files that are complete or not there, and JSON that names its format.

Everything that a run leaves behind is written here: beside its place first,
flushed to disk, and then renamed. A program that is killed at any moment leaves
what was there before.
"""

from collections.abc import Callable
import json
import os
import pathlib
import shutil
from typing import Any
import uuid

Path = str | os.PathLike[str]


def write(path: Path, produce: Callable[[pathlib.Path], object]) -> None:
  """Writes a file or a folder atomically.

  Args:
    path: destination; its folder is made, what is there is replaced.
    produce: writes the content to another path in the same folder.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  # A name of its own, so that two programs may write the same file.
  unfinished = path.with_name(f'.{path.name}.{uuid.uuid4().hex}.unfinished')
  replaced = unfinished.with_name(f'.replaced{unfinished.name}')
  try:
    produce(unfinished)
    for part in [unfinished, *unfinished.rglob('*')]:
      _flush(part)
    if path.is_dir():
      # Renamed, since to remove it would take the time to be killed in.
      os.rename(path, replaced)
    os.replace(unfinished, path)
    _flush(path.parent)
  finally:
    remove(unfinished)
    remove(replaced)


def write_bytes(path: Path, content: bytes) -> None:
  """Writes a file atomically; see `write`."""
  write(path, lambda unfinished: unfinished.write_bytes(content))


def write_text(path: Path, text: str) -> None:
  """Writes a file in UTF-8 atomically; see `write`."""
  write_bytes(path, text.encode())


def write_json(path: Path, content: Any, version: int | None = None) -> None:
  """Writes a JSON file atomically; see `write`.

  Args:
    path: destination.
    content: what JSON can hold; a mapping, if a version is given.
    version: the `format_version` that the file begins with; None for none.
  """
  if version is not None:
    content = {'format_version': version, **content}
  write_text(path, json.dumps(content, indent=2) + '\n')


def read_json(path: pathlib.Path, version: int, content: str) -> dict[str, Any]:
  """Reads a JSON file of a known `format_version`.

  Args:
    path: the file.
    version: the version that it must have.
    content: what it holds, in words.

  Returns:
    All of it but `format_version`.

  Raises:
    FileNotFoundError: if there is no such file.
    NotADirectoryError: if its folder is a file.
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
      f'{path} has format version {found!r}; this program reads {version}: '
      'run again, or use the release that wrote it.'
    )
  return fields


def remove(path: pathlib.Path) -> None:
  """Removes a file or a folder, if there is one."""
  if path.is_dir():
    shutil.rmtree(path, ignore_errors=True)
  else:
    path.unlink(missing_ok=True)


def _flush(path: pathlib.Path) -> None:
  """Waits until a file, or a folder's list of names, is on the disk."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
