"""Figures as one HTML page that needs no other file.

Charts are inline SVG, each with a table of its values below it. A content
security policy forbids every request, and every script and style but the
page's own, which it names by their hashes.
"""

import base64
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import hashlib
import html
import itertools
import math
import pathlib
from typing import Any

import numpy as np

from skills.evaluation.figures import draw
from skills.evaluation.figures import figure_types

# Rows of the table below a chart.
_MAX_ROWS = 60
# Larger maps have a table of their largest values.
_MAX_CELLS = 1600


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
  """A part of a page.

  Attributes:
    title: its heading.
    text: below it; nothing if empty.
    notes: sentences to mind, one below the other.
    figures: shown below the text.
    sections: parts of the part, one level deep.
  """

  title: str
  text: str = ''
  notes: Sequence[str] = ()
  figures: Sequence[figure_types.Figure] = ()
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
    each for each in sections if each.notes or each.figures or each.sections
  ]
  numbers = itertools.count()
  body = ''.join(
    _section(section, f'part-{i}', numbers)
    for i, section in enumerate(sections)
  )
  body = draw.share_glyphs(body)
  contents = ''.join(
    f'<li><a href="#part-{i}">{html.escape(section.title)}</a></li>'
    for i, section in enumerate(sections)
  )
  refresh = (
    ''
    if refresh_s is None
    else f'<meta http-equiv="refresh" content="{refresh_s}">\n'
  )
  style = _file('page.css')
  script = _file('page.js') if 'class="stop"' in body else ''
  policy = (
    f"default-src 'none'; script-src {_source(script)}; "
    f'style-src {_source(style)}; img-src data: blob:; media-src data:; '
    "form-action 'none'; base-uri 'none'"
  )
  return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
{refresh}<title>{html.escape(title)}</title>
<style>{style}</style>
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
{f'<script>{script}</script>' if script else ''}
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


def _source(text: str) -> str:
  """Source expression of a content security policy that allows one text."""
  if not text:
    return "'none'"
  digest = hashlib.sha256(text.encode()).digest()
  return f"'sha256-{base64.b64encode(digest).decode()}'"


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
  parts.append(_grid(section.figures, 3, numbers))
  for inner in section.sections:
    if not inner.figures:
      continue
    parts.append(f'<h3>{html.escape(inner.title)}</h3>\n')
    if inner.text:
      parts.append(f'<p>{html.escape(inner.text)}</p>\n')
    parts.append(_grid(inner.figures, 4, numbers))
  return ''.join(parts) + '</section>\n'


