"""Tests of launch/evaluate.py and launch/reporting/policy_evaluation.py."""

import json
import os
import shutil

from absl import flags
from absl.testing import flagsaver
import numpy as np
import pytest

from launch import evaluate
from launch.reporting import policy_evaluation
from tests import runs

# What it pays depends on where the body is, and not on what it is told.
ENVIRONMENT = 'control:acrobot_swingup'
OPTIONS = {'action_repeat': 100}  # Episodes of ten steps.
SETTINGS = {
  'num_skills': 3,
  'skill_length': 5,
  'network.hidden_sizes': '8',
  'objective.features': 'orientations[0],velocity',
}


@pytest.fixture(autouse=True)
def parsed_flags():
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['test'])


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  """Two sets of policies, a single one, and one in a grid."""
  root = tmp_path_factory.mktemp('runs')

  def write(name, agent, environment=ENVIRONMENT, options=OPTIONS, **changes):
    runs.write_run(
      root / name,
      agent=agent,
      environment=environment,
      options=options,
      settings=changes.pop('settings'),
      **changes,
    )
    return str(root / name)

  low, high = (
    {**SETTINGS, 'objective.alpha': alpha} for alpha in ('0.5', '0.9')
  )
  return {
    'set': write('set', 'domino', settings=low),
    'other': write('other', 'domino', settings=high, seed=4),
    'single': write(
      'single',
      'extrinsic',
      settings={'skill_length': 5, 'network.hidden_sizes': '8'},
      seed=5,
    ),
    'grid': write(
      'grid',
      'vic',
      'grid:disdain_release',
      options={'observation': 'one_hot'},
      settings={'num_skills': 2},
    ),
  }


def run_command(out, *arguments, **given):
  """Runs the command; returns what it left behind."""
  with flagsaver.flagsaver(evaluation_dir=str(out), **given):
    assert evaluate.main(['evaluate', *arguments]) == 0

  def refuse(constant):
    raise AssertionError(f'{constant} is no JSON.')

  text = (out / evaluate.EVALUATION_FILE).read_text()
  return json.loads(text, parse_constant=refuse)


def refused(capsys, *arguments, **given):
  with flagsaver.flagsaver(**given), pytest.raises(SystemExit) as exit_info:
    evaluate.main(['evaluate', *arguments])
  assert exit_info.value.code == 2
  error = capsys.readouterr().err
  assert error.count('\n') == 1
  return error


def test_a_set_is_measured_and_described(tmp_path, folders, capsys):
  found = run_command(tmp_path, folders['set'], episodes=2)
  assert found['environment'] == ENVIRONMENT
  assert found['features'] == 'the features that the first run was trained with'
  names = ['orientations[0]', 'velocity[0]', 'velocity[1]']
  assert found['feature_names'] == names
  [run] = found['runs']
  assert run['settings']['objective.alpha'] == 0.5
  policies = run['policies']
  assert [policy['policy'] for policy in policies] == [0, 1, 2]
  means = np.array([np.mean(p['return']['returns']) for p in policies])
  assert (means > 0).all() and len(set(means)) == 3
  np.testing.assert_allclose(
    [p['return']['mean'] for p in policies], means, rtol=1e-12
  )
  assert all(len(p['return']['returns']) == 2 for p in policies)
  np.testing.assert_allclose([p['ratio'] for p in policies], means / means[0])
  assert run['mean_ratio'] == pytest.approx(means[1:].mean() / means[0])
  assert run['worst_ratio'] == pytest.approx(means.min() / means[0])
  features = np.array([p['features'] for p in policies])
  assert features.shape == (3, 3)
  apart = np.linalg.norm(features[:, None] - features[None], axis=-1)
  nearest = (apart + 1e9 * np.eye(3)).min(axis=1)
  assert (nearest > 0).all()
  np.testing.assert_allclose(
    [p['distance'] for p in policies], nearest, rtol=1e-3
  )
  assert run['diversity'] == pytest.approx(nearest.mean(), rel=1e-3)
  out = capsys.readouterr().out
  assert 'ratio to policy 0' in out and 'diversity' in out
  assert os.listdir(tmp_path) == [evaluate.EVALUATION_FILE]


