"""Runs of one result, side by side in processes of one core each."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import concurrent.futures
import dataclasses
import functools
import multiprocessing
import os
import pathlib
from typing import Any

from launch.distributed import node_process

# By name, one run for each seed.
Runs = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
  """How a result is to be reproduced.

  Attributes:
    seeds: of its runs.
    processes: number of runs at the same time, where a run uses one core.
    folder: for all output besides the result's numbers.
  """

  seeds: tuple[int, ...]
  processes: int
  folder: pathlib.Path


def run_all(
  jobs: Mapping[str, Callable[[int], dict[str, Any]]], request: Request
) -> Runs:
  """Runs each job from each seed, in processes of one core each."""
  found = run_each(
    {
      (name, seed): functools.partial(job, seed)
      for name, job in jobs.items()
      for seed in request.seeds
    },
    request.processes,
  )
  return {name: [found[name, seed] for seed in request.seeds] for name in jobs}


def run_each(
  jobs: Mapping[Any, Callable[[], Any]], processes: int
) -> dict[Any, Any]:
  """Runs each job in a process of one core, and gives the results by name.

  Raises:
    BaseException: the first that a job raised; running jobs are waited for, and
      no other one is begun.
  """
  cores = sorted(os.sched_getaffinity(0))
  context = multiprocessing.get_context('spawn')
  with concurrent.futures.ProcessPoolExecutor(
    processes,
    mp_context=context,
    initializer=_begin,
    initargs=(cores, context.Value('i', 0), os.getpid()),
  ) as pool:
    futures = {name: pool.submit(job) for name, job in jobs.items()}
    try:
      for future in concurrent.futures.as_completed(futures.values()):
        future.result()
    except BaseException:
      # Otherwise an interruption would wait for all jobs that have not begun.
      pool.shutdown(cancel_futures=True)
      raise
  return {name: future.result() for name, future in futures.items()}


def each(runs: Sequence[Mapping[str, Any]], name: str) -> tuple[float, ...]:
  """One number of each run, by the name of the number."""
  return tuple(run[name] for run in runs)


def difference(
  runs: Runs, first: str, second: str, name: str
) -> tuple[float, ...]:
  """Paired difference of a number: first less second, for each seed."""
  pairs = zip(each(runs[first], name), each(runs[second], name), strict=True)
  return tuple(one - other for one, other in pairs)


def _begin(cores: Sequence[int], begun: Any, launcher: int) -> None:
  """Pins the process to a core, and ends it when its launcher ends.

  Args:
    cores: that there are.
    begun: number of processes that have begun before, shared by all.
    launcher: id of the process that it works for.
  """
  node_process.tie('reproduction', launcher)
  # Otherwise processes compete for one core while another is idle.
  with begun.get_lock():
    core = cores[begun.value % len(cores)]
    begun.value += 1
  os.sched_setaffinity(0, {core})
