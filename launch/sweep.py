r"""Trains with every combination of some settings, and compares the results.

  python -m launch.sweep run_on_device \
    --over=learner.discount=0.95,0.99 \
    --over='network.hidden_sizes=(64,64),(256,256)' --seeds=0,1,2 \
    -- --agent=diayn --env=control:point_mass_easy --num_steps=1500000

What follows `--` are arguments of the training command, which all runs share.
Runs go side by side, a core each (`--processes`), and each has a folder and a
log of its own in `--sweep_dir`. A sweep that was interrupted goes on when it
is started again with the same arguments. At its end there are a table, ordered
by `--metric`, `sweep.json`, and `report.html`, which compares the runs.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import pathlib

from absl import flags
import numpy as np
from rich import table as rich_table

from launch.cli import command
from launch.cli import several_runs
from launch.reporting import report_pages
from launch.reporting import run_folder
from launch.runs import run_files
from launch.training import sweep_jobs
from skills import checks
from skills import config_io
from skills import files

_COMMANDS = ('run_local', 'run_on_device', 'run_distributed')

flags.adopt_module_key_flags(several_runs)

_OVER = flags.DEFINE_multi_string(
  'over',
  [],
  'A setting and its values: --over=learner.discount=0.95,0.99. Values with '
  'commas stand in parentheses.',
)
_NUM_RANDOM = flags.DEFINE_integer(
  'num_random', None, 'Only so many of the combinations, drawn at random.'
)
_SWEEP_SEED = flags.DEFINE_integer('sweep_seed', 0, 'Seed of that draw.')
_METRIC = flags.DEFINE_string(
  'metric',
  None,
  'Column of evaluator/metrics.csv to compare by: the mean of the last three '
  'evaluations. [skills_learned, or episode_return where there is none]',
)
_SWEEP_DIR = flags.DEFINE_string(
  'sweep_dir', 'runs/sweep', 'Folder of the sweep.'
)


def _combinations() -> list[dict[str, str]]:
  values = {
    path: sweep_jobs.split_values(text)
    for path, text in config_io.parse_assignments(_OVER.value).items()
  }
  return sweep_jobs.sample(
    sweep_jobs.grid(values), _NUM_RANDOM.value, _SWEEP_SEED.value
  )


def _metric(folder: pathlib.Path) -> str:
  """The metric that was asked for, or the one that fits a complete run."""
  if _METRIC.value is not None:
    return _METRIC.value
  try:
    sweep_jobs.score(folder, 'skills_learned')
    return 'skills_learned'
  except ValueError:
    return 'episode_return'


def show(
  jobs: Sequence[sweep_jobs.Job], runs: Mapping[str, Mapping[str, object]]
) -> None:
  """Prints the results of complete runs, the best combination first."""
  complete = [
    job for job in jobs if runs.get(job.folder.name, {}).get('status') == 0
  ]
  if not complete:
    print('No run is complete.')
    return
  metric = _metric(complete[0].folder)
  paths = list(complete[0].settings)
  rows = {}
  for job in complete:
    of_job = rows.setdefault(tuple(job.settings.values()), ([], []))
    of_job[0].append(sweep_jobs.score(job.folder, metric))
    of_job[1].append(runs[job.folder.name]['cpu_s'])
  table = rich_table.Table(title=f'{metric}, mean of the last evaluations')
  for name in (*paths, 'mean', 'least', 'most', 'seeds', 'CPU-s'):
    table.add_column(name)
  order = sorted(rows.items(), key=lambda row: -np.mean(row[1][0]))
  for values, (scores, cpu_s) in order:
    table.add_row(
      *values,
      f'{np.mean(scores):.2f}',
      f'{min(scores):.2f}',
      f'{max(scores):.2f}',
      str(len(scores)),
      f'{np.mean(cpu_s):.0f}',
    )
  command.console().print(table)


def _write_page(
  jobs: Sequence[sweep_jobs.Job], results: sweep_jobs.Results
) -> None:
  folders = [str(job.folder) for job in jobs if results.is_complete(job)]
  if not folders:
    return
  path = pathlib.Path(_SWEEP_DIR.value) / run_files.REPORT_FILE
  runs = [run_folder.read(folder, with_figures=False) for folder in folders]
  files.write_text(path, report_pages.comparison_page(runs))
  print(path)


def main(argv: Sequence[str]) -> int:
  """Reads the flags, trains and compares."""
  with command.exit_on_user_error():
    if len(argv) < 2:
      raise ValueError(f'name a training command: {", ".join(_COMMANDS)}.')
    _, name, *given = argv
    checks.one_of('training command', name, _COMMANDS)
    processes = several_runs.processes()
    folder = pathlib.Path(_SWEEP_DIR.value)
    combinations, seeds = _combinations(), several_runs.seeds(default=(0,))
    jobs = sweep_jobs.make_jobs(combinations, seeds, folder)
    results = sweep_jobs.Results(folder, {'command': name, 'arguments': given})
  failures = 0
  with command.caught_signals() as received:
    for job, status in sweep_jobs.run_all(
      jobs, name, given, results, processes, received
    ):
      failures += status != 0
      done = sum(map(results.is_complete, jobs))
      print(f'{done} of {len(jobs)}: {job.folder.name}', flush=True)
      if status:
        said = sweep_jobs.error_of(job)
        print(f'  failed ({status}); see {job.log}{said}', flush=True)
  show(jobs, results.runs)
  _write_page(jobs, results)
  if received:
    print('Interrupted. To continue: the same command again.')
    return 130
  return int(failures > 0)


if __name__ == '__main__':
  command.run(main)
