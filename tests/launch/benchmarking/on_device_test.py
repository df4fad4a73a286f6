"""Tests of launch/benchmarking/on_device.py."""

import pytest

from launch.benchmarking import on_device


@pytest.mark.slow
def test_parts_of_an_update_add_up_to_the_whole(monkeypatch):
  monkeypatch.setattr(on_device, 'UPDATES', 2_000)
  rows = {name.strip(): value for name, value, _, _ in on_device.rows(2)}
  whole = 1e6 / rows['full update, one seed']
  acting = rows['acting: 8 steps of 16 environments']
  learning = rows['learning in all: rewards, discriminators, values']
  assert 0.5 * whole < acting + learning < 2 * whole
  assert rows['rewards of both streams'] < learning
  assert rows['discriminators: gradient and step'] < learning
