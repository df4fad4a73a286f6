"""Experiments: their refusals, their environment and their file."""

import dataclasses
import json

import dm_env
import numpy as np
import pytest

from envs import factory
from launch.runs import experiment as experiment_lib
from skills import registry

GRIDS = ('grid:disdain_release', 'grid:four_rooms')


def make(tmp_path, **fields):
  return experiment_lib.make(
    **{
      'agent': 'disdain',
      'environment': GRIDS[0],
      'num_steps': 1000,
      'output_dir': str(tmp_path),
      **fields,
    }
  )


def test_environment_without_horizon_is_cut_into_episodes_and_goes_on(tmp_path):
  environment = make(tmp_path, environment='grid:open_11').make_environment(0)
  timestep = environment.reset()
  for _ in range(2):
    assert timestep.first()
    steps = 0
    while not timestep.last():
      timestep = environment.step(1)
      steps += 1
    # Whole skills, of four steps.
    assert steps % 4 == 0
    assert timestep.discount == 1.0
    end, timestep = timestep, environment.reset()
    assert timestep.observation == end.observation
  # But not one that can end, nor one that is asked to.
  for name, options in (
    ('grid:four_rooms', {}),
    ('grid:open_11', {'horizon': 7}),
  ):
    experiment = make(tmp_path, environment=name, environment_options=options)
    environment = experiment.make_environment(0)
    start = environment.reset().observation
    while not environment.step(1).last():
      pass
    assert environment.reset().observation == start


def refusal(call, *args, **kwargs):
  with pytest.raises(ValueError) as error:
    call(*args, **kwargs)
  message = str(error.value)
  assert '\n' not in message
  return message


@pytest.mark.parametrize('environment', GRIDS)
@pytest.mark.parametrize('agent', registry.OBJECTIVES)
def test_every_experiment_survives_its_file(tmp_path, agent, environment):
  options = {} if agent == 'counts' else {'observation': 'one_hot'}
  experiment = make(
    tmp_path,
    agent=agent,
    environment=environment,
    environment_options=options,
    settings={'batch_size': '7', 'replay.updates_per_environment_step': 'none'},
    seed=3,
    evaluation_every=11,
  )
  experiment_lib.save(experiment)
  loaded = experiment_lib.load(str(tmp_path))
  assert loaded == experiment
  assert loaded.config.batch_size == 7
  # A folder that was moved is still the same experiment.
  moved = tmp_path / 'moved'
  moved.mkdir()
  (moved / 'config.json').write_bytes((tmp_path / 'config.json').read_bytes())
  assert experiment_lib.load(str(moved)) == dataclasses.replace(
    experiment, output_dir=str(moved)
  )


def test_objectives_that_were_exchanged_survive_too(tmp_path):
  experiment = make(
    tmp_path,
    settings={'objective.over': 'diayn', 'objective.over.clip_at_zero': '1'},
  )
  experiment_lib.save(experiment)
  assert experiment_lib.load(str(tmp_path)) == experiment


def test_the_file_lists_every_setting_with_its_path(tmp_path):
  experiment_lib.save(make(tmp_path))
  content = json.loads((tmp_path / 'config.json').read_text())
  assert content['agent'] == 'disdain'
  assert content['config']['objective.over'] == 'vic'
  assert content['config']['objective.over.discriminator.ensemble_size'] > 1
  assert content['config']['replay.error_buffer'] is None


def test_the_environment_is_the_one_that_was_named(tmp_path):
  experiment = make(
    tmp_path, environment_options={'observation': 'one_hot', 'horizon': 5}
  )
  environment = experiment.make_environment(seed=4)
  assert environment.mdp.horizon == 5
  assert environment.observation_spec() == (
    factory.make(GRIDS[0], observation='one_hot').observation_spec()
  )


