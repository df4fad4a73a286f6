"""Tests of launch/reproductions/planning.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip('dm_env', reason='needs an environment')

from envs import gridworlds
from launch.reproductions import planning
from skills.evaluation import metrics
from skills.objectives import domino

GRID = gridworlds.load('top_rows')
MDP = planning.known(GRID.mdp)
GAMMA = 0.9


def policy(seed=0):
  return np.random.default_rng(seed).dirichlet(np.ones(5), size=49)


def test_occupancies_and_advantages_are_exact():
  pi = policy()
  pi32 = jnp.asarray(pi, jnp.float32)
  np.testing.assert_allclose(
    planning.occupancy(MDP, pi32, GAMMA),
    GRID.mdp.occupancy(pi, GAMMA),
    atol=1e-5,
  )
  expected = GRID.mdp.action_values(pi, GAMMA)
  expected -= GRID.mdp.state_values(pi, GAMMA)[:, None]
  np.testing.assert_allclose(
    planning.advantages(MDP, pi32, MDP.rewards, GAMMA), expected, atol=1e-4
  )


def planned(**settings):
  config = domino.DominoConfig(
    per_feature=False, multiplier_learning_rate=0.01, **settings
  )
  plan = planning.plan(
    config,
    planning.PlannerConfig(discount=GAMMA, num_iterations=1000),
    MDP,
    3,
    jax.random.PRNGKey(0),
  )
  policies = np.asarray(plan.policies, np.float64)
  policies /= policies.sum(axis=-1, keepdims=True)
  occupancies = np.stack(
    [GRID.mdp.occupancy(policy, GAMMA) for policy in policies]
  )
  values = np.einsum('ks,ksa,sa->k', occupancies, policies, GRID.mdp.rewards)
  # Its moving averages are right.
  np.testing.assert_allclose(plan.averages.value, values, atol=0.05)
  np.testing.assert_allclose(plan.averages.features, occupancies, atol=0.05)
  return metrics.diversity_score(occupancies), values


def test_policies_without_diversity_are_optimal():
  _, values = planned(constraint='none')
  best = (1 - GAMMA) * GRID.mdp.optimal_values(GAMMA)[GRID.start]
  np.testing.assert_allclose(values, best * np.ones(3), rtol=0.02)


def test_diversity_separates_policies_that_stay_nearly_optimal():
  similar, _ = planned(constraint='none')
  diverse, values = planned()
  assert diverse > similar + 0.2
  assert metrics.value_ratios(values).min() > 0.85


@pytest.mark.parametrize('name', ['learning_rate', 'num_iterations'])
def test_invalid_settings_are_refused(name):
  with pytest.raises(ValueError, match=f'{name} must be positive'):
    planning.PlannerConfig(**{name: 0})
  with pytest.raises(ValueError, match='discount must be in'):
    planning.PlannerConfig(discount=1.0)
