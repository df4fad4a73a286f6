"""Pictures of what was learned.

Each picture is drawn by a `draw_...` function, which returns a Matplotlib
figure and touches no global state, and written by `save`; `learning_curve` and
`skill_map` do both. The same numbers give the same file, byte for byte.

Needs the extra 'plots': pip install 'skill-discovery-suite[plots]'.
"""

from collections.abc import Mapping
import os
from typing import NamedTuple

from jaxtyping import Bool
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Num
import numpy as np

from skills import files

try:
  from matplotlib import axes as mpl_axes
  from matplotlib import collections
  from matplotlib import colorbar as mpl_colorbar
  from matplotlib import figure as mpl_figure
  from matplotlib import image as mpl_image
  from matplotlib import lines
  from matplotlib import patches
  from matplotlib import ticker
except ImportError as error:
  raise ImportError(
    "pictures need Matplotlib, which the extra 'plots' brings: "
    "pip install 'skill-discovery-suite[plots]'."
  ) from error

Colour = Float[np.ndarray, 'rgb=3']
Path = str | os.PathLike[str]

DOTS_PER_INCH = 150

INK = '#22262b'
FAINT_INK = '#6b7280'
WALL = '#565d66'
_UNUSED = '#f4f5f6'
_DOT = '#b6bcc4'
# Okabe and Ito's colours, less the yellow that is hard to see on white.
CURVE_COLOURS = (
  '#0072b2',
  '#d55e00',
  '#009e73',
  '#cc79a7',
  '#e69f00',
  '#56b4e9',
  '#000000',
)
# Colours repeat with another dash.
_DASHES = ('-', '--', '-.', ':')


def save(figure: mpl_figure.Figure, path: Path) -> None:
  """Writes a picture as PNG, atomically.

  Figures drawn here are known to no window or registry and need no closing.

  Args:
    figure: any.
    path: where to; its folder is made, a file that is there is replaced.
  """
  files.write(
    path,
    lambda unfinished: figure.savefig(
      unfinished,
      format='png',
      dpi=DOTS_PER_INCH,
      # Else the file would tell which Matplotlib wrote it.
      metadata={'Software': None},
    ),
  )


def draw_learning_curve(
  curves: Mapping[str, tuple[Num[np.ndarray, 'n'], Num[np.ndarray, '... n']]],
  *,
  xlabel: str,
  ylabel: str,
  num_skills: int | None = None,
  title: str,
) -> mpl_figure.Figure:
  """A quantity over the course of training.

  Args:
    curves: name -> steps and the value at each; no-numbers leave a gap. Where
      values are of several runs, `[runs, n]`, their mean is drawn in a band of
      two standard errors to either side.
    xlabel: what the steps are, with their unit.
    ylabel: what the values are, with their unit.
    num_skills: for numbers of skills, all there are: lines mark them and
      chance, which is 1. None draws no such lines.
    title: of the picture.

  Returns:
    The picture.

  Raises:
    ValueError: if there is no curve, or steps and values do not match.
  """
  if not curves:
    raise ValueError('curves must hold at least one curve, got none.')
  figure = mpl_figure.Figure(figsize=(7.0, 4.4), layout='constrained')
  axes = figure.add_subplot(label='curves')
  for i, (name, (steps, values)) in enumerate(curves.items()):
    steps, values = np.asarray(steps), np.asarray(values)
    if steps.ndim != 1 or steps.shape != values.shape[-1:] or values.ndim > 2:
      raise ValueError(
        f'curve {name!r} must have one value for each step, got shapes '
        f'{steps.shape} of steps and {values.shape} of values.'
      )
    colour = CURVE_COLOURS[i % len(CURVE_COLOURS)]
    if values.ndim == 2:
      runs, values = values, np.mean(values, axis=0)
      if len(runs) > 1:
        error = np.std(runs, axis=0, ddof=1) / len(runs) ** 0.5
        axes.fill_between(
          steps,
          values - 2 * error,
          values + 2 * error,
          color=colour,
          alpha=0.15,
          linewidth=0,
        )
    axes.plot(
      steps,
      values,
      label=name,
      color=colour,
      linestyle=_DASHES[i // len(CURVE_COLOURS) % len(_DASHES)],
      linewidth=2.0,
      # A line through one point cannot be seen.
      marker='o' if len(steps) == 1 else None,
    )
  if num_skills is not None:
    _mark_level(axes, 1.0, 'chance: 1')
    _mark_level(axes, num_skills, f'all: {num_skills}')
    axes.set_ylim(0.0, num_skills * 1.05)
  axes.set_title(title, loc='left', color=INK, fontweight='bold', fontsize=12)
  axes.set_xlabel(xlabel, color=INK)
  axes.set_ylabel(ylabel, color=INK)
  axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=''))
  axes.margins(x=0.02)
  axes.grid(color='#e5e7eb', linewidth=0.8)
  axes.set_axisbelow(True)
  axes.tick_params(colors=INK, length=0)
  for side, spine in axes.spines.items():
    spine.set_visible(side in ('left', 'bottom'))
    spine.set_color('#9ca3af')
  figure.legend(
    loc='outside lower center',
    ncols=min(len(curves), 3),
    frameon=False,
    labelcolor=INK,
  )
  return figure


