"""Tests of launch/reproductions/ive.py."""

from launch.reproductions import ive


def plans(**changed):
  """Runs of two seeds, in which some plans have other numbers."""
  names = ['v^0', 'v^1', 'v^2', 'v^5', 'mean', 'mean -1 std', 'mean +1 std']
  of_all = {name: [1.0, 2.0] for name in names} | changed
  return {
    name: [{'seen': each, 'unseen': 9.0, 'strayed': each} for each in found]
    for name, found in of_all.items()
  }


def test_planning_bars_are_on_stray_time_and_lost_return():
  runs = plans(**{'mean -1 std': [0.5, 1.0], 'mean +1 std': [1.5, 3.0]})
  optimist, pessimist, lost, last, *_ = ive.planning_quantities(runs)
  for each in (optimist, pessimist, lost):
    assert each.ours == (-0.5, -1.0)
  assert [each.verdict for each in (optimist, pessimist, lost, last)] == [
    'ok'
  ] * 4
  # Paired: the mean of -.5 and .6 is above 0.
  worse = plans(**{'mean -1 std': [0.5, 2.6], 'v^5': [0.0, 2.5]})
  verdicts = [each.verdict for each in ive.planning_quantities(worse)]
  assert verdicts[:4] == ['ok', 'MISSED', 'MISSED', 'MISSED']


def test_acting_bar_is_on_paired_differences_of_visited_cells():
  runs = {
    name: [{'final': each} for each in found]
    for name, found in {
      'policy': [50, 40],
      'beta -5': [30, 31],
      'beta 0': [40, 30],
      'beta 5': [45, 28],
    }.items()
  }
  first, *rest = ive.acting_quantities(runs)
  assert first.ours == (5, -2)
  assert first.verdict == 'ok'
  assert [each.verdict for each in rest] == ['-'] * 6
  assert rest[1].ours == (-5, -12)
  runs['beta 5'], runs['beta 0'] = runs['beta 0'], runs['beta 5']
  assert ive.acting_quantities(runs)[0].verdict == 'MISSED'


def test_deep_sea_bars_are_solved_with_the_bonus_and_not_without():
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
