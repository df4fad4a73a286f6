"""Charts of figure values, drawn by Matplotlib.

`figure` draws a value, `save` writes the drawing to a PNG file, and `to_svg`
gives an element for an HTML page. Equal values give equal bytes. Matplotlib's
pyplot and its registry of open figures are not used, so nothing needs to be
closed.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import io
import math
import re
import textwrap
from typing import Any

from jaxtyping import Float
from jaxtyping import Shaped
import matplotlib
from matplotlib import axes as mpl_axes
from matplotlib import collections
from matplotlib import colors
from matplotlib import figure as mpl_figure
from matplotlib import patches
from matplotlib import ticker
import numpy as np

from skills import files
from skills.evaluation.figures import figure_types

Chart = figure_types.Curves | figure_types.Map | figure_types.Points

DOTS_PER_INCH = 200
INK = '#22262b'
FAINT_INK = '#5b6470'
WALL = '#565d66'
# The seven colors of Okabe and Ito without their yellow, which is hard to see
# on white.
CURVE_COLORS = (
  '#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000',
)  # fmt: skip
# Hues around the circle, alternately light and dark; consecutive groups are far
# apart.
GROUP_COLORS = (
  '#ffa3c1', '#958900', '#50d9ef', '#a867c3', '#fdb171', '#00a16f',
  '#a6c0ff', '#d05a69', '#bad074', '#0096c9', '#f0a7e9', '#b97600',
  '#5addc7', '#7f76dc', '#ffa696', '#5c9932', '#76ceff', '#c35c9b',
  '#e2c162', '#00a0a2', '#d0b2ff', '#cd632d', '#89da9b', '#4087de',
)  # fmt: skip
GRID_COLOR = '#e5e7eb'
FRAME_COLOR = '#9ca3af'
_NO_GROUP = '#f4f5f6'
_DOT = '#b6bcc4'
_DASHES = ('-', '--', '-.', ':')
_MARKERS = 'osD^vP*X'

# Ids of glyphs in SVG.
_GLYPH = r'DejaVu[\w-]+'

_FONT = 9
_SMALL_FONT = 8
# Side of a map, in inches.
_SIDE = 3.4
# Curves with at most so many points show each of them.
_FEW_POINTS = 40
# Characters that fit beside an axis of curves.
_LABEL_WIDTH = 36
# Larger maps have no text, and no lines between their cells.
MAX_CELLS_WITH_TEXT = 1800
_MAX_FRAMED = 400
# Negative values so small beside the positive ones are rounding errors.
_ROUNDING = 1e-3
# Maps whose values are all smaller than this look empty.
_SMALLEST_LIMIT = 0.01
# Groups that a legend can name.
_MAX_NAMED = 28


def figure(
  value: Chart,
  *,
  beside: Sequence[figure_types.Map] = (),
  title: str = '',
  caption: str = '',
) -> mpl_figure.Figure:
  """Draws a value.

  Args:
    value: curves, a map or points.
    beside: maps that are drawn smaller at its right, one below the other.
    title: above the picture; a page has its own heading, and needs none.
    caption: below the picture.

  Raises:
    ValueError: if there is nothing to draw, or arrays do not match.
  """
  height = 3.0 if isinstance(value, figure_types.Curves) else 4.2
  width = 7.0 if beside else 4.6
  drawn = mpl_figure.Figure(
    figsize=(width, height + (0.8 if beside else 0.0)), layout='constrained'
  )
  if title:
    drawn.suptitle(
      title, x=0.01, ha='left', color=INK, fontweight='bold', fontsize=11
    )
  if caption:
    drawn.supxlabel(
      textwrap.fill(caption, round(17 * width)), color=INK, fontsize=_FONT
    )
  if not beside:
    _draw(drawn.add_subplot(label='chart'), value)
    return drawn
  grid = drawn.add_gridspec(len(beside), 2, width_ratios=(2.0, 1.0))
  panels: list[tuple[Any, Chart]] = [(grid[:, 0], value)]
  panels += [(grid[i, 1], each) for i, each in enumerate(beside)]
  for place, each in panels:
    axes = drawn.add_subplot(place, label=each.title)
    _draw(axes, each, _SIDE if each is value else 0.42 * _SIDE)
    axes.set_title(each.title, fontsize=_FONT, color=INK)
  return drawn


def save(drawn: mpl_figure.Figure, path: files.Path) -> None:
  """Writes a Matplotlib figure to a PNG file, complete or not at all."""
  content = io.BytesIO()
  drawn.savefig(
    content,
    format='png',
    dpi=DOTS_PER_INCH,
    # The file would name the version of Matplotlib otherwise.
    metadata={'Software': None},
  )
  files.write_bytes(path, content.getvalue())


def to_svg(value: Chart, prefix: str) -> str:
  """Draws a value as an SVG element for an HTML page.

  Text is drawn as paths, which look the same with every font. Styles are
  attributes, which a content security policy does not have to allow.

  Args:
    value: curves, a map or points.
    prefix: of all ids in it but those of glyphs, which `share_glyphs` keeps
      unique; different for each element of a page.
  """
  content = io.StringIO()
  with matplotlib.rc_context({'svg.hashsalt': '', 'svg.fonttype': 'path'}):
    figure(value).savefig(content, format='svg', metadata={'Date': None})
  text = content.getvalue()
  text = text[text.index('<svg') :]
  text = re.sub(r'<metadata>.*?</metadata>', '', text, flags=re.DOTALL)
  text = re.sub(r'<style.*?</style>', '', text, flags=re.DOTALL)
  text = re.sub(r'<!--.*?-->', '', text, flags=re.DOTALL)
  text = re.sub(r'\sstyle="([^"]*)"', _as_attributes, text)
  # A hundredth of a point cannot be seen.
  text = re.sub(
    r'(?<=[ "])-?\d+\.\d{3,}',
    lambda number: f'{float(number[0]):.2f}'.rstrip('0').rstrip('.'),
    text,
  )
  # Ids that nothing refers to are left out.
  used = set(re.findall(r'(?:url\(|href=")#([^")]+)', text))
  text = re.sub(
    r'\sid="([^"]*)"',
    lambda id_: id_[0] if id_[1] in used else '',
    text,
  )
  text = re.sub(rf'(\sid="|url\(#|href="#)(?!{_GLYPH}")', rf'\1{prefix}-', text)
  text = re.sub(r'\s*\n\s*', '\n', text)
  [(width, height)] = re.findall(r'viewBox="0 0 (\S+) (\S+)"', text)
  return re.sub(
    r'<svg[^>]*>',
    '<svg xmlns="http://www.w3.org/2000/svg" '
    'xmlns:xlink="http://www.w3.org/1999/xlink" '
    f'viewBox="0 0 {width} {height}" aria-hidden="true" '
    'stroke-linejoin="round">',
    text,
    count=1,
  )


def _as_attributes(style: re.Match[str]) -> str:
  """Declarations of a style attribute as attributes of their own."""
  # The last declaration of a property counts.
  declarations = dict(
    declaration.split(':', 1)
    for declaration in style[1].split(';')
    if ':' in declaration
  )
  return ''.join(
    f' {name.strip()}="{value.strip()}"' for name, value in declarations.items()
  )


def share_glyphs(page: str) -> str:
  """Removes the repeated definitions of glyphs from a page with many charts.

  Args:
    page: HTML with elements of `to_svg`, whose glyphs have the same ids.
  """
  seen: set[str] = set()

  def first_only(glyph: re.Match[str]) -> str:
    is_new = glyph[1] not in seen
    seen.add(glyph[1])
    return glyph[0] if is_new else ''

  return re.sub(rf'<path id="({_GLYPH})"[^>]*/>', first_only, page)


def _draw(axes: mpl_axes.Axes, value: Chart, side: float = _SIDE) -> None:
  """Draws a value; the sides of a map are about `side` inches."""
  if isinstance(value, figure_types.Curves):
    _draw_curves(axes, value)
  elif isinstance(value, figure_types.Map):
    _draw_map(axes, value, side)
  else:
    _draw_points(axes, value)


# Curves.


def _draw_curves(axes: mpl_axes.Axes, curves: figure_types.Curves) -> None:
  """Lines, the band and the thin lines around each, and reference lines."""
  if not curves.lines:
    raise ValueError('lines must hold at least one curve, got none.')
  for i, (name, (x, y)) in enumerate(curves.lines.items()):
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 1 or x.shape != y.shape:
      raise ValueError(
        f'curve {name!r} must have one value for each step, got shapes '
        f'{x.shape} of steps and {y.shape} of values.'
      )
    color = CURVE_COLORS[i % len(CURVE_COLORS)]
    if name in curves.bands:
      axes.fill_between(
        x, *curves.bands[name], color=color, alpha=0.2, linewidth=0
      )
    for part in curves.parts.get(name, ()):
      axes.plot(*part, color=color, alpha=0.4, linewidth=0.7)
    num_dashes = len(_DASHES)
    # Few curves differ in both, many in one of the two.
    dash = i if len(curves.lines) <= num_dashes else i // len(CURVE_COLORS)
    axes.plot(
      x,
      y,
      label=name,
      color=color,
      linestyle=_DASHES[dash % num_dashes],
      linewidth=1.6,
      marker=_MARKERS[i % len(_MARKERS)] if len(x) <= _FEW_POINTS else None,
      markersize=3.0,
    )
  for name, level in curves.levels.items():
    axes.axhline(level, color=FAINT_INK, linestyle=(0, (4, 3)), linewidth=1.0)
    axes.annotate(
      name,
      (1.0, level),
      xycoords=('axes fraction', 'data'),
      xytext=(4, 0),
      textcoords='offset points',
      va='center',
      color=FAINT_INK,
      fontsize=_SMALL_FONT,
    )
  if curves.levels and axes.dataLim.y0 >= 0:
    axes.set_ylim(bottom=0.0)
  axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=''))
  axes.xaxis.set_major_locator(ticker.MaxNLocator(6))
  axes.margins(x=0.02)
  _finish(axes, curves.xlabel, curves.ylabel)
  if len(curves.lines) > 1:
    _add_legend(axes, list(curves.lines))


# Maps.


def _draw_map(
  axes: mpl_axes.Axes, shown: figure_types.Map, side: float
) -> None:
  """Cells in colors, their text, and the frame of the marked one."""
  values = np.asarray(shown.values, float)
  for name, array in (('text', shown.text), ('groups', shown.groups)):
    if array is not None and np.shape(array) != values.shape:
      raise ValueError(
        f'{name} must have shape {values.shape} as values have, got '
        f'{np.shape(array)}.'
      )
  is_small = values.size <= MAX_CELLS_WITH_TEXT
  if shown.groups is None:
    cells = _draw_values(axes, shown, values)
  else:
    cells = _group_colors(np.asarray(shown.groups), values)
    axes.imshow(cells, interpolation='none')
    for row, column in np.argwhere(
      np.isfinite(values) & (np.asarray(shown.groups) < 0)
    ):
      axes.plot(column, row, marker='o', markersize=3, color=_DOT)
  if is_small:
    if values.size <= _MAX_FRAMED:
      frame_cells(axes, values, linewidth=0.8)
    if shown.text is not None:
      _draw_text(axes, np.asarray(shown.text), cells, side)
  if shown.marked is not None:
    row, column = shown.marked
    axes.add_patch(
      patches.Rectangle(
        (column - 0.43, row - 0.43),
        0.86,
        0.86,
        fill=False,
        edgecolor=INK,
        linewidth=1.8,
        gid='marked',
      )
    )
  for axis in (axes.xaxis, axes.yaxis):
    axis.set_major_locator(ticker.MaxNLocator(6, integer=True))
  _finish(axes, shown.xlabel, shown.ylabel)
  axes.grid(visible=False)
  for spine in axes.spines.values():
    spine.set_visible(False)
  if not (shown.xlabel or shown.ylabel):
    axes.set(xticks=[], yticks=[])


def _draw_values(
  axes: mpl_axes.Axes,
  shown: figure_types.Map,
  values: Float[np.ndarray, 'H W'],
) -> Float[np.ndarray, 'H W 4']:
  """Values as colors, with their scale; the colors of the cells."""
  known = values[np.isfinite(values)]
  low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
  # Zero is pale in all scales.
  name, low_end, high_end = 'Blues', min(low, 0.0), max(high, 0.0)
  if low < -_ROUNDING * high < 0:
    name, high_end = 'RdBu', max(-low, high)
    low_end = -high_end
  elif high <= 0 and low < 0:
    name = 'Blues_r'
  elif high_end < _SMALLEST_LIMIT:
    high_end = _SMALLEST_LIMIT
  # Walls have no value: the background is what shows there.
  if known.size < values.size:
    axes.set_facecolor(WALL)
  image = axes.imshow(
    values, interpolation='none', cmap=name, vmin=low_end, vmax=high_end
  )
  drawn = axes.get_figure()
  assert drawn is not None
  bar = drawn.colorbar(image, ax=axes, shrink=0.9, aspect=30, pad=0.02)
  bar.set_label(shown.unit, color=INK, fontsize=_SMALL_FONT)
  bar.ax.tick_params(colors=INK, length=0, labelsize=_SMALL_FONT)
  bar.ax.spines['outline'].set_visible(False)
  return image.to_rgba(values)


def _group_colors(
  groups: Shaped[np.ndarray, 'H W'], values: Float[np.ndarray, 'H W']
) -> Float[np.ndarray, 'H W 4']:
  """Color of each cell's group, the paler the smaller its value in [0, 1]."""
  palette = np.array([colors.to_rgba(color) for color in GROUP_COLORS])
  # Never so pale that a cell looks as if it had no group.
  strength = 0.15 + 0.85 * np.clip(np.nan_to_num(values), 0.0, 1.0)[..., None]
  cells = strength * palette[groups % len(palette)] + (1.0 - strength)
  cells[groups < 0] = colors.to_rgba(_NO_GROUP)
  cells[~np.isfinite(values)] = colors.to_rgba(WALL)
  return cells


