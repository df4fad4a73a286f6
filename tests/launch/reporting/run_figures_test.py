"""Runs leave something to be looked at, and never fail for it."""

import io
import itertools
import os

import jax
import numpy as np
from PIL import Image
import pytest

from envs import factory
from launch.reporting import run_figures
from launch.runs import experiment as experiment_lib
from launch.runs import final as final_lib
from launch.runs import run_files
from launch.training import on_device_run
from skills import registry
from skills.evaluation.figures import figure_types
from tests import problems
from tests import runs

pytestmark = pytest.mark.integration

SUMMARY = {'skills_learned': 1.0}
CONTROL = 'control:point_mass_easy'
SMALL = {
  'skill_length': 6,
  'network.hidden_sizes': '8',
  'objective.discriminator.hidden_sizes': '8',
}


def finished(folder, agent, environment, settings=None, trajectory=None):
  """An experiment, and what it ends with if nothing was learned."""
  experiment = experiment_lib.make(
    agent=agent,
    environment=environment,
    settings=settings,
    num_steps=1000,
    output_dir=str(folder),
  )
  made_environment = experiment.make_environment(0)
  made = registry.make_agent(
    experiment.config, experiment_lib.problem_of(made_environment)
  )
  state = made.learner.init(jax.random.PRNGKey(0))
  final = final_lib.Final(
    made,
    made.learner.variables(state),
    state.objective,
    made_environment,
    trajectory,
  )
  return experiment, final


def vectors(num_entries, num_skills):
  """Each skill twice; its first entry grows by its number at each step."""
  skills = np.arange(2 * num_skills) % num_skills
  given = problems.ending_in(problems.TABLE, skills, 0 * skills)
  steps = np.arange(4.0)[:, None, None]
  seen = np.zeros((4, len(skills), num_entries), np.float32)
  seen[..., :1] = steps * skills[None, :, None]

  def stretch(x):
    return np.repeat(np.asarray(x), 3, axis=0)

  return given._replace(
    observation=seen,
    action=stretch(given.action),
    reward=np.ones((3, len(skills)), np.float32),
    discount=stretch(given.discount),
    skill=stretch(given.skill),
    mask=np.ones((3, len(skills)), np.float32),
  )


def by_title(found):
  titles = [each.title for each in found]
  assert len(set(titles)) == len(titles)
  return dict(zip(titles, found))


def frames_of(film):
  with Image.open(io.BytesIO(film.content)) as opened:
    seen = []
    for i in range(opened.n_frames):
      opened.seek(i)
      seen.append(np.asarray(opened.convert('RGB'), int))
  return seen


def test_a_run_in_a_grid_leaves_its_skills_on_maps(tmp_path):
  experiment = experiment_lib.make(
    agent='disdain',
    environment='grid:disdain_release',
    num_steps=256_000,
    output_dir=str(tmp_path),
  )
  experiment_lib.save(experiment)
  summary = on_device_run.run(experiment).summary
  found = by_title(figure_types.load(tmp_path))
  assert not any(isinstance(x, figure_types.Missing) for x in found.values())

  table = found['Skills']
  rows = [dict(zip(table.columns, row)) for row in table.rows]
  assert [row['skill'] for row in rows] == list(range(24))
  runs = np.array([row['runs'] for row in rows])
  assert runs.sum() == summary['evaluation_episodes']
  # What is said of each skill is what is said of all of them.
  bits = np.array([row['told apart [bits]'] for row in rows])
  assert 2 ** np.average(bits, weights=runs) == pytest.approx(
    summary['skills_learned'], rel=0.01
  )
  assert all(row['steps of a run'] == 8 for row in rows)

  ends = found['Where skills end']
  assert ends.values.shape == (8, 7)
  assert np.isfinite(ends.values).sum() == 24
  assert np.nansum(ends.values) == pytest.approx(24)
  usual = rows[5]['ends most often in'].split('(')[0]
  row, column = (int(part.split()[1]) for part in usual.split(','))
  assert ends.values[row, column] > 0

  confusion = found['For which skill each is taken'].values
  np.testing.assert_allclose(confusion.sum(axis=1), 1)
  np.testing.assert_allclose(
    100 * np.diag(confusion),
    [row['named rightly [%]'] for row in rows],
    atol=0.06,
  )
  guess = found["Discriminators' best guess"].values
  assert 1 / 24 <= np.nanmin(guess) <= np.nanmax(guess) <= 1
  # The picture is drawn from the same values.
  usual = found['Skill that ends here most often']
  assert usual.marked is not None
  assert (tmp_path / run_files.SKILL_MAP).read_bytes().startswith(b'\x89PNG')
  assert np.nanmax(found["Discriminators' disagreement"].values) > 0
  coverage = found['Coverage'].lines['disdain'][1]
  assert len(coverage) == 2
  assert coverage[-1] == pytest.approx(summary['coverage'], abs=0.3)
  ways = found['Paths of the skills']
  assert set(ways.groups) <= set(map(str, range(24)))
  # A step leads to a neighbour, or nowhere.
  for path in ways.paths:
    assert path.shape == (9, 2)
    assert np.abs(np.diff(path, axis=0)).sum(axis=1).max() < 1.01


