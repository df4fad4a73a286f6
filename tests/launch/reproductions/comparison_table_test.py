"""Tests of launch/reproductions/comparison_table.py."""

from launch.reproductions import comparison_table


def quantity(*ours: float, low=None, high=None) -> comparison_table.Quantity:
  return comparison_table.Quantity(
    name='skills', paper='3 (a paper)', ours=ours, low=low, high=high
  )


def test_verdict_is_on_the_mean_over_seeds():
  # The mean of 1 and 4 is 2.5.
  assert quantity(1.0, 4.0, low=2.5).verdict == 'ok'
  assert quantity(1.0, 4.0, low=2.6).verdict == 'MISSED'
  assert quantity(1.0, 4.0, high=2.5).verdict == 'ok'
  assert quantity(1.0, 4.0, high=2.4).verdict == 'MISSED'
  assert quantity(1.0, 4.0, low=2.0, high=3.0).verdict == 'ok'


def test_quantity_without_tolerance_has_no_verdict():
  assert quantity(1.0).verdict == '-'
  assert quantity(1.0).tolerance == 'reported'
