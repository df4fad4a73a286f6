"""Tests of envs/base.py."""

import jax.numpy as jnp
import numpy as np
import pytest

from envs import base


@pytest.mark.parametrize(
  'action', [2, np.int32(2), np.array(2, np.int32), jnp.int32(2)]
)
def test_integer_scalars_are_actions(action):
  index = base.action_index(action, 3)
  assert type(index) is int and index == 2


@pytest.mark.parametrize('action', [3, -1, 1.0, np.array([1]), None, 'up'])
def test_other_values_are_no_actions(action):
  with pytest.raises(ValueError, match=r'must be an integer in 0\.\.2, got'):
    base.action_index(action, 3)


@pytest.mark.parametrize('value', [-0.1, 1.1, np.nan, '0.5', None])
def test_values_outside_of_zero_and_one_are_no_probabilities(value):
  base.check_probability('sticky', 0)
  base.check_probability('sticky', 1.0)
  with pytest.raises(ValueError, match=r'sticky must be a number in \[0, 1\]'):
    base.check_probability('sticky', value)
