"""Fine-tuning: refusals, its two runs, and how it is continued."""

import contextlib
import csv
import io
import json
import os
import pathlib
import signal
import time
from typing import NamedTuple

from absl import flags
from absl.testing import flagsaver
import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from launch import finetune
from launch.reporting import run_figures
from launch.runs import experiment as experiment_lib
from launch.runs import run_files
from launch.training import finish
from launch.training import local
from skills import loading
from skills.agents import learning
from tests import runs

ENVIRONMENT = 'control:point_mass_easy'
SETTINGS = {
  'num_skills': 3,
  'skill_length': 25,
  'network.hidden_sizes': '8',
  'objective.discriminator.hidden_sizes': '8',
}


@pytest.fixture(autouse=True)
def parsed_flags():
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['test'])


def write_run(folder, environment=ENVIRONMENT, settings=SETTINGS, options=None):
  return runs.write_run(
    folder,
    agent='diayn',
    environment=environment,
    settings=settings,
    options=options or {'action_repeat': 10},
  )


@pytest.fixture(scope='module')
def run_dir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs') / 'skills'
  write_run(folder)
  return folder


def refused(capsys, **given):
  with flagsaver.flagsaver(**given), pytest.raises(SystemExit) as exit_info:
    finetune.main(['finetune'])
  assert exit_info.value.code == 2
  error = capsys.readouterr().err
  assert error.count('\n') == 1
  return error


@pytest.mark.parametrize(
  ('changes', 'part'),
  [
    ({'skills': None}, '--skills is missing'),
    ({'skills': 'nowhere'}, "no run in 'nowhere'"),
    ({'env': 'control:walker_wlak'}, "Did you mean 'walker_walk'"),
    ({'env': 'control:walker_walk'}, 'actions in [-1, 1] of shape (6,)'),
    ({'agent': 'vic'}, '--agent is not for this command'),
    ({'num_steps': 100}, 'num_steps must be at least'),
    # Enough to learn from alone, but not after 3 skills in 2 episodes of 100.
    (
      {'num_steps': 1700},
      'after 600 steps for trying 3 skills in 2 episodes of 100 steps each',
    ),
    ({'resume': True}, 'there is nothing to continue in'),
    ({'episodes_per_skill': 0}, '--episodes_per_skill must be >= 1'),
    ({'policy_warmup': -1}, '--policy_warmup must be >= 0, got -1'),
    (
      {'policy_learning_rate_scale': 0.0},
      '--policy_learning_rate_scale must be > 0, got 0.0',
    ),
    ({'set': ['num_skills=5']}, 'num_skills cannot be changed'),
    ({'set': ['learner.discont=1']}, "Did you mean 'discount'"),
  ],
)
def test_each_mistake_is_named_before_anything_starts(
  capsys, tmp_path, run_dir, changes, part
):
  out = tmp_path / 'out'
  arguments = {'skills': str(run_dir), 'output_dir': str(out)} | changes
  assert part in refused(capsys, **arguments)
  assert not out.exists()


def test_skills_without_a_policy_are_refused(capsys, tmp_path):
  folder = tmp_path / 'skills'
  write_run(
    folder,
    'grid:disdain_release',
    {'skill_length': 8, 'num_skills': 3},
    options={'horizon': 8},
  )
  error = refused(capsys, skills=str(folder), output_dir=str(tmp_path / 'out'))
  assert 'actor_critic, got q_learning' in error


def test_used_folder_is_left_alone(capsys, run_dir):
  error = refused(capsys, skills=str(run_dir), output_dir=str(run_dir))
  assert 'add --resume' in error
  assert 'choose another --output_dir' in error


def test_returns_of_skills_survive_their_file(tmp_path):
  assert finetune.read_tried(tmp_path, (2, 3)) is None
  tried = finetune.Tried(
    np.arange(6.0).reshape(2, 3) / 3, np.arange(6).reshape(2, 3) + 5
  )
  finetune.write_tried(tmp_path, tried)
  read = finetune.read_tried(tmp_path, (2, 3))
  np.testing.assert_array_equal(read.returns, tried.returns)
  np.testing.assert_array_equal(read.num_steps, tried.num_steps)
  with pytest.raises(ValueError, match='must hold 2 skills in 2 episodes'):
    finetune.read_tried(tmp_path, (2, 2))


