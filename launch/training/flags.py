"""Flags of the training commands, and the experiment that they describe."""

from collections.abc import Collection
from collections.abc import Sequence
import contextlib
import dataclasses
import pathlib
from typing import Any

from absl import flags

from envs import factory
from launch.runs import experiment as experiment_lib
from launch.runs import run_files
from launch.runs import run_loggers
from launch.runs import run_record
from launch.training import settings as settings_lib
from skills import checkpoints
from skills import config_io
from skills import loading
from skills import presets

# Enough for DISDAIN to learn most of the release grid's skills through Acme.
DEFAULT_NUM_STEPS = 240_000

_AGENT = flags.DEFINE_string(
  'agent', 'disdain', f'What to train: {", ".join(presets.AGENTS)}.'
)
# Suites with too many tasks to list.
_MANY = ('control:', 'atari:')
_FEW = [name for name in factory.names() if not name.startswith(_MANY)]
_ENV = flags.DEFINE_string(
  'env',
  'grid:disdain_release',
  f'Where: {", ".join(_FEW)}, control:<domain>_<task> (control:walker_stand) '
  'or atari:<game> (atari:montezuma_revenge).',
)
_ENV_OPTION = flags.DEFINE_multi_string(
  'env_option', [], 'An option of the suite: --env_option observation=one_hot'
)
_SKILLS = flags.DEFINE_string(
  'skills',
  None,
  'Folder of a run whose skills are the actions of --agent=hierarchy, beside '
  "the environment's own.",
)
_SKILLS_DISCOUNT = flags.DEFINE_float(
  'skills_discount',
  experiment_lib.Experiment.skills_discount,
  'Discount per step while such skills run.',
)
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of all random numbers.')
_NUM_STEPS = flags.DEFINE_integer(
  'num_steps',
  None,
  'Environment steps of training. [240000; on device 8000000]',
)
_NUM_ENVIRONMENTS = flags.DEFINE_integer(
  'num_environments',
  1,
  'Environments in which an actor acts at once; on device see '
  'device.environments.',
)
_OUTPUT_DIR = flags.DEFINE_string(
  'output_dir', None, "The run's folder. [runs/<agent>-<env>-<seed>]"
)
_SET = flags.DEFINE_multi_string(
  'set',
  [],
  'A change to a setting, named by its path: --set objective.bonus_weight=10. '
  '--show_settings lists them all.',
)
_RESUME = flags.DEFINE_bool(
  'resume',
  False,
  'Continue the run in --output_dir. Its settings are read from there; only '
  '--num_steps may be given beside it.',
)
_EVALUATION_EPISODES = flags.DEFINE_integer(
  'evaluation_episodes',
  None,
  'Episodes of each evaluation. [128 skills or 4000 steps]',
)
_EVALUATION_EVERY = flags.DEFINE_integer(
  'evaluation_every',
  None,
  'Environment steps between evaluations. [30 evaluations in all]',
)
_CHECKPOINT_EVERY_S = flags.DEFINE_float(
  'checkpoint_every_s', 60.0, 'Seconds between checkpoints.'
)

_WANDB = flags.DEFINE_bool(
  'wandb',
  False,
  'Send metrics to Weights & Biases, too, if it is installed.',
)


class _FormatParser(flags.ArgumentParser):
  """Parses a flag that may stand alone: `--name` or `--name=json`."""

  syntactic_help = f'<{"|".join(settings_lib.FORMATS)}>'

  def parse(self, argument: Any) -> str | None:
    """The format; None for `--noname`."""
    # absl gives 'true' for a flag that stands alone.
    named = {'true': settings_lib.FORMATS[0], 'false': None}
    format_ = named.get(argument, argument)
    if format_ not in (None, *settings_lib.FORMATS):
      raise ValueError(f'value should be one of {self.syntactic_help}')
    return format_


_SHOW_SETTINGS = flags.DEFINE_flag(
  flags.Flag(
    _FormatParser(),
    None,
    'show_settings',
    None,
    'Print the settings that a run would have and where each comes from, as '
    'a table or, with --show_settings=json, as JSON; nothing is started.',
    boolean=True,
  )
)

# Flags that give a field of the experiment.
_FIELDS = (
  'agent',
  'env',
  'env_option',
  'skills',
  'skills_discount',
  'seed',
  'num_steps',
  'num_environments',
  'evaluation_episodes',
  'evaluation_every',
  'checkpoint_every_s',
  'output_dir',
  'wandb',
)
# Fields whose names are not the flags'.
_RENAMED = {'env': 'environment', 'env_option': 'environment_options'}
# What a continued run takes from the command line.
_NOT_KEPT = ('num_steps', 'output_dir', 'wandb')


def given(name: str) -> Any:
  """The value that the user gave for a flag; None without one."""
  flag = flags.FLAGS[name]
  return None if flag.using_default_value else flag.value


def environment_options() -> dict[str, Any]:
  """The options of the suite, from --env_option."""
  return {
    name: _number_or_text(value)
    for name, value in config_io.parse_assignments(_ENV_OPTION.value).items()
  }


