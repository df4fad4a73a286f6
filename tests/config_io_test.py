"""A configuration comes back from what a file holds of it, or is refused."""

import dataclasses
import json

import pytest

from skills import config as config_lib
from skills import config_io
from skills import presets
from skills import registry
from skills import types
from tests import problems

PROBLEMS = {'table': problems.TABLE, 'networks': problems.VECTOR}


def as_json(config):
  return json.loads(json.dumps(config_io.flatten(config)))


def refusal(wanted, flat):
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
def test_the_shapes_of_a_world_come_back_too(problem):
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
  assert refusal(types.ProblemSpec, known) == 'num_actions is missing.'


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
def test_what_does_not_fit_is_named(changes, parts):
  flat = as_json(config_lib.SkillAgentConfig()) | changes
  message = refusal(config_lib.SkillAgentConfig, flat)
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
