"""Tests of skills/ops/moments.py."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from skills.ops import moments


def batches(shape=(2,), seed=0):
  """Three batches [T, B, *shape] of unlike means and sizes, with masks."""
  rng = np.random.default_rng(seed)
  made = []
  for mean, size in ((-3.0, (4, 3)), (10.0, (2, 5)), (0.5, (1, 8))):
    values = rng.normal(mean, 2.0, size + shape).astype(np.float32)
    mask = (rng.uniform(size=size) < 0.6).astype(np.float32)
    made.append((jnp.asarray(values), jnp.asarray(mask)))
  return made


def taken_in(pairs, shape=(2,)):
  state = moments.init(shape)
  for values, mask in pairs:
    state = moments.update(state, values, mask)
  return state


def test_two_batches_by_hand():
  # 1 and 3, then 8 (and a masked 100): mean 4, deviations 9 + 1 + 16 = 26.
  state = moments.init()
  state = moments.update(state, jnp.array([1.0, 3.0]), jnp.ones(2))
  np.testing.assert_allclose((state.mean, state.variance), (2.0, 1.0))
  state = moments.update(state, jnp.array([8.0, 100.0]), jnp.array([1.0, 0.0]))
  np.testing.assert_allclose(
    (state.count, state.mean, state.sum_squares), (3.0, 4.0, 26.0), rtol=1e-6
  )


@pytest.mark.parametrize('shape', [(), (2,), (2, 3)])
def test_moments_are_numpy_s_over_all_that_the_masks_let_through(shape):
  pairs = batches(shape)
  state = taken_in(pairs, shape)
  seen = np.concatenate(
    [v[m > 0] for v, m in (map(np.asarray, p) for p in pairs)]
  )
  np.testing.assert_allclose(state.count, len(seen))
  np.testing.assert_allclose(state.mean, seen.mean(0), rtol=1e-5)
  np.testing.assert_allclose(state.variance, seen.var(0), rtol=1e-4)


def test_the_order_of_batches_does_not_matter():
  first, second, third = batches()
  chex.assert_trees_all_close(
    taken_in([first, second, third]),
    taken_in([third, first, second]),
    rtol=1e-5,
  )


def test_the_order_within_a_batch_does_not_matter():
  ((values, mask), *_) = batches()
  order = jnp.array([2, 0, 3, 1])
  chex.assert_trees_all_close(
    taken_in([(values, mask)]),
    taken_in([(values[order], mask[order])]),
    rtol=1e-5,
  )


def test_a_batch_that_is_masked_altogether_changes_nothing():
  pairs = batches()
  empty = (jnp.full((2, 2, 2), 1e6), jnp.zeros((2, 2)))
  chex.assert_trees_all_equal(taken_in(pairs), taken_in([*pairs, empty]))
  chex.assert_trees_all_equal(taken_in([empty]), moments.init((2,)))


def test_a_small_spread_around_a_large_mean_is_not_lost():
  # The naive E[x^2] - E[x]^2 is 0 or worse in float32 here; the truth is 1.
  values = 1e4 + jnp.array([1.0, -1.0])
  state = moments.init()
  for _ in range(50):
    state = moments.update(state, values, jnp.ones(2))
  np.testing.assert_allclose(state.variance, 1.0, rtol=1e-3)


def test_variance_is_one_until_two_numbers_were_seen():
  state = moments.init((2,))
  np.testing.assert_array_equal(state.variance, [1.0, 1.0])
  state = moments.update(state, jnp.array([[5.0, 6.0]]), jnp.ones(1))
  np.testing.assert_array_equal(state.variance, [1.0, 1.0])
  np.testing.assert_array_equal(state.mean, [5.0, 6.0])


def test_whitening_shifts_scales_and_limits_each_feature():
  # 0 and 4 have mean 2 and deviation 2; 10 and 11 have 10.5 and 0.5.
  seen = jnp.array([[0.0, 10.0], [4.0, 11.0]])
  state = moments.update(moments.init((2,)), seen, jnp.ones(2))
  whitened = moments.whiten(
    state, jnp.array([[[6.0, 10.75]], [[-100.0, 10.5]]]), 5.0
  )
  np.testing.assert_allclose(
    whitened, [[[2.0, 0.5]], [[-5.0, 0.0]]], rtol=1e-4, atol=1e-6
  )


def test_the_moving_square_of_two_batches_by_hand():
  # Mean squares 4 and, of 1, 5 and a masked 100, 13; decay .75.
  # After one: .25 * 4 / .25 = 4; after two (.75 * 1 + .25 * 13) / (.75 * .25 +
  # .25) = 4 / .4375.
  moving = moments.init_square()
  np.testing.assert_allclose(moving.mean, 1.0)
  moving = moments.update_square(moving, jnp.array([-2.0]), jnp.ones(1), 0.75)
  np.testing.assert_allclose(moving.mean, 4.0)
  moving = moments.update_square(
    moving, jnp.array([1.0, -5.0, 100.0]), jnp.array([1.0, 1.0, 0.0]), 0.75
  )
  np.testing.assert_allclose(moving.mean, 4 / 0.4375, rtol=1e-6)
  # Signs and zero stay: nothing is shifted.
  np.testing.assert_allclose(
    moments.divide_by_size(moving, jnp.array([0.0, -8.0])),
    [0.0, -8.0 / np.sqrt(4 / 0.4375)],
    rtol=1e-6,
  )


def test_a_batch_of_padding_leaves_the_moving_square_as_it_is():
  moving = moments.update_square(
    moments.init_square(), jnp.array([3.0]), jnp.ones(1), 0.9
  )
  after = moments.update_square(moving, jnp.array([8.0]), jnp.zeros(1), 0.9)
  chex.assert_trees_all_equal(moving, after)


def test_the_moving_square_follows_numbers_whose_size_drifts():
  moving = moments.init_square()
  for size in [100.0] * 50 + [1.0] * 200:
    moving = moments.update_square(moving, jnp.full(3, size), jnp.ones(3), 0.9)
  # What is left of the old is 1e4 * .9^200 < 1e-5.
  np.testing.assert_allclose(moving.mean, 1.0, rtol=1e-4)
