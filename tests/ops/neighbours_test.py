import jax.numpy as jnp
import numpy as np
import pytest

from skills.ops import neighbours


def test_no_point_is_its_own_neighbour():
  found = neighbours.nearest(jnp.array([[0.0], [1.0], [5.0]]))
  np.testing.assert_array_equal(found.index, [1, 0, 1])
  np.testing.assert_array_equal(found.distance, [1.0, 1.0, 4.0])


def test_two_points_are_neighbours():
  found = neighbours.nearest(jnp.array([[0.0, 0.0], [3.0, 4.0]]))
  np.testing.assert_array_equal(found.index, [1, 0])
  np.testing.assert_array_equal(found.distance, [5.0, 5.0])


@pytest.mark.parametrize('size', [2, 5])
def test_points_in_one_place_are_neighbours_at_no_distance(size: int):
  found = neighbours.nearest(jnp.ones((size, 3)))
  assert np.all(np.asarray(found.index) != np.arange(size))
  np.testing.assert_array_equal(found.distance, np.zeros(size))
