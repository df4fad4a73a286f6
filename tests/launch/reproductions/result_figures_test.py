"""Tests of launch/reproductions/result_figures.py."""

import numpy as np
import pytest

from launch.reproductions import half_grid
from launch.reproductions import result_figures
from skills.evaluation.figures import figure_types


def quantity(ours):
  return {
    'name': 'skills',
    'paper': 'about 21',
    'ours': ours,
    'mean': sum(ours) / len(ours),
    'tolerance': '>= 18',
    'verdict': 'ok',
  }


def test_result_has_a_table_and_its_mean_curves():
  table, curves = result_figures.make(
    {
      'name': 'tiny',
      'seeds': [3, 4],
      'quantities': [quantity([18.0, 20.0])],
      'runs': {
        'vic': [
          {'updates': [10, 20], 'curve': [1.0, 2.0]},
          {'updates': [10, 20], 'curve': [3.0, 6.0]},
        ]
      },
    }
  )
  assert table.columns[2:4] == ['seed 3', 'seed 4']
  assert table.rows == [['skills', 'about 21', 18.0, 20.0, 19.0, '>= 18', 'ok']]
  steps, values = curves.lines['vic']
  np.testing.assert_array_equal(steps, [10, 20])
  np.testing.assert_array_equal(values, [2, 4])
  assert curves.xlabel == 'updates'


def test_many_seeds_are_summarized_and_curves_need_numbers():
  found = result_figures.make(
    {
      'name': 'tiny',
      'seeds': list(range(9)),
      'quantities': [quantity([float(n) for n in range(9)])],
      'runs': {'vic': [{'curve': [{'a': 1.0}]}], 'none': [{}]},
    }
  )
  [table] = found
  assert table.columns[2:6] == ['lowest', 'highest', '+- (s.e.)', 'mean']
  # The squares of 0 to 8 less their mean add up to 60, so that the variance is
  # 60 / 8, and that of the mean a ninth of it.
  assert table.rows[0][2:6] == [0.0, 8.0, pytest.approx((60 / 72) ** 0.5), 4.0]


def test_ive_grid_has_maps_of_its_cells(tmp_path):
  short = half_grid.Settings(num_steps=200)
  run = half_grid.half_grid_runs((1, 5), 0, short)
  found = result_figures.make(
    {
      'name': 'ive_grid',
      'seeds': [0],
      'quantities': [quantity([run['5']['auroc']])],
      'runs': {'ive': [run]},
    }
  )
  _, error, *spreads = found
  assert [each.values.shape for each in (error, *spreads)] == [(11, 11)] * 3
  spread = spreads[1].values
  np.testing.assert_allclose(
    np.nanmean(spread[:, 5:]), run['5']['unseen'], rtol=1e-5
  )
  figure_types.save(tmp_path, found)
  assert len(figure_types.load(tmp_path)) == 4


def test_plans_on_all_estimates_have_maps_of_means_over_seeds():
  runs = {
    name: [{'lost': np.linspace(0.0, each, 121).tolist()} for each in scales]
    for name, scales in {
      'v^0': [5.0, 5.0],
      'mean': [1.0, 3.0],
      'mean -1 std': [0.0, 1.0],
    }.items()
  }
  _, *found = result_figures.make(
    {
      'name': 'ive_planning',
      'seeds': [0, 1],
      'quantities': [quantity([1.0, 2.0])],
      'runs': runs,
    }
  )
  assert [each.title.partition(': ')[2] for each in found] == [
    'mean',
    'mean -1 std',
  ]
  for each, largest in zip(found, (2.0, 0.5)):
    np.testing.assert_allclose(
      each.values, np.linspace(0.0, largest, 121).reshape(11, 11)
    )
