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

# Of each name one run for each seed.
Runs = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
  """What is asked for of a result.

  Attributes:
    seeds: of its runs.
    processes: that run at the same time, of those runs that use one core.
    folder: where whatever is more than the result's numbers goes.
  """

  seeds: tuple[int, ...]
  processes: int
  folder: pathlib.Path


def run_all(
  jobs: Mapping[str, Callable[[int], dict[str, Any]]],
  request: Request,
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
  """Runs each job, in processes of one core each; the results by its name.

  Raises:
    BaseException: whatever a job raised; jobs that run then are waited for, and
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
      # Else whoever stops one run would wait for all that have not begun.
      pool.shutdown(cancel_futures=True)
      raise
  return {name: future.result() for name, future in futures.items()}


def each(runs: Sequence[Mapping[str, Any]], name: str) -> tuple[float, ...]:
  """Of each run what it has under a name."""
  return tuple(run[name] for run in runs)


def difference(
  runs: Runs, first: str, second: str, name: str
) -> tuple[float, ...]:
  """Of each seed, by how much more the first has than the second."""
  pairs = zip(each(runs[first], name), each(runs[second], name), strict=True)
  return tuple(one - other for one, other in pairs)


def _begin(cores: Sequence[int], begun: Any, launcher: int) -> None:
  """Takes a core, and ends with the process that it works for.

  Args:
    cores: that there are.
    begun: how many processes have begun before, shared by all.
    launcher: id of the process that it works for, of which nothing else may be
      left when it is killed.
  """
  node_process.tie('reproduction', launcher)
  # Else processes fight for one core while another is idle.
  with begun.get_lock():
    core = cores[begun.value % len(cores)]
    begun.value += 1
  os.sched_setaffinity(0, {core})