def draw_skill_map(
  *,
  walls: Bool[np.ndarray, 'H W'],
  positions: Int[np.ndarray, 'S 2'],
  start: int,
  posterior: Num[np.ndarray, 'S K'],
  end_counts: Num[np.ndarray, 'K S'],
  disagreement: Num[np.ndarray, 'S'] | None,
  title: str,
  skills_learned: float | None = None,
) -> mpl_figure.Figure:
  """Where in a grid world each skill ends, and how sure its discriminators are.

  The large panel gives each cell the number and the colour of the skill that
  ends there most often, the paler the less probable the discriminators hold
  that skill to be there. The small panels show, for every cell, how much the
  discriminators disagree and how sure they are of the skill they name.

  Args:
    walls: whether each cell of the grid is a wall.
    positions: row and column of each state.
    start: the state in which skills start.
    posterior: mean probability q(z|s) that the discriminators give each skill.
    end_counts: how often each skill ended in each state.
    disagreement: of the discriminators in each state, in nats; None if there is
      but one.
    title: of the picture.
    skills_learned: number of skills that are told apart, for the caption.

  Returns:
    The picture.

  Raises:
    ValueError: if the numbers of states or skills do not match.
  """
  walls, positions = np.asarray(walls, bool), np.asarray(positions)
  posterior, end_counts = np.asarray(posterior), np.asarray(end_counts)
  num_states, num_skills = posterior.shape
  check_shape('positions', positions, (num_states, 2))
  check_shape('end_counts', end_counts, (num_skills, num_states))
  if disagreement is not None:
    disagreement = np.asarray(disagreement)
    check_shape('disagreement', disagreement, (num_states,))
  if not 0 <= start < num_states:
    raise ValueError(f'start must lie in [0, {num_states}), got {start}.')

  owner = ending_skill(end_counts, posterior)
  panels = [
    _Panel(
      'confidence',
      "Discriminator's best guess",
      'probability of that skill',
      'YlOrBr',
      posterior.max(axis=1),
      limit=1.0,
    )
  ]
  if disagreement is not None:
    panels.insert(
      0,
      _Panel(
        'disagreement',
        "Discriminators' disagreement",
        'disagreement [nats]',
        'Blues',
        disagreement,
        # Less than a hundredth is agreement: no colour for its traces.
        limit=max(float(disagreement.max()), 0.01),
      ),
    )
  caption = f'Skills end in {np.sum(owner >= 0)} of {num_states} cells'
  if skills_learned is not None:
    caption += f'; {skills_learned:.1f} of {num_skills} skills learned'

  layout = _Layout(*walls.shape)
  figure = mpl_figure.Figure(figsize=layout.size)
  figure.text(
    _MARGIN / layout.size[0],
    1.0 - 0.2 / layout.size[1],
    title,
    va='top',
    color=INK,
    fontweight='bold',
    fontsize=15,
  )
  axes = figure.add_axes(layout.main, label='skills')
  # Where no skill ends this reads the last one's; nobody looks there.
  confidence = posterior[np.arange(num_states), owner]
  _draw_skills(
    axes, walls, positions, owner, confidence, num_skills, layout.cell
  )
  _mark_start(axes, positions[start], layout.cell)
  axes.set_title('Skill that ends here most often', fontsize=12, color=INK)
  _draw_legend(axes, caption)
  for i, panel in enumerate(panels):
    place, place_of_scale = layout.side(i, len(panels))
    axes = figure.add_axes(place, label=panel.label)
    image = _draw_values(axes, walls, positions, panel)
    _mark_start(axes, positions[start], layout.cell / 2)
    axes.set_title(panel.title, fontsize=11, color=INK)
    _draw_scale(figure.add_axes(place_of_scale), image, panel.unit)
  return figure


