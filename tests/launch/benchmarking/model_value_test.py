"""Tests of launch/benchmarking/model_value.py."""

import pytest

from launch.benchmarking import model_value


@pytest.mark.slow
def test_updates_stay_below_products(monkeypatch):
  monkeypatch.setattr(
    model_value,
    'ENVIRONMENTS',
    (('classic:catch', {'observation': 'board'}, 4),),
  )
  rows = model_value.rows(2)
  [products, updates, operations] = [value for _, value, *_ in rows]
  assert 0 < operations < products
  # In a batch of 16 x 9 steps, each of the two hidden layers of 256 that the
  # encoder has is seen forwards twice, and once backwards for its weights.
  least = 3 * 2 * 16 * 9 * 256 * 256 / 1e9
  assert least < operations / updates < 20 * least
