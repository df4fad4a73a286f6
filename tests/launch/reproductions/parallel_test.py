"""Tests of launch/reproductions/parallel.py."""

import functools
import os
import signal
import subprocess
import sys
import time

import pytest

from launch.reproductions import parallel


def _cores(name):
  """A job that gives the cores it may run on."""
  return name, os.sched_getaffinity(0)


def _touch(path):
  """A job that leaves a trace."""
  path.touch()
  time.sleep(0.2)


def _stop():
  """A job that ends as an interrupted run does."""
  raise SystemExit(130)


def test_difference_is_paired_by_seed():
  runs = {'a': [{'x': 3}, {'x': 0.5}], 'b': [{'x': 1}, {'x': 2}]}
  assert parallel.difference(runs, 'a', 'b', 'x') == (2, -1.5)
  with pytest.raises(ValueError):
    parallel.difference({**runs, 'b': runs['b'][:1]}, 'a', 'b', 'x')


def test_each_job_has_one_core_and_its_result_its_name():
  jobs = {name: functools.partial(_cores, name) for name in ('a', 'b', 'c')}
  found = parallel.run_each(jobs, processes=2)
  assert {name: own for name, (own, _) in found.items()} == {
    'a': 'a',
    'b': 'b',
    'c': 'c',
  }
  assert all(len(cores) == 1 for _, cores in found.values())


def test_jobs_that_have_not_begun_are_cancelled_when_one_fails(tmp_path):
  jobs = {
    'slow': functools.partial(_touch, tmp_path / 'slow'),
    'stopped': _stop,
    **{
      str(i): functools.partial(_touch, tmp_path / f'later-{i}')
      for i in range(40)
    },
  }
  with pytest.raises(SystemExit) as stopped:
    parallel.run_each(jobs, processes=2)
  assert stopped.value.code == 130
  # A few had been handed out already.
  assert (tmp_path / 'slow').exists()
  assert len(list(tmp_path.glob('later-*'))) < 10


def _is_alive(pid):
  try:
    with open(f'/proc/{pid}/stat') as file:
      return file.read().rpartition(')')[2].split()[0] != 'Z'
  except FileNotFoundError:
    return False


def _until(condition, timeout_s=60):
  end = time.monotonic() + timeout_s
  while not condition() and time.monotonic() < end:
    time.sleep(0.05)
  return condition()


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGKILL])
def test_jobs_end_with_the_command(tmp_path, how):
  command = subprocess.Popen(
    [sys.executable, '-m', 'tests.programs.waiting_program', str(tmp_path)]
  )
  try:
    assert _until(lambda: len(list(tmp_path.iterdir())) == 2)
    jobs = [int(path.name) for path in tmp_path.iterdir()]
    assert all(_is_alive(pid) for pid in jobs)
    command.send_signal(how)
    command.wait(60)
    assert _until(lambda: not any(_is_alive(pid) for pid in jobs))
  finally:
    command.kill()
