"""--show_settings on every training command."""

import json

from absl import flags
from absl.testing import flagsaver
import pytest

from launch import finetune
from launch import run_distributed
from launch import run_local
from launch import run_on_device
from launch.runs import experiment as experiment_lib
from skills import checkpoints
from skills import config_io
from tests import runs

pytestmark = pytest.mark.integration

TRAINING = (run_local, run_on_device, run_distributed)


@pytest.fixture
def show(capsys):
  """Runs a command in this process; gives what it printed, and its status."""

  def call(command, *arguments):
    with flagsaver.flagsaver():
      rest = flags.FLAGS(['command', *arguments])
      try:
        status = command.main(rest)
      except SystemExit as error:
        status = error.code
    return status, capsys.readouterr()

  return call


def shown(show, command, *arguments):
  status, printed = show(command, '--show_settings=json', *arguments)
  assert (status, printed.err) == (0, '')
  return json.loads(printed.out)


@pytest.mark.parametrize('command', TRAINING)
def test_settings_are_shown_with_their_sources(show, tmp_path, command):
  folder = tmp_path / 'run'
  settings = shown(
    show,
    command,
    '--seed=7',
    '--env_option=observation=index',
    '--set=batch_size=32',
    '--set=objective.bonus_weight=20',
    f'--output_dir={folder}',
  )
  for path, value, source in (
    ('agent', 'disdain', 'default'),
    ('environment_options', {'observation': 'index'}, '--env_option'),
    ('seed', 7, '--seed'),
    ('evaluation_every', None, 'default'),
    ('output_dir', str(folder), '--output_dir'),
    ('batch_size', 32, '--set'),
    ('objective', 'disdain', 'default'),
    # The preset's own value, but the user's choice all the same.
    ('objective.bonus_weight', 20.0, '--set'),
    ('num_skills', 24, 'preset'),
    ('learner.learning_rate', 0.4, 'preset'),
    ('learner.discount', 0.99, 'default'),
  ):
    assert settings[path] == {'value': value, 'source': source}, path
  # Nothing is left out.
  experiment = experiment_lib.make(
    agent='disdain',
    environment='grid:disdain_release',
    settings={'batch_size': 32},
    num_steps=1,
    output_dir='',
  )
  values = config_io.flatten(experiment.config)
  for path, value in json.loads(json.dumps(values)).items():
    assert settings[path]['value'] == value
  assert not folder.exists()


def test_default_number_of_steps_is_the_commands_own(show):
  steps = [shown(show, command)['num_steps']['value'] for command in TRAINING]
  assert steps == [240_000, 8_000_000, 240_000]


def test_exchanged_section_has_the_defaults_of_its_class(show):
  settings = shown(show, run_local, '--set=objective=vic')
  assert settings['objective'] == {'value': 'vic', 'source': '--set'}
  # It keeps the discriminator that the preset chose.
  source = settings['objective.discriminator.pinned_state']['source']
  assert source == 'preset'
  assert settings['objective.clip_at_zero']['source'] == 'default'


@pytest.mark.parametrize('arguments', [('--show_settings',), ()])
def test_bare_flag_prints_a_table(show, tmp_path, arguments):
  arguments = arguments or ('--show_settings=table',)
  status, printed = show(
    run_local, *arguments, '--set=batch_size=32', f'--output_dir={tmp_path}/run'
  )
  assert status == 0
  [row] = [line for line in printed.out.splitlines() if ' batch_size ' in line]
  assert row.split()[1::2] == ['batch_size', '32', '--set']
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('command', TRAINING)
def test_wrong_settings_are_refused_in_one_line(show, command):
  status, printed = show(command, '--show_settings', '--set=batch_siz=1')
  assert status == 2
  [line] = printed.err.splitlines()
  assert "Did you mean 'batch_size'?" in line
  assert printed.out == ''


def test_how_often_trajectories_are_sampled_is_no_setting(show):
  status, printed = show(
    run_local, '--show_settings', '--set=replay.samples_per_insert=8'
  )
  assert status == 2
  [line] = printed.err.splitlines()
  assert "'samples_per_insert'" in line
  assert 'updates_per_environment_step' in line


def test_unknown_format_is_refused(show):
  with pytest.raises(flags.IllegalFlagValueError, match='table|json'):
    show(run_local, '--show_settings=yaml')


def test_continued_run_shows_what_its_folder_holds(show, tmp_path):
  experiment_lib.save(
    experiment_lib.make(
      agent='vic',
      environment='grid:disdain_release',
      settings={'batch_size': 32},
      seed=5,
      num_steps=100_000,
      output_dir=str(tmp_path),
    )
  )
  checkpoints.save(tmp_path / checkpoints.FOLDER, 1, {}, {})
  settings = shown(
    show,
    run_local,
    '--resume',
    '--num_steps=200000',
    f'--output_dir={tmp_path}',
  )
  for path, value, source in (
    ('agent', 'vic', 'config.json'),
    ('seed', 5, 'config.json'),
    ('num_steps', 200_000, '--num_steps'),
    ('objective', 'vic', 'preset'),
    ('batch_size', 32, '--set'),
    ('num_skills', 24, 'preset'),
  ):
    assert settings[path] == {'value': value, 'source': source}, path


def test_finetune_shows_what_the_skills_fix(show, tmp_path):
  runs.write_run(
    tmp_path / 'skills',
    agent='diayn',
    environment='control:point_mass_easy',
    settings={'num_skills': 3, 'network.hidden_sizes': '8'},
    options={'action_repeat': 10},
  )
  folder = tmp_path / 'run'
  arguments = (
    f'--skills={tmp_path / "skills"}',
    '--set=batch_size=4',
    f'--output_dir={folder}',
  )
  settings = shown(show, finetune, *arguments)
  for path, value, source in (
    ('agent', 'extrinsic', 'default'),
    ('environment_options', {'action_repeat': 10}, '--skills'),
    ('num_skills', 3, '--skills'),
    ('network.hidden_sizes', [8], '--skills'),
    ('batch_size', 4, '--set'),
    ('learner.values_per_step', True, 'preset'),
    ('num_steps', 200_000, 'default'),
  ):
    assert settings[path] == {'value': value, 'source': source}, path
  status, printed = show(
    finetune, '--show_settings', *arguments, '--set=num_skills=5'
  )
  assert status == 2
  assert 'num_skills cannot be changed' in printed.err
  assert not folder.exists()
