"""What several seeds say together."""

import numpy as np
import pytest

from skills.evaluation import comparison


def test_the_middle_half_of_the_seeds_is_averaged():
  # Two of 8 values are left out at either end: (3 + 4 + 5 + 6) / 4 = 4.5.
  values = np.array([1.0, 100.0, 3.0, 4.0, 5.0, 6.0, 7.0, -50.0])
  np.testing.assert_allclose(comparison.interquartile_mean(values), 4.5)


def test_one_of_five_seeds_is_left_out_at_either_end():
  values = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [6.0, 4.0], [99, 9]])
  # (1 + 2 + 6) / 3, and (1 + 1 + 4) / 3.
  np.testing.assert_allclose(comparison.interquartile_mean(values), [3.0, 2.0])


def test_the_mean_of_three_seeds_is_that_of_all():
  values = np.array([0.0, 1.0, 8.0])
  np.testing.assert_allclose(comparison.interquartile_mean(values), 3.0)


def test_the_interval_of_two_seeds_reaches_from_one_to_the_other():
  # Resamples are (1, 1), (1, 3), (3, 1), (3, 3): a quarter of their means is 1
  # and a quarter 3, more than the 2.5% that are outside of the interval.
  low, high = comparison.interval(np.array([1.0, 3.0]))
  assert (low, high) == (1.0, 3.0)


def test_seeds_that_agree_have_an_interval_without_width():
  low, high = comparison.interval(np.full((5, 3), 2.0))
  np.testing.assert_array_equal(low, [2.0] * 3)
  np.testing.assert_array_equal(high, [2.0] * 3)


def test_one_seed_has_no_interval():
  low, high = comparison.interval(np.array([[1.0, 2.0]]))
  assert np.isnan(low).all() and np.isnan(high).all()
  assert low.shape == (2,)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
  rng = np.random.default_rng(3)
  num_seeds, num_trials = 20, 300
  low, high = comparison.interval(rng.normal(size=(num_seeds, num_trials)))
  # The mean of a normal distribution is its interquartile mean. Of 20 seeds the
  # percentile bootstrap covers it less often than the 95% that it promises.
  assert 0.86 < np.mean((low < 0) & (high > 0)) < 0.99


def test_a_whole_curve_is_resampled_by_seeds():
  # The second column is ten times the first, and so are its interval's ends.
  values = np.random.default_rng(0).normal(size=(6, 1)) * [1.0, 10.0]
  low, high = comparison.interval(values)
  np.testing.assert_allclose(low[1], 10 * low[0])
  np.testing.assert_allclose(high[1], 10 * high[0])
  assert low[0] < high[0]


def test_curves_with_the_same_steps_are_left_as_they_are():
  steps = np.array([0, 7, 9])
  common, values = comparison.on_common_steps(
    [(steps, np.array([1.0, 2.0, 3.0])), (steps, np.array([4.0, 5.0, 6.0]))]
  )
  np.testing.assert_array_equal(common, steps)
  np.testing.assert_array_equal(values, [[1, 2, 3], [4, 5, 6]])


def test_other_curves_meet_where_all_of_them_have_values():
  common, values = comparison.on_common_steps(
    [
      (np.array([0.0, 10.0]), np.array([0.0, 10.0])),
      (np.array([4.0, 6.0, 8.0]), np.array([1.0, 1.0, 3.0])),
    ]
  )
  np.testing.assert_array_equal(common, [4.0, 6.0, 8.0])
  np.testing.assert_allclose(values, [[4, 6, 8], [1, 1, 3]])


def test_missing_values_are_passed_over():
  common, values = comparison.on_common_steps(
    [(np.array([0.0, 1.0, 2.0]), np.array([0.0, np.nan, 2.0]))]
  )
  np.testing.assert_array_equal(common, [0.0, 2.0])
  np.testing.assert_array_equal(values, [[0.0, 2.0]])


def test_curves_that_never_meet_have_no_steps_in_common():
  common, values = comparison.on_common_steps(
    [
      (np.array([0.0, 1.0]), np.array([1.0, 1.0])),
      (np.array([5.0, 6.0]), np.array([1.0, 1.0])),
    ]
  )
  assert common.shape == (0,)
  assert values.shape == (2, 0)


def test_a_thinned_curve_has_means_of_neighbours():
  steps, values = np.arange(5.0), np.array([0.0, 2.0, 4.0, 8.0, 1.0])
  thin_steps, thin_values = comparison.thinned((steps, values), 3)
  np.testing.assert_array_equal(thin_steps, [0.5, 2.5, 4.0])
  np.testing.assert_array_equal(thin_values, [1.0, 6.0, 1.0])
  same, _ = comparison.thinned((steps, values), 5)
  np.testing.assert_array_equal(same, steps)


def test_differences_are_between_runs_of_the_same_seed():
  first = {0: 10.0, 1: 20.0, 2: 30.0, 7: 0.0}
  second = {2: 33.0, 1: 19.0, 0: 14.0, 8: 99.0}
  found = comparison.paired_difference(first, second)
  assert found.num_pairs == 3
  assert found.num_larger == 2
  # 4, -1 and 3.
  assert found.mean == pytest.approx(2.0)
  assert found.interval.low == pytest.approx(-1.0)
  assert found.interval.high == pytest.approx(4.0)


def test_without_a_pair_there_is_no_difference():
  found = comparison.paired_difference({0: 1.0}, {1: 2.0})
  assert found.num_pairs == 0
  assert np.isnan(found.mean)