def test_the_seed_decides_everything_and_another_means_other_worlds(
  tmp_path, folders
):
  one, same, other = (
    run_command(tmp_path, folders['set'], episodes=1, evaluation_seed=seed)[
      'runs'
    ][0]
    for seed in (0, 0, 1)
  )
  assert one == same
  assert one['policies'][0]['return'] != other['policies'][0]['return']


def test_without_its_motor_every_policy_is_worth_the_same(tmp_path, folders):
  found = run_command(
    tmp_path,
    folders['set'],
    episodes=2,
    shots=1,
    perturb=['motor:elbow=0'],
    single=[folders['single']],
  )
  [adapted] = found['adaptation']
  assert adapted['perturbation'] == 'motor:elbow=0'
  assert (adapted['shots'], adapted['fresh_episodes']) == (1, 2)
  [run] = adapted['runs']
  trials = np.array(run['trials'])
  assert trials.shape == (3, 1)
  assert (trials == trials[0]).all()
  assert run['chosen'] == 0
  fresh = run['best']['returns']
  assert len(fresh) == 2
  assert run['policy_0']['returns'] == run['single']['returns'] == fresh
  assert adapted['best_minus'] == {
    'policy_0': {'mean': 0.0, 'spread': None},
    'single': {'mean': 0.0, 'spread': None},
  }
  # Other episodes than those that chose: they begin otherwise.
  assert not set(fresh) & set(trials[0])
  # With the motor they were worth something else.
  unchanged = found['runs'][0]['policies'][0]['return']['returns']
  assert not set(fresh) & set(unchanged)


@pytest.mark.slow
def test_the_best_of_the_trials_is_the_one_that_is_played_again(
  tmp_path, folders
):
  given = {
    'episodes': 1,
    'shots': 2,
    'perturb': ['mass:upper_arm=3,length:lower_arm=1.2'],
  }
  found = run_command(tmp_path, folders['set'], folders['other'], **given)
  assert [one['perturbation'] for one in found['adaptation']] == given[
    'perturb'
  ]
  gains = []
  for run in found['adaptation'][0]['runs']:
    trials = np.array(run['trials'])
    assert run['chosen'] == trials.mean(axis=1).argmax()
    assert run['single'] is None
    gains.append(run['best']['mean'] - run['policy_0']['mean'])
  over = found['adaptation'][0]['best_minus']
  assert list(over) == ['policy_0']
  assert over['policy_0']['mean'] == pytest.approx(np.mean(gains))
  assert over['policy_0']['spread'] == pytest.approx(np.std(gains, ddof=1))
  # Several runs lie on a plane.
  assert (tmp_path / evaluate.PLANE).read_bytes().startswith(b'\x89PNG')


def test_runs_are_told_apart_by_what_differs(folders):
  loaded = {
    name: policy_evaluation.load(folder, 0) for name, folder in folders.items()
  }
  sets = [loaded['set'], loaded['other']]
  assert policy_evaluation.labels_of(sets) == ['alpha=0.5', 'alpha=0.9']
  assert policy_evaluation.labels_of([loaded['set']] * 2) == [
    'domino',
    'domino',
  ]
  labels = policy_evaluation.labels_of([loaded['set'], loaded['single']])
  assert labels[0].startswith('domino') and 'num_skills=3' in labels[0]
  assert labels[1].startswith('extrinsic') and 'num_skills=1' in labels[1]
  assert 'alpha' not in labels[0]


def test_runs_with_another_objective_s_features_use_the_first_one_s_ruler(
  tmp_path, folders
):
  both = run_command(tmp_path, folders['single'], folders['set'], episodes=1)
  assert both['features'] == 'observations, normalized over all runs'
  assert both['runs'][0]['diversity'] is None
  assert both['runs'][0]['mean_ratio'] is None
  assert both['runs'][1]['diversity'] > 0


