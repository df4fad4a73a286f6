"""Reproduces a result of a paper, and checks it against the paper's numbers.

  python -m launch.reproduce --list
  python -m launch.reproduce disdain_release_grid --seeds=0,1,2

Prints a table of quantities: the paper's number, ours for each seed, and a
verdict; writes the same as JSON, and figures of it; ends with status 1 if a
quantity lies outside its tolerance.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import pathlib
import time

from absl import flags

from launch.cli import command
from launch.cli import several_runs
from launch.reproductions import comparison_table
from launch.reproductions import disdain
from launch.reproductions import domino
from launch.reproductions import ive
from launch.reproductions import parallel
from launch.reproductions import result_figures
from launch.reproductions import rvic
from launch.reproductions import self_consistency
from launch.runs import run_record
from skills import checks
from skills import files
from skills.evaluation.figures import figure_types

flags.adopt_module_key_flags(several_runs)

_LIST = flags.DEFINE_bool('list', False, 'Show the names of the results.')
_FOLDER = flags.DEFINE_string(
  'reproduce_dir', 'runs/reproduce', 'Folder of the JSON file.'
)

Reproduction = Callable[[parallel.Request], comparison_table.Result]

REPRODUCTIONS: Mapping[str, Reproduction] = {
  'disdain_release_grid': disdain.release_grid,
  'disdain_release_grid_acme': disdain.release_grid_acme,
  'disdain_release_grid_at_any_scale': disdain.release_grid_at_any_scale,
  'disdain_four_rooms': disdain.four_rooms,
  'rvic_open_grid': rvic.open_grid,
  'rvic_factored_grid': rvic.factored_grid,
  'rvic_hierarchy': rvic.hierarchy,
  'domino_tabular': domino.tabular,
  'domino_control': domino.control,
  'self_consistency_tabular': self_consistency.tabular,
  'self_consistency_latent': self_consistency.latent,
  'ive_grid': ive.grid,
  'ive_planning': ive.planning,
  'ive_acting': ive.acting,
  'ive_deep_sea': ive.deep_sea,
  'self_consistency_control': self_consistency.control,
}

# Results whose variance needs more seeds than three.
_NUM_SEEDS = {
  'self_consistency_tabular': 24,
  'self_consistency_latent': 24,
  'ive_planning': 24,
  'ive_acting': 5,
  'ive_deep_sea': 5,
  'self_consistency_control': 5,
}


def main(argv: Sequence[str]) -> int:
  """Runs the named reproduction."""
  if _LIST.value:
    for name, reproduction in REPRODUCTIONS.items():
      [first, *_] = (reproduction.__doc__ or '').splitlines()
      print(f'{name:34} {first}')
    return 0
  with command.exit_on_user_error():
    name, seeds, processes = _read(argv)
  folder = pathlib.Path(_FOLDER.value) / name
  # An earlier result is replaced, not continued.
  (folder / run_record.RUN_FILE).unlink(missing_ok=True)
  run_record.write(folder)
  started = time.monotonic()
  quantities, runs = REPRODUCTIONS[name](
    parallel.Request(seeds=seeds, processes=processes, folder=folder)
  )
  wall_time_s = time.monotonic() - started
  comparison_table.show(name, quantities, seeds)
  path = folder.with_suffix('.json')
  content = {
    'name': name,
    'seeds': seeds,
    'wall_time_s': wall_time_s,
    'versions': run_record.versions(),
    'quantities': [
      {
        **dataclasses.asdict(quantity),
        'mean': quantity.mean,
        'tolerance': quantity.tolerance,
        'verdict': quantity.verdict,
      }
      for quantity in quantities
    ],
    'runs': runs,
  }
  files.write_json(path, content)
  figure_types.save(folder, result_figures.make(content))
  print(f'{wall_time_s:.0f} s. {path}, {folder / figure_types.FIGURES_FILE}')
  return int(any(quantity.verdict == 'MISSED' for quantity in quantities))


def _read(argv: Sequence[str]) -> tuple[str, tuple[int, ...], int]:
  if len(argv) != 2:
    raise ValueError(
      f'name one result to reproduce: {", ".join(REPRODUCTIONS)}.'
    )
  checks.one_of('result', argv[1], REPRODUCTIONS)
  seeds = several_runs.seeds(default=range(_NUM_SEEDS.get(argv[1], 3)))
  processes = several_runs.processes()
  return argv[1], seeds, processes


if __name__ == '__main__':
  command.run(main)
