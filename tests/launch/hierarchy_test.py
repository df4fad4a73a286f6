"""A controller over trained skills: its settings, start and continuation."""

import json

from absl import flags
from absl.testing import flagsaver
import jax
import pytest

from envs import gridworlds
from launch import run_local
from launch import run_on_device
from launch.runs import experiment as experiment_lib
from launch.training import local
from skills import checkpoints
from skills import loading
from skills import presets
from skills import registry
from skills.agents import hierarchy

pytestmark = pytest.mark.integration

ENVIRONMENT = 'grid:open_41'


def write_skills(folder, environment=ENVIRONMENT, **settings):
  """A run's folder with skills that have learned nothing yet."""
  experiment = experiment_lib.make(
    agent='vic',
    environment=environment,
    settings={'num_skills': 3, 'skill_length': 5, **settings},
    num_steps=1,
    output_dir=str(folder),
  )
  experiment_lib.save(experiment)
  agent = registry.make_agent(experiment.config, experiment.problem)
  checkpoints.save(
    folder / checkpoints.FOLDER,
    1,
    {loading.LEARNER: jax.jit(agent.learner.init)(jax.random.PRNGKey(0))},
    {},
  )
  return str(folder)


def make(folder, trained, **fields):
  return experiment_lib.make(
    **{
      'agent': 'hierarchy',
      'environment': ENVIRONMENT,
      'environment_options': {'goal': 3, 'horizon': 40},
      'skills': trained,
      'num_steps': 1500,
      'evaluation_episodes': 2,
      'evaluation_every': 1000,
      'output_dir': str(folder),
      **fields,
    }
  )


def test_experiment_wraps_its_environment_and_survives_its_file(tmp_path):
  trained = write_skills(tmp_path / 'skills')
  experiment = make(tmp_path / 'run', trained, skills_discount=0.95)
  environment = experiment.make_environment(0)
  assert isinstance(environment, hierarchy.HierarchicalEnvironment)
  assert environment.action_spec().num_values == 3 + 5
  assert experiment.problem.num_actions == 3 + 5
  environment.reset()
  # No goal is 5 steps away, and nothing ends: gamma^5 of a skill.
  timestep = environment.step(0)
  assert timestep.discount == pytest.approx(0.95**5)
  assert experiment.config.num_skills == 1
  assert registry.name_of(experiment.config.objective) == 'extrinsic'
  # Gamma counts once.
  assert experiment.config.learner.discount == 1
  experiment_lib.save(experiment)
  assert experiment_lib.load(str(tmp_path / 'run')) == experiment


@pytest.fixture
def main(capsys):
  """Calls the command in this process; gives the line that it ends with."""

  def call(*arguments, command=run_local):
    with flagsaver.flagsaver():
      rest = flags.FLAGS(['command', *arguments])
      with pytest.raises(SystemExit) as error:
        command.main(rest)
    assert error.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ')
    return line

  return call


def test_each_mistake_is_named_before_anything_starts(main, tmp_path):
  trained = write_skills(tmp_path / 'skills')
  chosen = ('--agent=hierarchy', f'--env={ENVIRONMENT}')
  folder = f'--output_dir={tmp_path / "run"}'
  skills = f'--skills={trained}'
  assert 'needs skills: the folder of a run' in main(*chosen, folder)
  line = main('--agent=vic', skills, folder)
  assert 'skills must be None' in line and "'hierarchy'" in line
  line = main(*chosen, f'--skills={tmp_path / "none"}', folder)
  assert 'there is no run in' in line
  line = main('--agent=hierarchy', '--env=grid:four_rooms', skills, folder)
  assert '1681 states and 5 actions, but this one has 104 states' in line
  line = main(*chosen, skills, '--skills_discount=2', folder)
  assert 'discount must be in [0, 1], got 2' in line
  line = main(*chosen, skills, '--set=learner.discount=0.9', folder)
  assert 'learner.discount must be 1' in line and 'skills_discount' in line
  line = main(*chosen, skills, folder, command=run_on_device)
  assert 'cannot run on device; use launch.run_local' in line
  checkpoint = checkpoints.latest(tmp_path / 'skills' / checkpoints.FOLDER)
  checkpoint.rename(f'{checkpoint}.unfinished')
  assert 'there is no checkpoint in' in main(*chosen, skills, folder)
  assert not (tmp_path / 'run').exists()


