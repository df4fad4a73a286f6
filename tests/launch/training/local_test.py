"""Tests of launch/training/local.py."""

import dataclasses
import time

import pytest

from envs import capabilities
from launch.runs import experiment as experiment_lib
from launch.runs import run_checkpoints
from launch.training import local
from skills import checkpoints
from skills.agents.replay import tables as replay_tables

pytestmark = pytest.mark.integration


@pytest.mark.usefixtures('without_page')
@pytest.mark.slow
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


def make_batch_run(folder, **fields):
  experiment = experiment_lib.make(
    agent='disdain',
    environment='grid:disdain_release',
    settings={
      'replay.min_size': 32,
      'replay.capacity': 10_000,
      'batch_size': 4,
      'updates_per_step': 1,
    },
    num_environments=3,
    checkpoint_every_s=3600.0,
    output_dir=str(folder),
    **fields,
  )
  experiment_lib.save(experiment)
  return experiment


def test_run_in_several_environments_goes_on_in_the_middle_of_episodes(
  tmp_path,
):
  # In the grid an episode is a skill of 8 steps.
  experiment = make_batch_run(tmp_path, num_steps=1501, evaluation_every=1501)
  summary = local.run(experiment).summary
  assert summary['complete']
  # All environments step at once, and the ninth step only begins episodes.
  assert summary['environment_steps'] == 1503
  meta = checkpoints.read_meta(run_checkpoints.newest(tmp_path))
  lengths = meta['actor']['loop']['episode_length']
  assert lengths == [1503 // 3 % 8] * 3
  longer = dataclasses.replace(experiment, num_steps=3000)
  the_run = local.Run(longer)
  try:
    assert the_run.counts()['actor_steps'] == 1503
    assert the_run.actor.save() == meta['actor']
    table = the_run.client.server_info()[replay_tables.TABLE]
    # Whole skills, and all of them.
    assert table.current_size == 1503 // 8 // 3 * 3
    assert table.current_size == the_run.counts()['actor_episodes']
    # The episodes that were under way end after the steps that they lacked.
    for _ in range(8 - lengths[0] - 1):
      assert the_run.actor.act() == []
    rows = the_run.actor.act()
    assert [row['episode_length'] for row in rows] == [8, 8, 8]
  finally:
    the_run.close()


def test_run_in_several_environments_stops_within_two_seconds(tmp_path):
  experiment = make_batch_run(tmp_path, num_steps=10**9)
  the_run = local.Run(experiment)
  try:
    the_run.start()
    deadline = time.monotonic() + 60
    while the_run.counts()['learner_steps'] < 100:
      assert time.monotonic() < deadline
      time.sleep(0.05)
    began = time.monotonic()
    the_run.halt()
    assert time.monotonic() - began < 2
    assert not any(worker.is_alive() for worker in the_run.workers)
    assert all(worker.error is None for worker in the_run.workers)
    # All three made the same steps, and each of them is counted.
    saved = the_run.actor.save()
    counts = the_run.counts()
    [length] = set(saved['loop']['episode_length'])
    whole = 8 * counts['actor_episodes']
    ended = saved['loop']['step_type'] == [2] * 3
    assert counts['actor_steps'] == whole + (0 if ended else 3 * length)
  finally:
    the_run.close()


def test_evaluations_of_a_batch_have_the_episodes_that_were_asked_for(tmp_path):
  experiment = make_batch_run(tmp_path, num_steps=1000, evaluation_episodes=5)
  the_run = local.Run(experiment)
  try:
    numbers = the_run.evaluate()
    assert the_run.evaluator.num_episodes == 5
    assert 0 < numbers['skills_learned'] <= 24
    assert numbers['episode_length'] == 8
  finally:
    the_run.close()
