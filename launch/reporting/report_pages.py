"""Contents of the page of a run, and of the page that compares several runs.

`launch.reporting.run_folder` reads runs, `launch.reporting.page` makes HTML.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import json
import os
import pathlib
import re
from typing import Any

import numpy as np

from launch.reporting import page
from launch.reporting import run_folder
from launch.runs import run_record
from skills.evaluation import comparison
from skills.evaluation.figures import figure_types

# Parts of the learning curves, and which columns belong there: the first that
# fits.
_PARTS = (
  (
    'Skills',
    r'skills_learned.*|.*coverage|.*accuracy|information.*|effective.*',
  ),
  ('Returns', r'episode_return|skill_return|intrinsic_return/.*'),
  ('Rewards in what is learned from', r'reward/.*|skill_reward|.*bonus'),
  ('Disagreement', r'.*disagreement.*'),
  ('Losses', r'(.*[_/])?loss([_/].*)?'),
  ('Speed', r'.*per_second|parameter_age'),
  ('Everything else that was logged', r'.*'),
)
# What columns are, by how they begin.
_MEANING = {
  'skills_learned_at_end': (
    'Skills that the discriminators effectively tell apart by the last state.'
  ),
  'skills_learned': (
    'Skills that the discriminators effectively tell apart in fresh episodes.'
  ),
  'coverage': 'Fraction of all states that some skill visits.',
  'discriminator_accuracy': (
    'Fraction of a batch whose skill the discriminators name rightly.'
  ),
  'discriminator_loss': 'Cross-entropy of the discriminators, in nats.',
  'held_out_loss': (
    'Cross-entropy of the discriminators in fresh episodes, in nats.'
  ),
  'disagreement': 'Of the discriminators among each other, in nats.',
  'episode_return': "Sum of the environment's rewards over an episode.",
  'episode_length': 'Environment steps of an episode.',
  'skill_reward': "The skill reward's mean in a batch, in nats.",
  'skill_return': "Sum of the environment's rewards over a skill.",
  'intrinsic_return/': "Sum of the objective's own reward over a skill.",
  'reward/': "Mean of the objective's own reward in a batch.",
  'loss/': 'Loss of the values of this reward.',
  'steps_per_second': 'Environment steps per second.',
  'parameter_age': (
    'Updates since those parameters that chose the actions of a batch.'
  ),
}
_FOOTER = 'Made by launch.report.'
_SKILLS_LEARNED = 'skills_learned'
# Points of each seed's curve in a comparison.
_SEED_POINTS = 200


def run_page(run: run_folder.Run, *, refresh_s: int | None = None) -> str:
  """The page of one run.

  Args:
    run: finished or not.
    refresh_s: seconds after which a browser reads the page again; None for
      never.
  """
  lead = f'{run.steps:,} environment steps'
  if 'skills_learned' in run.final:
    learned, all_skills = run.final['skills_learned'], run.config['num_skills']
    lead = f'{learned:.1f} of {all_skills} skills learned in {lead}'
  if not run.is_complete:
    lead += f', of {run.num_steps:,} that were asked for'
  return page.render(
    f'{run.agent} in {run.environment}, seed {run.seed}',
    f'{lead}.',
    [
      _missing(run.missing),
      page.Section(title='What was run', figures=[_facts(run), *_changes(run)]),
      _learning_curves({run.agent: [run]}),
      page.Section(
        title='What was learned', figures=[*_final_numbers(run), *run.figures]
      ),
    ],
    footer=_FOOTER,
    refresh_s=refresh_s,
  )


def figures_page(folder: str | os.PathLike[str]) -> str:
  """The page of what is no run but has figures, such as a reproduced result.

  Args:
    folder: with `figure_types.json`, and perhaps `run.json`.

  Raises:
    ValueError: if either cannot be read.
  """
  shown = figure_types.load(folder)
  record = run_record.read(folder) or {}
  name = pathlib.Path(folder).resolve().name
  facts = _table_of_facts(name, _how(record, record.get('versions')))
  return page.render(
    name,
    'What came out of it.',
    [
      page.Section(title='What came out', figures=shown),
      page.Section(title='What was run', figures=[facts] if facts.rows else ()),
    ],
    footer=_FOOTER,
  )


def comparison_page(runs: Sequence[run_folder.Run]) -> str:
  """The page that compares several runs, seeds being their replicates.

  Args:
    runs: all in one environment. Others are compared with the group of the
      first.

  Raises:
    ValueError: if they cannot be compared.
  """
  groups = grouped(runs)
  title = ' and '.join(groups) if len(groups) < 4 else f'{len(groups)} groups'
  return page.render(
    f'{title} in {runs[0].environment}',
    f'{len(runs)} runs in {len(groups)} groups that differ in more than their '
    'seed.'
    if len(groups) > 1
    else f'{len(runs)} runs that differ in their seed alone.',
    [
      _missing(
        [f'{run.folder}: {each}' for run in runs for each in run.missing]
      ),
      page.Section(
        title='Final numbers',
        text='Of the runs that came to their end.',
        figures=[*_group_numbers(groups), *_differences(groups)],
      ),
      _learning_curves(groups),
      page.Section(
        title='What was run',
        text='The runs are of different revisions of the code.'
        if len({_revision(run) for run in runs}) > 1
        else '',
        figures=[_runs(groups), *_settings(groups)],
      ),
    ],
    footer=_FOOTER,
  )


def grouped(
  runs: Sequence[run_folder.Run],
) -> dict[str, list[run_folder.Run]]:
  """Runs that differ in nothing but their seed, under what sets them apart.

  Args:
    runs: all in one environment.

  Raises:
    ValueError: if they cannot be compared.
  """
  first = runs[0]
  found: dict[str, list[run_folder.Run]] = {}
  for run in runs:
    if run.environment != first.environment:
      raise ValueError(
        f'runs in different environments cannot be compared: {first.folder} '
        f'is of {first.environment!r}, {run.folder} of {run.environment!r}.'
      )
    own = found.setdefault(json.dumps(run.setting, sort_keys=True), [])
    for other in own:
      if other.seed == run.seed:
        raise ValueError(
          f'{other.folder} and {run.folder} have the same settings and the '
          f'same seed, {run.seed}: give one of them.'
        )
    own.append(run)
  groups = list(found.values())
  differing = _differing(groups)
  named: dict[str, list[run_folder.Run]] = {}
  for own in groups:
    parts = [
      f'{name.removeprefix("config.")}='
      f'{page.number(_described(_value(own[0], name)))}'
      for name in differing
      if name != 'agent' and _value(own[0], name) is not None
    ]
    if 'agent' in differing or not parts:
      parts.insert(0, own[0].agent)
    name = ', '.join(parts)
    named[name if name not in named else f'{name} ({len(named) + 1})'] = own
  return named


def _differing(groups: Sequence[Sequence[run_folder.Run]]) -> list[str]:
  """Fields, and settings unlike the preset, in which groups differ."""
  firsts = [own[0] for own in groups]
  fields = [
    name for name in firsts[0].setting if not name.startswith('config.')
  ]
  changed = dict.fromkeys(
    f'config.{name}' for run in firsts for name in run.changes
  )
  return [
    name
    for name in [*fields, *changed]
    if len({repr(_value(run, name)) for run in firsts}) > 1
  ]


def _value(run: run_folder.Run, name: str) -> Any:
  return run.setting.get(name)


def _described(value: Any) -> str | float | int | None:
  """A setting as people read it."""
  if isinstance(value, Mapping):
    return ', '.join(f'{name}={each}' for name, each in value.items()) or '–'
  if isinstance(value, (list, tuple)):
    return ', '.join(str(each) for each in value) or 'empty'
  if isinstance(value, bool):
    return str(value).lower()
  return value


def _missing(sentences: Sequence[str]) -> page.Section:
  return page.Section(title='What is missing', notes=sentences)


def _learning_curves(
  groups: Mapping[str, Sequence[run_folder.Run]],
) -> page.Section:
  """A chart for every column that was logged."""
  runs = [run for own in groups.values() for run in own]
  keys = sorted({key for run in runs for key in run.curves})
  loggers: dict[str, set[str]] = {}
  for column, logger in keys:
    loggers.setdefault(column, set()).add(logger)
  parts: dict[str, list[figure_types.Figure]] = {
    title: [] for title, _ in _PARTS
  }
  for column, logger in keys:
    title = column.replace('_', ' ')
    if len(loggers[column]) > 1:
      title += f' ({logger})'
    chart = _chart(column, logger, title, groups)
    if chart is not None:
      part = next(name for name, own in _PARTS if re.fullmatch(own, column))
      parts[part].append(chart)
  return page.Section(
    title='Learning curves',
    text=''
    if len(runs) == 1
    else 'Where a group has several seeds: thick, their interquartile mean as '
    'far as all of them came; around it a 95% bootstrap interval, which of few '
    'seeds is rough; thin, each seed.',
    sections=[
      page.Section(title=title, figures=shown) for title, shown in parts.items()
    ],
  )


def _chart(
  column: str,
  logger: str,
  title: str,
  groups: Mapping[str, Sequence[run_folder.Run]],
) -> figure_types.Curves | None:
  """One column of all groups; None if there is nothing to draw."""
  lines, bands, parts = {}, {}, {}
  for name, runs in groups.items():
    curves = [
      run.curves[column, logger]
      for run in runs
      if (column, logger) in run.curves
    ]
    if len(curves) == 1:
      [lines[name]] = curves
    elif curves:
      steps, values = comparison.on_common_steps(curves)
      if not len(steps):
        continue
      lines[name] = steps, comparison.interquartile_mean(values)
      bands[name] = comparison.interval(values)
      parts[name] = [
        comparison.thinned(curve, _SEED_POINTS) for curve in curves
      ]
  if not lines:
    return None
  numbers = {run.config['num_skills'] for own in groups.values() for run in own}
  levels = {}
  if column.startswith(_SKILLS_LEARNED) and len(numbers) == 1:
    levels = {'all skills': float(*numbers), 'chance': 1.0}
  meaning = next(
    (text for start, text in _MEANING.items() if column.startswith(start)), ''
  )
  return figure_types.Curves(
    title=title,
    caption=meaning or f'{column}, as the {logger} logged it.',
    xlabel='environment steps',
    ylabel='',
    lines=lines,
    bands=bands,
    parts=parts,
    levels=levels,
  )


# One run.


def _facts(run: run_folder.Run) -> figure_types.Table:
  config, summary = run.config, run.summary or {}
  rows = [
    ('agent', run.agent),
    ('environment', run.environment),
    (
      'options of the environment',
      _described(run.setting.get('environment_options')),
    ),
    ('seed', str(run.seed)),
    ('environment steps', f'{run.steps:,} of {run.num_steps:,}'),
    (
      'skills',
      f'{config["num_skills"]}, of {config["skill_length"]} steps each',
    ),
  ]
  wall_time_s = summary.get('wall_time_s')
  if wall_time_s:
    rows += [
      ('wall time', f'{wall_time_s:,.0f} s'),
      ('environment steps per second', f'{run.steps / wall_time_s:,.0f}'),
    ]
  record = run.record or {}
  versions = record.get('versions') or summary.get('versions')
  return _table_of_facts(
    run.folder.resolve().name, [*rows, *_how(record, versions)]
  )


def _how(record: Mapping[str, Any], versions: Any) -> list[tuple[str, Any]]:
  """Rows of how something was run."""
  again = (_time(each.get('started_at')) for each in record.get('resumed', ()))
  return [
    ('command', record.get('command')),
    ('started', _time(record.get('started_at'))),
    ('resumed', ', '.join(again) or None),
    ('code', record.get('git_revision')),
    ('machine', _machine(record.get('machine'))),
    ('versions', _described(versions)),
  ]


def _table_of_facts(
  name: str, rows: Sequence[tuple[str, Any]]
) -> figure_types.Table:
  return figure_types.Table(
    title='The run',
    caption=f'As its folder {name} says.',
    columns=('what', 'value'),
    rows=[row for row in rows if row[1] not in (None, '–')],
  )


def _revision(run: run_folder.Run) -> str | None:
  return (run.record or {}).get('git_revision')


def _short(revision: str | None) -> str | None:
  """Enough of a revision to know it by."""
  if revision is None:
    return None
  name, sign, changes = revision.partition('+')
  return name[:12] + sign + changes


def _time(text: Any) -> str:
  return '–' if text is None else str(text).replace('T', ' ')


def _machine(machine: Any) -> str | None:
  if not isinstance(machine, Mapping):
    return None if machine is None else str(machine)
  parts = [str(machine.get('processor', '')), f'{machine.get("cores")} cores']
  memory = machine.get('memory')
  if memory:
    parts.append(f'{memory / 2**30:.0f} GiB of memory')
  if machine.get('accelerator'):
    parts.append(str(machine['accelerator']))
  return ', '.join(parts)


def _changes(run: run_folder.Run) -> list[figure_types.Table]:
  if not run.changes:
    return []
  return [
    figure_types.Table(
      title='Settings that differ from the preset',
      caption=f'Of the agent {run.agent} in {run.environment}.',
      columns=('setting', 'here', 'preset'),
      rows=[
        (name, *(_described(value) for value in values))
        for name, values in run.changes.items()
      ],
    )
  ]


def _final_numbers(run: run_folder.Run) -> list[figure_types.Table]:
  if not run.final:
    return []
  return [
    figure_types.Table(
      title='Final numbers',
      caption='Of the policy that the run ended with, in fresh episodes.',
      columns=('number', 'value'),
      rows=[(name, value) for name, value in _in_order(run.final).items()],
    )
  ]


def _in_order(numbers: Mapping[str, Any]) -> dict[str, Any]:
  """With those first that matter most."""
  first = [name for name in numbers if name.startswith(_SKILLS_LEARNED)]
  return {name: numbers[name] for name in dict.fromkeys([*first, *numbers])}


# Several runs.


def _finals(
  runs: Sequence[run_folder.Run],
) -> dict[str, dict[int, float]]:
  """Final numbers of complete runs: name -> seed -> number."""
  found: dict[str, dict[int, float]] = {}
  for run in runs:
    if run.is_complete:
      for name, value in _in_order(run.final).items():
        found.setdefault(name, {})[run.seed] = value
  return found


def _group_numbers(
  groups: Mapping[str, Sequence[run_folder.Run]],
) -> list[figure_types.Table]:
  rows = []
  for group, runs in groups.items():
    for name, by_seed in _finals(runs).items():
      values = np.array(list(by_seed.values()))
      low, high = comparison.interval(values)
      rows.append(
        (
          name,
          group,
          len(values),
          float(comparison.interquartile_mean(values)),
          *_ends(low, high),
          float(values.min()),
          float(values.max()),
        )
      )
  if not rows:
    return []
  # One number of all groups after the other.
  names = list(dict.fromkeys(name for name, *_ in rows))
  return [
    figure_types.Table(
      title='By group',
      caption='Interquartile means over seeds, with the ends of a 95% '
      'bootstrap interval, and the smallest and largest seed.',
      columns=('number', 'group', 'seeds', 'mean', 'from', 'to', 'min', 'max'),
      rows=sorted(rows, key=lambda row: names.index(row[0])),
    )
  ]


def _differences(
  groups: Mapping[str, Sequence[run_folder.Run]],
) -> list[figure_types.Figure]:
  if len(groups) < 2:
    return []
  (base, first), *others = [
    (name, _finals(runs)) for name, runs in groups.items()
  ]
  rows = []
  for number in first:
    for name, finals in others:
      found = comparison.paired_difference(
        first[number], finals.get(number, {})
      )
      if found.num_pairs:
        rows.append(
          (
            number,
            f'{name} − {base}',
            found.num_pairs,
            found.mean,
            *_ends(*found.interval),
            f'{found.num_larger} of {found.num_pairs}',
          )
        )
  if not rows:
    return [
      figure_types.Missing(
        title='Paired differences',
        caption=f'No seed is in {base!r} and in another group, in complete '
        'runs. Train the groups with the same seeds to compare them in pairs.',
      )
    ]
  return [
    figure_types.Table(
      title='Paired differences',
      caption='Of runs with the same seed: the interquartile mean of the '
      'differences, a 95% bootstrap interval, and in how many pairs the first '
      'is larger.',
      columns=(
        'number',
        'difference',
        'pairs',
        'mean',
        'from',
        'to',
        'larger in',
      ),
      rows=rows,
    )
  ]


def _ends(low: np.ndarray, high: np.ndarray) -> tuple[float | None, ...]:
  return tuple(float(end) if np.isfinite(end) else None for end in (low, high))


def _runs(groups: Mapping[str, Sequence[run_folder.Run]]) -> figure_types.Table:
  return figure_types.Table(
    title='The runs',
    caption='Each has a page of its own, with what was learned.',
    columns=(
      'folder',
      'group',
      'seed',
      'environment steps',
      'complete',
      'code',
    ),
    rows=[
      (
        os.fspath(run.folder),
        name,
        str(run.seed),
        run.steps,
        'yes' if run.is_complete else 'no',
        _short(_revision(run)),
      )
      for name, runs in groups.items()
      for run in runs
    ],
  )


def _settings(
  groups: Mapping[str, Sequence[run_folder.Run]],
) -> list[figure_types.Table]:
  differing = _differing(list(groups.values()))
  if not differing:
    return []
  return [
    figure_types.Table(
      title='What differs',
      caption='Fields and settings that differ from group to group, of those '
      'that are not as their agent has them by default.',
      columns=('setting', *groups),
      rows=[
        (
          name.removeprefix('config.'),
          *(_described(_value(runs[0], name)) for runs in groups.values()),
        )
        for name in differing
      ],
    )
  ]
