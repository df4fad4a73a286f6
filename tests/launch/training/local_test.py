"""Tests of launch/training/local.py."""

import dataclasses

import pytest

from envs import capabilities
from launch.runs import experiment as experiment_lib
from launch.training import local

pytestmark = pytest.mark.integration


@pytest.mark.usefixtures('without_page')
def test_resumed_environment_without_horizon_goes_on_where_it_was(tmp_path):
  experiment = experiment_lib.make(
    agent='rvic',
    environment='grid:open_11',
    settings={
      'replay.min_size': 8,
      'replay.capacity': 100,
      'batch_size': 4,
      'updates_per_step': 1,
    },
    num_steps=800,
    evaluation_every=800,
    checkpoint_every_s=3600.0,
    output_dir=str(tmp_path),
  )
  experiment_lib.save(experiment)
  summary = local.run(experiment).summary
  assert summary['complete']
  longer = dataclasses.replace(experiment, num_steps=1600)
  the_run = local.Run(longer)
  try:
    assert the_run.counts()['actor_steps'] == summary['environment_steps']
    saved = capabilities.save(the_run.environment)
    # It was never reset: all steps of the run are those of one episode.
    assert saved['environment']['num_steps'] == summary['environment_steps']
    timestep = the_run.environment.reset()
    assert timestep.first()
    assert timestep.observation == saved['environment']['state']
    assert saved['observation'] == saved['environment']['state']
  finally:
    the_run.close()
