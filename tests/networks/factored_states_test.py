"""Tests of skills/networks/factored_states.py."""

import jax.numpy as jnp
import numpy as np
import pytest

from skills.networks import factored_states


@pytest.mark.parametrize('sizes', [(24,), (4, 6), (2, 3, 4), (1, 24)])
def test_parts_are_those_of_numpy(sizes):
  states = np.arange(24).reshape(2, 12)
  parts = factored_states.split(jnp.asarray(states), sizes)
  np.testing.assert_array_equal(parts, np.unravel_index(states, sizes))
