"""Makes a page of a run, or one that compares several runs.

  python -m launch.report runs/disdain-grid-disdain_release-0

writes `report.html` into the run's folder: what was run, learning curves, and
what was learned. Every run makes its own at its end; this makes it again, also
of a run that is not finished, and of a folder that `launch.reproduce` made. The
page needs no network and no other file.

  python -m launch.report runs/disdain-* runs/vic-*

writes `runs/report.html`, in which runs that differ in their seed alone are
replicates of one group, and groups are compared.

  python -m launch.report --watch runs/disdain-grid-disdain_release-0

writes the page of a running experiment again and again until it is complete; a
browser that shows it follows by itself.
"""

from collections.abc import Sequence
import os
import pathlib
import time

from absl import flags

from launch.cli import command
from launch.reporting import report_pages
from launch.reporting import run_folder
from launch.runs import run_files
from skills import files
from skills import loading
from skills.evaluation.figures import figure_types

_OUTPUT = flags.DEFINE_string(
  'output',
  None,
  'The file to write. [RUN_DIR/report.html; of several runs, runs/report.html]',
)
_WATCH = flags.DEFINE_bool(
  'watch', False, 'Write the page of a running experiment again and again.'
)
_EVERY_S = flags.DEFINE_float(
  'every_s', 10.0, 'Seconds from one page to the next with --watch.'
)


def watch(folder: str, path: pathlib.Path, every_s: float) -> None:
  """Writes a run's page until the run is complete or a signal is received.

  Args:
    folder: of the run.
    path: of the page.
    every_s: seconds between two pages.

  Raises:
    ValueError: if there is no run that can be read.
  """
  refresh_s = max(round(every_s), 1)
  with command.caught_signals() as received:
    while True:
      run = run_folder.read(folder)
      is_last = run.is_complete or bool(received)
      # The last page is not to be read again and again.
      files.write_text(
        path,
        report_pages.run_page(run, refresh_s=None if is_last else refresh_s),
      )
      if is_last:
        return
      _wait(every_s, received)


def _wait(duration_s: float, received: Sequence[int]) -> None:
  end = time.monotonic() + duration_s
  while not received and (left := end - time.monotonic()) > 0:
    time.sleep(min(left, 0.1))


def _page_of(folder: str) -> str:
  path = pathlib.Path(folder)
  is_run = (path / loading.CONFIG_FILE).exists()
  if not is_run and (path / figure_types.FIGURES_FILE).exists():
    return report_pages.figures_page(folder)
  return report_pages.run_page(run_folder.read(folder))


def main(argv: Sequence[str]) -> int:
  """Reads the flags and writes the page."""
  folders = argv[1:]
  with command.exit_on_user_error():
    if not folders:
      raise ValueError('name the folder of a run, or those of several.')
    if _EVERY_S.value <= 0:
      raise ValueError(f'--every_s must be positive, got {_EVERY_S.value}.')
    if _WATCH.value and len(folders) > 1:
      raise ValueError(f'--watch takes one run, got {len(folders)}.')
    default = os.path.join(
      folders[0] if len(folders) == 1 else 'runs', run_files.REPORT_FILE
    )
    path = pathlib.Path(_OUTPUT.value or default)
    if _WATCH.value:
      print(f'Writing {path} every {_EVERY_S.value:g} s. Ctrl-C ends it.')
      watch(folders[0], path, _EVERY_S.value)
      return 0
    if len(folders) == 1:
      text = _page_of(folders[0])
    else:
      text = report_pages.comparison_page(
        [run_folder.read(folder, with_figures=False) for folder in folders]
      )
    files.write_text(path, text)
  print(path)
  return 0


if __name__ == '__main__':
  command.run(main)
