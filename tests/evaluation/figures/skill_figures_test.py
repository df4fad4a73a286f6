"""Tests of skills/evaluation/figures/skill_figures.py, by hand."""

import numpy as np

from skills.evaluation import metrics
from skills.evaluation.figures import skill_figures

# A row of three free cells within walls.
WALLS = np.ones((3, 5), bool)
WALLS[1, 1:4] = False
GRID = skill_figures.Grid(WALLS, np.argwhere(~WALLS))


def test_some_skills_are_all_or_lie_at_equal_distances():
  assert skill_figures.some(3, 16) == [0, 1, 2]
  assert skill_figures.some(101, 5) == [0, 25, 50, 75, 100]


def test_ends_are_shares_of_each_skill_s_runs():
  counts = metrics.joint_counts(
    np.array([0, 0, 0, 2]), np.array([0, 0, 2, 1]), 4, 3
  )
  shares = skill_figures.end_shares(counts)
  np.testing.assert_allclose(
    shares, [[2 / 3, 0, 1 / 3], [0, 0, 0], [0, 1, 0], [0, 0, 0]]
  )
  assert skill_figures.ends_in_words(shares, GRID) == [
    'row 1, column 1 (67%)',
    None,
    'row 1, column 2 (100%)',
    None,
  ]
  found = skill_figures.grid_ends(shares, GRID)
  np.testing.assert_allclose(found.values[1, 1:4], [2 / 3, 1, 1 / 3])
  assert np.isnan(found.values[WALLS]).all()
  assert found.text[1].tolist() == ['', '0', '2', '', '']


def test_many_skills_in_one_cell_take_little_room():
  shares = np.zeros((5, 3))
  shares[:, 1] = 1.0
  found = skill_figures.grid_ends(shares, GRID)
  assert found.text[1, 2] == '0 1 +3'
  assert found.values[1, 2] == 5


def test_the_table_has_a_row_for_each_skill_and_nothing_of_what_never_ran():
  runs = skill_figures.Runs(
    np.array([0, 2, 2]), np.array([4, 2, 4]), np.array([1.0, 0.0, 3.0])
  )
  told_apart = metrics.Discrimination(
    np.array([0.5, np.nan, 1.0]),
    np.array([0.25, np.nan, 1.0]),
    np.zeros((3, 3), int),
  )
  found = skill_figures.table(
    runs, 3, discrimination=told_apart, ends=('ends at', ['a', None, 'c'])
  )
  assert found.rows == [
    [0, 0.5, 25.0, 'a', 1.0, 4.0, 1],
    [1, None, None, None, None, None, 0],
    [2, 1.0, 100.0, 'c', 1.5, 3.0, 2],
  ]
  assert len(found.columns) == 7


def test_small_maps_stand_beside_each_other_below_their_labels():
  maps = [np.full((2, 3), k) for k in range(3)]
  values, text = skill_figures.tiles(maps, ['a', 'b', 'c'])
  assert values.shape == text.shape == (6, 7)
  np.testing.assert_array_equal(values[1:3, :3], 0)
  np.testing.assert_array_equal(values[1:3, 4:], 1)
  np.testing.assert_array_equal(values[4:, :3], 2)
  assert np.isfinite(values).sum() == 18
  assert (text[0, 1], text[0, 5], text[3, 1]) == ('a', 'b', 'c')


def test_occupancies_are_shares_of_steps():
  found = skill_figures.occupancies(np.array([[1, 0, 3], [0, 0, 0]]), None)
  np.testing.assert_allclose(found.values, [[0.25, 0, 0.75], [0, 0, 0]])
  in_cells = skill_figures.occupancies(np.array([[1, 0, 3]]), GRID)
  np.testing.assert_allclose(in_cells.values[2, 1:4], [0.25, 0, 0.75])


def test_steps_after_the_end_of_a_run_are_not_drawn():
  states = np.array([[0, 0], [1, 1], [2, 0]])
  runs = skill_figures.Runs(np.array([0, 1]), np.array([2, 1]), np.zeros(2))
  found = skill_figures.grid_paths(states, runs, 2, GRID)
  assert found.groups == ['0', '1']
  assert [len(path) for path in found.paths] == [3, 2]
  # From left to right, in the middle of three rows.
  np.testing.assert_allclose(np.diff(found.paths[0], axis=0), [[1, 0], [1, 0]])


def test_values_are_compared_with_the_truth_where_something_was_learned():
  learned, exact = np.array([1.0, np.nan, 3.0]), np.array([0.0, 7.0, 3.0])
  on_a_map = skill_figures.value_error(learned, exact, GRID)
  np.testing.assert_array_equal(on_a_map.values[1, 1:4], [1, np.nan, 0])
  assert '0.707' in on_a_map.caption  # sqrt((1 + 0) / 2).
  beside = skill_figures.values_beside(learned, exact)
  assert '0.707' in beside.caption
  assert [path.tolist() for path in beside.paths] == [
    [[0, 0], [7, 7]],
    [[0, 1]],
    [[3, 3]],
  ]


def test_policies_that_earn_nothing_have_no_ratios():
  features = np.array([[0.0, 0.0], [3.0, 4.0]])
  found = skill_figures.policies(np.array([2.0, 1.0]), features)
  assert [list(row) for row in found.rows] == [[0, 2, 1, 5], [1, 1, 0.5, 5]]
  found = skill_figures.policies(np.array([0.0, 1.0]), features)
  assert [row[2] for row in found.rows] == [None, None]


def test_the_plane_marks_what_was_asked_for():
  features = np.array([[0.0], [3.0], [5.0]])
  found = skill_figures.quality_and_diversity(
    np.array([10.0, 9.0, 1.0]), features, 0.9
  )
  np.testing.assert_allclose(
    np.concatenate(found.paths), [[1, 3], [0.9, 2], [0.1, 2]]
  )
  assert found.levels == {'alpha = 0.9': 0.9}
  assert 'alone is 3.' in found.caption