def test_a_control_task_leaves_a_film_that_moves_and_ends(tmp_path):
  pytest.importorskip('mujoco')
  settings = {**SMALL, 'num_skills': 3}
  experiment, final = finished(
    tmp_path, 'diayn', CONTROL, settings, vectors(4, 3)
  )
  if os.environ.get('MUJOCO_GL') == 'disable':
    pytest.skip('nothing can draw here')
  run_figures.write(experiment, final, SUMMARY, lambda: False)
  found = by_title(figure_types.load(tmp_path))
  film = found['The skills side by side']
  frames = frames_of(film)
  assert film.num_frames == len(frames) == 7  # The start, and six steps.
  assert film.mime == 'image/webp'
  assert len(film.content) < 500_000
  # Three side by side, from the same start, and then apart.
  first, last = frames[0][16:136], frames[-1][16:136]
  assert first.shape == (120, 480, 3)
  assert np.abs(first[:, :160] - first[:, 160:320]).mean() < 2
  assert np.abs(last - first).max() > 60
  assert all((one != other).any() for one, other in itertools.pairwise(frames))

  ends = found['Where skills end']
  # Skill k has gone k at each of three steps.
  assert [path.tolist() for path in ends.paths] == [
    [[3.0 * int(k), 0.0]] for k in ends.groups
  ]
  assert sorted(ends.groups) == sorted('001122')
  ways = found['Paths of the skills']
  np.testing.assert_array_equal(
    ways.paths[ways.groups.index('2')][:, 0], [0, 2, 4, 6]
  )
  rows = found['Skills'].rows
  assert [row[3] for row in rows] == ['0, 0', '3, 0', '6, 0']
  assert [row[4] for row in rows] == [3, 3, 3]  # A reward of 1 at each step.


def test_an_interrupted_run_makes_no_films(tmp_path):
  settings = {**SMALL, 'num_skills': 3}
  experiment, final = finished(
    tmp_path, 'diayn', CONTROL, settings, vectors(4, 3)
  )

  def no_more(seed):
    raise AssertionError(seed)

  object.__setattr__(experiment, 'make_environment', no_more)
  found = by_title(run_figures.make(experiment, final, lambda: True))
  missing = found['Films of the skills']
  assert isinstance(missing, figure_types.Missing)
  assert 'interrupted' in missing.caption
  assert 'Skills' in found


def test_without_a_renderer_the_page_says_what_to_install(
  tmp_path, monkeypatch
):
  settings = {**SMALL, 'num_skills': 3}
  experiment, final = finished(
    tmp_path, 'diayn', CONTROL, settings, vectors(4, 3)
  )
  monkeypatch.setenv('MUJOCO_GL', 'disable')
  found = by_title(run_figures.make(experiment, final, lambda: False))
  missing = found['Films of the skills']
  assert isinstance(missing, figure_types.Missing)
  assert 'libosmesa6' in missing.caption


def test_a_failure_is_logged_once_and_fails_nothing_else(tmp_path, monkeypatch):
  experiment, final = finished(
    tmp_path, 'diayn', CONTROL, {**SMALL, 'num_skills': 3}, vectors(4, 3)
  )
  warnings = []
  monkeypatch.setattr(
    run_figures.logging,
    'warning',
    lambda text, *rest: warnings.append(text % rest),
  )

  def broken(*unused, **also_unused):
    raise RuntimeError('no\n  display')

  monkeypatch.setattr(run_figures.policy_plots, 'encode_film', broken)
  monkeypatch.setattr(run_figures.rollouts.Player, 'play', broken)
  run_figures.write(experiment, final, SUMMARY, lambda: False)
  found = by_title(figure_types.load(tmp_path))
  assert isinstance(found['Films of the skills'], figure_types.Missing)
  assert 'RuntimeError: no display' in found['Films of the skills'].caption
  assert isinstance(found['Skills'], figure_types.Table)
  [warning] = warnings
  assert 'no display' in warning

  monkeypatch.setattr(run_figures.figure_types, 'save', broken)
  run_figures.write(experiment, final, SUMMARY, lambda: False)
  assert len(warnings) == 3  # The film again, and the folder.