def _grid(
  figures: Sequence[figure_types.Figure], level: int, numbers: Iterable[int]
) -> str:
  if not figures:
    return ''
  rendered = (
    _figure(each, level, f'figure-{i}') for each, i in zip(figures, numbers)
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


def _content(figure: Any, identity: str) -> tuple[str, str]:
  """The class of a figure, and what is in it."""
  if isinstance(figure, figure_types.Table):
    return 'wide', _table(figure)
  if isinstance(figure, figure_types.Film):
    return 'film wide', _film(figure)
  if isinstance(figure, figure_types.Missing):
    return 'wide notice', ''
  summary, note, table = _VALUES[type(figure)](figure)
  label = html.escape(f'{figure.title}. {figure.caption} {summary}')
  note = f'<p>{html.escape(note)}</p>' if note else ''
  return 'chart-figure', (
    f'<div class="chart" id="{identity}" role="img" aria-label="{label}">'
    f'{draw.to_svg(figure, identity)}</div>'
    f'<details><summary>Values</summary>{note}{_table(table)}</details>'
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


# Values of charts: what is in a chart in a sentence, a note, and a table.


def _values_table(
  figure: figure_types.Figure,
  columns: Sequence[str],
  rows: Sequence[Sequence[Any]],
) -> figure_types.Table:
  return figure_types.Table(
    title=f'Values: {figure.title}', caption='', columns=columns, rows=rows
  )


def _thinned(num_rows: int, limit: int) -> list[int]:
  """At most so many of all rows, at equal distances, with both ends."""
  if num_rows <= limit:
    return list(range(num_rows))
  return np.linspace(0, num_rows - 1, limit).round().astype(int).tolist()


def _curves_values(
  curves: figure_types.Curves,
) -> tuple[str, str, figure_types.Table]:
  courses, rows, notes = [], [], []
  limit = max(_MAX_ROWS // max(len(curves.lines), 1), 2)
  for name, (x, y) in curves.lines.items():
    x, y = np.asarray(x), np.asarray(y, float)
    courses.append(f'{name}: {_course(x, y)}.')
    low, high = curves.bands.get(name, (None, None))
    chosen = _thinned(len(x), limit)
    if len(chosen) < len(x):
      notes.append(f'{len(chosen)} of {len(x):,} points of {name}.')
    for i in chosen:
      row = [name, float(x[i]), float(y[i])]
      if curves.bands:
        row += [None if end is None else float(end[i]) for end in (low, high)]
      rows.append(row)
  notes += [f'{name}: {number(x)}.' for name, x in curves.levels.items()]
  columns = ['curve', curves.xlabel, curves.ylabel or 'value']
  columns += ['from', 'to'] if curves.bands else []
  return (
    ' '.join(courses),
    ' '.join(notes),
    _values_table(curves, columns, rows),
  )


def _course(x: np.ndarray, y: np.ndarray) -> str:
  is_number = np.isfinite(y)
  if not is_number.any():
    return 'no numbers'
  x, y = x[is_number], y[is_number]
  return (
    f'from {number(float(y[0]))} at {number(float(x[0]))} to '
    f'{number(float(y[-1]))} at {number(float(x[-1]))}, between '
    f'{number(float(y.min()))} and {number(float(y.max()))}'
  )


def _map_values(
  shown: figure_types.Map,
) -> tuple[str, str, figure_types.Table]:
  values = np.asarray(shown.values, float)
  known = values[np.isfinite(values)]
  height, width = values.shape
  summary = f'{height} rows and {width} columns'
  if known.size:
    low, high = number(float(known.min())), number(float(known.max()))
    summary += f', from {low} to {high} {shown.unit}'

  def content(row: int, column: int) -> Any:
    text = '' if shown.text is None else str(shown.text[row][column])
    value = values[row, column]
    if not np.isfinite(value):
      return text or None
    return f'{number(float(value))} ({text})' if text else float(value)

  ylabel, xlabel = shown.ylabel or 'row', shown.xlabel or 'column'
  if values.size <= _MAX_CELLS:
    table = _values_table(
      shown,
      [f'{ylabel} \\ {xlabel}', *map(str, range(width))],
      [
        [str(row), *(content(row, column) for column in range(width))]
        for row in range(height)
      ],
    )
    return f'{summary}.', '', table
  order = np.argsort(-np.nan_to_num(values, nan=-np.inf), axis=None)
  places = np.stack(np.unravel_index(order[:_MAX_ROWS], values.shape), axis=1)
  table = _values_table(
    shown,
    [ylabel, xlabel, shown.unit],
    [
      [str(row), str(column), content(row, column)]
      for row, column in places.tolist()
    ],
  )
  note = f'The {_MAX_ROWS} largest of {known.size:,} values.'
  return f'{summary}.', note, table


def _points_values(
  points: figure_types.Points,
) -> tuple[str, str, figure_types.Table]:
  chosen = _thinned(len(points.paths), _MAX_ROWS)
  rows = [
    [points.groups[i], *(float(x) for x in points.paths[i][-1])] for i in chosen
  ]
  note = 'The end of each.'
  if len(chosen) < len(points.paths):
    note = f'The ends of {len(chosen)} of {len(points.paths):,}.'
  summary = f'{len(points.paths)} in {len(set(points.groups))} groups.'
  columns = ['group', points.xlabel, points.ylabel]
  return summary, note, _values_table(points, columns, rows)


_VALUES: dict[type, Callable[[Any], tuple[str, str, figure_types.Table]]] = {
  figure_types.Curves: _curves_values,
  figure_types.Map: _map_values,
  figure_types.Points: _points_values,
}
