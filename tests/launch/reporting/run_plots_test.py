"""Tests of launch/reporting/run_plots.py."""

import jax
import numpy as np
import pytest

from envs import factory
from launch.reporting import run_plots
from launch.runs import experiment as experiment_lib
from launch.runs import run_files
from skills import types
from tests import problems
from tests import runs

pytestmark = pytest.mark.integration


def test_skills_are_counted_where_they_ended():
  # Skills of 3, 1 and 3 steps; observations are 10 times the state.
  observations = np.arange(4, dtype=np.int32) * 10
  trajectory = types.Trajectory(
    observation=np.array(
      [[0, 0, 0], [10, 20, 10], [20, 0, 20], [30, 0, 20]], np.int32
    ),
    action=np.zeros((3, 3), np.int32),
    reward=np.zeros((3, 3), np.float32),
    discount=np.ones((3, 3), np.float32),
    skill=np.array([[0, 1, 1]] * 3, np.int32),
    mask=np.array([[1, 1, 1], [1, 0, 1], [1, 0, 1]], np.float32),
  )
  counts = run_plots.end_counts(trajectory, observations, 2)
  assert counts.tolist() == [[0, 0, 0, 1], [0, 0, 2, 0]]


def test_the_discriminators_are_asked_about_every_state(tmp_path):
  agent = runs.make_agent(runs.make_experiment(tmp_path))
  observations = factory.make(runs.ENVIRONMENT).observations
  state = agent.learner.init(jax.random.PRNGKey(0)).objective
  logits = run_plots.state_logits(agent, observations, state, start=0)
  ensemble = agent.config.objective.over.discriminator.ensemble_size
  assert logits.shape == (ensemble, len(observations), agent.config.num_skills)
  # As they are asked in learning: of skills that end there.
  ending = problems.ending_in(
    agent.problem, np.zeros(len(observations), int), observations
  )
  np.testing.assert_allclose(
    logits,
    agent.objective.discriminator.logits(state, ending)[:, 0],
    rtol=1e-6,
  )


def test_relative_discriminators_are_asked_about_skills_from_there(tmp_path):
  agent = runs.make_agent(runs.make_experiment(tmp_path, 'rvic'))
  observations = factory.make(runs.ENVIRONMENT).observations
  state = agent.learner.init(jax.random.PRNGKey(0)).objective
  logits = run_plots.state_logits(agent, observations, state, start=5)
  ending = problems.ending_in(
    agent.problem, np.zeros(len(observations), int), observations, starts=5
  )
  np.testing.assert_allclose(
    logits,
    agent.objective.discriminator.logits(state, ending)[:, 0],
    rtol=1e-6,
  )


def control_problem():
  environment = factory.make('control:cartpole_swingup')
  return environment, experiment_lib.problem_of(environment)


def test_the_plane_of_a_control_task_is_that_of_its_position():
  environment, problem = control_problem()
  assert run_plots.plane_of(environment, problem) == (
    [0, 1],
    ('position[0]', 'position[1]'),
  )
  walker = factory.make('control:walker_stand')
  plane = run_plots.plane_of(walker, experiment_lib.problem_of(walker))
  assert plane.labels == ('orientations[0]', 'orientations[1]')


def test_other_environments_have_a_plane_if_a_vector_is_observed():
  for observation, labels in (
    ('row_column', ('observation[0]', 'observation[1]')),
    ('index', None),
    ('pixels', None),
  ):
    environment = factory.make(runs.ENVIRONMENT, observation=observation)
    plane = run_plots.plane_of(
      environment, experiment_lib.problem_of(environment)
    )
    assert (plane and plane.labels) == labels


def test_a_task_s_curve_is_that_of_its_return(tmp_path, monkeypatch):
  drawn = {}
  draw = run_plots.plots.draw_learning_curve

  def noted(curves, **rest):
    drawn.update(rest, curves=curves)
    return draw(curves, **rest)

  monkeypatch.setattr(run_plots.plots, 'draw_learning_curve', noted)
  experiment = runs.make_experiment(tmp_path, 'extrinsic')
  runs.write_rows(
    tmp_path,
    'evaluator',
    [{'actor_steps': n, 'episode_return': 2 * n} for n in (10, 20)],
  )
  run_plots.draw_learning_curve(experiment)
  assert drawn['ylabel'] == 'episode return'
  assert drawn['num_skills'] is None
  np.testing.assert_array_equal(drawn['curves']['extrinsic'][1], [20, 40])
  assert (tmp_path / run_files.LEARNING_CURVE).exists()