def test_a_set_of_policies_leaves_distances_and_values(tmp_path):
  settings = {'num_skills': 3, 'skill_length': 64}
  skills = np.array([0, 1, 1])
  experiment, final = finished(
    tmp_path,
    'domino',
    'grid:top_rows',
    settings,
    problems.ending_in(problems.TABLE, skills, 0 * skills),
  )
  found = by_title(run_figures.make(experiment, final, lambda: False))
  distances = found['Distances of the policies'].values
  assert distances.shape == (3, 3)
  np.testing.assert_array_equal(np.diag(distances), 0)
  np.testing.assert_allclose(distances, distances.T)
  # All three, though the last evaluation had nothing of the third.
  policies = found['Values of the policies']
  assert len(policies.rows) == 3
  nearest = np.where(np.eye(3, dtype=bool), np.inf, distances).min(axis=1)
  np.testing.assert_allclose(
    [row[3] for row in policies.rows], nearest, atol=1e-3
  )


@pytest.mark.parametrize('bonus_weight', [0, 1])
def test_a_model_and_its_value_are_compared_with_the_truth(
  tmp_path, bonus_weight
):
  skills = np.zeros(2, int)
  experiment, final = finished(
    tmp_path,
    'extrinsic',
    'grid:rewards_11',
    {
      'learner': 'model_value',
      'learner.discount': 0.5,
      'learner.ive.bonus_weight': bonus_weight,
      'learner.model.init_scale': 1.0,
    },
    problems.ending_in(problems.TABLE, skills, skills),
  )
  found = by_title(run_figures.make(experiment, final, lambda: False))
  spread = found['Disagreement of model and value'].values
  assert spread.shape == (11, 11)
  assert (spread > 1e-3).all()  # Nothing was learned.
  error = found['Error of the value'].values
  assert np.isfinite(error).all()
  assert np.abs(error).max() > 0.01


def test_a_game_is_filmed_with_its_score(tmp_path):
  pytest.importorskip('ale_py')
  small = {
    'network.lstm_size': '16',
    'network.hidden_sizes': '16',
    'network.channels': '4',
  }
  experiment, final = finished(tmp_path, 'extrinsic', 'atari:breakout', small)
  labels = []
  encode_film = run_figures.policy_plots.encode_film

  def encode(frames, **rest):
    labels.extend(rest['labels'])
    return encode_film(frames, **rest)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(run_figures.policy_plots, 'encode_film', encode)
    patch.setattr(run_figures, '_MAX_STEPS', 8)
    [film] = run_figures._films(experiment, final, lambda: False)
  frames = frames_of(film)
  assert film.num_frames == len(frames) == 9
  assert frames[0].shape == (210 + 32, 160, 3)
  assert (frames[-1] != frames[0]).any()
  [of_policy] = labels
  assert len(of_policy) == 9
  assert of_policy[0] == 'skill 0: score 0'


def test_the_discriminators_are_asked_about_every_state(tmp_path):
  agent = runs.make_agent(runs.make_experiment(tmp_path))
  observations = factory.make(runs.ENVIRONMENT).observations
  state = agent.learner.init(jax.random.PRNGKey(0)).objective
  logits = run_figures.state_logits(agent, observations, state, start=0)
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
  logits = run_figures.state_logits(agent, observations, state, start=5)
  ending = problems.ending_in(
    agent.problem, np.zeros(len(observations), int), observations, starts=5
  )
  np.testing.assert_allclose(
    logits,
    agent.objective.discriminator.logits(state, ending)[:, 0],
    rtol=1e-6,
  )


def test_a_task_s_curve_is_that_of_its_return(tmp_path):
  experiment = runs.make_experiment(tmp_path, 'extrinsic')
  runs.write_rows(
    tmp_path,
    'evaluator',
    [{'actor_steps': n, 'episode_return': 2 * n} for n in (10, 20)],
  )
  curve = run_figures.learning_curve(experiment)
  assert curve.ylabel == 'episode return'
  assert curve.levels == {}
  np.testing.assert_array_equal(curve.lines['extrinsic'][1], [20, 40])
