"""Resolved settings of an experiment, and where each value comes from."""

from collections.abc import Mapping
import dataclasses
import json
from typing import Any
from typing import NamedTuple

from rich import markup
from rich import table as rich_table

from launch.cli import command
from launch.runs import experiment as experiment_lib
from skills import config_io
from skills import presets
from skills import registry

DEFAULT = 'default'
PRESET = 'preset'
SET = '--set'
CONFIG_FILE = 'config.json'
SKILLS = '--skills'

FORMATS = ('table', 'json')


class Setting(NamedTuple):
  """A resolved setting.

  Attributes:
    value: as JSON can hold it.
    source: DEFAULT, the default of its configuration; PRESET, the choice of
      `skills.presets` for this agent and environment; SET; SKILLS, the trained
      skills' own; CONFIG_FILE, the run that is continued; or the flag that gave
      it.
  """

  value: Any
  source: str


def resolve(
  experiment: experiment_lib.Experiment,
  sources: Mapping[str, str],
  is_continued: bool,
) -> dict[str, Setting]:
  """Lists the fields of an experiment and the settings of its agent, by path.

  Args:
    experiment: what would run.
    sources: path -> source, of what the user or trained skills gave.
    is_continued: whether it comes from a run's folder. Then fields that are not
      defaults count as CONFIG_FILE, and settings that are neither defaults nor
      the preset's as SET.
  """
  resolved = {}
  for field in dataclasses.fields(experiment):
    if field.name not in ('config', 'problem'):
      value = getattr(experiment, field.name)
      is_default = not is_continued or value in (field.default, {})
      usual = DEFAULT if is_default else CONFIG_FILE
      resolved[field.name] = Setting(value, sources.get(field.name, usual))
  values = config_io.flatten(experiment.config)
  defaults = _defaults(experiment.config)
  preset = values
  if is_continued:
    preset = config_io.flatten(
      presets.make(
        experiment.agent,
        experiment.environment,
        experiment.problem,
        learner=registry.name_of(experiment.config.learner),
        on_device=experiment.on_device,
      )
    )
  for path, value in values.items():
    if value == defaults[path]:
      usual = DEFAULT
    else:
      usual = PRESET if value == preset.get(path) else SET
    resolved[path] = Setting(value, sources.get(path, usual))
  return resolved


def _defaults(
  config: Any, default: Any = None, path: str = ''
) -> dict[str, Any]:
  """The default of every setting that `config_io.flatten` lists.

  Args:
    config: a configuration.
    default: the one that stands in its place by default; if that is of another
      class, the defaults are those of the class of `config`.
    path: of the configuration itself.
  """
  if type(default) is not type(config):
    default = type(config)()
  flat = {}
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    usual = getattr(default, field.name)
    name = path + field.name
    if not config_io.is_section(value):
      flat[name] = usual
      continue
    if config_io.family(type(value)):
      flat[name] = registry.name_of(usual)
    flat.update(_defaults(value, usual, f'{name}.'))
  return flat


def show(settings: Mapping[str, Setting], format_: str) -> None:
  """Prints settings, as one of `FORMATS`."""
  if format_ == 'json':
    content = {path: s._asdict() for path, s in settings.items()}
    print(json.dumps(content, indent=2))
    return
  table = rich_table.Table('setting', 'value', 'source')
  for path, setting in settings.items():
    table.add_row(
      path,
      markup.escape(json.dumps(setting.value)),
      setting.source,
      style='dim' if setting.source == DEFAULT else None,
    )
  command.console().print(table)
