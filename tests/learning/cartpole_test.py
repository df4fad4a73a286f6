"""The learner with a model learns to balance a pole, through Reverb."""

import pytest

from launch import experiment as experiment_lib
from launch import local

pytestmark = [pytest.mark.slow, pytest.mark.integration]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize('seed', [0, 1])
def test_it_learns_to_balance_a_pole(tmp_path, seed):
  experiment = experiment_lib.make(
    agent='muesli',
    environment='classic:cartpole',
    seed=seed,
    num_steps=60_000,
    evaluation_episodes=10,
    evaluation_every=60_000,
    output_dir=str(tmp_path),
  )
  experiment_lib.save(experiment)
  summary = local.run(experiment).summary
  # Of 500; random pushes keep it up for some 22 steps.
  assert summary['episode_return'] > 300