class Paying:
  """An environment of 3 steps; the reward is the action's first entry."""

  def __init__(self, environment):
    self._environment = environment
    self._steps = 0

  def reset(self):
    self._steps = 0
    return self._environment.reset()

  def step(self, action):
    self._steps += 1
    timestep = self._environment.step(action)
    return timestep._replace(
      reward=action[0],
      step_type=type(timestep.step_type)(2 if self._steps == 3 else 1),
    )


def test_each_skill_runs_for_whole_episodes(run_dir):
  trained = loading.load(run_dir)
  experiment = experiment_lib.load(str(run_dir))
  returns, num_steps = finetune.try_skills(
    trained, Paying(experiment.make_environment(0)), 2, seed=0
  )
  assert returns.shape == (3, 2)
  np.testing.assert_array_equal(num_steps, np.full((3, 2), 3))
  # The same by hand, in another environment with the same random numbers.
  environment = experiment.make_environment(0)
  acting_policy = trained.agent.evaluation_acting_policy
  for skill, episode in np.ndindex(3, 2):
    seen, total = environment.reset().observation, 0.0
    for _ in range(3):
      action, _ = acting_policy.select_action(
        trained.variables,
        jnp.asarray(seen)[None],
        jnp.array([skill]),
        (),
        jnp.zeros((1, 0)),
      )
      total += float(action[0, 0])
      seen = environment.step(np.asarray(action[0])).observation
    np.testing.assert_allclose(returns[skill, episode], total, rtol=1e-4)


def rows_of(path):
  with open(path, newline='') as file:
    return list(csv.DictReader(file))


class RecordingRun(local.Run):
  """Keeps what runs begin with; the first from scratch gets a Ctrl-C."""

  begun = {}
  interrupted = []

  def start(self):
    self.begun.setdefault(self.folder.name, self.learner.save())
    super().start()

  def evaluate(self):
    numbers = super().evaluate()
    if self.folder.name == finetune.SCRATCH and not self.interrupted:
      self.interrupted.append(True)
      while self.counts()['learner_steps'] < 1:
        time.sleep(0.05)
      os.kill(os.getpid(), signal.SIGINT)
    return numbers


class Finished(NamedTuple):
  """A command that was interrupted, and then continued to its end."""

  out: pathlib.Path
  given: dict
  begun: dict
  interrupted: dict
  error: str
  tried_at: int
  acted: str


@pytest.fixture(scope='module')
def finished(tmp_path_factory, run_dir):
  """Runs the command, interrupts it in its second run, and continues it."""
  out = tmp_path_factory.mktemp('finetune') / 'out'
  given = {
    'skills': str(run_dir),
    'output_dir': str(out),
    'num_steps': 1500,
    'episodes_per_skill': 1,
    'evaluation_episodes': 1,
    'policy_warmup': 10**6,
    'policy_learning_rate_scale': 0.25,
    'set': ['replay.min_size=4', 'batch_size=4', 'updates_per_step=1'],
  }
  error = io.StringIO()
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(local, 'Run', RecordingRun)
    # Films and pages take longest, and have tests of their own.
    patch.setattr(run_figures, '_films', lambda *_: [])
    patch.setattr(finish, 'write_page', lambda folder: None)
    with contextlib.redirect_stderr(error), flagsaver.flagsaver(**given):
      assert finetune.main(['finetune']) == 130
    assert not (out / finetune.CURVES).exists()
    interrupted = json.loads((out / run_files.SUMMARY_FILE).read_text())
    tried_at = (out / finetune.SKILL_RETURNS).stat().st_mtime_ns
    acted = (out / 'finetuned' / 'actor' / 'metrics.csv').read_text()
    with flagsaver.flagsaver(**given, resume=True):
      assert finetune.main(['finetune']) == 0
  return Finished(
    out,
    given,
    RecordingRun.begun,
    interrupted,
    error.getvalue(),
    tried_at,
    acted,
  )


