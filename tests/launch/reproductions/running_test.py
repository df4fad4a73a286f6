"""Tests of launch/reproductions/running.py."""

import functools
import os
import time

import pytest

from launch.reproductions import running


def _cores(name):
  """A job: where it may run."""
  return name, os.sched_getaffinity(0)


def _touch(path):
  """A job that leaves a trace."""
  path.touch()
  time.sleep(0.2)


def _stop():
  """A job that ends as an interrupted run does."""
  raise SystemExit(130)


def test_each_job_has_a_core_and_results_keep_their_names():
  jobs = {name: functools.partial(_cores, name) for name in ('a', 'b', 'c')}
  found = running.run_each(jobs, processes=2)
  assert {name: own for name, (own, _) in found.items()} == {
    'a': 'a',
    'b': 'b',
    'c': 'c',
  }
  assert all(len(cores) == 1 for _, cores in found.values())


def test_what_has_not_begun_when_a_job_stops_never_does(tmp_path):
  jobs = {
    'slow': functools.partial(_touch, tmp_path / 'slow'),
    'stopped': _stop,
    **{
      str(i): functools.partial(_touch, tmp_path / f'later-{i}')
      for i in range(40)
    },
  }
  with pytest.raises(SystemExit) as stopped:
    running.run_each(jobs, processes=2)
  assert stopped.value.code == 130
  # A few had been handed out already.
  assert (tmp_path / 'slow').exists()
  assert len(list(tmp_path.glob('later-*'))) < 10
