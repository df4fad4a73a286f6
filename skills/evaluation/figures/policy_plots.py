"""Pictures of a set of policies: what each does, and how good and diverse.

A function `draw_...` gives a Matplotlib figure, and `draw.save` writes it.
"""

from collections.abc import Sequence
import io
import math
from typing import Any

from jaxtyping import Bool
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Num
from matplotlib import axes as mpl_axes
from matplotlib import colorbar as mpl_colorbar
from matplotlib import colors as mpl_colors
from matplotlib import figure as mpl_figure
from matplotlib import layout_engine
from matplotlib import ticker
import numpy as np
from PIL import Image
from PIL import ImageDraw

from skills import files
from skills.evaluation.figures import draw

# More bars than these cannot be read.
MAX_FEATURES = 24
_COLUMNS = 5


def draw_features(
  features: Float[np.ndarray, 'K D'],
  names: Sequence[str],
  *,
  labels: Sequence[str],
  title: str,
) -> mpl_figure.Figure:
  """A panel of bars for each policy: its expected features.

  Of many features those are drawn in which the policies differ the most.

  Args:
    features: psi of each policy, all in one unit.
    names: of the features.
    labels: above the panels.
    title: of the picture.

  Returns:
    The picture.

  Raises:
    ValueError: if numbers of names or labels do not match.
  """
  features = np.asarray(features, np.float64)
  num_policies, num_features = features.shape
  _check_count('names', names, num_features)
  _check_count('labels', labels, num_policies)
  spread = np.std(features, axis=0)
  shown = np.sort(np.argsort(-spread, kind='stable')[:MAX_FEATURES])
  columns = min(_COLUMNS, num_policies)
  rows = math.ceil(num_policies / columns)
  panel_height = 0.75 + 0.19 * len(shown)
  figure = mpl_figure.Figure(
    figsize=(2.2 + 1.75 * columns, 0.9 + panel_height * rows),
    layout='constrained',
  )
  figure.suptitle(
    title, x=0.01, ha='left', color=draw.INK, fontweight='bold', fontsize=12
  )
  limit = 1.08 * max(float(np.abs(features[:, shown]).max()), 1e-12)
  low = -limit if (features[:, shown] < 0).any() else 0.0
  panels = figure.subplots(rows, columns, squeeze=False, sharex=True)
  places = np.arange(len(shown))
  for i, axes in enumerate(panels.flat):
    if i >= num_policies:
      axes.set_visible(False)
      continue
    axes.set_label(f'policy {i}')
    axes.barh(
      places,
      features[i, shown],
      height=0.72,
      color=draw.CURVE_COLORS[i % len(draw.CURVE_COLORS)],
    )
    axes.axvline(0.0, color=draw.INK, linewidth=0.8)
    axes.set(xlim=(low, limit), ylim=(len(shown) - 0.4, -0.6), yticks=places)
    is_left = i % columns == 0
    axes.set_yticklabels(
      [names[k] for k in shown] if is_left else [], fontsize=8
    )
    axes.set_title(labels[i], fontsize=9, color=draw.INK)
    axes.grid(axis='x', color=draw.GRID_COLOR, linewidth=0.8)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(4))
    axes.tick_params(axis='x', labelsize=8, labelbottom=True)
    _finish(axes)
  caption = 'mean over the states that the policy visits'
  if len(shown) < num_features:
    caption += (
      f'; {len(shown)} of {num_features} features, those that differ most'
    )
  figure.supxlabel(caption, color=draw.FAINT_INK, fontsize=9)
  return figure