def frame_cells(
  axes: mpl_axes.Axes, values: Float[np.ndarray, 'H W'], *, linewidth: float
) -> None:
  """White lines around the cells that have a value.

  Args:
    axes: of a map.
    values: NaN where there is no cell.
    linewidth: in points.
  """
  axes.add_collection(
    collections.PatchCollection(
      [
        patches.Rectangle((column - 0.5, row - 0.5), 1.0, 1.0)
        for row, column in np.argwhere(np.isfinite(values))
      ],
      facecolor='none',
      edgecolor='white',
      linewidth=linewidth,
    )
  )


def _draw_text(
  axes: mpl_axes.Axes,
  text: Shaped[np.ndarray, 'H W'],
  cells: Float[np.ndarray, 'H W 4'],
  side: float,
) -> None:
  """The text of each cell, as large as all cells have room for."""
  longest = max((len(each) for each in text.flat), default=1)
  height, width = text.shape
  cell = 72.0 * side / max(height, width)
  # A bold digit is 0.7 as wide as the font is high.
  size = min(cell * 0.45, cell * 0.85 / (0.7 * max(longest, 1)), 14.0)
  for row, column in np.argwhere(text != ''):
    color = cells[row, column]
    has_value = color[3] > 0
    is_light = has_value and color[:3] @ (0.299, 0.587, 0.114) > 0.5
    axes.text(
      column,
      row,
      str(text[row, column]),
      ha='center',
      va='center_baseline',
      # Cells without a value have more room: their neighbors are empty too.
      fontsize=size if has_value else max(size, 6.0),
      fontweight='bold',
      color=INK if is_light else 'white',
    )


