"""Values of figures: tables, curves, maps, points and films.

Code that makes figures does not depend on how they are drawn, and code that
draws them does not depend on skills. They are small enough to be kept in the
run's folder (`save`, `load`), so that a page can be made again without playing
a single episode.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import hashlib
import io
import json
import math
import os
import pathlib
from typing import Any

import numpy as np

from skills import files


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
  """What every figure has.

  Attributes:
    title: a heading of a few words.
    caption: what is to be seen, with units, in a sentence or two; also what
      those are told who cannot see it.
  """

  title: str
  caption: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table(Figure):
  """Rows of numbers and words.

  Attributes:
    columns: headings.
    rows: one entry for each heading; None where there is none.
  """

  columns: Sequence[str]
  rows: Sequence[Sequence[str | float | int | None]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curves(Figure):
  """Lines over one axis.

  Attributes:
    xlabel: what the axis is, with its unit.
    ylabel: what the lines are, with their unit.
    lines: name -> x `[n]` and y `[n]`.
    bands: of some of the lines, between which values `[n]` they may lie, such
      as the ends of an interval.
    parts: of some of the lines, x and y of what they summarise, such as each
      seed.
    levels: name -> y, of horizontal lines to compare with.
  """

  xlabel: str
  ylabel: str
  lines: Mapping[str, tuple[np.ndarray, np.ndarray]]
  bands: Mapping[str, tuple[np.ndarray, np.ndarray]] = dataclasses.field(
    default_factory=dict
  )
  parts: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]] = (
    dataclasses.field(default_factory=dict)
  )
  levels: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Map(Figure):
  """A value for each cell of a rectangle: an environment, or a matrix.

  Attributes:
    values: `[H, W]`; NaN where there is nothing, such as walls.
    unit: of the values.
    xlabel: what columns are.
    ylabel: what rows are.
    text: for each cell, `[H, W]`; None for none.
    groups: the group of each cell, `[H, W]`, such as its skill, -1 for none:
      cells then have the color of their group, the paler the smaller their
      value in [0, 1]; None to show values alone.
    marked: row and column of a cell that is framed; None for none.
  """

  values: np.ndarray
  unit: str
  xlabel: str = ''
  ylabel: str = ''
  text: np.ndarray | None = None
  groups: np.ndarray | None = None
  marked: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Points(Figure):
  """Points or paths in a plane, each of one group.

  Attributes:
    xlabel: of the first coordinate, with its unit.
    ylabel: of the second.
    paths: each `[n, 2]`; of one point where it is no path.
    groups: for each path, such as its skill; numbers are written at the median
      of the ends of their group, and a legend has other names.
    levels: name -> x, of vertical lines to compare with.
    show_means: whether a cross marks the mean of each group's ends.
    is_plane: whether both axes have the same scale, as in space.
  """

  xlabel: str
  ylabel: str
  paths: Sequence[np.ndarray]
  groups: Sequence[str]
  levels: Mapping[str, float] = dataclasses.field(default_factory=dict)
  show_means: bool = False
  is_plane: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Film(Figure):
  """A film or a picture, as the bytes of a file.

  Attributes:
    mime: such as 'image/webp', 'video/mp4' or 'image/png'.
    content: of the file.
    num_frames: 1 for a picture.
  """

  mime: str
  content: bytes
  num_frames: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Missing(Figure):
  """Something that could not be made; the caption says why, and what to do."""


FORMAT_VERSION = 1

FIGURES_FILE = 'figures.json'
# Beside that file: arrays, films and pictures, named by what is in them.
_PARTS = 'figures'

_KINDS = {
  kind.__name__: kind for kind in (Table, Curves, Map, Points, Film, Missing)
}
# What a value that JSON cannot hold begins with.
_ARRAY, _FILE, _FLOAT, _MAPPING = 'array', 'file', 'float', 'mapping'


def save(
  folder: str | os.PathLike[str], figures: Sequence[Figure]
) -> pathlib.Path:
  """Writes figures into a folder, in place of those that are there.

  Arrays, films and pictures lie in files beside `figures.json`, whose names
  are made of their contents. So the old ones are whole until the new ones are,
  whenever the program is killed.

  Args:
    folder: where to; it is made if there is none.
    figures: in the order in which they are shown.

  Returns:
    The path of `figures.json`.
  """
  folder = pathlib.Path(folder)
  parts = folder / _PARTS
  parts.mkdir(parents=True, exist_ok=True)
  writer = _Writer()
  described = [
    {
      'kind': type(figure).__name__,
      **{
        field.name: writer.encode(getattr(figure, field.name))
        for field in dataclasses.fields(figure)
      },
    }
    for figure in figures
  ]
  arrays = writer.add_file(writer.arrays_file(), '.npz')
  for name, content in writer.files.items():
    files.write_bytes(parts / name, content)
  text = json.dumps(
    {
      'format_version': FORMAT_VERSION,
      'arrays': arrays,
      'figures': described,
    },
    allow_nan=False,
  )
  path = folder / FIGURES_FILE
  files.write_text(path, f'{text}\n')
  for old in parts.iterdir():
    if old.name not in writer.files:
      old.unlink()
  return path


def load(folder: str | os.PathLike[str]) -> list[Figure]:
  """Reads what `save` wrote.

  Args:
    folder: where it is; it may have been moved.

  Returns:
    The figures; sequences in them are tuples.

  Raises:
    ValueError: if there are none, or some that are broken, cut short or of
      another format; it names the file.
  """
  folder = pathlib.Path(folder)
  path = folder / FIGURES_FILE
  try:
    content = files.read_json(path, FORMAT_VERSION, 'figures')
  except (FileNotFoundError, NotADirectoryError) as error:
    raise ValueError(
      f'there are no figures in {os.fspath(folder)!r} ({FIGURES_FILE} is '
      'missing).'
    ) from error
  reader = _Reader(folder / _PARTS)
  try:
    reader.read_arrays(content['arrays'])
    return [_restored(reader, dict(each)) for each in content['figures']]
  except _PartError as error:
    raise ValueError(str(error)) from error
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise ValueError(f'{path} is broken: {error!r}.') from error


def _restored(reader: '_Reader', fields: dict[str, Any]) -> Figure:
  kind = _KINDS[fields.pop('kind')]
  return kind(**{name: reader.decode(value) for name, value in fields.items()})


class _PartError(Exception):
  """A file beside `figures.json` that cannot be used, and why."""


class _Writer:
  """Turns values into what JSON can hold, and files for the rest.

  Attributes:
    files: content of each by its name.
  """

  def __init__(self):
    self.files: dict[str, bytes] = {}
    # Entries of the arrays of each dtype, one after another.
    self._entries: dict[str, list[np.ndarray]] = {}
    self._lengths: dict[str, int] = {}

  def encode(self, value: Any) -> Any:
    """One value; refuses what no figure holds."""
    if isinstance(value, np.generic):
      value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
      return {_FLOAT: repr(value)}
    if value is None or isinstance(value, (str, bool, int, float)):
      return value
    if isinstance(value, bytes):
      return {_FILE: self.add_file(value, '')}
    if isinstance(value, Mapping):
      return {_MAPPING: [[key, self.encode(x)] for key, x in value.items()]}
    if isinstance(value, Sequence):
      return [self.encode(each) for each in value]
    array = np.asarray(value)
    if array.dtype.kind not in 'biufU':
      raise TypeError(f'figures hold no arrays of {array.dtype}.')
    dtype = array.dtype.str
    first = self._lengths.get(dtype, 0)
    self._entries.setdefault(dtype, []).append(array.ravel())
    self._lengths[dtype] = first + array.size
    return {_ARRAY: [dtype, first, list(array.shape)]}

  def add_file(self, content: bytes, suffix: str) -> str:
    """Adds a file; returns its name."""
    name = hashlib.sha256(content).hexdigest() + suffix
    self.files[name] = content
    return name

  def arrays_file(self) -> bytes:
    """The file of all arrays."""
    file = io.BytesIO()
    np.savez_compressed(
      file,
      **{
        dtype: np.concatenate(parts) for dtype, parts in self._entries.items()
      },
    )
    return file.getvalue()


class _Reader:
  """Turns them back."""

  def __init__(self, parts: pathlib.Path):
    self._parts = parts
    self._entries: dict[str, np.ndarray] = {}

  def read_arrays(self, name: str) -> None:
    """Reads the file of all arrays."""
    content = self.read_file(name)
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
      self._entries = dict(file)

  def read_file(self, name: str) -> bytes:
    """What a file holds, if that is what was written into it."""
    path = self._parts / name
    try:
      content = path.read_bytes()
    except OSError as error:
      raise _PartError(f'{path} cannot be read: {error.strerror}.') from error
    if hashlib.sha256(content).hexdigest() != name.partition('.')[0]:
      raise _PartError(
        f'{path} is broken: it does not hold what was written into it.'
      )
    return content

  def decode(self, value: Any) -> Any:
    """One value."""
    if isinstance(value, list):
      return tuple(self.decode(each) for each in value)
    if not isinstance(value, dict):
      return value
    [(kind, content)] = value.items()
    if kind == _FLOAT:
      return float(content)
    if kind == _FILE:
      return self.read_file(content)
    if kind == _MAPPING:
      return {key: self.decode(x) for key, x in content}
    if kind != _ARRAY:
      raise ValueError(f'{kind!r} is unknown')
    dtype, first, shape = content
    entries = self._entries[dtype][first : first + math.prod(shape)]
    return entries.reshape(shape)