def experiment_from_flags(
  argv: Sequence[str],
  default_num_steps: int = DEFAULT_NUM_STEPS,
  *,
  on_device: bool = False,
) -> tuple[experiment_lib.Experiment, bool]:
  """Makes the experiment that the flags describe.

  Args:
    argv: the command line without its flags.
    default_num_steps: environment steps without --num_steps.
    on_device: whether it is to be trained on device.

  Returns:
    The experiment, and whether it continues a run.

  Raises:
    ValueError: naming what is wrong, what is allowed and the nearest match.
  """
  if len(argv) > 1:
    raise ValueError(
      f'unexpected argument {argv[1]!r}; flags are written --name=value.'
    )
  if _WANDB.value:
    run_loggers.check_wandb()
  if _RESUME.value:
    return _continued(), True
  name = f'{_AGENT.value}-{_ENV.value}-{_SEED.value}'.replace(':', '-')
  experiment = experiment_lib.make(
    agent=_AGENT.value,
    environment=_ENV.value,
    environment_options=environment_options(),
    settings=config_io.parse_assignments(_SET.value),
    skills=_SKILLS.value,
    skills_discount=_SKILLS_DISCOUNT.value,
    on_device=on_device,
    seed=_SEED.value,
    num_steps=(
      default_num_steps if _NUM_STEPS.value is None else _NUM_STEPS.value
    ),
    num_environments=_NUM_ENVIRONMENTS.value,
    evaluation_episodes=_EVALUATION_EPISODES.value,
    evaluation_every=_EVALUATION_EVERY.value,
    checkpoint_every_s=_CHECKPOINT_EVERY_S.value,
    output_dir=_OUTPUT_DIR.value or f'runs/{name}',
    wandb=_WANDB.value,
  )
  return experiment, False


def _continued() -> experiment_lib.Experiment:
  if _OUTPUT_DIR.value is None:
    raise ValueError('--resume needs the --output_dir of the run to continue.')
  for name in (*_FIELDS, 'set'):
    if name not in _NOT_KEPT and given(name) is not None:
      raise ValueError(
        f'--{name} cannot change in a resumed run, whose settings are in '
        f'{_OUTPUT_DIR.value}/{loading.CONFIG_FILE}; leave it out, or '
        'start a new run.'
      )
  experiment = dataclasses.replace(
    experiment_lib.load(_OUTPUT_DIR.value), wandb=_WANDB.value
  )
  # Fails now, and not half-way, if there is nothing to continue.
  checkpoints.latest(pathlib.Path(_OUTPUT_DIR.value) / checkpoints.FOLDER)
  if _NUM_STEPS.value is not None:
    experiment = dataclasses.replace(experiment, num_steps=_NUM_STEPS.value)
  return experiment


def show_settings(
  experiment: experiment_lib.Experiment,
  *,
  is_continued: bool = False,
  from_skills: Collection[str] = (),
) -> bool:
  """Prints the settings of a run if --show_settings asks for them.

  Args:
    experiment: what would run.
    is_continued: whether it was read from a run's folder.
    from_skills: fields and settings that are those of the trained skills.

  Returns:
    Whether it did, so that the command is done.
  """
  if _SHOW_SETTINGS.value is None:
    return False
  sources = dict.fromkeys(from_skills, settings_lib.SKILLS)
  for name in _FIELDS:
    if given(name) is not None:
      sources[_RENAMED.get(name, name)] = f'--{name}'
  for path in config_io.parse_assignments(_SET.value):
    sources[path] = settings_lib.SET
  settings = settings_lib.resolve(experiment, sources, is_continued)
  settings_lib.show(settings, _SHOW_SETTINGS.value)
  return True


def prepare_folder(experiment: experiment_lib.Experiment, resume: bool) -> None:
  """Writes config.json and run.json into the folder of a run.

  Raises:
    ValueError: if another run is there, or if the folder cannot be written.
  """
  folder = pathlib.Path(experiment.output_dir)
  if not resume and (folder / loading.CONFIG_FILE).exists():
    raise ValueError(
      f'there is a run in {experiment.output_dir}; add --resume to continue '
      'it, or choose another --output_dir.'
    )
  try:
    experiment_lib.save(experiment)
    run_record.write(folder)
  except OSError as error:
    raise ValueError(
      f'output_dir {experiment.output_dir!r} cannot be written: '
      f'{error.strerror}.'
    ) from error


def report(
  experiment: experiment_lib.Experiment, summary: dict[str, Any]
) -> None:
  """Prints the main numbers of a run and the files that it wrote."""
  folder = pathlib.Path(experiment.output_dir)
  parts = []
  if 'skills_learned' in summary:
    parts.append(
      f'{summary["skills_learned"]:.1f} of {experiment.config.num_skills} '
      'skills learned'
    )
  parts += [
    f'{summary["environment_steps"]:,} environment steps',
    f'{summary["learner_steps"]:,} updates',
    f'{summary["wall_time_s"]:.0f} s',
  ]
  print(', '.join(parts) + '.')
  for name in (
    run_files.SUMMARY_FILE,
    run_files.LEARNING_CURVE,
    run_files.SKILL_MAP,
    run_files.SKILL_ENDS,
    run_files.REPORT_FILE,
  ):
    if (folder / name).exists():
      print(f'  {folder / name}')
  if not summary['complete']:
    print(
      'Interrupted and saved. To continue: add --resume to '
      f'--output_dir={experiment.output_dir}'
    )


def _number_or_text(value: str) -> int | float | str | None:
  if value.lower() == 'none':
    return None
  for number in (int, float):
    with contextlib.suppress(ValueError):
      return number(value)
  return value