def draw_skill_ends(
  *,
  paths: Num[np.ndarray, 'T_plus_1 n 2'],
  lengths: Int[np.ndarray, 'n'],
  skills: Int[np.ndarray, 'n'],
  labels: tuple[str, str],
  title: str,
  caption: str = '',
) -> mpl_figure.Figure:
  """Where skills go and end in a world of continuous positions.

  Each run of a skill is a faint line that ends in a dot. A skill's number
  stands at the median of its ends.

  Args:
    paths: two coordinates of each of n runs, over time; what stands after the
      end of one that was cut short is not drawn.
    lengths: steps of each.
    skills: the skill of each.
    labels: of the two coordinates.
    title: of the picture.
    caption: a line below it.

  Returns:
    The picture.

  Raises:
    ValueError: if there is nothing to draw, or the numbers of runs do not
      match.
  """
  paths, lengths = np.asarray(paths), np.asarray(lengths)
  skills = np.asarray(skills)
  if not len(skills) or paths.shape[1:] != (len(skills), 2):
    raise ValueError(
      'paths must hold two coordinates of at least one run, as many as skills, '
      f'got shapes {paths.shape} of paths and {skills.shape} of skills.'
    )
  check_shape('lengths', lengths, skills.shape)
  figure = mpl_figure.Figure(figsize=(6.4, 6.4), layout='constrained')
  axes = figure.add_subplot(label='skills')
  palette = _palette()
  # Neighbours on the circle of hues get numbers far apart.
  order = np.argsort((np.arange(len(palette)) * 7) % len(palette))
  ends = paths[lengths, np.arange(len(skills))]
  for skill in np.unique(skills):
    colour = palette[order[skill % len(palette)]]
    own = np.flatnonzero(skills == skill)
    axes.add_collection(
      collections.LineCollection(
        [paths[: lengths[run] + 1, run] for run in own],
        colors=[colour],
        linewidths=0.8,
        alpha=0.35,
      )
    )
    axes.plot(*ends[own].T, ls='', marker='o', ms=4.5, color=colour, mew=0)
    axes.annotate(
      str(skill),
      np.median(ends[own], axis=0),
      ha='center',
      va='center',
      color=INK,
      fontsize=10,
      fontweight='bold',
      bbox={'boxstyle': 'circle,pad=0.15', 'fc': 'white', 'ec': colour},
      zorder=5,
    )
  axes.autoscale_view()
  axes.set_title(title, loc='left', color=INK, fontweight='bold', fontsize=12)
  axes.set_xlabel('\n'.join(filter(None, (labels[0], caption))), color=INK)
  axes.set_ylabel(labels[1], color=INK)
  axes.set_aspect('equal', adjustable='datalim')
  axes.grid(color='#e5e7eb', linewidth=0.8)
  axes.set_axisbelow(True)
  axes.tick_params(colors=INK, length=0)
  for spine in axes.spines.values():
    spine.set_color('#9ca3af')
  return figure


def ending_skill(
  end_counts: Num[np.ndarray, 'K S'], posterior: Num[np.ndarray, 'S K']
) -> Int[np.ndarray, 'S']:
  """The skill that most often ends in each state; -1 where none does.

  Among equals the one that the discriminators hold for the most probable.

  Args:
    end_counts: how often each skill ended in each state.
    posterior: probability that the discriminators give each skill.
  """
  most = end_counts == end_counts.max(axis=0)
  owner = np.where(most, posterior.T, -1.0).argmax(axis=0)
  return np.where(end_counts.max(axis=0) > 0, owner, -1)


