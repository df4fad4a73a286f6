"""Tests of skills/config_io.py."""

import dataclasses
import json

import pytest

from skills import config as config_lib
from skills import config_io
from skills import presets
from skills import registry
from skills import types
from skills.networks import discriminators
from tests import problems

PROBLEMS = {'table': problems.TABLE, 'networks': problems.VECTOR}
CASES = [(name, kind) for name in registry.OBJECTIVES for kind in PROBLEMS]


def as_json(config):
  return json.loads(json.dumps(config_io.flatten(config)))


def refusal_of_file(wanted, flat):
  with pytest.raises(ValueError) as error:
    config_io.restore(wanted, flat)
  message = str(error.value)
  assert '\n' not in message
  return message


@pytest.mark.parametrize('kind', PROBLEMS)
@pytest.mark.parametrize('name', registry.OBJECTIVES)
def test_every_configuration_comes_back_from_json(name, kind):
  config = presets.make(name, 'grid:disdain_release', PROBLEMS[kind])
  restored = config_io.restore(config_lib.SkillAgentConfig, as_json(config))
  assert restored == config
  assert hash(restored.network) == hash(config.network)  # Tuples, not lists.


@pytest.mark.parametrize('problem', PROBLEMS.values())
def test_the_shapes_of_a_problem_come_back_too(problem):
  as_dict = json.loads(json.dumps(dataclasses.asdict(problem)))
  assert config_io.restore(types.ProblemSpec, as_dict) == problem


def test_a_field_that_is_younger_than_the_file_has_its_default():
  config = presets.make('disdain', 'grid:disdain_release', problems.TABLE)
  config = dataclasses.replace(config, batch_size=7)
  flat = as_json(config)
  del flat['replay.timeout_s'], flat['objective.over.clip_at_zero']
  assert config_io.restore(config_lib.SkillAgentConfig, flat) == config
  # Nothing stands in for what has no default.
  known = dataclasses.asdict(problems.TABLE)
  del known['num_actions']
  assert refusal_of_file(types.ProblemSpec, known) == 'num_actions is missing.'


def test_objectives_and_learners_are_listed_by_their_names():
  flat = config_io.flatten(config_lib.SkillAgentConfig())
  assert flat['objective'] == 'disdain'
  assert flat['objective.over'] == 'vic'
  assert flat['learner'] == 'q_learning'
  assert flat['objective.bonus_weight'] == 20.0
  assert 'network' not in flat


@pytest.mark.parametrize(
  'changes, parts',
  [
    ({'batchsize': 3}, ['batchsize is no setting of this version']),
    (
      {'objective.over.old': 3},
      ['objective.over.old is no setting of this version'],
    ),
    ({'objective': 'disdian'}, ['objective must be one of', "'disdian'"]),
    ({'learner': 'vic'}, ['learner must be one of', 'q_learning', "'vic'"]),
    ({'objective.over': 3}, ['objective.over must be one of', 'got 3']),
    ({'batch_size': 'many'}, ["batch_size must be a whole number, got 'many'"]),
    ({'batch_size': [1]}, ['batch_size must be a whole number, got [1]']),
    ({'batch_size.x': 1}, ['batch_size is a plain value']),
    ({'learner.discount': 2.0}, ['learner.discount must be in [0, 1], got 2']),
  ],
)
def test_values_that_do_not_fit_are_named(changes, parts):
  flat = as_json(config_lib.SkillAgentConfig()) | changes
  message = refusal_of_file(config_lib.SkillAgentConfig, flat)
  for part in parts:
    assert part in message


@pytest.mark.parametrize(
  ('text', 'expected'),
  [
    ('speed[0], height[1]', ('speed[0]', 'height[1]')),
    ('(speed[0],height)', ('speed[0]', 'height')),
    ('[speed[0]]', ('speed[0]',)),
    ('', ()),
    ('()', ()),
  ],
)
def test_brackets_of_names_are_kept(text, expected):
  assert config_io.convert('features', text, tuple[str, ...]) == expected


