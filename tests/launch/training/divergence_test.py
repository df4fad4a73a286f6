"""Diverged parameters end a run with an error that says what to change."""

import numpy as np
import pytest

from launch.training import divergence
from skills.learners import actor_critic
from skills.learners import q_learning


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_parameters_that_are_not_finite_end_a_run(value):
  config = q_learning.QLearningConfig()
  fine = {'values': np.zeros(3, np.float32)}
  divergence.check_finite(fine, config)
  broken = [fine, {'values': np.array([0.0, value], np.float32)}]
  with pytest.raises(FloatingPointError, match='Lower learner.learning_rate'):
    divergence.check_finite(broken, config)


def test_diverged_actor_critic_is_told_of_its_own_learning_rates():
  with pytest.raises(
    FloatingPointError,
    match='learner.policy_learning_rate or learner.value_learning_rate',
  ):
    divergence.check_finite([np.nan], actor_critic.ActorCriticConfig())