def skill_colours(
  owner: Int[np.ndarray, 'S'], positions: Int[np.ndarray, 'S 2']
) -> dict[int, Colour]:
  """Colours that differ between neighbours, also to the colour-blind.

  There can be more skills than colours that are told apart, so colours repeat,
  but not side by side if that can be helped. Skills are coloured in the order
  in which they appear on the map: each takes, of the colours that its
  neighbours let it have, the one used least, and of those the one that differs
  most from theirs.

  Args:
    owner: skill in each state; -1 for none.
    positions: row and column of each state.

  Returns:
    Red, green and blue in [0, 1] of each skill on the map.
  """
  distance = np.abs(positions[:, None] - positions[None]).max(axis=-1)
  palette = _palette()
  differences = _differences(palette)
  uses = np.zeros(len(palette), int)
  chosen: dict[int, int] = {}
  for skill in owner:
    skill = int(skill)
    if skill < 0 or skill in chosen:
      continue
    near = (distance[owner == skill] <= 1).any(axis=0)
    taken = [chosen[k] for k in set(owner[near].tolist()) if k in chosen]
    room = differences[:, taken].min(axis=1, initial=1.0)
    allowed = room >= min(_LOOKS_ALIKE, room.max())
    least = allowed & (uses == uses[allowed].min())
    chosen[skill] = int(np.where(least, room, -1.0).argmax())
    uses[chosen[skill]] += 1
  return {skill: palette[colour] for skill, colour in chosen.items()}


# In Oklab's units, in which white is 1 away from black; for small cells.
_LOOKS_ALIKE = 0.1

# Ottosson's Oklab (2020), in which distances are as large as they look.
_LMS_OF_RGB = np.array(
  [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
  ]
)
_LAB_OF_LMS = np.array(
  [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
  ]
)
# How linear RGB looks without green and without red cones (Machado, Oliveira
# and Fernandes, 2009).
_DEUTERANOPIA = np.array(
  [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.011820, 0.042940, 0.968881],
  ]
)
_PROTANOPIA = np.array(
  [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ]
)


