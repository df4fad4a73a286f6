"""Tests of launch/reproductions/half_grid.py."""

import jax
import numpy as np

from envs import gridworlds
from launch.reproductions import half_grid

SHORT = half_grid.HalfGrid(num_steps=20_000)


def test_the_model_is_right_where_the_walk_was_and_random_elsewhere():
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
  # Values of the rest are as they began: nothing was learned of them.
  assert 0.2 < np.std(params.value[~seen]) < 0.4


def test_the_half_without_data_is_told_by_the_spread():
  found = half_grid.half_grid_runs((1, 5), 0, SHORT)
  for n in ('1', '5'):
    assert found[n]['auroc'] > 0.8
    assert found[n]['unseen'] > 3 * found[n]['seen']
  assert found['5']['error_mean'] < found['error_0']