# Points.


def _draw_points(axes: mpl_axes.Axes, points: figure_types.Points) -> None:
  """Paths that end in a mark, in the color of their group."""
  if not points.paths or len(points.paths) != len(points.groups):
    raise ValueError(
      'paths must hold at least one path, and one for each of groups, got '
      f'{len(points.paths)} and {len(points.groups)}.'
    )
  for path in points.paths:
    if np.ndim(path) != 2 or np.shape(path)[1] != 2:
      raise ValueError(
        f'paths must hold two coordinates each, got shape {np.shape(path)}.'
      )
  groups = list(dict.fromkeys(points.groups))
  palette = CURVE_COLORS
  # Numbers stand at the ends of their group; names need a legend.
  is_numbered = all(group.isdecimal() for group in groups)
  if is_numbered:
    palette = GROUP_COLORS
  for i, group in enumerate(groups):
    own = [
      np.asarray(path)
      for path, of_path in zip(points.paths, points.groups, strict=True)
      if of_path == group and len(path)
    ]
    index = int(group) if is_numbered else i
    color = palette[index % len(palette)]
    axes.add_collection(
      collections.LineCollection(
        [path for path in own if len(path) > 1],
        colors=[color],
        linewidths=0.8,
        alpha=0.5,
      )
    )
    ends = np.array([path[-1] for path in own]).reshape(-1, 2)
    axes.plot(
      *ends.T,
      linestyle='',
      marker='o' if is_numbered else _MARKERS[i % len(_MARKERS)],
      markersize=4.5,
      color=color,
      markeredgewidth=0,
      alpha=0.85,
      label=textwrap.fill(group, 60),
      clip_on=False,
    )
    if is_numbered and len(groups) > 1 and len(ends):
      _write_number(axes, group, np.median(ends, axis=0), color)
    if points.show_means and len(ends) > 1:
      axes.plot(
        *ends.mean(axis=0), marker='+', ms=14, mew=2, color=color, gid='mean'
      )
  _draw_verticals(axes, points.levels)
  axes.autoscale_view()
  axes.margins(0.08)
  _finish(axes, points.xlabel, points.ylabel)
  if points.is_plane:
    axes.set_aspect('equal', adjustable='datalim')
  elif all(np.min(path[:, 1], initial=0.0) >= 0 for path in points.paths):
    axes.set_ylim(bottom=0.0)
  if not is_numbered and 1 < len(groups) <= _MAX_NAMED:
    _add_legend(axes, groups)


