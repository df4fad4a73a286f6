"""Tests of launch/reproductions/random_worlds.py."""

import jax
import jax.numpy as jnp
import numpy as np

from launch.reproductions import random_worlds
from skills import types
from skills.networks import models
from skills.networks import torsos

SHORT = random_worlds.Tabular(num_updates=400)
SEEDS = (100, 101, 102, 103)


def test_values_are_those_of_the_uniform_policy():
  world = random_worlds.worlds('dense', (3, 4))
  ahead = world.rewards + random_worlds.DISCOUNT * jnp.einsum(
    'bsat,bt->bsa', world.transitions, world.values
  )
  np.testing.assert_allclose(world.values, ahead.mean(-1), atol=1e-4)
  assert jnp.abs(world.values[0] - world.values[1]).max() > 1


def test_in_tables_one_step_of_dyna_and_direct_are_the_same():
  dyna, direct = (
    random_worlds.tabular_runs(kind, 1, (1.0,), SEEDS[:2], SHORT)[0]
    for kind in ('dyna', 'direct')
  )
  for one, other in zip(dyna, direct):
    np.testing.assert_allclose(one['curve'], other['curve'], rtol=0, atol=1e-6)


def test_planning_of_step_size_0_is_none_and_of_1_learns_faster():
  [none] = random_worlds.tabular_runs(None, 3, (0.0,), SEEDS, SHORT)
  still, planned = random_worlds.tabular_runs(
    'dyna', 3, (0.0, 1.0), SEEDS, SHORT
  )
  np.testing.assert_allclose(
    [row['curve'] for row in still], [row['curve'] for row in none], atol=1e-6
  )
  errors = [np.mean([row['error'] for row in rows]) for rows in (none, planned)]
  assert errors[1] < 0.95 * errors[0]
  # Nothing is known at first: values of 0 are wrong by all that they should be.
  assert 0.8 < none[0]['curve'][0] <= 1.01


def test_the_grounded_loss_of_a_model_that_says_0_by_hand():
  problem = types.ProblemSpec(
    observation_shape=(),
    observation_dtype='int32',
    num_states=3,
    num_actions=2,
  )
  model = models.latent(
    random_worlds.Latent().model, torsos.NetworkConfig(), problem
  )
  params = jax.tree.map(jnp.zeros_like, model.init(jax.random.PRNGKey(0)))
  # Two walks of two steps, paid 1 and 2, and 0 and 4.
  ones = jnp.ones((2, 2))
  walk = types.Trajectory(
    observation=jnp.zeros((3, 2), jnp.int32),
    action=jnp.array([[0, 1], [1, 1]]),
    reward=jnp.array([[1.0, 0.0], [2.0, 4.0]]),
    discount=ones,
    skill=jnp.zeros((2, 2), jnp.int32),
    mask=ones,
  )
  # The slower value is 2 everywhere: targets are what is paid, plus .95 * 2.
  target = params._replace(value={'linear': {**params.value['linear']}})
  target.value['linear']['b'] = jnp.array([2.0])
  rewards = 0.5 * (1 + 4 + 0 + 16)
  values = 0.5 * (2.9**2 + 3.9**2 + 1.9**2 + 5.9**2)
  np.testing.assert_allclose(
    random_worlds.grounded_loss(model, params, target, walk),
    (rewards + values + 4 * np.log(2)) / 2,
    rtol=1e-5,
  )


def test_a_latent_model_learns_values():
  settings = random_worlds.Latent(num_updates=200)
  for row in random_worlds.latent_runs('direct', SEEDS[:2], settings):
    assert row['curve'][-1] < 0.9 * row['curve'][0]
    assert row['final'] < row['error'] < row['curve'][0]
