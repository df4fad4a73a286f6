"""Tests of launch/benchmarking/batches.py."""

import pytest

from launch.benchmarking import batches


def test_each_task_has_a_row_beside_dm_control(monkeypatch):
  monkeypatch.setattr(batches, '_GOALS', {'pendulum_swingup': 1_000_000})
  monkeypatch.setattr(batches, '_EPISODE', 20)
  monkeypatch.setattr(batches, '_BATCH_STEPS', 5)
  monkeypatch.setattr(batches, 'NUM_ENVIRONMENTS', 4)
  seconds = iter([2.0, 0.5, 1.0, 0.25])

  def cpu_seconds(call):
    call()
    return next(seconds)

  monkeypatch.setattr(batches, '_cpu_seconds', cpu_seconds)
  single, batch = batches.rows(2)
  # 20 steps in a second, and 5 steps of 4 environments in a quarter.
  assert (single.speed, single.ratio) == (20.0, 'limit')
  assert batch.speed == pytest.approx(80.0)
  assert batch.what == 'pendulum_swingup: a batch of 4'
  assert batch.ratio == (
    '4.0 x one by one (goal 1.8), 0.00 of the goal (1,000,000)'
  )


def test_seconds_are_those_of_the_cpu():
  assert batches._cpu_seconds(lambda: sum(range(100_000))) > 0