@pytest.mark.integration
def test_both_runs_begin_where_they_should_and_leave_their_curves(
  finished, run_dir
):
  out = finished.out
  trained = loading.load(run_dir)
  returns = [
    float(row['episode_return'])
    for row in rows_of(out / finetune.SKILL_RETURNS)
  ]
  assert len(returns) == 3
  best = int(np.argmax(returns))
  summary = json.loads((out / run_files.SUMMARY_FILE).read_text())
  assert summary['best_skill'] == best
  assert summary['steps_of_trying'] == 3 * 100
  # The policy is the skills'; all else is that of the run from scratch.
  finetuned, scratch = finished.begun['finetuned'], finished.begun['scratch']
  policy = learning.to_host(trained.state.params.policy)
  same = jax.tree.map(np.array_equal, finetuned.params.policy, policy)
  assert all(jax.tree.leaves(same))
  optimizer = finetuned.optimizer._replace(policy=scratch.optimizer.policy)
  same = jax.tree.map(
    np.array_equal,
    finetuned._replace(params=scratch.params, optimizer=optimizer),
    scratch,
  )
  assert all(jax.tree.leaves(same))
  # Its optimizer, too, is fresh; the run from scratch has no bias to a skill.
  assert not any(np.any(x) for x in jax.tree.leaves(finetuned.optimizer.policy))
  assert '~' in finetuned.params.policy and '~' not in scratch.params.policy
  heads = scratch.params.policy['head']['w'], policy['head']['w']
  assert not np.array_equal(*heads)
  # Values alone were learned, by a smaller step size later on.
  trained_on = loading.load(out / 'finetuned').state
  assert int(trained_on.steps) > 0
  chex.assert_trees_all_equal(trained_on.params.policy, policy)
  rates = [
    experiment_lib.load(str(out / name)).config.learner.policy_learning_rate
    for name in ('finetuned', 'scratch')
  ]
  assert rates[0] == 0.25 * rates[1]
  # The steps of trying skills count for the fine-tuned run alone.
  steps = {'finetuned': [], 'scratch': []}
  for row in rows_of(out / finetune.CURVES):
    steps[row['run']].append(int(row['environment_steps']))
  assert steps['finetuned'][0] == 300
  assert steps['scratch'][0] == 0
  for name in steps:
    own = experiment_lib.load(str(out / name))
    assert own.config.fixed_skill == best
    assert own.agent == 'extrinsic'
    assert (out / name / run_files.LEARNING_CURVE).exists()
  assert summary['finetuned']['environment_steps'] == 1200
  assert summary['scratch']['environment_steps'] == 1500
  assert (out / finetune.PICTURE).read_bytes().startswith(b'\x89PNG')


@pytest.mark.integration
def test_interrupted_command_continues_where_it_was(capsys, finished):
  out, before = finished.out, finished.interrupted
  assert 'To continue: the same command and --resume' in finished.error
  assert before['finetuned']['complete']
  assert not before['scratch']['complete']
  assert len(finished.acted.splitlines()) > 1
  # With another setting the two runs could not be compared.
  error = refused(capsys, **{**finished.given, 'resume': True, 'seed': 5})
  assert 'seed cannot change' in error
  after = json.loads((out / run_files.SUMMARY_FILE).read_text())
  assert (out / finetune.SKILL_RETURNS).stat().st_mtime_ns == finished.tried_at
  for name in ('finetuned', 'scratch'):
    assert after[name]['complete']
  # The run that was complete acted no more. The learner may have taken what was
  # left in replay.
  metrics_file = out / 'finetuned' / 'actor' / 'metrics.csv'
  assert metrics_file.read_text() == finished.acted
  steps = {
    (name, when): summary[name]['learner_steps']
    for name in ('finetuned', 'scratch')
    for when, summary in (('before', before), ('after', after))
  }
  assert steps['finetuned', 'after'] >= steps['finetuned', 'before']
  assert steps['scratch', 'after'] > steps['scratch', 'before'] > 0
  assert (out / finetune.PICTURE).exists()