# Changes as text: any field can be set, and each mistake is named.


def make(name='disdain', kind='table'):
  return presets.make(name, 'grid:disdain_release', PROBLEMS[kind])


def refusal_of_changes(changes, config=None):
  with pytest.raises(ValueError) as error:
    config_io.apply_changes(config or make(), changes)
  message = str(error.value)
  assert '\n' not in message
  return message


def test_assignments_are_split_at_the_first_equals_sign():
  assert config_io.parse_assignments(['a.b=1', ' c = x=y ', 'd=']) == {
    'a.b': '1',
    'c': 'x=y',
    'd': '',
  }
  # The last one counts.
  assert config_io.parse_assignments(['a=1', 'a=2']) == {'a': '2'}
  for wrong in ('batch_size', '=3', ''):
    with pytest.raises(ValueError, match="written 'field=value', got"):
      config_io.parse_assignments([wrong])


@pytest.mark.parametrize('name, kind', CASES)
def test_flattened_settings_give_the_same_configuration_again(name, kind):
  config = make(name, kind)
  flat = config_io.flatten(config)
  # Over any other agent's, as JSON and as text.
  other = make('vic' if name != 'vic' else 'rnd', 'table')
  assert config_io.apply_changes(other, json.loads(json.dumps(flat))) == config
  text = {path: str(value) for path, value in flat.items()}
  assert config_io.apply_changes(other, text) == config


@pytest.mark.parametrize('name', registry.OBJECTIVES)
def test_every_listed_field_can_be_set_on_its_own(name):
  config = make(name)
  for path, value in config_io.flatten(config).items():
    assert config_io.apply_changes(config, {path: str(value)}) == config, path


def test_changes_reach_nested_fields_and_leave_the_rest():
  config = make()
  changed = config_io.apply_changes(
    config,
    {'batch_size': '3', 'objective.over.discriminator.optimizer': 'adam'},
  )
  assert changed.batch_size == 3
  assert changed.objective.over.discriminator.optimizer == 'adam'
  again = config_io.apply_changes(
    changed,
    {
      'batch_size': config.batch_size,
      'objective.over.discriminator.optimizer': (
        config.objective.over.discriminator.optimizer
      ),
    },
  )
  assert again == config


@pytest.mark.parametrize(
  'path, text, value',
  [
    ('batch_size', '1e2', 100),
    ('learner.discount', '1', 1.0),
    ('learner.learning_rate', '1e-3', 1e-3),
    ('learner.target_update_period', '5', 5),
    ('learner.target_update_period', 'none', None),
    ('replay.updates_per_environment_step', 'None', None),
    ('replay.kind', 'queue', 'queue'),
    ('network.hidden_sizes', '64,32', (64, 32)),
    ('network.hidden_sizes', '(64, 32)', (64, 32)),
    ('network.hidden_sizes', '[64]', (64,)),
    ('network.hidden_sizes', 'none', None),
    ('objective.over.clip_at_zero', 'false', False),
    ('objective.over.clip_at_zero', 'True', True),
    ('objective.over.clip_at_zero', '1', True),
  ],
)
def test_text_becomes_the_type_that_the_field_wants(path, text, value):
  flat = config_io.flatten(config_io.apply_changes(make(), {path: text}))
  assert flat[path] == value
  assert type(flat[path]) is type(value)


def test_settings_of_a_section_count_together():
  # Either alone would be refused.
  config = make()
  small = config.replay.min_size - 1
  assert 'min_size' in refusal_of_changes({'replay.capacity': small})
  changed = config_io.apply_changes(
    config, {'replay.capacity': small, 'replay.min_size': small}
  )
  assert changed.replay.capacity == small