def _write_number(
  axes: mpl_axes.Axes,
  number: str,
  place: Float[np.ndarray, '2'],
  color: str,
) -> None:
  axes.annotate(
    number,
    (float(place[0]), float(place[1])),
    ha='center',
    va='center',
    color=INK,
    fontsize=_SMALL_FONT,
    fontweight='bold',
    bbox={'boxstyle': 'circle,pad=0.15', 'fc': 'white', 'ec': color},
    zorder=5,
  )


def _draw_verticals(axes: mpl_axes.Axes, levels: Mapping[str, float]) -> None:
  """Dashed lines, with their meaning at their upper end."""
  for name, level in levels.items():
    axes.axvline(level, color=FAINT_INK, linestyle=(0, (4, 3)), linewidth=1.0)
    axes.annotate(
      name,
      (level, 1.0),
      xycoords=('data', 'axes fraction'),
      xytext=(-3, -4),
      textcoords='offset points',
      rotation=90,
      ha='right',
      va='top',
      color=FAINT_INK,
      fontsize=_SMALL_FONT,
    )


# What charts share.


def _finish(axes: mpl_axes.Axes, xlabel: str, ylabel: str) -> None:
  """Labels and an unobtrusive frame."""
  axes.set_xlabel(xlabel, color=INK, fontsize=_FONT)
  axes.set_ylabel(
    textwrap.fill(ylabel, _LABEL_WIDTH), color=INK, fontsize=_FONT
  )
  axes.grid(color=GRID_COLOR, linewidth=0.8)
  axes.set_axisbelow(True)
  axes.tick_params(colors=INK, length=0, labelsize=_SMALL_FONT)
  for side, spine in axes.spines.items():
    spine.set_visible(side in ('left', 'bottom'))
    spine.set_color(FRAME_COLOR)


def _add_legend(axes: mpl_axes.Axes, names: Sequence[str]) -> None:
  """Names below the chart, in as many columns as they have room for."""
  longest = max(map(len, names))
  drawn = axes.get_figure()
  assert drawn is not None
  drawn.legend(
    loc='outside lower center',
    ncols=max(1, min(len(names), math.floor(70 / (longest + 6)))),
    frameon=False,
    labelcolor=INK,
    fontsize=_SMALL_FONT,
  )
