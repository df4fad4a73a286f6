"""What a report shows of a run, as values.

Whoever makes exhibits knows nothing of pages, and whoever draws a page knows
nothing of skills. All of them are small enough to be kept in a file beside the
run, so that a page can be made again without playing a single episode.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exhibit:
  """What every exhibit has.

  Attributes:
    title: a heading of a few words.
    caption: what is to be seen, with units, in a sentence or two; also what
      those are told who cannot see it.
  """

  title: str
  caption: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table(Exhibit):
  """Rows of numbers and words.

  Attributes:
    columns: headings.
    rows: one entry for each heading; None where there is none.
  """

  columns: Sequence[str]
  rows: Sequence[Sequence[str | float | int | None]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curves(Exhibit):
  """Lines over one axis.

  Attributes:
    xlabel: what the axis is, with its unit.
    ylabel: what the lines are, with their unit.
    lines: name -> x `[n]` and y `[n]`.
  """

  xlabel: str
  ylabel: str
  lines: Mapping[str, tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Map(Exhibit):
  """A value for each cell of a rectangle: a world, or a matrix.

  Attributes:
    values: `[H, W]`; NaN where there is nothing, such as walls.
    unit: of the values.
    xlabel: what columns are.
    ylabel: what rows are.
    text: for each cell, `[H, W]`; None for none.
  """

  values: np.ndarray
  unit: str
  xlabel: str = ''
  ylabel: str = ''
  text: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Points(Exhibit):
  """Points or paths in a plane, each of one group.

  Attributes:
    xlabel: of the first coordinate, with its unit.
    ylabel: of the second.
    paths: each `[n, 2]`; of one point where it is no path.
    groups: for each path, such as its skill.
  """

  xlabel: str
  ylabel: str
  paths: Sequence[np.ndarray]
  groups: Sequence[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Film(Exhibit):
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
class Missing(Exhibit):
  """Something that could not be made; the caption says why, and what to do."""
