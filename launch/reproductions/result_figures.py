"""Figures of a reproduced result, made from the JSON file of it."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from envs import gridworlds
from launch.reproductions import comparison_table
from launch.reproductions import half_grid
from skills.evaluation.figures import figure_types
from skills.evaluation.figures import skill_figures


def make(content: Mapping[str, Any]) -> list[figure_types.Figure]:
  """The table, curves of training, and maps for the results on IVE's grid.

  Args:
    content: the JSON file's: `name`, `seeds`, `quantities` and `runs`.
  """
  shown: list[figure_types.Figure] = [_table(content)]
  lines = {
    name: line
    for name, runs in content['runs'].items()
    if (line := _mean_curve(runs)) is not None
  }
  if lines:
    is_counted = all('updates' in runs[0] for runs in content['runs'].values())
    shown.append(
      figure_types.Curves(
        title='Course of learning',
        caption='Means over seeds of the quantity that the table compares.',
        xlabel='updates' if is_counted else 'share of learning',
        ylabel=content['name'].replace('_', ' '),
        lines=lines,
      )
    )
  if content['name'] == 'ive_grid':
    shown += _maps(content['runs']['ive'][0], content['seeds'][0])
  elif content['name'] == 'ive_planning':
    shown += _losses(content['runs'])
  return shown


def _rewards_grid() -> skill_figures.Grid:
  gridworld = gridworlds.load('rewards_11')
  return skill_figures.Grid(gridworld.walls, gridworld.positions)


def _table(content: Mapping[str, Any]) -> figure_types.Table:
  seeds = content['seeds']
  return figure_types.Table(
    title=content['name'].replace('_', ' '),
    caption=(
      'What the paper has, what came out, and whether the mean over '
      f'{len(seeds)} seeds lies within the tolerance.'
    ),
    columns=[
      'quantity',
      'paper (source)',
      *comparison_table.seed_headings(seeds),
      'mean',
      'tolerance',
      'verdict',
    ],
    rows=[
      [
        quantity['name'],
        quantity['paper'],
        *comparison_table.seed_columns(quantity['ours']),
        quantity['mean'],
        quantity['tolerance'],
        quantity['verdict'],
      ]
      for quantity in content['quantities']
    ],
  )


def _mean_curve(
  runs: Sequence[Mapping[str, Any]],
) -> tuple[np.ndarray, np.ndarray] | None:
  """Mean learning curve over seeds; None where curves are no numbers."""
  curves = [run.get('curve') for run in runs]
  if not curves or not all(
    curve and isinstance(curve[0], (int, float)) for curve in curves
  ):
    return None
  mean = np.mean(np.array(curves, np.float64), axis=0)
  steps = runs[0].get('updates', np.arange(1, len(mean) + 1) / len(mean))
  return np.asarray(steps), mean


def _maps(run: Mapping[str, Any], seed: int) -> list[figure_types.Figure]:
  """Maps of the value's error and of the disagreement of model and value."""
  grid = _rewards_grid()
  shown: list[figure_types.Figure] = [
    grid.map(
      title='Error of the value',
      caption=(
        f'Learned value less the exact one, of seed {seed}. The walk stayed in '
        'the left half.'
      ),
      values=np.asarray(run['value_error']),
      unit='units of reward',
    )
  ]
  for name, estimates in run.items():
    if name.isdigit():
      spread = np.asarray(estimates['spread'])
      shown.append(skill_figures.inconsistency(spread, int(name), grid))
  return shown


def _losses(
  runs: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[figure_types.Figure]:
  """Maps of the return lost by plans on all estimates, means over seeds."""
  grid = _rewards_grid()
  return [
    grid.map(
      title=f'Lost return: {name}',
      caption=(
        "Optimal return less this plan's, by the cell where it starts, as the "
        f'mean over {len(found)} seeds. The walk stayed in the left half.'
      ),
      values=np.mean([run['lost'] for run in found], axis=0),
      unit='discounted reward',
    )
    for name, found in runs.items()
    if name.startswith(half_grid.MEAN)
  ]
