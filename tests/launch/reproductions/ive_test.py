"""Tests of launch/reproductions/ive.py."""

from launch.reproductions import ive


def test_the_sea_must_be_crossed_with_the_bonus_and_not_without():
  runs = {
    'weight 0': [{'final': 0.99}, *[{'final': -0.01}] * 4],
    'weight 1': [*[{'final': 0.99}] * 4, {'final': 0.0}],
  }
  verdicts = [found.verdict for found in ive.deep_sea_quantities(runs)]
  assert verdicts == ['ok', '-', 'ok', '-']
  worse = {**runs, 'weight 1': runs['weight 1'][1:] + runs['weight 0'][1:2]}
  assert ive.deep_sea_quantities(worse)[2].verdict == 'MISSED'
  found = {**runs, 'weight 0': runs['weight 1']}
  assert ive.deep_sea_quantities(found)[0].verdict == 'MISSED'