@pytest.mark.usefixtures('without_page')
@pytest.mark.slow
def test_run_counts_choices_and_is_continued_with_its_skills(tmp_path):
  write_skills(tmp_path / 'skills')
  folder = tmp_path / 'run'

  def call(*arguments):
    with flagsaver.flagsaver():
      rest = flags.FLAGS(['run_local', f'--output_dir={folder}', *arguments])
      assert run_local.main(rest) == 0
    return json.loads((folder / 'summary.json').read_text())

  summary = call(
    '--agent=hierarchy',
    f'--skills={tmp_path / "skills"}',
    f'--env={ENVIRONMENT}',
    '--env_option=goal=3',
    '--env_option=horizon=40',
    '--num_steps=1200',
    '--evaluation_episodes=2',
    '--set=replay.min_size=32',
  )
  assert summary['agent'] == 'hierarchy'
  assert 1200 <= summary['environment_steps'] < 1200 + 40
  assert summary['learner_steps'] > 0
  assert 'skills_learned' not in summary
  checkpoint = checkpoints.latest(folder / checkpoints.FOLDER)
  meta = checkpoints.read_meta(checkpoint)
  below = meta['actor']['environment']
  # Some of the choices were skills, which take several steps.
  assert below['steps'] > 1.5 * meta['counts']['actor_steps']
  assert below['episode'] == meta['counts']['actor_episodes']
  summary = call('--resume', '--num_steps=1500')
  assert summary['complete'] and summary['environment_steps'] >= 1500
  # Where the skills are gone it says so.
  (tmp_path / 'skills' / loading.CONFIG_FILE).unlink()
  with pytest.raises(ValueError, match='there is no run in'):
    experiment_lib.load(str(folder))


def handmade_run(folder):
  """Four skills of 10 steps that go straight, as a run would leave them."""
  trained = write_skills(
    folder, num_skills=4, skill_length=10, **{'network.factored_states': 'none'}
  )
  loaded = loading.load(trained)
  [table] = jax.tree.leaves(loaded.state.params)
  num_states = loaded.problem.num_states
  moves = [gridworlds.ACTIONS.index(n) for n in ('up', 'down', 'left', 'right')]
  values = jax.numpy.zeros_like(table)
  for skill, action in enumerate(moves):
    rows = slice(skill * num_states, (skill + 1) * num_states)
    values = values.at[rows, action].set(1.0)
  params = jax.tree.unflatten(jax.tree.structure(loaded.state.params), [values])
  checkpoints.save(
    folder / checkpoints.FOLDER,
    2,
    {loading.LEARNER: loaded.state._replace(params=params)},
    {},
  )
  return trained


@pytest.mark.slow
def test_controller_learns_to_reach_a_goal_by_skills(tmp_path):
  trained = handmade_run(tmp_path / 'skills')
  experiment = make(
    tmp_path / 'run',
    trained,
    # The border's middle, 20 steps away.
    environment_options={'goal': goal_above_the_start()},
    num_steps=20_000,
    evaluation_episodes=20,
    evaluation_every=10_000,
    seed=1,
  )
  experiment_lib.save(experiment)
  summary = local.run(experiment).summary
  # By chance a goal is reached in one of 20 episodes.
  assert summary['episode_return'] > 0.5 * 0.99**20


def goal_above_the_start():
  """The goal straight above the start."""
  return gridworlds.MAPS['open_41'].goals.index((0, 20))


def test_settings_are_those_of_an_agent_of_the_task():
  problem = experiment_lib.problem_of(
    gridworlds.GridworldEnvironment(gridworlds.load('open_41'))
  )
  plain = presets.make('extrinsic', ENVIRONMENT, problem)
  config = presets.make('hierarchy', ENVIRONMENT, problem)
  assert config.objective == plain.objective
  assert config.learner.discount == 1 != plain.learner.discount
  assert config.network.factored_states is None
