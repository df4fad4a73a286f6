"""Tests of launch/finetune.py."""

import csv
import json

from absl import flags
from absl.testing import flagsaver
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from launch import experiment as experiment_lib
from launch import finetune
from launch import local
from launch import results
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
    ({'episodes_per_skill': 0}, '--episodes_per_skill must be >= 1'),
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


def test_a_folder_with_something_in_it_is_left_alone(capsys, run_dir):
  error = refused(capsys, skills=str(run_dir), output_dir=str(run_dir))
  assert 'choose another --output_dir' in error


class Paying:
  """A world of 3 steps that pays what the action's first entry is."""

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


def test_each_skill_is_followed_without_an_end(run_dir):
  trained = loading.load(run_dir)
  experiment = experiment_lib.load(str(run_dir))
  returns, num_steps = finetune.returns_of_skills(
    trained, Paying(experiment.make_environment(0)), 2, seed=0
  )
  assert returns.shape == (3, 2)
  assert num_steps == 3 * 2 * 3
  # The same episode by hand, of another world with the same random numbers.
  world = experiment.make_environment(0)
  behaviour = trained.agent.evaluation_behaviour
  for skill, episode in np.ndindex(3, 2):
    seen, total = world.reset().observation, 0.0
    for _ in range(3):
      action, _ = behaviour.choose(
        trained.variables,
        jnp.asarray(seen)[None],
        jnp.array([skill]),
        (),
        jnp.zeros((1, 0)),
      )
      total += float(action[0, 0])
      seen = world.step(np.asarray(action[0])).observation
    np.testing.assert_allclose(returns[skill, episode], total, rtol=1e-4)


def rows_of(path):
  with open(path, newline='') as file:
    return list(csv.DictReader(file))


@pytest.mark.integration
def test_both_runs_begin_where_they_should_and_leave_their_curves(
  tmp_path, run_dir, monkeypatch
):
  begun = {}

  class Run(local.Run):
    """A run that tells what it began with."""

    def start(self):
      begun[self.folder.name] = self.learner.save()
      super().start()

  monkeypatch.setattr(local, 'Run', Run)
  out = tmp_path / 'out'
  with flagsaver.flagsaver(
    skills=str(run_dir),
    output_dir=str(out),
    num_steps=1500,
    episodes_per_skill=1,
    evaluation_episodes=1,
    set=[
      'replay.min_size=4',
      'batch_size=4',
      'updates_per_step=1',
    ],
  ):
    assert finetune.main(['finetune']) == 0
  trained = loading.load(run_dir)
  returns = [
    float(row['episode_return'])
    for row in rows_of(out / finetune.SKILL_RETURNS)
  ]
  assert len(returns) == 3
  best = int(np.argmax(returns))
  summary = json.loads((out / results.SUMMARY_FILE).read_text())
  assert summary['best_skill'] == best
  assert summary['steps_of_trying'] == 3 * 100
  # The policy is the skills'; all else is that of the run from scratch.
  finetuned, scratch = begun['finetuned'], begun['scratch']
  policy = learning.to_host(trained.state.params.policy)
  same = jax.tree.map(np.array_equal, finetuned.params.policy, policy)
  assert all(jax.tree.leaves(same))
  same = jax.tree.map(
    np.array_equal,
    finetuned._replace(params=scratch.params),
    scratch,
  )
  assert all(jax.tree.leaves(same))
  same = jax.tree.map(np.array_equal, scratch.params.policy, policy)
  assert not all(jax.tree.leaves(same))
  # What trying skills took is the fine-tuned run's own.
  steps = {'finetuned': [], 'scratch': []}
  for row in rows_of(out / finetune.CURVES):
    steps[row['run']].append(int(row['environment_steps']))
  assert steps['finetuned'][0] == 300
  assert steps['scratch'][0] == 0
  for name in steps:
    own = experiment_lib.load(str(out / name))
    assert own.config.fixed_skill == best
    assert own.agent == 'extrinsic'
    assert (out / name / results.LEARNING_CURVE).exists()
  assert summary['finetuned']['environment_steps'] == 1200
  assert summary['scratch']['environment_steps'] == 1500
  assert (out / finetune.PICTURE).read_bytes().startswith(b'\x89PNG')
