"""Tests of skills/evaluation/measure.py."""

import jax
import numpy as np
import pytest

from skills import registry
from skills.evaluation import measure
from skills.objectives import disdain
from skills.objectives import rvic
from tests import problems

KEY = jax.random.PRNGKey(0)
K = problems.NUM_SKILLS


@pytest.mark.parametrize('config', [disdain.DisdainConfig(), rvic.RvicConfig()])
def test_the_returns_of_an_objective_are_its_rewards_summed_by_skill(config):
  objective = registry.make_objective(config, problems.TABLE, K)
  state, batch = objective.init(KEY), problems.trajectory(problems.TABLE)
  numbers = measure.measure(objective, problems.TABLE)(state, batch)
  rewards = np.asarray(objective.reward(state, batch))
  for i, stream in enumerate(objective.streams):
    by_skill = [
      rewards[:length, b, i].sum() for b, length in enumerate(problems.LENGTHS)
    ]
    np.testing.assert_allclose(
      numbers[f'intrinsic_return/{stream}'], np.mean(by_skill), rtol=1e-5
    )


def test_information_is_that_of_first_and_last_real_states():
  # Two skills of two steps, of which the second one is cut short: 0 goes from 0
  # by 1 to 2, 1 from 0 to 1. What stands in padding would say otherwise.
  batch = problems.ending_in(problems.TABLE, [0, 1], [1, 1])
  batch = batch._replace(
    observation=np.array([[0, 0], [1, 1], [2, 2]], np.int32),
    skill=np.array([[0, 1], [0, 1]], np.int32),
    mask=np.array([[1, 1], [1, 0]], np.float32),
  )
  found = measure.information(batch, np.arange(6)[:, None])
  assert found['information_final'] == pytest.approx(1)
  assert found['information_pair'] == pytest.approx(1)
  assert found['information_displacement'] == pytest.approx(1)
  # Visits to 1, 2 and 1: H(2/3, 1/3) = log2 3 - 2/3 bits.
  assert found['effective_states'] == pytest.approx(3 * 2 ** (-2 / 3))


def test_pictures_are_judged_in_parts_as_they_are_at_once(monkeypatch):
  objective = registry.make_objective(
    problems.with_networks(disdain.DisdainConfig()), problems.VECTOR, K
  )
  state, batch = objective.init(KEY), problems.trajectory(problems.VECTOR)
  numbers = [measure.measure(objective, problems.VECTOR)(state, batch)]
  # Of seven skills two at once.
  monkeypatch.setattr(measure, '_MAX_NUMBERS', 2 * batch.observation[:, 0].size)
  numbers.append(measure.measure(objective, problems.VECTOR)(state, batch))
  np.testing.assert_allclose(
    numbers[0]['skills_learned'], numbers[1]['skills_learned'], rtol=1e-5
  )