def test_another_objective_keeps_the_discriminator_s_settings():
  config = config_io.apply_changes(
    make(), {'objective.over.discriminator.learning_rate': 0.123}
  )
  kept = config.objective.over.discriminator
  changed = config_io.apply_changes(config, {'objective.over': 'diayn'})
  assert registry.name_of(changed.objective) == 'disdain'
  assert registry.name_of(changed.objective.over) == 'diayn'
  assert changed.objective.over.discriminator == kept
  # What the settings of the new one change, changes.
  changed = config_io.apply_changes(
    config,
    {'objective.over': 'diayn', 'objective.over.clip_at_zero': 'true'},
  )
  assert changed.objective.over.clip_at_zero
  # The same objective is left as it is.
  assert config_io.apply_changes(config, {'objective.over': 'vic'}) == config


def test_the_discriminator_of_a_nested_objective_is_kept_too():
  config = config_io.apply_changes(
    make(),
    {
      'objective': 'counts',
      'objective.over': 'disdain',
      'objective.over.over.discriminator.learning_rate': 0.123,
    },
  )
  changed = config_io.apply_changes(config, {'objective': 'diayn'})
  assert changed.objective.discriminator == (
    config.objective.over.over.discriminator
  )


@pytest.mark.parametrize(
  'name, other', [('disdain', 'rnd'), ('disdain', 'vic'), ('vic', 'disdain')]
)
def test_objectives_can_be_exchanged_at_the_top(name, other):
  config = make(name)
  changed = config_io.apply_changes(config, {'objective': other})
  assert registry.name_of(changed.objective) == other
  registry.make_agent(changed, problems.TABLE)


@pytest.mark.parametrize(
  'changes, parts',
  [
    ({'batchsize': '3'}, ["field 'batchsize' is unknown", "'batch_size'?"]),
    (
      {'objective.bonus_wieght': '3'},
      ['objective: field', "'bonus_wieght'", "'bonus_weight'?"],
    ),
    (
      {'objective.over.discriminator.ensemble': '3'},
      ['objective.over.discriminator: field', 'ensemble_size'],
    ),
    ({'batch_size': 'x'}, ["batch_size must be a whole number, got 'x'"]),
    ({'batch_size': '1.5'}, ['a whole number', "'1.5'"]),
    ({'batch_size': 'none'}, ['a whole number', "'none'"]),
    ({'batch_size': 'inf'}, ['batch_size must be a whole number']),
    ({'batch_size': True}, ['a whole number, got True']),
    ({'learner.discount': 'nan'}, ['learner.discount must be a finite number']),
    ({'learner.discount': '2'}, ['learner.discount must be in [0, 1], got 2']),
    (
      {'learner.target_update_period': 'often'},
      ['learner.target_update_period must be a whole number or none'],
    ),
    (
      {'network.hidden_sizes': '64,x'},
      ['network.hidden_sizes must be a whole number, separated by commas'],
    ),
    (
      {'objective.over.clip_at_zero': 'maybe'},
      ['objective.over.clip_at_zero must be true or false'],
    ),
    ({'replay': 'queue'}, ['replay is a section', 'replay.capacity']),
    ({'batch_size.x': '3'}, ['batch_size is a plain value', 'batch_size.x']),
    (
      {'objective': 'disdian'},
      ["objective: objective 'disdian' is unknown", "'disdain'?"],
    ),
    (
      {'objective.over': 'dayn'},
      ["objective.over: objective 'dayn' is unknown", "'diayn'?"],
    ),
    ({'num_skills': '0'}, ['num_skills must be >= 1']),
    ({'replay.kind': 'stack'}, ["'uniform' or 'queue', got 'stack'"]),
    ({'learner.optimizer': 'adm'}, ['adam', "'adm'"]),
  ],
)
def test_each_mistake_is_named_in_one_line(changes, parts):
  message = refusal_of_changes(changes)
  for part in parts:
    assert part in message


def test_a_configuration_is_changed_in_a_copy():
  config = make()
  before = dataclasses.asdict(config)
  config_io.apply_changes(config, {'batch_size': 1, 'replay.capacity': 500})
  assert dataclasses.asdict(config) == before
  assert isinstance(
    config.objective.over.discriminator, discriminators.DiscriminatorConfig
  )
