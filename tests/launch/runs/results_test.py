"""What a run leaves behind can be read again."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import factory
from launch.reporting import run_plots
from launch.runs import experiment as experiment_lib
from launch.runs import final as final_lib
from launch.runs import run_files
from launch.runs import run_loggers
from launch.training import finish
from skills import registry
from skills import types
from tests import problems

pytestmark = pytest.mark.integration

ENVIRONMENT = 'grid:disdain_release'


def make_experiment(folder, agent='disdain', **fields):
  return experiment_lib.make(
    agent=agent,
    environment=ENVIRONMENT,
    num_steps=1000,
    output_dir=str(folder),
    **fields,
  )


def make_agent(experiment):
  return registry.make_agent(
    experiment.config,
    experiment_lib.problem_of(experiment.make_environment(0)),
  )


def final_of(agent, environment, trajectory):
  """What a run would end with that had learned nothing."""
  state = agent.learner.init(jax.random.PRNGKey(0))
  return final_lib.Final(
    agent,
    agent.learner.variables(state),
    state.objective,
    environment,
    trajectory,
  )


def write_rows(folder, label, rows):
  logger = run_loggers.make(folder, label, every_s=0)
  for row in rows:
    logger.write(row)
  logger.close()


def test_loggers_write_csv_and_tensorboard(tmp_path):
  write_rows(
    tmp_path,
    'evaluator',
    [
      {'actor_steps': 10, 'skills_learned': jnp.asarray(1.5)},
      {'actor_steps': 20, 'skills_learned': np.float32(2.5)},
    ],
  )
  rows = run_files.read_metrics(tmp_path / 'evaluator' / 'metrics.csv')
  assert [float(row['skills_learned']) for row in rows] == [1.5, 2.5]
  assert list((tmp_path / 'tensorboard' / 'evaluator').iterdir())


def test_a_resumed_run_goes_on_in_the_same_file(tmp_path):
  path = tmp_path / 'actor' / 'metrics.csv'
  write_rows(tmp_path, 'actor', [{'actor_steps': n, 'x': 1} for n in (1, 2, 3)])
  # It had come to 3, but its checkpoint was of 1.
  write_rows(tmp_path, 'actor', [{'actor_steps': n, 'x': 2} for n in (2, 4)])
  rows = run_files.read_metrics(path)
  assert [(float(row['actor_steps']), float(row['x'])) for row in rows] == [
    (1, 1),
    (2, 2),
    (4, 2),
  ]


def test_rows_are_on_disk_before_the_logger_is_closed(tmp_path):
  logger = run_loggers.make(tmp_path, 'actor', every_s=0)
  logger.write({'actor_steps': 1})
  path = tmp_path / 'actor' / 'metrics.csv'
  assert len(run_files.read_metrics(path)) == 1
  logger.close()


def test_a_logger_that_is_written_to_often_reads_few_rows(tmp_path):
  logger = run_loggers.make(tmp_path, 'learner')
  for i in range(100):
    logger.write({'actor_steps': i})
  logger.close()
  rows = run_files.read_metrics(tmp_path / 'learner' / 'metrics.csv')
  assert 1 <= len(rows) <= 2


def test_no_metrics_are_no_rows(tmp_path):
  assert run_files.read_metrics(tmp_path / 'nothing.csv') == []
  (tmp_path / 'empty.csv').write_text('')
  assert run_files.read_metrics(tmp_path / 'empty.csv') == []


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
  agent = make_agent(make_experiment(tmp_path))
  observations = factory.make(ENVIRONMENT).observations
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


def test_those_that_see_the_start_are_asked_about_skills_from_there(tmp_path):
  agent = make_agent(make_experiment(tmp_path, 'rvic'))
  observations = factory.make(ENVIRONMENT).observations
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


@pytest.mark.parametrize('name', ['disdain', 'vic', 'counts', 'rvic'])
def test_a_run_leaves_numbers_and_pictures(tmp_path, name):
  experiment = make_experiment(tmp_path, name)
  environment = experiment.make_environment(0)
  agent = make_agent(experiment)
  write_rows(
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
    final_of(agent, environment, trajectory),
    {'skills_learned': 3.0, 'environment_steps': 1000},
    lambda: True,
  )
  summary = json.loads((tmp_path / 'summary.json').read_text())
  assert summary['agent'] == name
  assert summary['environment'] == ENVIRONMENT
  assert summary['skills_learned'] == 3.0
  assert summary['num_skills'] == num_skills
  assert summary['versions']['jax'] == jax.__version__
  for picture in (run_files.LEARNING_CURVE, run_files.SKILL_MAP):
    assert (tmp_path / picture).read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_end_a_run(value):
  fine = {'values': np.zeros(3, np.float32)}
  finish.check_finite(fine)
  with pytest.raises(FloatingPointError, match='learner.learning_rate'):
    finish.check_finite([fine, {'values': np.array([0.0, value], np.float32)}])


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


def test_other_worlds_have_a_plane_if_they_are_seen_as_vectors():
  for observation, labels in (
    ('row_column', ('observation[0]', 'observation[1]')),
    ('index', None),
    ('pixels', None),
  ):
    world = factory.make(ENVIRONMENT, observation=observation)
    plane = run_plots.plane_of(world, experiment_lib.problem_of(world))
    assert (plane and plane.labels) == labels


def test_a_run_of_a_control_task_leaves_a_picture_of_its_ends(tmp_path):
  experiment = experiment_lib.make(
    agent='vic',
    environment='control:point_mass_easy',
    num_steps=1000,
    output_dir=str(tmp_path),
  )
  environment = experiment.make_environment(0)
  agent = make_agent(experiment)
  write_rows(
    tmp_path,
    'evaluator',
    [{'actor_steps': n, 'skills_learned': n / 10} for n in (10, 20, 30)],
  )
  trajectory = problems.trajectory(
    dataclasses.replace(agent.problem, num_actions=3, action_shape=())
  )
  finish.write(
    experiment,
    final_of(agent, environment, trajectory),
    {'skills_learned': 3.0, 'environment_steps': 1000},
    lambda: True,
  )
  assert (tmp_path / run_files.SKILL_ENDS).read_bytes().startswith(b'\x89PNG')


def test_a_task_s_curve_is_that_of_its_return(tmp_path, monkeypatch):
  drawn = {}
  draw = run_plots.plots.draw_learning_curve

  def noted(curves, **rest):
    drawn.update(rest, curves=curves)
    return draw(curves, **rest)

  monkeypatch.setattr(run_plots.plots, 'draw_learning_curve', noted)
  experiment = make_experiment(tmp_path, 'extrinsic')
  write_rows(
    tmp_path,
    'evaluator',
    [{'actor_steps': n, 'episode_return': 2 * n} for n in (10, 20)],
  )
  run_plots.draw_learning_curve(experiment)
  assert drawn['ylabel'] == 'episode return'
  assert drawn['num_skills'] is None
  np.testing.assert_array_equal(drawn['curves']['extrinsic'][1], [20, 40])
  assert (tmp_path / run_files.LEARNING_CURVE).exists()
