"""The runs of a sweep: which there are, and how they run side by side."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import csv
import dataclasses
import itertools
import os
import pathlib
import re
import subprocess
import sys
import time
from typing import Any

import numpy as np

from launch.runs import run_files
from skills import files
from skills import loading

RESULTS_FILE = 'sweep.json'
_FORMAT_VERSION = 1

# A run is judged by the mean of its last evaluations, which is less a matter of
# chance than the last one alone.
_NUM_LAST = 3

_POLL_S = 0.2
_TERMINATE_S = 20.0

# A run that may use one core gains nothing from more threads.
_ONE_THREAD = (
  'OMP_NUM_THREADS',
  'OPENBLAS_NUM_THREADS',
  'MKL_NUM_THREADS',
  'TF_NUM_INTRAOP_THREADS',
  'TF_NUM_INTEROP_THREADS',
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
  """A run of the sweep.

  Attributes:
    settings: path of a setting -> its value here, as `--set` takes it.
    seed: of the run.
    folder: of the run.
  """

  settings: Mapping[str, str]
  seed: int
  folder: pathlib.Path

  @property
  def log(self) -> pathlib.Path:
    """What the run prints, beside its folder."""
    return self.folder.parent / f'{self.folder.name}.log'

  def arguments(self, command: str, given: Sequence[str]) -> list[str]:
    """The command line, that of a continued run where there is a beginning."""
    line = [sys.executable, '-m', f'launch.{command}']
    folder = f'--output_dir={self.folder}'
    if (self.folder / loading.CONFIG_FILE).exists():
      return [*line, folder, '--resume']
    sets = [f'--set={path}={value}' for path, value in self.settings.items()]
    return [*line, *given, *sets, f'--seed={self.seed}', folder]


def error_of(job: Job) -> str:
  """The line in which a run said what was wrong with it, '' if it did not."""
  lines = job.log.read_text(errors='replace').splitlines()
  said = [line for line in lines if line.startswith('error: ')]
  return f'\n  {said[-1]}' if said else ''


def split_values(text: str) -> list[str]:
  """Values between commas, where those inside parentheses belong to a value.

  '0.9,0.99' has two, '(64,64),(256,256)' has two as well.
  """
  parts = re.split(r',(?![^()]*\))', text)
  return [part.strip().removeprefix('(').removesuffix(')') for part in parts]


def grid(values: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
  """Every combination of the values of settings."""
  return [
    dict(zip(values, combination))
    for combination in itertools.product(*values.values())
  ]


def sample(
  combinations: Sequence[Any], size: int | None, seed: int
) -> list[Any]:
  """So many combinations at random, in their order; all for None."""
  if size is None or size >= len(combinations):
    return list(combinations)
  rng = np.random.default_rng(seed)
  chosen = rng.choice(len(combinations), size, replace=False)
  return [combinations[i] for i in sorted(chosen)]


def make_jobs(
  combinations: Sequence[Mapping[str, str]],
  seeds: Sequence[int],
  folder: pathlib.Path,
) -> list[Job]:
  """A run for every combination and seed; first seeds come first."""
  return [
    Job(settings=settings, seed=seed, folder=folder / _name(settings, seed))
    for seed in seeds
    for settings in combinations
  ]


def _name(settings: Mapping[str, str], seed: int) -> str:
  parts = [
    f'{path.rpartition(".")[2]}={value}' for path, value in settings.items()
  ]
  name = '-'.join([*parts, f'seed={seed}'])
  return re.sub(r'[^\w.=,+-]', '_', name)


def score(folder: pathlib.Path, metric: str) -> float:
  """Mean of a metric over the last evaluations of a run.

  Raises:
    ValueError: if the run has no such metric; it names those there are.
  """
  path = folder / 'evaluator' / run_files.METRICS_FILE
  with open(path, newline='') as file:
    rows = list(csv.DictReader(file))
  values = [float(row[metric]) for row in rows if row.get(metric)]
  if not values:
    raise ValueError(
      f'metric must be a column of {path} ({", ".join(rows[0])}), got '
      f'{metric!r}.'
    )
  return float(np.mean(values[-_NUM_LAST:]))


class Results:
  """What is known of the runs of a sweep, in a file that is always whole."""

  def __init__(self, folder: pathlib.Path, description: Mapping[str, Any]):
    """Reads the file, if there is one.

    Args:
      folder: of the sweep.
      description: what is swept, as JSON holds it.

    Raises:
      ValueError: if there is another sweep in the folder.
    """
    self._path = folder / RESULTS_FILE
    self._description = dict(description)
    self.runs: dict[str, dict[str, Any]] = {}
    with contextlib.suppress(FileNotFoundError):
      found = files.read_json(self._path, _FORMAT_VERSION, 'results of a sweep')
      self.runs = found.pop('runs')
      for name, value in self._description.items():
        if found[name] != value:
          raise ValueError(
            f'another sweep is in {folder}, with {name} {found[name]!r}; got '
            f'{value!r}. Choose another --sweep_dir.'
          )

  def add(self, job: Job, status: int, cpu_s: float, wall_s: float) -> None:
    """Records how a run ended; seconds add up if it was continued."""
    run = self.runs.setdefault(
      job.folder.name,
      {'settings': dict(job.settings), 'seed': job.seed, 'cpu_s': 0.0}
      | {'wall_s': 0.0},
    )
    run['status'] = status
    run['cpu_s'] += cpu_s
    run['wall_s'] += wall_s
    files.write_json(
      self._path, self._description | {'runs': self.runs}, _FORMAT_VERSION
    )

  def is_complete(self, job: Job) -> bool:
    """Whether a run has ended well."""
    return self.runs.get(job.folder.name, {}).get('status') == 0


def run_all(
  jobs: Sequence[Job],
  command: str,
  given: Sequence[str],
  results: Results,
  processes: int,
  received: Sequence[int],
) -> Iterator[tuple[Job, int]]:
  """Runs the jobs that are not complete, `processes` of them at a time.

  Args:
    jobs: of the sweep.
    command: the training command, by the name of its module in `launch`.
    given: its arguments, but for those of the jobs.
    results: gets what becomes of each.
    processes: number of runs at the same time.
    received: signals; as soon as there is one, running jobs are asked to end.

  Yields:
    Each job and its exit status when it has ended.
  """
  waiting = [job for job in jobs if not results.is_complete(job)]
  cores = sorted(os.sched_getaffinity(0))
  running: dict[int, tuple[Job, subprocess.Popen[bytes], int, float]] = {}
  try:
    while (waiting or running) and not received:
      if waiting and len(running) < processes:
        used = [core for _, _, core, _ in running.values()]
        core = min(cores, key=used.count)
        process = _start(waiting[0], command, given, core, processes == 1)
        running[process.pid] = waiting.pop(0), process, core, time.monotonic()
        continue
      for pid in list(running):
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if not ended:
          continue
        job, process, _, start = running.pop(pid)
        process.returncode = os.waitstatus_to_exitcode(status)
        results.add(
          job,
          process.returncode,
          usage.ru_utime + usage.ru_stime,
          time.monotonic() - start,
        )
        yield job, process.returncode
      time.sleep(_POLL_S)
  finally:
    _end([process for _, process, _, _ in running.values()])


def _start(
  job: Job, command: str, given: Sequence[str], core: int, is_alone: bool
) -> subprocess.Popen[bytes]:
  """Starts a run on a core of its own, its output in the run's folder."""
  before = os.sched_getaffinity(0)
  job.folder.parent.mkdir(parents=True, exist_ok=True)
  # A child has the affinity of its parent.
  if not is_alone:
    os.sched_setaffinity(0, {core})
  try:
    with open(job.log, 'ab') as output:
      return subprocess.Popen(
        job.arguments(command, given),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=os.environ | dict.fromkeys(_ONE_THREAD, '1'),
        # Ctrl-C reaches it through this process alone.
        start_new_session=True,
      )
  finally:
    os.sched_setaffinity(0, before)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
  """Asks runs to save themselves and end, and waits for them."""
  for process in processes:
    process.terminate()
  for process in processes:
    try:
      process.wait(timeout=_TERMINATE_S)
    except subprocess.TimeoutExpired:
      process.kill()
      process.wait()