def draw_occupancies(
  occupancies: Float[np.ndarray, 'K S'],
  *,
  walls: Bool[np.ndarray, 'H W'],
  positions: Int[np.ndarray, 'S 2'],
  start: int | None,
  labels: Sequence[str],
  title: str,
) -> mpl_figure.Figure:
  """A map of a grid world for each policy: how often it is where.

  Args:
    occupancies: fractions of each policy's steps that are spent in each state.
    walls: whether each cell of the grid is a wall.
    positions: row and column of each state.
    start: the state in which episodes begin, which is framed; None for many.
    labels: above the panels.
    title: of the picture.

  Returns:
    The picture. One scale of colors is for all; it follows the square root of
    the fractions, so that places on the way are seen beside those where the
    policy stays.

  Raises:
    ValueError: if numbers of states or labels do not match.
  """
  occupancies = np.asarray(occupancies, np.float64)
  walls, positions = np.asarray(walls, bool), np.asarray(positions)
  num_policies, num_states = occupancies.shape
  if positions.shape != (num_states, 2):
    raise ValueError(
      f'positions must have shape {(num_states, 2)} to go with occupancies, '
      f'got {positions.shape}.'
    )
  _check_count('labels', labels, num_policies)
  columns = min(_COLUMNS, num_policies)
  rows = math.ceil(num_policies / columns)
  side = 1.9
  figure = mpl_figure.Figure(
    figsize=(1.0 + max(side * columns, 4.0), 0.9 + (side + 0.05) * rows),
    layout='constrained',
  )
  figure.suptitle(
    title, x=0.01, ha='left', color=draw.INK, fontweight='bold', fontsize=12
  )
  norm = mpl_colors.PowerNorm(0.5, 0.0, max(float(occupancies.max()), 1e-12))
  panels = figure.subplots(rows, columns, squeeze=False)
  shown = None
  for i, axes in enumerate(panels.flat):
    if i >= num_policies:
      axes.set_visible(False)
      continue
    axes.set_label(f'policy {i}')
    image = np.full(walls.shape, np.nan)
    image[tuple(positions.T)] = occupancies[i]
    # Walls have no value: the background is what shows there.
    axes.set_facecolor(draw.WALL)
    shown = axes.imshow(
      image, interpolation='nearest', cmap='YlOrBr', norm=norm
    )
    draw.frame_cells(axes, image, linewidth=0.4)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
      spine.set_visible(False)
    if start is not None:
      row, column = positions[start]
      axes.plot(
        column, row, 's', ms=4, mfc='white', mec=draw.INK, mew=1.2, gid='start'
      )
    axes.set_title(labels[i], fontsize=9, color=draw.INK)
  assert shown is not None
  bar = figure.colorbar(shown, ax=panels, fraction=0.03, pad=0.02)
  _finish_scale(bar, "share of the policy's steps")
  return figure


def draw_strip(
  frames: Sequence[Num[np.ndarray, 'n H W 3']],
  *,
  labels: Sequence[str],
  steps_per_frame: int,
  title: str,
  moments: int = 8,
) -> mpl_figure.Figure:
  """A strip of pictures for each policy, from an episode's start to its end.

  Args:
    frames: of each policy; all of one size.
    labels: beside the strips.
    steps_per_frame: environment steps between frames.
    title: of the picture.
    moments: pictures in a strip, at equal distances.

  Returns:
    The picture.

  Raises:
    ValueError: if there is nothing to show or labels do not match.
  """
  _check_frames(frames, labels)
  longest = max(len(film) for film in frames)
  chosen = np.unique(np.linspace(0, longest - 1, moments).round().astype(int))
  _, height, width, _ = frames[0].shape
  size = 1.25 * width / max(width, height), 1.25 * height / max(width, height)
  figure = mpl_figure.Figure(
    figsize=(1.5 + size[0] * len(chosen), 0.8 + size[1] * len(frames)),
    layout=layout_engine.ConstrainedLayoutEngine(
      w_pad=0.02, h_pad=0.03, wspace=0, hspace=0
    ),
  )
  figure.suptitle(
    title, x=0.01, ha='left', color=draw.INK, fontweight='bold', fontsize=12
  )
  panels = figure.subplots(len(frames), len(chosen), squeeze=False)
  for row, (film, label) in enumerate(zip(frames, labels)):
    for column, moment in enumerate(chosen):
      axes = panels[row, column]
      axes.set(xticks=[], yticks=[])
      for spine in axes.spines.values():
        spine.set_visible(False)
      if moment < len(film):  # Else the episode was over.
        axes.imshow(film[moment])
      if row == 0:
        axes.set_title(
          f'step {moment * steps_per_frame:,}',
          fontsize=8,
          color=draw.FAINT_INK,
        )
      if column == 0:
        axes.set_ylabel(
          label,
          rotation=0,
          ha='right',
          va='center',
          color=draw.INK,
          fontsize=9,
        )
  return figure


