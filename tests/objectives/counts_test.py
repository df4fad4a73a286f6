"""Tests of skills/objectives/counts.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills import registry
from skills.objectives import base
from skills.objectives import counts
from tests import problems

KEY = jax.random.PRNGKey(0)
S = problems.TABLE.num_states


def test_bonus_is_one_over_the_root_of_the_count():
  # Counts 4, 16 and 1; a state never seen earns as much as one seen once.
  table = jnp.array([4.0, 16.0, 1.0, 0.0])
  np.testing.assert_allclose(
    counts.count_bonus(table, jnp.array([[0, 1], [2, 3]])),
    [[0.5, 0.25], [1.0, 1.0]],
    rtol=1e-6,
  )


def test_final_states_are_counted_and_paid_for_once_a_skill():
  # Columns end in states 2 (after two steps) and 3 (after one); 4 is padding.
  batch = problems.trajectory(
    problems.TABLE, lengths=(2, 1), num_steps=2
  )._replace(observation=jnp.array([[0, 0], [1, 3], [2, 4]]))
  objective = counts.bonus(S, base.FINAL_STEP)
  table = objective.init(KEY)
  np.testing.assert_array_equal(table, np.zeros(S))
  for _ in range(4):
    table, _ = objective.update(table, batch, KEY)
  np.testing.assert_array_equal(table, [0, 0, 4, 4, 0, 0])
  np.testing.assert_allclose(
    objective.reward(table, batch)[..., 0], [[0, 0.5], [0.5, 0]], rtol=1e-6
  )


def test_every_visit_is_counted_and_paid_for_where_asked():
  batch = problems.trajectory(
    problems.TABLE, lengths=(2, 1), num_steps=2
  )._replace(observation=jnp.array([[0, 0], [1, 1], [2, 4]]))
  objective = counts.bonus(S, base.EVERY_STEP)
  table, metrics = objective.update(objective.init(KEY), batch, KEY)
  # State 1 was entered twice at once; the first state is no outcome.
  np.testing.assert_array_equal(table, [0, 2, 1, 0, 0, 0])
  # What is reported is what was paid: before this batch all earn 1.
  assert metrics['count_bonus'] == 1.0
  half = np.sqrt(0.5)
  np.testing.assert_allclose(
    objective.reward(table, batch)[..., 0], [[half, half], [1, 0]], rtol=1e-6
  )


def test_updates_raise_counts_and_lower_the_bonus():
  objective = counts.bonus(S, base.FINAL_STEP)
  batch = problems.trajectory(problems.TABLE)
  table = objective.init(KEY)
  bonuses = []
  for n in range(1, 4):
    table, metrics = objective.update(table, batch, KEY)
    assert jnp.sum(table) == n * len(problems.LENGTHS)
    bonuses.append(float(metrics['count_bonus']))
  assert bonuses[0] > bonuses[1] > bonuses[2]


def test_the_registered_objective_weighs_the_bonus_beside_the_skill_reward():
  config = counts.CountsConfig(bonus_weight=5.0)
  objective = problems.compiled(
    registry.make_objective(config, problems.TABLE, 4)
  )
  assert objective.streams == ('skill', 'counts')
  np.testing.assert_array_equal(
    objective.weights(objective.init(KEY)), [1.0, 5.0]
  )


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'bonus_weight': -1.0}, 'bonus_weight must be >= 0, got -1'),
    (
      {'timesteps': 'first'},
      "timesteps must be one of every, final; got 'first'",
    ),
  ],
)
def test_values_that_cannot_work_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    counts.CountsConfig(**changes)
