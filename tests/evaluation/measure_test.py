"""Tests of skills/evaluation/measure.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills import registry
from skills.evaluation import measure
from skills.objectives import diayn
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


@pytest.mark.slow
def test_pictures_are_judged_in_parts_as_they_are_at_once(monkeypatch):
  objective = registry.make_objective(
    problems.with_networks(disdain.DisdainConfig()), problems.VECTOR, K
  )
  state, batch = objective.init(KEY), problems.trajectory(problems.VECTOR)
  numbers = [measure.measure(objective, problems.VECTOR)(state, batch)]
  # Two of seven skills at once.
  monkeypatch.setattr(measure, '_MAX_NUMBERS', 2 * batch.observation[:, 0].size)
  numbers.append(measure.measure(objective, problems.VECTOR)(state, batch))
  np.testing.assert_allclose(
    numbers[0]['skills_learned'], numbers[1]['skills_learned'], rtol=1e-5
  )


def test_skills_that_are_seen_all_the_time_are_also_judged_by_their_ends():
  # Two skills of two steps pass through state 0 and end in their own state,
  # which is the first real one of a third that is cut short.
  batch = problems.ending_in(problems.TABLE, [0, 1, 1], [0, 0, 2])
  batch = batch._replace(
    observation=jnp.array([[0, 0, 0], [0, 0, 2], [1, 2, 5]], jnp.int32),
    skill=jnp.array([[0, 1, 1]] * 2, jnp.int32),
    mask=jnp.array([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]),
  )

  def logits(state, trajectory):
    # Sure of skill 0 in state 1 and of skill 1 in state 2, and at chance else.
    seen = trajectory.observation[1:]
    sure = jnp.stack([seen == 1, seen == 2], axis=-1)
    return jnp.where(sure, 50.0, 0.0)[None].astype(jnp.float32)

  objective = registry.make_objective(diayn.DiaynConfig(), problems.TABLE, 2)
  objective = objective._replace(
    discriminator=objective.discriminator._replace(logits=logits)
  )
  numbers = measure.measure(objective, problems.TABLE)(
    objective.init(KEY), batch
  )
  # exp(log 2): both of two. Of five real states three say which skill it is.
  np.testing.assert_allclose(numbers['skills_learned_at_end'], 2.0, rtol=1e-5)
  np.testing.assert_allclose(numbers['skills_learned'], 2**0.6, rtol=1e-5)
  # The two others are at chance, log 2; the padded one is sure and wrong.
  np.testing.assert_allclose(
    numbers['held_out_loss'], 0.4 * np.log(2), rtol=1e-5
  )
