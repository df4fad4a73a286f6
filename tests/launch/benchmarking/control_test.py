"""Tests of launch/benchmarking/control.py."""

import pytest

from launch.benchmarking import control
from launch.benchmarking import runs


@pytest.mark.slow
@pytest.mark.integration
def test_run_stays_below_its_limits(monkeypatch):
  monkeypatch.setattr(runs, 'RUN_S', 4.0)
  limits = control.measure_limits(1)
  assert limits.loop < limits.environment
  assert limits.updates < limits.products
  rows = {name: value for name, value, _, _ in control.rows(limits, limits)}
  steps, updates = rows['whole run: steps'], rows['whole run: updates']
  assert 0 < steps < limits.loop
  # An update for two steps, within what actors and learner may run ahead.
  assert updates == pytest.approx(0.5 * steps, rel=0.3)
