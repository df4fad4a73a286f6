"""Reads a run's folder for a report, whether the run is complete or not."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
import math
import os
import pathlib
import re
from typing import Any

import numpy as np

from launch.runs import run_files
from launch.runs import run_record
from skills import config_io
from skills import loading
from skills import presets
from skills import types
from skills.evaluation import comparison
from skills.evaluation.figures import figure_types

STEPS = 'actor_steps'
# Columns that count progress, as the steps do.
_COUNTERS = re.compile(r'.*(_steps|_episodes)')
# Fields of an experiment that do not change what is learned.
_UNIMPORTANT = (
  'seed', 'evaluation_episodes', 'evaluation_every', 'checkpoint_every_s',
)  # fmt: skip
# Points of a curve.
_NUM_POINTS = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
  """The content of a run's folder.

  Attributes:
    folder: where it is.
    agent: name of its agent.
    environment: name of its environment.
    seed: of all its random numbers.
    num_steps: environment steps that were asked for.
    setting: every field that the result depends on but for the seed, by its
      path; fields of the agent's settings begin with 'config.'.
    changes: of the agent's settings, path -> the value here and the preset's
      (None if it has no such field).
    record: what `run.json` says; None if there is none.
    summary: final numbers; None if there are none.
    curves: (column, logger) -> steps and values.
    steps: environment steps that were done, as far as is known.
    figures: what was learned.
    missing: what could not be read and why, in sentences.
  """

  folder: pathlib.Path
  agent: str
  environment: str
  seed: int
  num_steps: int
  setting: Mapping[str, Any]
  changes: Mapping[str, tuple[Any, Any]]
  record: Mapping[str, Any] | None
  summary: Mapping[str, Any] | None
  curves: Mapping[tuple[str, str], comparison.Curve]
  steps: int
  figures: Sequence[figure_types.Figure]
  missing: Sequence[str]

  @property
  def config(self) -> dict[str, Any]:
    """The agent's settings by their paths."""
    return {
      name.removeprefix('config.'): value
      for name, value in self.setting.items()
      if name.startswith('config.')
    }

  @property
  def is_complete(self) -> bool:
    """Whether all steps were done, also those added since."""
    if self.summary is None or not self.summary.get('complete'):
      return False
    # On device steps are made in updates, and only as many as are wanted.
    update = self.config['batch_size'] * self.config['skill_length']
    return self.summary.get('environment_steps', 0) + update > self.num_steps

  @property
  def final(self) -> dict[str, float]:
    """The numbers of the summary, less those that only say how far it was."""
    return {
      name: value
      for name, value in (self.summary or {}).items()
      if isinstance(value, (int, float))
      and not isinstance(value, bool)
      and name not in ('seed', 'num_skills')
      and not _COUNTERS.fullmatch(name)
    }


def read(folder: str | os.PathLike[str], *, with_figures: bool = True) -> Run:
  """Reads a run, finished or not.

  Args:
    folder: of the run.
    with_figures: whether to read what was learned.

  Raises:
    ValueError: if there is no run, or if what was run cannot be read; whatever
      else cannot be read is in `missing`.
  """
  folder = pathlib.Path(folder)
  config, problem, fields = loading.read_description(folder)
  try:
    agent, environment = str(fields['agent']), str(fields['environment'])
    seed, num_steps = int(fields.get('seed', 0)), int(fields['num_steps'])
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f'{folder / loading.CONFIG_FILE} is broken: it holds no experiment.'
    ) from error
  missing: list[str] = []
  flat = config_io.flatten(config)
  changes = _changes(flat, fields, problem, missing)
  record = _record(folder, missing)
  summary = _summary(folder, missing)
  curves, steps = _curves(folder, missing)
  if summary is not None:
    steps = max(steps, int(summary.get('environment_steps', 0)))
  run = Run(
    folder=folder,
    agent=agent,
    environment=environment,
    seed=seed,
    num_steps=num_steps,
    setting={
      **{
        name: value
        for name, value in fields.items()
        if name not in _UNIMPORTANT
      },
      **{f'config.{name}': value for name, value in flat.items()},
    },
    changes=changes,
    record=record,
    summary=summary,
    curves=curves,
    steps=steps,
    figures=(
      _figures(folder, summary is not None, missing) if with_figures else ()
    ),
    missing=missing,
  )
  if not run.is_complete:
    how = 'has not ended, or was killed' if summary is None else 'goes on'
    if summary is not None and not summary.get('complete'):
      how = 'was interrupted'
    missing.insert(
      0,
      f'The end of the run: it {how}, after {steps:,} of {num_steps:,} '
      f'environment steps ({steps / num_steps:.0%}) or a little more.',
    )
  return run


