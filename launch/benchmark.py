"""Measures speed, and prints it beside its limits.

  python -m launch.benchmark
  python -m launch.benchmark --only=distributed

The device is the CPU, but for the last part, and the environment the release
grid, but for the last four. Parts, and their time on two cores:

  on_device    the full update (16 trajectories of 8 steps, two value streams,
               two discriminators) on one core, where its time goes, and many
               seeds at once; a minute
  local        a run in one process, in one environment and in 32 at once; a
               minute
  distributed  a program of processes with 1, 2 and 4 actors, with an inference
               server and without; three to five minutes
  control      DIAYN on control:walker_stand in one process: 16 skills, two
               hidden layers of 256, an update of 256 transitions (4 skills of
               64 steps) for every two environment steps; a minute
  batches      control tasks in batches of 64, stepped by MuJoCo's functions,
               beside dm_control's environments one by one; no agent, and per
               CPU second of one core; half a minute
  pixels       DIAYN on atari:pong and DISDAIN on atari:montezuma_revenge, from
               pictures, as their presets are; four minutes
  model_value  the update of the learner with a model, with perceptrons and
               with a residual network, on one core and whatever device JAX
               has; two minutes

Runs are shown as ratios to limits that the same command measures on one core:
the bare environment loop, the bare update, and a writer that only writes to
Reverb, through the suite's adder. Limits and everything on device are the best
of several tries, since other load on a machine only ever makes them slower; but
what takes longer than ten seconds, as a residual network's update does on one
core, is timed once. A run is measured once, over ten seconds, when all its
parts are at work; it neither evaluates nor saves then.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import os
import pathlib

from absl import flags
from rich import table as rich_table

from launch.benchmarking import batches
from launch.benchmarking import control
from launch.benchmarking import model_value
from launch.benchmarking import on_device
from launch.benchmarking import pixels
from launch.benchmarking import release_grid
from launch.benchmarking import timing
from launch.cli import command
from launch.runs import run_record
from skills import checks
from skills import files

PARTS = (
  'on_device',
  'local',
  'distributed',
  'control',
  'batches',
  'pixels',
  'model_value',
)

_TRIES = flags.DEFINE_integer('tries', 5, 'Tries, of which the best counts.')
_ONLY = flags.DEFINE_list(
  'only', list(PARTS), f'Parts to measure: {",".join(PARTS)}.'
)
_JSON = flags.DEFINE_string(
  'json', None, 'Also write the numbers to this file.'
)

# Programs of processes have rows of their own, by heading.
AnyRow = timing.Row | Mapping[str, float]
Rows = Sequence[AnyRow]


def _sections(parts: set[str], tries: int) -> Iterator[tuple[str, Rows]]:
  """Measures the parts, and gives the title and rows of each."""
  cores = os.sched_getaffinity(0)
  one_core = {min(cores)}
  on_all = f'{len(cores)} cores'
  on_cores = timing.on_cores
  if 'model_value' in parts:
    rows = on_cores(one_core, model_value.rows, tries)
    yield 'a learner with a model, one core or one accelerator', rows
  os.environ['JAX_PLATFORMS'] = 'cpu'
  if 'on_device' in parts:
    rows = on_cores(one_core, on_device.rows, tries)
    yield 'on device, one core (release grid)', rows
  if 'control' in parts:
    one = on_cores(one_core, control.measure_limits, tries)
    every = on_cores(cores, control.measure_limits, tries)
    rows = on_cores(cores, control.rows, one, every)
    yield f'DIAYN on {control.TASK}, {on_all}', rows
  if 'batches' in parts:
    rows = on_cores(one_core, batches.rows, tries)
    yield 'control tasks in batches, one core', rows
  if 'pixels' in parts:
    for agent, game in pixels.GAMES:
      rows = on_cores(cores, pixels.rows, agent, game, tries)
      yield f'{agent} on {game}, {on_all}', rows
  if parts & {'local', 'distributed'}:
    limits = on_cores(one_core, release_grid.measure_limits, tries)
    yield 'limits, one core (release grid)', release_grid.limit_rows(limits)
    if 'local' in parts:
      rows = on_cores(cores, release_grid.local_rows, limits)
      yield f'Acme and Reverb, {on_all} (release grid)', rows
    if 'distributed' in parts:
      rows = on_cores(cores, release_grid.distributed_rows, limits, len(cores))
      yield f'Launchpad, {on_all} (release grid)', rows


def _table(title: str, rows: Rows) -> rich_table.Table:
  """One section as it is printed."""
  table = rich_table.Table(title=title, title_justify='left')
  for heading in _headings(rows[0]):
    if heading in ('what', 'unit', 'ratio'):
      table.add_column(heading)
    else:
      # Headings break between words only, and numbers nowhere.
      width = max(7, *map(len, heading.split()))
      table.add_column(heading, justify='right', width=width)
  for row in rows:
    table.add_row(*_cells(row))
  return table


def _headings(row: AnyRow) -> Sequence[str]:
  return list(row) if isinstance(row, Mapping) else timing.Row._fields


def _cells(row: AnyRow) -> list[str]:
  if not isinstance(row, Mapping):
    return [row.what, _speed(row.speed), row.unit, row.ratio]
  return [
    _speed(value) if name.endswith('/s') else f'{value:.2g}'
    for name, value in row.items()
  ]


def _speed(value: float) -> str:
  return f'{value:,.{1 if value < 100 else 0}f}'


def main(argv: Sequence[str]) -> int:
  """Measures and prints."""
  with command.exit_on_user_error():
    if len(argv) > 1:
      raise ValueError(f'unexpected argument {argv[1]!r}.')
    if _TRIES.value < 1:
      raise ValueError(f'--tries must be >= 1, got {_TRIES.value}.')
    for part in _ONLY.value:
      checks.one_of('part', part, PARTS)
  sections: dict[str, Rows] = {}
  for title, rows in _sections(set(_ONLY.value), _TRIES.value):
    sections[title] = rows
    command.console().print(_table(title, rows))
  if _JSON.value:
    files.write_json(
      pathlib.Path(_JSON.value),
      {'versions': run_record.versions(), 'sections': sections},
    )
  return 0


if __name__ == '__main__':
  command.run(main)