def test_a_grid_that_pays_nothing_has_maps_and_no_ratios(
  tmp_path, folders, capsys
):
  found = run_command(tmp_path, folders['grid'], episodes=1, pictures=True)
  [run] = found['runs']
  assert run['mean_ratio'] is None and run['worst_ratio'] is None
  assert all(policy['ratio'] is None for policy in run['policies'])
  assert 'Nothing was paid' in capsys.readouterr().out
  # Shares of steps, of which there are eight in an episode.
  features = np.array([policy['features'] for policy in run['policies']])
  assert features.shape == (2, 24)
  np.testing.assert_allclose(features.sum(axis=1), 1, rtol=1e-6)
  np.testing.assert_allclose(features * 8, np.round(features * 8), atol=1e-5)
  assert sorted(os.listdir(tmp_path)) == [
    evaluate.EVALUATION_FILE,
    evaluate.OCCUPANCIES,
  ]


def test_pictures_of_a_control_task_include_a_film(tmp_path, folders):
  run = policy_evaluation.load(folders['set'], 0)
  environment = run.experiment.make_environment(0)
  environment.reset()
  try:
    environment.picture(8, 8)
  except Exception as error:  # Whatever a machine without a renderer raises.
    pytest.skip(f'nothing can draw here: {error}')
  from PIL import Image

  run_command(tmp_path, folders['set'], episodes=1, pictures=True)
  assert sorted(os.listdir(tmp_path)) == sorted(
    [
      evaluate.EVALUATION_FILE,
      evaluate.FEATURES,
      evaluate.FILM,
      evaluate.STRIP,
    ]
  )
  with Image.open(tmp_path / evaluate.FILM) as film:
    assert film.n_frames == 11  # The start, and every step.
    first = np.asarray(film.convert('RGB'), int)
    film.seek(10)
    last = np.asarray(film.convert('RGB'), int)
  assert np.abs(first - last)[16:-16].max() > 50
  for name in (evaluate.FEATURES, evaluate.STRIP):
    with Image.open(tmp_path / name) as picture:
      assert np.asarray(picture.convert('L')).std() > 10


@pytest.mark.parametrize(
  ('arguments', 'given', 'part'),
  [
    ([], {}, 'RUN_DIR is missing'),
    (['nowhere'], {}, "no run in 'nowhere'"),
    (['set', 'grid'], {}, 'must be of one environment, but environment of'),
    (['set'], {'episodes': 0}, '--episodes must be >= 1, got 0'),
    (['set'], {'shots': 0}, '--shots must be >= 1, got 0'),
    (
      ['set'],
      {'evaluation_seed': -1},
      '--evaluation_seed must be an integer in',
    ),
    (['set'], {'perturb': ['motor:elbwo=0']}, "Did you mean 'elbow'?"),
    (['set'], {'perturb': ['elbow=0']}, "written 'kind:target=factor'"),
    (['grid'], {'perturb': ['mass:*=2']}, "the suite 'control'"),
    (['set'], {'single': ['single']}, '--single is of use with --perturb'),
    (
      ['set', 'set', 'set'],
      {'single': ['single'] * 2, 'perturb': ['mass:*=2']},
      'once for each of 3 runs, got 2',
    ),
    (
      ['set'],
      {'single': ['grid'], 'perturb': ['mass:*=2']},
      'must be of one environment',
    ),
  ],
)
def test_each_mistake_is_named_before_anything_is_played(
  capsys, tmp_path, folders, arguments, given, part
):
  given = {'evaluation_dir': str(tmp_path / 'out')} | given
  if 'single' in given:
    given['single'] = [folders[name] for name in given['single']]
  arguments = [folders.get(name, name) for name in arguments]
  assert part in refused(capsys, *arguments, **given)
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
  ('breaking', 'part'),
  [
    (lambda folder: shutil.rmtree(folder / 'checkpoints'), 'no checkpoint in'),
    (lambda folder: (folder / 'config.json').write_text('{'), 'is broken'),
    (
      lambda folder: (folder / 'config.json').write_text(
        '{"format_version": 99}'
      ),
      'has format version 99',
    ),
  ],
)
def test_runs_that_cannot_be_read_are_named(
  capsys, tmp_path, folders, breaking, part
):
  folder = tmp_path / 'run'
  shutil.copytree(folders['set'], folder)
  breaking(folder)
  assert part in refused(capsys, str(folder))


def test_films_without_a_renderer_are_refused(capsys, monkeypatch, folders):
  monkeypatch.setenv('MUJOCO_GL', 'disable')
  error = refused(capsys, folders['set'], pictures=True)
  assert "MUJOCO_GL is 'disable'" in error
