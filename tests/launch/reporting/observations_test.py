"""Tests of launch/reporting/observations.py."""

import numpy as np
import pytest

from envs import factory
from launch.reporting import observations
from launch.runs import experiment as experiment_lib
from skills import types
from tests import runs

pytestmark = pytest.mark.integration


def test_skills_are_counted_where_they_ended():
  # Skills of 3, 1 and 3 steps; observations are 10 times the state.
  table = np.arange(4, dtype=np.int32) * 10
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
  counts = observations.end_counts(trajectory, table, 2)
  assert counts.tolist() == [[0, 0, 0, 1], [0, 0, 2, 0]]


def control_problem():
  environment = factory.make('control:cartpole_swingup')
  return environment, experiment_lib.problem_of(environment)


def test_the_plane_of_a_control_task_is_that_of_its_position():
  environment, problem = control_problem()
  assert observations.plane_of(environment, problem) == (
    [0, 1],
    ('position[0]', 'position[1]'),
  )
  walker = factory.make('control:walker_stand')
  plane = observations.plane_of(walker, experiment_lib.problem_of(walker))
  assert plane.labels == ('orientations[0]', 'orientations[1]')


def test_other_environments_have_a_plane_if_a_vector_is_observed():
  for observation, labels in (
    ('row_column', ('observation[0]', 'observation[1]')),
    ('index', None),
    ('pixels', None),
  ):
    environment = factory.make(runs.ENVIRONMENT, observation=observation)
    plane = observations.plane_of(
      environment, experiment_lib.problem_of(environment)
    )
    assert (plane and plane.labels) == labels