def _palette() -> Float[np.ndarray, 'colours rgb=3']:
  """Hues around the circle, alternately light and dark."""
  hue = np.arange(24) * np.pi / 12
  lightness = np.where(np.arange(24) % 2, 0.62, 0.82)
  chroma = np.where(np.arange(24) % 2, 0.15, 0.12)
  lab = np.stack(
    [lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=-1
  )
  lms = (lab @ np.linalg.inv(_LAB_OF_LMS).T) ** 3
  return _gamma(lms @ np.linalg.inv(_LMS_OF_RGB).T)


def _differences(
  colours: Float[np.ndarray, 'colours rgb=3'],
) -> Float[np.ndarray, 'colours colours']:
  """How far apart colours look, to whichever eye tells them apart the least."""
  apart = []
  for seen in (np.eye(3), _DEUTERANOPIA, _PROTANOPIA):
    linear = np.clip(_linear(colours) @ seen.T, 0.0, 1.0)
    lab = np.cbrt(linear @ _LMS_OF_RGB.T) @ _LAB_OF_LMS.T
    apart.append(np.linalg.norm(lab[:, None] - lab[None], axis=-1))
  return np.min(apart, axis=0)


def _linear(
  rgb: Float[np.ndarray, '*batch rgb=3'],
) -> Float[np.ndarray, '*batch rgb=3']:
  """Light that a screen emits for a colour of the sRGB standard."""
  return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _gamma(
  linear: Float[np.ndarray, '*batch rgb=3'],
) -> Float[np.ndarray, '*batch rgb=3']:
  """The inverse of `_linear`, within what a screen can show."""
  linear = np.clip(linear, 0.0, 1.0)
  return np.where(
    linear <= 0.0031308,
    12.92 * linear,
    1.055 * linear ** (1 / 2.4) - 0.055,
  )


class _Panel(NamedTuple):
  """One number for each state.

  Attributes:
    label: what code calls the panel.
    title: what readers do.
    unit: of the values.
    cmap: Matplotlib's name of the colours, from pale for 0 to dark.
    values: the numbers, at least 0.
    limit: the number that has the darkest colour.
  """

  label: str
  title: str
  unit: str
  cmap: str
  values: Num[np.ndarray, 'S']
  limit: float


_Place = tuple[float, float, float, float]
_MARGIN = 0.3
# Above the panels: room for both titles.
_TOP = 0.95
# Between the panels: room for a title.
_GAP = 0.5


class _Layout(NamedTuple):
  """Where the panels of a map of skills lie; lengths in inches.

  A place is the left, bottom, width and height of axes, as fractions of the
  figure's. With places given and not negotiated, maps of the same grid lie
  exactly over each other.

  Attributes:
    rows: height of the grid, in cells.
    columns: width of the grid, in cells.
  """

  rows: int
  columns: int

  @property
  def cell(self) -> float:
    """Side of a cell on the large map."""
    return min(5.8 / self.rows, 9.0 / self.columns)

  @property
  def _side_cell(self) -> float:
    """Side of a cell on the small ones: two and the gap fill the height."""
    return max((self.cell * self.rows - _GAP) / 2, 0.8) / self.rows

  @property
  def _height(self) -> float:
    return max(self.cell * self.rows, 2 * self._side_cell * self.rows + _GAP)

  @property
  def _main_width(self) -> float:
    # The caption must fit below.
    return max(self.cell * self.columns, 4.5)

  @property
  def size(self) -> tuple[float, float]:
    """Width and height of the figure."""
    side_width = max(self._side_cell * self.columns, 2.2)
    width = _MARGIN + self._main_width + 0.55 + side_width + 1.0
    return width, _TOP + self._height + 1.0

  @property
  def main(self) -> _Place:
    """Place of the large map."""
    width, height = self.cell * self.columns, self.cell * self.rows
    left = _MARGIN + (self._main_width - width) / 2
    return self._place(left, _TOP, width, height)

  def side(self, index: int, number: int) -> tuple[_Place, _Place]:
    """Places of one of `number` small maps, from above, and of its scale."""
    width = self._side_cell * self.columns
    height = self._side_cell * self.rows
    left = _MARGIN + self._main_width + 0.55
    # One alone stands in the middle.
    top = _TOP + (self._height - number * height - (number - 1) * _GAP) / 2
    top += index * (height + _GAP)
    return (
      self._place(left, top, width, height),
      self._place(left + width + 0.12, top, 0.15, height),
    )

  def _place(
    self, left: float, top: float, width: float, height: float
  ) -> _Place:
    total_width, total_height = self.size
    return (
      left / total_width,
      1.0 - (top + height) / total_height,
      width / total_width,
      height / total_height,
    )


def _draw_skills(
  axes: mpl_axes.Axes,
  walls: Bool[np.ndarray, 'H W'],
  positions: Int[np.ndarray, 'S 2'],
  owner: Int[np.ndarray, 'S'],
  confidence: Num[np.ndarray, 'S'],
  num_skills: int,
  cell: float,
) -> None:
  """Colours and numbers; a dot where no skill ends.

  Args:
    axes: to draw on.
    walls: whether each cell is a wall.
    positions: row and column of each state.
    owner: skill in each state; -1 for none.
    confidence: the discriminators' in that skill.
    num_skills: of which the longest number must fit into a cell.
    cell: side of a cell in inches.
  """
  digits = len(str(num_skills - 1))
  # A bold digit is 0.7 as wide as the font is high.
  font_size = 72.0 * cell * min(0.42, 0.85 / (0.7 * digits))
  image = np.empty(walls.shape + (3,))
  image[:] = _rgb(_UNUSED)
  image[walls] = _rgb(WALL)
  colours = skill_colours(owner, positions)
  for state, (row, column) in enumerate(positions):
    skill = int(owner[state])
    if skill < 0:
      axes.plot(
        column,
        row,
        marker='o',
        markersize=72.0 * cell * 0.08,
        color=_DOT,
        gid=f'no skill ends in state {state}',
      )
      continue
    # Never so pale that it could be taken for a cell without a skill.
    strength = 0.15 + 0.85 * float(np.clip(confidence[state], 0.0, 1.0))
    colour = strength * colours[skill] + (1.0 - strength)
    image[row, column] = colour
    axes.text(
      column,
      row,
      str(skill),
      ha='center',
      va='center_baseline',
      fontsize=font_size,
      fontweight='bold',
      color=_ink_on(colour),
      gid=f'state {state}',
    )
  axes.imshow(image, interpolation='nearest')
  finish_grid(axes, walls.shape, positions, linewidth=1.5)


def _draw_values(
  axes: mpl_axes.Axes,
  walls: Bool[np.ndarray, 'H W'],
  positions: Int[np.ndarray, 'S 2'],
  panel: _Panel,
) -> mpl_image.AxesImage:
  """Each state's number as a colour."""
  image = np.full(walls.shape, np.nan)
  image[tuple(positions.T)] = panel.values
  # What is no number is not drawn: walls are what shows through.
  axes.set_facecolor(WALL)
  shown = axes.imshow(
    image,
    interpolation='nearest',
    cmap=panel.cmap,
    vmin=0.0,
    vmax=panel.limit,
  )
  finish_grid(axes, walls.shape, positions, linewidth=0.75)
  return shown


def _draw_scale(
  axes: mpl_axes.Axes, image: mpl_image.AxesImage, unit: str
) -> None:
  """What the colours of a panel mean."""
  bar = mpl_colorbar.Colorbar(axes, image)
  bar.set_label(unit, color=INK, fontsize=10)
  axes.tick_params(colors=INK, length=0, labelsize=9)
  axes.spines['outline'].set_visible(False)


def _draw_legend(axes: mpl_axes.Axes, caption: str) -> None:
  """The caption and what the signs mean, below the panel."""
  axes.set_xlabel(caption, color=INK, fontsize=12, labelpad=8)
  pale = patches.Patch(facecolor='#e3edf7', label='pale: discriminator unsure')
  axes.legend(
    handles=[
      patches.Patch(facecolor='white', edgecolor=INK, lw=2, label='start'),
      lines.Line2D(
        [], [], ls='', marker='o', color=_DOT, label='no skill ends here'
      ),
      pale,
    ],
    loc='upper center',
    bbox_to_anchor=(0.5, -0.07),
    ncols=3,
    frameon=False,
    fontsize=10,
    labelcolor=INK,
    columnspacing=1.4,
    handlelength=1.4,
  )


def _mark_start(
  axes: mpl_axes.Axes, position: Int[np.ndarray, '2'], cell: float
) -> None:
  """A frame inside the cell in which skills start."""
  row, column = position
  axes.add_patch(
    patches.Rectangle(
      (column - 0.43, row - 0.43),
      0.86,
      0.86,
      fill=False,
      edgecolor=INK,
      linewidth=72.0 * cell * 0.09,
      gid='start',
    )
  )


def finish_grid(
  axes: mpl_axes.Axes,
  shape: tuple[int, ...],
  positions: Int[np.ndarray, 'S 2'],
  linewidth: float,
) -> None:
  """White lines around free cells, and neither ticks nor frame."""
  axes.add_collection(
    collections.PatchCollection(
      [
        patches.Rectangle((column - 0.5, row - 0.5), 1.0, 1.0)
        for row, column in positions
      ],
      facecolor='none',
      edgecolor='white',
      linewidth=linewidth,
    )
  )
  height, width = shape
  axes.set(
    xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5)
  )
  for spine in axes.spines.values():
    spine.set_visible(False)


