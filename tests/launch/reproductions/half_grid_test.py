"""Tests of launch/reproductions/half_grid.py."""

import jax
import numpy as np
import pytest

from envs import gridworlds
from launch.reproductions import half_grid

SHORT = half_grid.Settings(num_steps=20_000)


def test_model_is_exact_in_the_seen_half_and_random_in_the_other():
  grid = gridworlds.load('rewards_11')
  seen = half_grid.is_seen(grid)
  assert seen.sum() == 55
  params, _ = half_grid.learn(SHORT, grid, jax.random.PRNGKey(0))
  likely = np.asarray(params.transition).argmax(-1)
  certainty = np.asarray(jax.nn.softmax(params.transition)).max(-1)
  # All 55 cells and 5 actions were tried, those that leave the half included.
  np.testing.assert_array_equal(likely[seen], grid.mdp.successors[seen])
  np.testing.assert_allclose(certainty[seen], 1.0)
  np.testing.assert_array_equal(params.reward[seen], grid.mdp.rewards[seen])
  assert certainty[~seen].max() < 0.5
  assert 0.25 < np.std(params.reward[~seen]) < 0.35
  # Values of the unseen half keep their initialization.
  assert 0.2 < np.std(params.value[~seen]) < 0.4


def test_spread_tells_the_unseen_half_from_the_seen_one():
  found = half_grid.half_grid_runs((1, 5), 0, SHORT)
  for n in ('1', '5'):
    assert found[n]['auroc'] > 0.8
    assert found[n]['unseen'] > 3 * found[n]['seen']
  assert found['5']['error_mean'] < found['error_0']


def test_exact_model_plans_optimally_and_optimism_stays_in_corner():
  grid = gridworlds.load('rewards_11')
  params, _ = half_grid.learn(SHORT, grid, jax.random.PRNGKey(0))
  certain = 60.0 * np.eye(grid.mdp.num_states)[grid.mdp.successors]
  known = params._replace(transition=certain, reward=grid.mdp.rewards)
  best = grid.mdp.optimal_values(half_grid.DISCOUNT)
  policy = half_grid.plan(known, best)
  np.testing.assert_allclose(half_grid.lost_return(grid, policy), 0, atol=1e-9)
  # The rewarding cell is in the seen half: from column 7 it takes three steps
  # into that half, of which the first two end outside.
  outside = half_grid.time_unseen(grid, policy)
  row, column = grid.positions.T
  np.testing.assert_allclose(outside[column < 5], 0, atol=1e-9)
  np.testing.assert_allclose(
    outside[(row == 2) & (column == 7)], 0.1 * (1 + 0.9), rtol=1e-6
  )
  # Values that grow to the lower right corner, where there is no reward.
  policy = half_grid.plan(known, 100.0 * 0.8 ** (20.0 - row - column))
  [corner] = np.flatnonzero(row + column == 20)
  outside = half_grid.time_unseen(grid, policy)
  assert outside[corner] == pytest.approx(1)
  lost = half_grid.lost_return(grid, policy)
  assert lost[corner] == pytest.approx(best[corner])


def test_pessimism_loses_less_in_the_seen_half_and_stays_there():
  gains, strayed = [], []
  for seed in range(3):
    found = half_grid.half_grid_plans(3, (0.0, -3.0), seed, SHORT)
    assert list(found) == ['v^0', 'v^1', 'v^2', 'v^3', 'mean', 'mean -3 std']
    assert len(found['mean']['lost']) == 121
    assert min(found['mean']['lost']) > -1e-9
    gains.append(found['mean']['seen'] - found['mean -3 std']['seen'])
    strayed.append(found['mean']['strayed'] - found['mean -3 std']['strayed'])
  assert np.mean(gains) > 0.1
  assert np.mean(strayed) > 0
