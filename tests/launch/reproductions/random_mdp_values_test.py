"""Tests of launch/reproductions/random_mdp_values.py."""

import jax
import jax.numpy as jnp
import numpy as np

from launch.reproductions import random_mdp_values
from skills import types
from skills.networks import models
from skills.networks import torsos

SHORT = random_mdp_values.TabularSettings(num_updates=400)
SEEDS = (100, 101, 102, 103)


def test_values_solve_the_bellman_equation_of_the_uniform_policy():
  mdps = random_mdp_values.draw_all('dense', (3, 4))
  ahead = mdps.rewards + random_mdp_values.DISCOUNT * jnp.einsum(
    'bsat,bt->bsa', mdps.transitions, mdps.values
  )
  np.testing.assert_allclose(mdps.values, ahead.mean(-1), atol=1e-4)
  assert jnp.abs(mdps.values[0] - mdps.values[1]).max() > 1


def test_dyna_equals_direct_for_one_step_in_tables():
  dyna, direct = (
    random_mdp_values.tabular_runs(kind, 1, (1.0,), SEEDS[:2], SHORT)[0]
    for kind in ('dyna', 'direct')
  )
  for one, other in zip(dyna, direct):
    np.testing.assert_allclose(one['curve'], other['curve'], rtol=0, atol=1e-6)


def test_planning_with_step_size_1_learns_faster_and_with_0_changes_nothing():
  [none] = random_mdp_values.tabular_runs(None, 3, (0.0,), SEEDS, SHORT)
  still, planned = random_mdp_values.tabular_runs(
    'dyna', 3, (0.0, 1.0), SEEDS, SHORT
  )
  np.testing.assert_allclose(
    [row['curve'] for row in still], [row['curve'] for row in none], atol=1e-6
  )
  errors = [np.mean([row['error'] for row in rows]) for rows in (none, planned)]
  assert errors[1] < 0.95 * errors[0]
  # Values begin at 0, where the relative error is 1.
  assert 0.8 < none[0]['curve'][0] <= 1.01


def test_grounded_loss_of_a_model_that_predicts_zero():
  problem = types.ProblemSpec(
    observation_shape=(),
    observation_dtype='int32',
    num_states=3,
    num_actions=2,
  )
  model = models.latent(
    random_mdp_values.LatentSettings().model, torsos.NetworkConfig(), problem
  )
  params = jax.tree.map(jnp.zeros_like, model.init(jax.random.PRNGKey(0)))
  # Two walks of two steps, with rewards 1 and 2, and 0 and 4.
  ones = jnp.ones((2, 2))
  walk = types.Trajectory(
    observation=jnp.zeros((3, 2), jnp.int32),
    action=jnp.array([[0, 1], [1, 1]]),
    reward=jnp.array([[1.0, 0.0], [2.0, 4.0]]),
    discount=ones,
    skill=jnp.zeros((2, 2), jnp.int32),
    mask=ones,
  )
  # The target value is 2 everywhere: targets are rewards plus .95 * 2.
  target = params._replace(value={'linear': {**params.value['linear']}})
  target.value['linear']['b'] = jnp.array([2.0])
  rewards = 0.5 * (1 + 4 + 0 + 16)
  values = 0.5 * (2.9**2 + 3.9**2 + 1.9**2 + 5.9**2)
  np.testing.assert_allclose(
    random_mdp_values.grounded_loss(model, params, target, walk),
    (rewards + values + 4 * np.log(2)) / 2,
    rtol=1e-5,
  )


def test_latent_model_learns_values():
  settings = random_mdp_values.LatentSettings(num_updates=200)
  for row in random_mdp_values.latent_runs('direct', SEEDS[:2], settings):
    assert row['curve'][-1] < 0.9 * row['curve'][0]
    assert row['final'] < row['error'] < row['curve'][0]