def _changes(
  flat: Mapping[str, Any],
  fields: Mapping[str, Any],
  problem: types.ProblemSpec,
  missing: list[str],
) -> dict[str, tuple[Any, Any]]:
  """Settings that differ from the preset: path -> value, and the preset's."""
  try:
    preset = config_io.flatten(
      presets.make(
        str(fields['agent']),
        str(fields['environment']),
        problem,
        learner=flat['learner'],
        on_device=bool(fields.get('on_device', False)),
      )
    )
  except (KeyError, ValueError):
    missing.append(
      f'How the settings differ from the preset: this version has none for '
      f'the agent {fields["agent"]!r}.'
    )
    return {}
  return {
    name: (value, preset.get(name))
    for name, value in flat.items()
    if name not in preset or value != preset[name]
  }


def _record(
  folder: pathlib.Path, missing: list[str]
) -> Mapping[str, Any] | None:
  """The content of `run.json`; None if it cannot be read."""
  try:
    record = run_record.read(folder)
  except ValueError as error:
    missing.append(str(error))
    return None
  if record is None:
    missing.append(
      f'{run_record.RUN_FILE}: the run is older than such files, which say '
      'which command made it, of which code and where.'
    )
  return record


def _summary(folder: pathlib.Path, missing: list[str]) -> dict[str, Any] | None:
  path = folder / run_files.SUMMARY_FILE
  try:
    summary = json.loads(path.read_text())
  except FileNotFoundError:
    missing.append(
      f'{run_files.SUMMARY_FILE}: final numbers are measured when a run ends.'
    )
    return None
  except (OSError, ValueError) as error:
    missing.append(f'{path} is broken: {error}.')
    return None
  if not isinstance(summary, dict):
    missing.append(f'{path} is broken: it holds no numbers.')
    return None
  return summary


def _curves(
  folder: pathlib.Path, missing: list[str]
) -> tuple[dict[tuple[str, str], comparison.Curve], int]:
  """Curves of every logger, and the number of steps that they tell of."""
  logged: dict[tuple[str, str], list[comparison.Curve]] = {}
  steps_done = 0
  paths = sorted(folder.glob(f'*/{run_files.METRICS_FILE}'))
  for path in paths:
    try:
      rows, num_unreadable = run_files.metrics_of(path)
    except ValueError as error:
      missing.append(str(error))
      continue
    name = path.relative_to(folder)
    if num_unreadable:
      missing.append(
        f'{num_unreadable} of {len(rows) + num_unreadable} rows of {name}: cut '
        'short.'
      )
    if not rows:
      missing.append(f'{name}: it has no rows yet.')
      continue
    steps = np.array([_number(row[STEPS]) for row in rows])
    steps_done = max(steps_done, int(steps[-1]))
    # Actors share a curve, their mean.
    logger = re.sub(r'-\d+$', '', path.parent.name)
    for column in rows[0]:
      if _COUNTERS.fullmatch(column):
        continue
      values = np.array([_number(row[column]) for row in rows])
      if np.isfinite(values).any():
        logged.setdefault((column, logger), []).append((steps, values))
  if not paths:
    missing.append(
      f'Curves: there is no {run_files.METRICS_FILE} of an actor, a learner '
      'or an evaluator.'
    )
  curves = {}
  for key, own in logged.items():
    common, values = comparison.on_common_steps(own)
    if len(common):
      curves[key] = comparison.thinned(
        (common, values.mean(axis=0)), _NUM_POINTS
      )
  return curves, steps_done


def _number(text: str) -> float:
  try:
    value = float(text)
  except ValueError:
    return math.nan
  return value if math.isfinite(value) else math.nan


def _figures(
  folder: pathlib.Path, has_ended: bool, missing: list[str]
) -> list[figure_types.Figure]:
  if not (folder / figure_types.FIGURES_FILE).exists():
    missing.append(
      'What was learned, such as maps and films: it is gathered when a run '
      'ends.'
      if not has_ended
      else 'What was learned, such as maps and films: the run is older than '
      f'{figure_types.FIGURES_FILE}, or it could not be written.'
    )
    return []
  try:
    return figure_types.load(folder)
  except ValueError as error:
    missing.append(str(error))
    return []