def film(
  path: files.Path,
  frames: Sequence[Num[np.ndarray, 'n H W 3']],
  *,
  labels: Sequence[str | Sequence[str]],
  steps_per_frame: int,
) -> None:
  """Writes a film; see `encode_film`.

  Args:
    path: where to; a file that is there is replaced.
    frames: of each policy; all of one size.
    labels: written into the pictures.
    steps_per_frame: environment steps between frames, for the clock.
  """
  content = encode_film(frames, labels=labels, steps_per_frame=steps_per_frame)

  files.write_bytes(path, content)


def encode_film(
  frames: Sequence[Num[np.ndarray, 'n H W 3']],
  *,
  labels: Sequence[str | Sequence[str]],
  steps_per_frame: int,
  frames_per_second: int = 20,
  quality: int = 80,
) -> bytes:
  """A film of all policies side by side, as an animated WebP.

  Browsers and most viewers of pictures show it. An episode that is over stands
  still.

  Args:
    frames: of each policy; all of one size.
    labels: written into the pictures: of each policy one for all of its frames,
      or one for each.
    steps_per_frame: environment steps between frames, for the clock.
    frames_per_second: how fast it is shown.
    quality: of the pictures, in 0..100; size grows with it.

  Returns:
    What a file of it holds.

  Raises:
    ValueError: if there is nothing to show or labels do not match.
  """
  _check_frames(frames, labels)
  _, height, width, _ = frames[0].shape
  columns = math.ceil(math.sqrt(len(frames) * height / width))
  columns = min(max(columns, min(_COLUMNS, len(frames))), len(frames))
  if columns > 3 and -len(frames) % (columns - 1) < -len(frames) % columns:
    columns -= 1  # Fewer places stay empty.
  rows = math.ceil(len(frames) / columns)
  bar = 16  # Room for a line of text.
  pictures = []
  for moment in range(max(len(one) for one in frames)):
    picture = Image.new(
      'RGB', (columns * width, rows * (height + bar) + bar), draw.INK
    )
    pen = ImageDraw.Draw(picture)
    for i, (one, label) in enumerate(zip(frames, labels)):
      left, top = i % columns * width, i // columns * (height + bar)
      now = min(moment, len(one) - 1)
      picture.paste(
        Image.fromarray(np.asarray(one[now])),
        (left, top + bar),
      )
      text = label if isinstance(label, str) else label[now]
      pen.text((left + 4, top + 2), text, fill='white')
    pen.text(
      (4, rows * (height + bar) + 2),
      f'step {moment * steps_per_frame:,}',
      fill='#b6bcc4',
    )
    pictures.append(picture)
  file = io.BytesIO()
  pictures[0].save(
    file,
    format='WEBP',
    save_all=True,
    append_images=pictures[1:],
    duration=round(1000 / frames_per_second),
    loop=0,
    quality=quality,
    method=2,
  )
  return file.getvalue()


def _check_count(name: str, given: Sequence[Any], expected: int) -> None:
  if len(given) != expected:
    raise ValueError(f'{name} must be {expected}, got {len(given)}.')


def _check_frames(
  frames: Sequence[Num[np.ndarray, 'n H W 3']], labels: Sequence[Any]
) -> None:
  if not frames or not all(map(len, frames)):
    raise ValueError('frames must hold at least one picture of each policy.')
  _check_count('labels', labels, len(frames))


def _finish(axes: mpl_axes.Axes) -> None:
  """Quiet axes: what they measure is what counts."""
  axes.set_axisbelow(True)
  axes.tick_params(colors=draw.INK, length=0)
  for side, spine in axes.spines.items():
    spine.set_visible(side in ('left', 'bottom'))
    spine.set_color(draw.FRAME_COLOR)


def _finish_scale(bar: mpl_colorbar.Colorbar, unit: str) -> None:
  bar.set_label(unit, color=draw.INK, fontsize=9)
  bar.ax.tick_params(colors=draw.INK, length=0, labelsize=8)
  bar.ax.yaxis.set_major_formatter(ticker.PercentFormatter(1.0, decimals=None))
  bar.ax.spines['outline'].set_visible(False)
