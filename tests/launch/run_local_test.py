"""The main command: help, refusals, files, and how a run is continued.

A process that imports the whole stack takes seconds: few of them, with many
assertions in each.
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

from absl import flags
from absl.testing import flagsaver
import jax
import numpy as np
import pytest

from launch import run_local
from launch.cli import command
from launch.runs import experiment as experiment_lib
from launch.runs import run_files
from launch.training import flags as training_flags
from launch.training import local
from skills import checkpoints
from skills.agents.replay import tables as replay_tables

pytestmark = pytest.mark.integration

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, '-m', 'launch.run_local')

# Small enough for seconds, and so that all of it runs.
SMALL = (
  '--set=replay.min_size=32',
  '--evaluation_episodes=16',
)


def run(*arguments, program=COMMAND, timeout=120):
  """Runs a command to its end."""
  return subprocess.run(
    [*program, *arguments],
    cwd=ROOT,
    stdin=subprocess.DEVNULL,
    capture_output=True,
    text=True,
    timeout=timeout,
    check=False,
  )


@contextlib.contextmanager
def started(folder, *arguments):
  """A command that runs meanwhile; it is killed if it still does at the end."""
  with open(folder.parent / f'{folder.name}.log', 'a+') as log:
    process = subprocess.Popen(
      [*COMMAND, f'--output_dir={folder}', *arguments],
      cwd=ROOT,
      stdin=subprocess.DEVNULL,
      stdout=log,
      stderr=subprocess.STDOUT,
    )

    def output():
      log.seek(0)
      return log.read()

    process.output = output
    try:
      yield process
    finally:
      process.kill()
      process.wait()


def wait_for(condition, process, seconds=90):
  """Waits until something has happened while a process runs."""
  deadline = time.monotonic() + seconds
  while not condition():
    assert process.poll() is None, process.output()
    assert time.monotonic() < deadline, process.output()
    time.sleep(0.1)


def learner_steps(folder):
  rows = run_files.read_metrics(folder / 'learner' / 'metrics.csv')
  return float(rows[-1]['learner_steps']) if rows else 0


def newest(folder):
  """Step of the newest checkpoint; -1 if there is none."""
  with contextlib.suppress(checkpoints.CheckpointError):
    return int(checkpoints.latest(folder / checkpoints.FOLDER).name)
  return -1


# Help and refusals.


def test_help_fits_on_a_page_and_explains_our_flags():
  result = run('--help')
  assert result.returncode in (0, 1)  # absl's is 1.
  text = result.stdout + result.stderr
  assert 'Traceback' not in text
  assert len(text.splitlines()) < 120
  assert 'python -m launch.run_local --agent=disdain' in text
  for flag, words in {
    '--agent': 'What to train: counts, diayn, disdain',
    '--env': 'grid:four_rooms',
    '--seed': 'Seed of all random numbers',
    '--num_steps': 'Environment steps of training',
    '--output_dir': "The run's folder",
    '--set': '--set objective.bonus_weight=10',
    '--[no]resume': 'Continue the run in --output_dir',
    '--evaluation_episodes': 'Episodes of each evaluation',
  }.items():
    assert re.search(rf'^ *{re.escape(flag)}:', text, re.MULTILINE), flag
    assert words in ' '.join(text.split()), words


@pytest.fixture
def program(monkeypatch, capfd):
  """Calls the whole program in this process; gives its status and errors."""

  def call(*arguments):
    monkeypatch.setattr(sys, 'argv', ['run_local', *arguments])
    with flagsaver.flagsaver(), pytest.raises(SystemExit) as error:
      command.run(run_local.main)
    return error.value.code, capfd.readouterr().err

  return call


def test_mistake_ends_the_command_in_one_line(program, tmp_path):
  status, error = program('--agent=disdian', f'--output_dir={tmp_path / "run"}')
  assert status == 2
  [line] = error.splitlines()
  assert line.startswith("error: agent 'disdian' is unknown.")
  assert "Did you mean 'disdain'?" in line
  assert not (tmp_path / 'run').exists()


def test_unknown_flag_is_named_with_the_nearest_one(program, tmp_path):
  status, error = program('--agnet=vic', f'--output_dir={tmp_path / "run"}')
  assert status not in (0, None)
  assert 'Traceback' not in error
  assert "'agnet'" in error
  assert 'agent' in error.replace('agnet', '')
  assert len(error.splitlines()) <= 4
  assert not (tmp_path / 'run').exists()


@pytest.fixture
def main(capsys):
  """Calls the command in this process; gives the line that it ends with."""

  def call(*arguments):
    with flagsaver.flagsaver():
      rest = flags.FLAGS(['run_local', *arguments])
      with pytest.raises(SystemExit) as error:
        run_local.main(rest)
    assert error.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ')
    return line

  return call


@pytest.mark.parametrize(
  'arguments, parts',
  [
    (['--env=grid:four_room'], ["'four_room'", "'four_rooms'?"]),
    (['--env=gird:four_rooms'], ["'gird'", "'grid'?"]),
    (['--env_option=horizn=3'], ['horizn', 'horizon']),
    (['--env_option=horizon=soon'], ['horizon', 'soon']),
    (
      ['--env=atari:pong', '--env_option=sticky=1.5'],
      ['sticky must be a number in [0, 1], got 1.5'],
    ),
    (
      ['--env=atari:pong', '--env_option=max_frames=1e3'],
      ['max_frames', '1000.0'],
    ),
    (['--env_option=horizon'], ["'field=value', got 'horizon'"]),
    (['--set=bonus_weight=1'], ["'bonus_weight'"]),
    (['--set=objective.bonus_wieght=1'], ["'bonus_weight'?"]),
    (['--set=batch_size=many'], ['batch_size must be a whole number', 'many']),
    (['--set=batch_size'], ["'field=value', got 'batch_size'"]),
    (
      [
        '--set=replay.kind=queue',
        '--set=replay.capacity=3',
        '--set=replay.min_size=1',
      ],
      ['never move'],
    ),
    (['--num_steps=100'], ['num_steps must be at least', '100']),
    (['--num_steps=0'], ['num_steps must be >= 1']),
    (['--seed=-1'], ['seed must be in']),
    (['--evaluation_episodes=0'], ['evaluation_episodes must be >= 1']),
    (['--evaluation_every=0'], ['evaluation_every must be >= 1']),
    (['agent=vic'], ["unexpected argument 'agent=vic'", '--name=value']),
    (['--resume'], ['there is no run in']),
  ],
)
def test_each_mistake_is_named_before_anything_starts(
  main, tmp_path, arguments, parts
):
  line = main(f'--output_dir={tmp_path / "run"}', *arguments)
  for part in parts:
    assert part in line
  assert not (tmp_path / 'run').exists()


def test_a_run_is_not_overwritten_nor_continued_with_other_settings(
  main, tmp_path
):
  folder = f'--output_dir={tmp_path}'
  experiment_lib.save(
    experiment_lib.make(
      agent='vic',
      environment='grid:four_rooms',
      num_steps=100_000,
      output_dir=str(tmp_path),
    )
  )
  before = (tmp_path / 'config.json').read_bytes()
  assert 'add --resume to continue it' in main(folder)
  assert '--resume needs the --output_dir' in main('--resume')
  for flag in ('--agent=vic', '--env=grid:four_rooms', '--seed=1', '--set=x=1'):
    line = main(folder, '--resume', flag)
    assert f'{flag.split("=")[0]} cannot change in a resumed run' in line
  # It was never saved.
  assert 'there is no checkpoint in' in main(folder, '--resume')
  assert (tmp_path / 'config.json').read_bytes() == before
  if os.getuid():  # The superuser may write everywhere.
    assert 'cannot be written' in main('--output_dir=/proc/run')


# Runs.


def test_short_run_writes_all_of_its_files(tmp_path):
  folder = tmp_path / 'run'
  result = run(f'--output_dir={folder}', '--num_steps=3000', '--seed=5', *SMALL)
  assert result.returncode == 0, result.stderr
  assert 'Traceback' not in result.stderr
  # Nothing but what is said on purpose.
  assert result.stderr == ''
  assert re.search(
    r'[\d.]+ of 24 skills learned, 3,000 environment steps, [\d,]+ updates',
    result.stdout,
  )
  assert str(folder / 'summary.json') in result.stdout

  experiment = experiment_lib.load(str(folder))
  assert (experiment.seed, experiment.num_steps) == (5, 3000)
  assert experiment.config.replay.min_size == 32

  summary = json.loads((folder / 'summary.json').read_text())
  assert summary['complete'] is True
  assert summary['environment_steps'] == 3000
  assert 0 < summary['skills_learned'] <= 24
  assert summary['wall_time_s'] > 0
  # 375 skills, each sampled so many times, within the limiter's slack.
  config = experiment.config
  ratio = config.samples_per_insert
  ideal = (375 - 32) * ratio / config.batch_size
  slack = replay_tables.error_buffer(config, ratio) + 2 * config.fetch_size
  slack /= config.batch_size
  assert abs(summary['learner_steps'] - ideal) <= slack + 1
  assert summary['learner_steps'] % config.updates_per_step == 0

  for label in ('actor', 'learner', 'evaluator'):
    rows = run_files.read_metrics(folder / label / 'metrics.csv')
    assert rows and all('actor_steps' in row for row in rows), label
    assert list((folder / 'tensorboard' / label).iterdir())
  rows = run_files.read_metrics(folder / 'evaluator' / 'metrics.csv')
  assert {'skills_learned', 'coverage', 'episode_return'} <= set(rows[0])
  for picture in (run_files.LEARNING_CURVE, run_files.SKILL_MAP):
    assert (folder / picture).read_bytes().startswith(b'\x89PNG')
    assert str(folder / picture) in result.stdout
  assert newest(folder) == 3000
  # No temporary files.
  assert not [path for path in folder.iterdir() if path.name.startswith('.')]


def restored(folder):
  """The run as it continues, without starting it; close it."""
  return local.Run(experiment_lib.load(str(folder)))


def assert_restores_what_was_saved(folder):
  """Opens a run's newest checkpoint and looks into it.

  Returns:
    Its counts.
  """
  checkpoint = checkpoints.latest(folder / checkpoints.FOLDER)
  meta = json.loads((checkpoint / 'meta.json').read_text())
  with np.load(checkpoint / 'state.npz') as file:
    saved = dict(file)
  the_run = restored(folder)
  try:
    state = {
      jax.tree_util.keystr(path): leaf
      for path, leaf in jax.tree_util.tree_leaves_with_path(
        {'learner': the_run.learner.save()}
      )
    }
    assert set(state) == set(saved)
    for name, leaf in state.items():
      assert np.asarray(leaf).tobytes() == saved[name].tobytes(), name
    assert the_run.actor.save() == meta['actor']
    assert the_run.counts() == meta['counts']
    assert the_run.learner.save().steps == meta['counts']['learner_steps']
    # One skill an episode; none is lost, and the one that was being written
    # when the run was stopped may be there.
    info = the_run.client.server_info()[replay_tables.TABLE]
    episodes = meta['counts']['actor_episodes']
    assert info.current_size - episodes in (0, 1)
    limiter = info.rate_limiter_info
    assert limiter.insert_stats.completed == info.current_size
    # Samples on their way to the learner are counted, too.
    samples = limiter.sample_stats.completed
    learned = meta['counts']['learner_steps']
    assert samples >= learned * the_run.experiment.config.batch_size
  finally:
    the_run.close()
  return meta['counts']


def interrupted(condition, *arguments):
  """Status of the command, in this process, with Ctrl-C on a condition."""

  def press():
    deadline = time.monotonic() + 90
    while not condition() and time.monotonic() < deadline:
      time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)

  with flagsaver.flagsaver():
    rest = flags.FLAGS(['run_local', *arguments])
    user = threading.Thread(target=press)
    user.start()
    status = run_local.main(rest)
    user.join()
  return status


@pytest.mark.usefixtures('without_page')
def test_interrupted_and_killed_runs_continue_where_they_were(tmp_path, capsys):
  folder = tmp_path / 'run'
  endless = '--num_steps=10000000'
  status = interrupted(
    lambda: learner_steps(folder) > 100,
    f'--output_dir={folder}',
    endless,
    '--checkpoint_every_s=1',
    '--set=replay.capacity=1000000',
    *SMALL,
  )
  captured = capsys.readouterr()
  output = captured.out + captured.err
  assert status == 130, output
  assert 'Traceback' not in output
  assert 'Interrupted and saved' in output
  assert f'add --resume to --output_dir={folder}' in output
  summary = json.loads((folder / 'summary.json').read_text())
  assert summary['complete'] is False
  counts = assert_restores_what_was_saved(folder)
  assert counts['actor_steps'] == summary['environment_steps'] == newest(folder)
  assert counts['learner_steps'] == summary['learner_steps'] > 100
  interrupted_at = newest(folder)

  # It continues, and is killed at some moment after its next checkpoint.
  with started(folder, endless, '--resume') as process:
    wait_for(lambda: learner_steps(folder) > counts['learner_steps'], process)
    learned_at = max(interrupted_at, newest(folder))
    wait_for(lambda: newest(folder) > learned_at, process)
    process.kill()
    process.wait()
  killed_at = newest(folder)
  later = assert_restores_what_was_saved(folder)
  assert later['learner_steps'] > counts['learner_steps']

  # To the end, with counts that go on.
  experiment = experiment_lib.load(str(folder))
  outcome = local.run(
    experiment_lib.dataclasses.replace(
      experiment, num_steps=killed_at + 4000, evaluation_every=1000
    )
  )
  assert outcome.status == 0
  assert outcome.summary['complete'] is True
  assert outcome.summary['environment_steps'] == killed_at + 4000
  assert outcome.summary['learner_steps'] > later['learner_steps']
  assert outcome.summary['wall_time_s'] > summary['wall_time_s']
  rows = run_files.read_metrics(folder / 'evaluator' / 'metrics.csv')
  steps = [float(row['actor_steps']) for row in rows]
  assert steps == sorted(set(steps))
  assert steps[0] < interrupted_at < steps[-1]


@pytest.mark.slow
def test_rvic_without_horizon_learns_from_pairs_and_not_from_ends(
  tmp_path,
):
  # 4 skills of 2 steps; factored, so that places share what is learned.
  settings = (
    'num_skills=4',
    'skill_length=2',
    'replay.updates_per_environment_step=0.5',
    'network.factored_states=11,11',
    'objective.discriminator.factored_states=11,11',
    'objective.discriminator.learning_rate=0.8',
  )
  result = run(
    '--agent=rvic',
    '--env=grid:open_11',
    f'--output_dir={tmp_path / "run"}',
    '--num_steps=16000',
    '--evaluation_episodes=32',
    *(f'--set={setting}' for setting in settings),
  )
  assert result.returncode == 0, result.stderr
  summary = json.loads((tmp_path / 'run' / 'summary.json').read_text())
  # In nats, by the classifiers; 0.0 at first. One run gave 0.9 and 0.0.
  pair = np.log(summary['skills_learned'])
  end = pair - summary['intrinsic_return/skill']
  assert pair > 0.45, summary
  assert end < 0.25, summary
  assert pair - end > 0.45, summary
  # Episodes are cut off after four skills, and the environment goes on.
  assert summary['episode_length'] == 8


@pytest.mark.slow
def test_error_in_the_environment_ends_the_run_with_its_traceback(tmp_path):
  result = run(
    '--env=failing:disdain_release',
    f'--output_dir={tmp_path / "run"}',
    '--num_steps=100000',
    *SMALL,
    program=(sys.executable, '-m', 'tests.programs.failing_run'),
  )
  assert result.returncode not in (0, 2)
  assert 'Traceback' in result.stderr
  assert 'RuntimeError: the environment broke down' in result.stderr
  assert 'in step' in result.stderr
  assert 'Exception ignored' not in result.stderr
  assert not (tmp_path / 'run' / 'summary.json').exists()


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_disdain_learns_more_skills_than_vic_on_the_same_seeds(tmp_path):
  learned = {'disdain': [], 'vic': []}
  for seed in range(3):
    for agent, numbers in learned.items():
      experiment = experiment_lib.make(
        agent=agent,
        environment='grid:disdain_release',
        num_steps=training_flags.DEFAULT_NUM_STEPS,
        seed=seed,
        output_dir=str(tmp_path / f'{agent}-{seed}'),
      )
      summary = local.run(experiment).summary
      assert summary['complete']
      numbers.append(summary['skills_learned'])
  means = {agent: np.mean(numbers) for agent, numbers in learned.items()}
  assert means['disdain'] >= 1.4 * means['vic'], learned
  assert means['disdain'] >= 10, learned
  # Not by one lucky seed.
  assert all(x > y for x, y in zip(learned['disdain'], learned['vic'])), learned
