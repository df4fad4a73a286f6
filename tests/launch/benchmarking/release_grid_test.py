"""Tests of launch/benchmarking/release_grid.py."""

import pytest

from launch.benchmarking import release_grid
from launch.benchmarking import runs


def test_distributed_row_has_ratios_to_loops_update_and_writer():
  # 4 actors on 2 cores; DISDAIN asks for 1/8 updates a step, one for
  # each skill of 8 steps.
  row = release_grid.distributed_row(
    4,
    1,
    runs.Counts(steps=1600, updates=100, items=200),
    runs.Counts(steps=1000, updates=5000, items=400),
    num_cores=2,
  )
  assert row == {
    'actors': 4,
    'inference servers': 1,
    'steps/s': 1600,
    'of a loop an actor': 0.4,
    'of a loop a core': 0.8,
    'updates/s': 100,
    'of bare update': 0.02,
    'of asked': 0.5,
    'items/s': 200,
    'of bare writer': 0.5,
  }


@pytest.mark.slow
@pytest.mark.launchpad
@pytest.mark.parametrize('num_inference_servers', [0, 1])
def test_program_of_processes_makes_steps_updates_and_items(
  monkeypatch, num_inference_servers
):
  monkeypatch.setattr(runs, 'RUN_S', 4.0)
  speeds = release_grid.measure_program(2, num_inference_servers)
  # Items are episodes of 8 steps, and each asks for one update.
  assert speeds.items == pytest.approx(speeds.steps / 8, rel=0.3)
  assert speeds.updates == pytest.approx(speeds.items, rel=0.5)


@pytest.mark.slow
@pytest.mark.integration
def test_limits_are_above_the_speeds_of_a_whole_run(monkeypatch):
  monkeypatch.setattr(runs, 'RUN_S', 4.0)
  limits = release_grid.measure_limits(2)
  rows = release_grid.local_rows(limits)
  for (name, value, *_), limit in zip(rows[:3], limits, strict=True):
    assert 0 < value < limit, name
  # Steps, updates and items of several environments.
  for one, several in zip(rows[:3], rows[3:], strict=True):
    assert several.speed > 2 * one.speed, several.what
