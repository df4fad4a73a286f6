"""Tests of skills/types.py."""

import dm_env.specs
import numpy as np
import pytest

from skills import types

SEEN = dm_env.specs.Array((3, 2), np.float32)


def test_a_problem_is_read_from_specs_of_either_kind_of_action():
  discrete = types.ProblemSpec.from_specs(
    dm_env.specs.DiscreteArray(5), dm_env.specs.DiscreteArray(4)
  )
  assert (discrete.num_states, discrete.num_actions) == (5, 4)
  assert discrete.action_shape == ()
  continuous = types.ProblemSpec.from_specs(
    SEEN, dm_env.specs.BoundedArray((6,), np.float32, -1, np.ones(6))
  )
  assert (continuous.num_states, continuous.num_actions) == (None, None)
  assert continuous.action_shape == (6,)
  assert continuous.observation_shape == (3, 2)


@pytest.mark.parametrize(
  'action',
  [
    dm_env.specs.Array((2,), np.float32),
    dm_env.specs.BoundedArray((2,), np.float32, -2, 2),
    dm_env.specs.BoundedArray((2,), np.float32, [-1, 0], 1),
    dm_env.specs.BoundedArray((2, 2), np.float32, -1, 1),
    {'arm': dm_env.specs.DiscreteArray(2)},
  ],
)
def test_other_actions_are_refused_with_what_to_do(action):
  with pytest.raises(ValueError, match='rescale them'):
    types.ProblemSpec.from_specs(SEEN, action)


@pytest.mark.parametrize(
  ('num_actions', 'action_shape'), [(None, ()), (3, (2,)), (None, (2, 2))]
)
def test_a_problem_has_one_kind_of_action(num_actions, action_shape):
  with pytest.raises(ValueError, match='action_shape'):
    types.ProblemSpec(
      observation_shape=(),
      observation_dtype='int32',
      num_states=2,
      num_actions=num_actions,
      action_shape=action_shape,
    )
