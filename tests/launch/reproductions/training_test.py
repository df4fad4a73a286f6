"""Tests of launch/reproductions/training.py."""

import numpy as np
import pytest

from launch.reproductions import training


def test_returns_are_those_of_whole_episodes():
  variant = training.Variant(
    agent='muesli',
    environment='classic:deep_sea',
    settings=(
      ('skill_length', 2),
      ('batch_size', 4),
      ('learner.model.size', 4),
      ('learner.num_unrolled', 1),
    ),
    num_updates=50,
    options=(('size', 2),),
  )
  found = training.train_for_return(variant, 0)
  assert found['updates'][-1] == 50
  # Evaluation is greedy: right twice, once or never.
  possible = np.array([1 - 0.01, -0.005, 0.0])
  for value in found['curve']:
    assert np.abs(possible - value).min() < 1e-6
  assert found['mean'] == pytest.approx(np.mean(found['curve']))
  assert found['final'] == pytest.approx(np.mean(found['curve'][-5:]))


def test_coverage_counts_states_visited_by_the_acting_policy():
  variant = training.Variant(
    agent='ive',
    environment='grid:four_rooms',
    settings=(
      ('skill_length', 2),
      ('batch_size', 4),
      ('learner.model.size', 4),
      ('learner.num_unrolled', 1),
      ('learner.ive.num_steps', 1),
      ('learner.ive.bonus_weight', 0.0),
      ('learner.ive.acting', 'estimates'),
      # All actions alike.
      ('learner.ive.temperature', 1e6),
    ),
    num_updates=50,
    options=(('horizon', 2),),
  )
  found = training.train_for_coverage(variant, 0)
  # Two steps from a corner: 1 + 2 + 3 cells. The greedy policy would not visit
  # all of them so soon.
  assert found['final'] == 6
  assert found['curve'] == sorted(found['curve'])
  assert found['mean'] == pytest.approx(np.mean(found['curve']))