@pytest.mark.parametrize('environment', ['grid:four_rooms', 'grid:open_11'])
def test_environments_of_a_batch_are_those_of_their_seeds(
  tmp_path, environment
):
  experiment = make(tmp_path, environment=environment)
  seeds = experiment.seeds_for('environment', 3)
  assert len({*seeds, *experiment.seeds_for('environment', 3, 1)}) == 6
  assert seeds[0] == experiment.seed_for('environment')
  batch = experiment.make_environments(seeds)
  alone = [experiment.make_environment(seed) for seed in seeds]
  first = batch.reset()
  assert first.observation.tolist() == [
    each.reset().observation for each in alone
  ]
  for _ in range(300):
    found = batch.step(np.full(3, 1))
    expected = [each.step(1) for each in alone]
    assert found.observation.tolist() == [x.observation for x in expected]
    assert found.step_type.tolist() == [x.step_type for x in expected]
  one = experiment.make_environments(seeds[:1])
  assert isinstance(one, dm_env.Environment)


def test_evaluations_need_no_more_environments_than_episodes(tmp_path):
  for episodes, number in ((None, 4), (20, 8), (3, 3)):
    experiment = make(
      tmp_path, num_environments=8, evaluation_episodes=episodes
    )
    assert experiment.num_evaluated == number


@pytest.mark.parametrize(
  'fields, parts',
  [
    ({'agent': 'disdian'}, ["agent 'disdian' is unknown", "'disdain'?"]),
    (
      {'environment': 'grid:disdain_relaese'},
      ['disdain_relaese', 'disdain_release'],
    ),
    ({'environment': 'gird:four_rooms'}, ["'gird'", "'grid'?"]),
    ({'environment': 'four_rooms'}, ["'suite:task'", 'grid:four_rooms']),
    ({'environment_options': {'horizn': 3}}, ['horizn', 'horizon']),
    ({'environment_options': {'observation': 'onehot'}}, ['one_hot']),
    ({'settings': {'batchsize': '1'}}, ['batchsize', 'batch_size']),
    ({'settings': {'objective.bonus_weight': '-1'}}, ['bonus_weight', '-1']),
    (
      {'agent': 'counts', 'environment_options': {'observation': 'one_hot'}},
      ['state indices', 'rnd'],
    ),
    ({'num_steps': 0}, ['num_steps must be >= 1, got 0']),
    ({'num_environments': 0}, ['num_environments must be >= 1, got 0']),
    ({'evaluation_episodes': 0}, ['evaluation_episodes must be >= 1']),
    ({'seed': -1}, ['seed must be in [0, 2**32), got -1']),
    ({'checkpoint_every_s': 0.0}, ['checkpoint_every_s must be positive']),
  ],
)
def test_each_mistake_is_named_in_one_line(tmp_path, fields, parts):
  message = refusal(make, tmp_path, **fields)
  for part in parts:
    assert part in message
  assert not list(tmp_path.iterdir())


def test_a_folder_without_a_run_or_with_a_broken_one_is_refused(tmp_path):
  message = refusal(experiment_lib.load, str(tmp_path / 'nowhere'))
  assert 'there is no run in' in message

  experiment_lib.save(make(tmp_path))
  path = tmp_path / 'config.json'
  content = json.loads(path.read_text())

  path.write_text(path.read_text()[:50])
  assert 'is broken' in refusal(experiment_lib.load, str(tmp_path))
  for version in (1, 2, 3, 7):
    path.write_text(json.dumps({**content, 'format_version': version}))
    assert refusal(experiment_lib.load, str(tmp_path)) == (
      f'{path} has format version {version}; this program reads 4: run again, '
      'or use the release that wrote it.'
    )
  path.write_text(json.dumps({**content, 'config': {'old_field': 1}}))
  assert 'old_field' in refusal(experiment_lib.load, str(tmp_path))


@pytest.mark.parametrize('content', ['[]', '"text"', '{"format_version": 4}'])
def test_json_that_is_no_experiment_is_refused(tmp_path, content):
  (tmp_path / 'config.json').write_text(content)
  message = refusal(experiment_lib.load, str(tmp_path))
  assert str(tmp_path) in message
