"""The end of a run: summary and pictures."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from launch.runs import experiment as experiment_lib
from launch.runs import run_files
from launch.training import finish
from tests import problems
from tests import runs

pytestmark = pytest.mark.integration


@pytest.mark.parametrize('name', ['disdain', 'vic', 'counts', 'rvic'])
def test_a_run_leaves_numbers_and_pictures(tmp_path, name):
  experiment = runs.make_experiment(tmp_path, name)
  environment = experiment.make_environment(0)
  agent = runs.make_agent(experiment)
  runs.write_rows(
    tmp_path,
    'evaluator',
    [{'actor_steps': n, 'skills_learned': n / 10} for n in (10, 20, 30)],
  )
  rng = np.random.default_rng(0)
  num_skills = experiment.config.num_skills
  trajectory = problems.ending_in(
    agent.problem, np.arange(num_skills), rng.integers(24, size=num_skills)
  )
  finish.write(
    experiment,
    runs.final_of(agent, environment, trajectory),
    {'skills_learned': 3.0, 'environment_steps': 1000},
    lambda: True,
  )
  summary = json.loads((tmp_path / 'summary.json').read_text())
  assert summary['agent'] == name
  assert summary['environment'] == runs.ENVIRONMENT
  assert summary['skills_learned'] == 3.0
  assert summary['num_skills'] == num_skills
  assert summary['versions']['jax'] == jax.__version__
  for picture in (run_files.LEARNING_CURVE, run_files.SKILL_MAP):
    assert (tmp_path / picture).read_bytes().startswith(b'\x89PNG')


def test_a_run_of_a_control_task_leaves_a_picture_of_its_ends(tmp_path):
  experiment = experiment_lib.make(
    agent='vic',
    environment='control:point_mass_easy',
    num_steps=1000,
    output_dir=str(tmp_path),
  )
  environment = experiment.make_environment(0)
  agent = runs.make_agent(experiment)
  runs.write_rows(
    tmp_path,
    'evaluator',
    [{'actor_steps': n, 'skills_learned': n / 10} for n in (10, 20, 30)],
  )
  trajectory = problems.trajectory(
    dataclasses.replace(agent.problem, num_actions=3, action_shape=())
  )
  finish.write(
    experiment,
    runs.final_of(agent, environment, trajectory),
    {'skills_learned': 3.0, 'environment_steps': 1000},
    lambda: True,
  )
  assert (tmp_path / run_files.SKILL_ENDS).read_bytes().startswith(b'\x89PNG')