def _mark_level(axes: mpl_axes.Axes, level: float, label: str) -> None:
  """A dashed line across, with its meaning beyond its right end."""
  axes.axhline(level, color=FAINT_INK, linestyle=(0, (4, 3)), linewidth=1.2)
  axes.annotate(
    label,
    (1.0, level),
    xycoords=('axes fraction', 'data'),
    xytext=(5, 0),
    textcoords='offset points',
    va='center',
    color=FAINT_INK,
    fontsize=9,
  )


def _ink_on(background: Colour) -> str:
  """Black or white, whichever stands out more (contrast ratio of WCAG 2)."""
  luminance = float(_linear(background) @ np.array([0.2126, 0.7152, 0.0722]))
  return INK if (luminance + 0.05) ** 2 > 0.05 * 1.05 else 'white'


def _rgb(hexadecimal: str) -> Colour:
  """Red, green and blue in [0, 1] of '#rrggbb'."""
  return np.array([int(hexadecimal[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0


def check_shape(
  name: str, array: np.ndarray, expected: tuple[int, ...]
) -> None:
  """Refuses arrays that belong to another world or number of skills."""
  if array.shape != expected:
    raise ValueError(
      f'{name} must have shape {expected} to go with the rest, '
      f'got {array.shape}.'
    )
