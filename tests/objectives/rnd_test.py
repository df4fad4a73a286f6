"""Tests of skills/objectives/rnd.py."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from skills import registry
from skills import types
from skills.objectives import base
from skills.objectives import rnd
from skills.ops import moments
from tests import problems

KEY = jax.random.PRNGKey(0)
S = problems.TABLE.num_states
NUMBER = types.ProblemSpec(
  observation_shape=(1,),
  observation_dtype='float32',
  num_states=None,
  num_actions=2,
)
# One weight: the embedding of a number is a multiple of it.
SCALE = types.Network(
  init=lambda key: jax.random.uniform(key, (1,)),
  apply=lambda w, x: x * w.reshape((1,) * (x.ndim - 1) + (1,)),
)


def numbers(*values):
  """Skills of one step that end in the given numbers."""
  values = jnp.array(values)[:, None]
  batch = problems.ending_in(problems.TABLE, np.zeros(len(values)), [0])
  batch = jax.tree.map(
    lambda x: jnp.broadcast_to(x[:, :1], (x.shape[0], len(values))), batch
  )
  return batch._replace(
    observation=jnp.stack([jnp.full_like(values, 99.0), values])
  )


def by_hand(**changes):
  """Target 3 x, predictor x; inputs of mean 2 and deviation 2."""
  state = rnd.RndState(
    target=jnp.array([3.0]),
    predictor=jnp.array([1.0]),
    optimizer=optax.sgd(0.5).init(jnp.array([1.0])),
    inputs=moments.Moments(jnp.float32(2), jnp.array([2.0]), jnp.array([8.0])),
    # Errors 10 and 70: mean 40, deviations 900 + 900, mean square 2500.
    errors=moments.Moments(jnp.float32(2), jnp.float32(40), jnp.float32(1800)),
  )
  return state._replace(**changes)


def scaled_bonus():
  return rnd.bonus(SCALE, optax.sgd(0.5), base.FINAL_STEP, NUMBER)


def test_error_is_the_mean_square_over_the_embedding():
  # (1 + 9) / 2 and (0 + 4) / 2
  error = rnd.prediction_error(
    jnp.array([[1.0, 3.0], [1.0, 1.0]]), jnp.array([[0.0, 0.0], [1.0, 3.0]])
  )
  np.testing.assert_array_equal(error, [5.0, 2.0])


def test_reward_is_the_whitened_input_s_error_in_units_of_its_mean_square():
  # 6 becomes (6 - 2) / 2 = 2: error (3 * 2 - 2)^2 = 16; 100 is limited to 5:
  # (15 - 5)^2 = 100; 2 becomes 0. Divided by the root of 2500.
  rewards = scaled_bonus().reward(by_hand(), numbers(6.0, 100.0, 2.0))
  np.testing.assert_allclose(
    rewards[0, :, 0], [0.32, 2.0, 0.0], rtol=1e-4, atol=1e-6
  )


def test_an_update_takes_in_inputs_then_errors_and_moves_the_predictor_only():
  # After 6 and 10 beside what gave mean 2, deviations 8: count 4, mean 5,
  # deviations 8 + 8 + 6^2 * 2 * 2 / 4 = 52, variance 13.
  before = by_hand()
  after, metrics = scaled_bonus().update(before, numbers(6.0, 10.0), KEY)
  chex.assert_trees_all_close(
    after.inputs,
    moments.Moments(jnp.float32(4), jnp.array([5.0]), jnp.array([52.0])),
  )
  # Whitened with the new moments: 1 / sqrt 13 and 5 / sqrt 13. Errors are
  # (2 x)^2 = 4/13 and 100/13, of mean 4, which join 10 and 70: mean 22,
  # deviations 1800 + 2 (48/13)^2 + 36^2 * 2 * 2 / 4.
  np.testing.assert_allclose(metrics['rnd_error'], 4.0, rtol=1e-5)
  np.testing.assert_allclose(after.errors.mean, 22.0, rtol=1e-5)
  np.testing.assert_allclose(
    after.errors.sum_squares,
    1800 + 2 * (48 / 13) ** 2 + 36**2,
    rtol=1e-4,
  )
  # d/dw mean (w x - 3 x)^2 = 2 (1 - 3) mean x^2 = -4; a step of .5 * 4.
  np.testing.assert_allclose(after.predictor, [3.0], rtol=1e-4)
  np.testing.assert_array_equal(after.target, before.target)


def test_errors_that_were_all_alike_are_paid_as_one():
  # They have no spread to divide by: 6 becomes 2, of error 16, and all of the
  # errors before were 16 too.
  errors = moments.Moments(jnp.float32(9), jnp.float32(16), jnp.float32(0))
  rewards = scaled_bonus().reward(by_hand(errors=errors), numbers(6.0))
  np.testing.assert_allclose(rewards[0, :, 0], [1.0], rtol=1e-4)


def test_the_first_new_state_after_a_batch_of_one_state_has_a_bounded_bonus():
  # Where all skills end alike, the whitened input and all errors are 0.
  objective = registry.make_objective(rnd.RndConfig(), problems.TABLE, 4)
  batch = problems.ending_in(problems.TABLE, [0, 1, 2, 3], [5, 5, 5, 5])
  state, metrics = jax.jit(objective.update)(objective.init(KEY), batch, KEY)
  assert metrics['rnd_error'] == 0
  batch = problems.ending_in(problems.TABLE, [0, 1, 2, 3], [5, 5, 5, 2])
  rewards = objective.reward(state, batch)[0, :, 1]
  np.testing.assert_allclose(rewards, [0, 0, 0, 10])


@pytest.fixture(scope='module')
def trained():
  """The bonus, its state at first, and after it saw states 0, 1 and 2."""
  config = rnd.RndConfig(learning_rate=1e-3)
  objective = problems.compiled(
    registry.make_objective(config, problems.TABLE, 4)
  )
  batch = problems.ending_in(problems.TABLE, np.zeros(6), [0, 1, 2, 0, 1, 2])
  first = objective.init(KEY)
  # One update so that whitening is the same from then on.
  update = jax.jit(objective.update)
  early, _ = update(first, batch, KEY)
  late = early
  for _ in range(300):
    late, _ = update(late, batch, KEY)
  return objective, first, early, late


def test_error_falls_where_it_learned_and_stays_where_it_did_not(trained):
  objective, _, early, late = trained
  everywhere = problems.ending_in(problems.TABLE, np.zeros(S), np.arange(S))
  before = objective.reward(early, everywhere)[0, :, 1]
  # In the same unit.
  bonus_late = late[1]._replace(errors=early[1].errors)
  after = objective.reward((late[0], bonus_late), everywhere)[0, :, 1]
  np.testing.assert_array_less(after[:3], 0.05 * before[:3])
  np.testing.assert_array_less(0.5 * before[3:], after[3:])


def test_the_target_never_changes_and_differs_from_the_predictor(trained):
  _, first, _, late = trained
  chex.assert_trees_all_equal(first[1].target, late[1].target)
  weights = [
    np.concatenate([x.ravel() for x in jax.tree.leaves(params)])
    for params in (first[1].target, first[1].predictor, late[1].predictor)
  ]
  assert np.abs(weights[0] - weights[1]).max() > 0.01
  assert np.abs(weights[1] - weights[2]).max() > 0.01


def test_inputs_are_whitened_by_the_moments_of_what_was_seen(trained):
  _, _, early, _ = trained
  # Each of states 0, 1 and 2 in a third of the batch: variance 1/3 * 2/3.
  np.testing.assert_allclose(
    early[1].inputs.mean, [1 / 3, 1 / 3, 1 / 3, 0, 0, 0], rtol=1e-5
  )
  np.testing.assert_allclose(
    early[1].inputs.variance, [2 / 9, 2 / 9, 2 / 9, 0, 0, 0], rtol=1e-5
  )


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'bonus_weight': -1.0}, 'bonus_weight must be >= 0, got -1'),
    ({'learning_rate': 0.0}, 'learning_rate must be positive, got 0'),
    ({'optimizer': 'sdg'}, "optimizer must be one of .*got 'sdg'"),
    (
      {'timesteps': 'first'},
      "timesteps must be one of every, final; got 'first'",
    ),
  ],
)
def test_values_that_cannot_work_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    rnd.RndConfig(**changes)
