"""Figures as one HTML page that needs nothing but itself.

Charts are drawn by plotly.js, which is in the page once. A policy in the page
forbids every request, so that it shows the same from a disk, from a mail and
without a network.

Needs the extra 'plots': pip install 'skill-discovery-suite[plots]'.
"""

import base64
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import html
import itertools
import math
import pathlib
from typing import Any

import numpy as np

try:
  from plotly import graph_objects as go
  from plotly import io as plotly_io
  from plotly import offline
except ImportError as error:
  raise ImportError(
    "pages need plotly, which the extra 'plots' brings: "
    "pip install 'skill-discovery-suite[plots]'."
  ) from error

from skills.evaluation.figures import figure_types
from skills.evaluation.figures import plots

_DASHES = ('solid', 'dash', 'dashdot', 'dot')
_SYMBOLS = ('circle', 'square', 'diamond', 'triangle-up', 'cross', 'x', 'star')
# Of colours and dashes, or of colours and symbols, that can be told apart.
_MOST_NAMED = 28
# Curves of so few points show each.
_FEW_POINTS = 40
_TOO_MANY_CELLS = 1600
# A map's values below zero are rounding if they are so small beside others.
_ROUNDING = 1e-3

# No address may be asked for anything.
_POLICY = (
  "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
  "img-src data: blob:; media-src data:; form-action 'none'; base-uri 'none'"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
  """A part of a page.

  Attributes:
    title: its heading.
    text: below it; nothing if empty.
    notes: sentences to mind, one below the other.
    shown: its figures.
    sections: parts of the part, one level deep.
  """

  title: str
  text: str = ''
  notes: Sequence[str] = ()
  shown: Sequence[figure_types.Figure] = ()
  sections: Sequence['Section'] = ()


def render(
  title: str,
  lead: str,
  sections: Sequence[Section],
  *,
  footer: str = '',
  refresh_s: int | None = None,
) -> str:
  """Makes the page.

  Args:
    title: its heading.
    lead: the sentence that matters most.
    sections: in order; those that are empty are left out.
    footer: below everything.
    refresh_s: seconds after which a browser reads the file again; None for
      never.

  Returns:
    The HTML document.
  """
  sections = [
    each for each in sections if each.notes or each.shown or each.sections
  ]
  numbers = itertools.count()
  body = ''.join(
    _section(section, f'part-{i}', numbers)
    for i, section in enumerate(sections)
  )
  contents = ''.join(
    f'<li><a href="#part-{i}">{html.escape(section.title)}</a></li>'
    for i, section in enumerate(sections)
  )
  refresh = (
    ''
    if refresh_s is None
    else f'<meta http-equiv="refresh" content="{refresh_s}">\n'
  )
  has_charts = 'class="chart' in body
  scripts = f'<script>{offline.get_plotlyjs()}</script>\n' if has_charts else ''
  scripts += _data('chart-template', _TEMPLATE.to_plotly_json())
  scripts += f'<script>{_file("page.js")}</script>'
  return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
{refresh}<title>{html.escape(title)}</title>
<style>{_file('page.css')}</style>
</head>
<body>
<a class="skip" href="#content">To the content</a>
<header>
<h1>{html.escape(title)}</h1>
<p class="lead">{html.escape(lead)}</p>
<nav aria-label="Contents"><ul>{contents}</ul></nav>
</header>
<main id="content" tabindex="-1">
{body}</main>
<footer><p>{html.escape(footer)}</p></footer>
{scripts}
</body>
</html>
"""


def number(value: Any) -> str:
  """A number as people read it; what is none stays as it is.

  Args:
    value: a number, text, or None for nothing.
  """
  if value is None:
    return '–'
  if isinstance(value, (bool, str)):
    return str(value)
  if not math.isfinite(value):
    return '–' if math.isnan(value) else ('∞' if value > 0 else '−∞')
  if value == int(value) and abs(value) < 1e15:
    text = f'{int(value):,}'
  elif 1e4 <= abs(value) < 1e15:
    text = f'{value:,.0f}'
  else:
    text = f'{value:.4g}'
  return text.replace('-', '−')


def _file(name: str) -> str:
  return (pathlib.Path(__file__).parent / name).read_text('utf-8')


def _data(identity: str, content: Any) -> str:
  """A value for scripts; within it nothing can end the element."""
  text = plotly_io.json.to_json_plotly(content).replace('<', '\\u003c')
  return f'<script type="application/json" id="{identity}">{text}</script>\n'


def _section(section: Section, identity: str, numbers: Iterable[int]) -> str:
  parts = [
    f'<section aria-labelledby="{identity}">\n'
    f'<h2 id="{identity}">{html.escape(section.title)}</h2>\n'
  ]
  if section.text:
    parts.append(f'<p>{html.escape(section.text)}</p>\n')
  if section.notes:
    notes = ''.join(f'<li>{html.escape(note)}</li>' for note in section.notes)
    parts.append(f'<ul class="notice">{notes}</ul>\n')
  parts.append(_grid(section.shown, 3, numbers))
  for inner in section.sections:
    if not inner.shown:
      continue
    parts.append(f'<h3>{html.escape(inner.title)}</h3>\n')
    if inner.text:
      parts.append(f'<p>{html.escape(inner.text)}</p>\n')
    parts.append(_grid(inner.shown, 4, numbers))
  return ''.join(parts) + '</section>\n'


def _grid(
  shown: Sequence[figure_types.Figure], level: int, numbers: Iterable[int]
) -> str:
  if not shown:
    return ''
  rendered = (
    _figure(each, level, f'figure-{i}') for each, i in zip(shown, numbers)
  )
  return f'<div class="grid">\n{"".join(rendered)}</div>\n'


def _figure(figure: figure_types.Figure, level: int, identity: str) -> str:
  """One figure, with its heading and caption."""
  kind, content = _content(figure, identity)
  caption = figure.caption
  if isinstance(figure, figure_types.Film) and figure.num_frames > 1:
    caption += f' {figure.num_frames} frames.'
  heading = (
    f'<h{level} class="title" id="{identity}-title">'
    f'{html.escape(figure.title)}</h{level}>'
  )
  return (
    f'<figure class="{kind}" aria-labelledby="{identity}-title">'
    f'<figcaption>{heading}<p>{html.escape(caption)}</p></figcaption>'
    f'{content}</figure>\n'
  )


def _content(figure: figure_types.Figure, identity: str) -> tuple[str, str]:
  """The class of a figure, and what is in it."""
  if isinstance(figure, figure_types.Table):
    return 'wide', _table(figure)
  if isinstance(figure, figure_types.Film):
    return 'film wide', _film(figure)
  if isinstance(figure, figure_types.Missing):
    return 'wide notice', ''
  chart, told = _CHARTS[type(figure)](figure)
  label = html.escape(f'{figure.title}. {figure.caption} {told}')
  tall = '' if isinstance(figure, figure_types.Curves) else ' tall'
  return 'chart-figure', (
    f'<div class="chart{tall}" id="{identity}" role="img" '
    f'aria-label="{label}"></div>'
    + _data(f'{identity}-data', chart.to_plotly_json())
  )


def _table(table: figure_types.Table) -> str:
  is_number = [
    any(_is_number(row[i]) for row in table.rows)
    and all(row[i] is None or _is_number(row[i]) for row in table.rows)
    for i in range(len(table.columns))
  ]
  classes = [' class="number"' if each else '' for each in is_number]
  head = ''.join(
    f'<th scope="col"{kind}>{html.escape(column)}</th>'
    for column, kind in zip(table.columns, classes)
  )
  rows = []
  for row in table.rows:
    cells = [html.escape(number(value)) for value in row]
    first = f'<th scope="row"{classes[0]}>{cells[0]}</th>'
    rest = (
      f'<td{kind}>{cell}</td>' for kind, cell in zip(classes[1:], cells[1:])
    )
    rows.append(f'<tr>{first}{"".join(rest)}</tr>')
  return (
    f'<div class="scroll" role="region" tabindex="0" '
    f'aria-label="{html.escape(table.title)}"><table><thead><tr>{head}</tr>'
    f'</thead><tbody>{"".join(rows)}</tbody></table></div>'
  )


def _is_number(value: Any) -> bool:
  return isinstance(value, (int, float, np.number)) and not isinstance(
    value, bool
  )


def _film(film: figure_types.Film) -> str:
  source = f'data:{film.mime};base64,{base64.b64encode(film.content).decode()}'
  told = html.escape(f'{film.title}. {film.caption}')
  frames = f'data-frames="{film.num_frames}"'
  if film.mime.startswith('video/'):
    return (
      f'<video controls loop muted playsinline {frames} aria-label="{told}" '
      f'src="{source}"></video>'
    )
  image = f'<img {frames} alt="{told}" src="{source}">'
  if film.num_frames == 1:
    return image
  label = html.escape(f'Stop or play: {film.title}')
  return (
    f'{image}<button class="stop" type="button" hidden aria-label="{label}">'
    'Stop</button>'
  )


# Charts. Each function makes a figure, and says what is in it to those who
# cannot see it.


_AXIS = {
  'gridcolor': '#e4e7ea',
  'zerolinecolor': '#b6bcc4',
  'linecolor': plots.FAINT_INK,
  'automargin': True,
  'title': {'standoff': 6},
}
_TEMPLATE = go.layout.Template(
  layout={
    'font': {'family': 'system-ui, sans-serif', 'size': 12, 'color': plots.INK},
    'colorway': plots.CURVE_COLOURS,
    'margin': {'l': 50, 'r': 12, 't': 12, 'b': 40},
    'paper_bgcolor': 'white',
    'plot_bgcolor': 'white',
    'xaxis': _AXIS,
    'yaxis': _AXIS,
    'legend': {
      'orientation': 'h',
      'x': 0,
      'y': 1.02,
      'yanchor': 'bottom',
      'title': {'text': ''},
    },
    'hoverlabel': {'bgcolor': 'white', 'font': {'color': plots.INK}},
  }
)


def _new_figure(**layout: Any) -> go.Figure:
  # Each figure would bring a copy of Plotly's own template along.
  return go.Figure(layout={'template': go.layout.Template(), **layout})


def _colour(i: int) -> str:
  return plots.CURVE_COLOURS[i % len(plots.CURVE_COLOURS)]


def _pale(colour: str, opacity: float) -> str:
  channels = (str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))
  return f'rgba({",".join(channels)},{opacity})'


def _numbers(values: Any) -> np.ndarray:
  """As half as many bytes as they may be, which is enough to be seen."""
  values = np.asarray(values)
  return values.astype(np.float32) if values.dtype.kind == 'f' else values


def _curves(shown: figure_types.Curves) -> tuple[go.Figure, str]:
  figure = _new_figure(
    xaxis={'title': {'text': shown.xlabel}},
    yaxis={'title': {'text': shown.ylabel}},
    hovermode='x unified',
    showlegend=len(shown.lines) > 1,
  )
  told = []
  for i, (name, (x, y)) in enumerate(shown.lines.items()):
    colour = _colour(i)
    group = {'legendgroup': name, 'showlegend': False, 'hoverinfo': 'skip'}
    if name in shown.bands:
      low, high = shown.bands[name]
      is_known = np.isfinite(low) & np.isfinite(high)
      figure.add_scatter(
        x=np.concatenate([x[is_known], x[is_known][::-1]]),
        y=_numbers(np.concatenate([low[is_known], high[is_known][::-1]])),
        mode='lines',
        line={'width': 0},
        fill='toself',
        fillcolor=_pale(colour, 0.2),
        name=f'{name}, interval',
        **group,
      )
    for part_x, part_y in shown.parts.get(name, ()):
      figure.add_scatter(
        x=part_x,
        y=_numbers(part_y),
        mode='lines',
        line={'width': 1, 'color': _pale(colour, 0.4)},
        name=f'{name}, one of several',
        **group,
      )
    figure.add_scatter(
      x=x,
      y=_numbers(y),
      name=name,
      legendgroup=name,
      mode='lines+markers' if len(x) <= _FEW_POINTS else 'lines',
      line={
        'color': colour,
        'width': 2,
        'dash': _DASHES[i // len(plots.CURVE_COLOURS) % len(_DASHES)]
        if len(shown.lines) > len(_DASHES)
        else _DASHES[i],
      },
      marker={'size': 5, 'symbol': _SYMBOLS[i % len(_SYMBOLS)]},
      hovertemplate='%{y:.4g}',
    )
    told.append(f'{name}: {_course(np.asarray(x), np.asarray(y))}.')
  for name, level in shown.levels.items():
    figure.add_hline(
      y=level,
      line={'color': plots.FAINT_INK, 'width': 1, 'dash': 'dash'},
      annotation={
        'text': html.escape(name),
        'font': {'color': plots.FAINT_INK, 'size': 11},
        'xanchor': 'right',
        'x': 1,
      },
    )
  return figure, ' '.join(told)


def _course(x: np.ndarray, y: np.ndarray) -> str:
  y = y.astype(float)
  is_number = np.isfinite(y)
  if not is_number.any():
    return 'no numbers'
  x, y = x[is_number], y[is_number]
  return (
    f'from {number(float(y[0]))} at {number(float(x[0]))} to '
    f'{number(float(y[-1]))} at {number(float(x[-1]))}, between '
    f'{number(float(y.min()))} and {number(float(y.max()))}'
  )


def _map(shown: figure_types.Map) -> tuple[go.Figure, str]:
  values = np.asarray(shown.values, float)
  known = values[np.isfinite(values)]
  low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
  # Pale where there is nothing, in both scales.
  scale: dict[str, Any] = {'colorscale': 'Blues', 'zmin': min(low, 0.0)}
  if low < -_ROUNDING * high < 0:
    limit = max(-low, high)
    scale = {'colorscale': 'RdBu', 'zmin': -limit, 'zmax': limit}
  elif high <= 0 and low < 0:
    scale = {'colorscale': 'Blues_r', 'zmin': low, 'zmax': 0.0}
  figure = _new_figure(
    xaxis={
      'title': {'text': shown.xlabel},
      'showgrid': False,
      'zeroline': False,
      'constrain': 'domain',
    },
    yaxis={
      'title': {'text': shown.ylabel},
      'showgrid': False,
      'zeroline': False,
      'autorange': 'reversed',
      'scaleanchor': 'x',
      'constrain': 'domain',
    },
    # What is no number is not drawn: walls are what shows through.
    plot_bgcolor='white' if known.size == values.size else plots.WALL,
  )
  text = None if shown.text is None else np.asarray(shown.text)
  is_small = values.size <= _TOO_MANY_CELLS
  figure.add_heatmap(
    z=_numbers(values),
    **scale,
    xgap=1 if is_small else 0,
    ygap=1 if is_small else 0,
    hoverongaps=False,
    colorbar={'title': {'text': shown.unit, 'side': 'right'}, 'thickness': 12},
    hovertemplate=(
      f'{html.escape(shown.xlabel or "column")} %{{x}}, '
      f'{html.escape(shown.ylabel or "row")} %{{y}}: %{{z:.4g}}'
      + ('' if text is None else '<br>%{text}')
      + '<extra></extra>'
    ),
    **(
      {}
      if text is None
      else {
        'text': text.tolist(),
        'texttemplate': '%{text}' if is_small else '',
      }
    ),
  )
  height, width = values.shape
  told = f'{height} rows and {width} columns'
  if known.size:
    told += f', from {number(float(low))} to {number(float(high))} {shown.unit}'
  return figure, f'{told}.'


def _points(shown: figure_types.Points) -> tuple[go.Figure, str]:
  groups = list(dict.fromkeys(shown.groups))
  figure = _new_figure(
    xaxis={'title': {'text': shown.xlabel}},
    yaxis={'title': {'text': shown.ylabel}},
    showlegend=1 < len(groups) <= _MOST_NAMED,
    hovermode='closest',
  )
  for i, group in enumerate(groups):
    paths = [
      np.asarray(path, float)
      for path, own in zip(shown.paths, shown.groups)
      if own == group and len(path)
    ]
    colour, symbol = _colour(i), _SYMBOLS[i // len(plots.CURVE_COLOURS) % 7]
    if any(len(path) > 1 for path in paths):
      # No number parts one path from the next.
      line = np.concatenate(
        [np.vstack([path, [np.nan, np.nan]]) for path in paths]
      )
      figure.add_scatter(
        x=_numbers(line[:, 0]),
        y=_numbers(line[:, 1]),
        mode='lines',
        line={'color': _pale(colour, 0.5), 'width': 1},
        name=f'{group}, paths',
        legendgroup=group,
        showlegend=False,
        hoverinfo='skip',
      )
    ends = np.array([path[-1] for path in paths]).reshape(-1, 2)
    figure.add_scatter(
      x=_numbers(ends[:, 0]),
      y=_numbers(ends[:, 1]),
      mode='markers',
      marker={'color': colour, 'symbol': symbol, 'size': 8},
      name=group,
      legendgroup=group,
      hovertemplate='%{fullData.name}: %{x:.4g}, %{y:.4g}<extra></extra>',
    )
  return figure, f'{len(shown.paths)} in {len(groups)} groups.'


_CHARTS: dict[type, Callable[[Any], tuple[go.Figure, str]]] = {
  figure_types.Curves: _curves,
  figure_types.Map: _map,
  figure_types.Points: _points,
}
