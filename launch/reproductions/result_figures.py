"""What there is to see of a reproduced result, as figures.

Made of nothing but what `launch.reproduce` writes as JSON.
"""

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
  """The table, curves of training, and of IVE's grid the maps.

  Args:
    content: of the JSON file: `name`, `seeds`, `quantities` and `runs`.
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
        caption=(
          'Means over seeds, of what the result is about: see the table.'
        ),
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
      *comparison_table.of_seeds(seeds),
      'mean',
      'tolerance',
      'verdict',
    ],
    rows=[
      [
        quantity['name'],
        quantity['paper'],
        *comparison_table.spread(quantity['ours']),
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
  """Over seeds; None where there are no curves of numbers."""
  curves = [run.get('curve') for run in runs]
  if not curves or not all(
    curve and isinstance(curve[0], (int, float)) for curve in curves
  ):
    return None
  mean = np.mean(np.array(curves, np.float64), axis=0)
  steps = runs[0].get('updates', np.arange(1, len(mean) + 1) / len(mean))
  return np.asarray(steps), mean


def _maps(run: Mapping[str, Any], seed: int) -> list[figure_types.Figure]:
  """Where model and value disagree, and where the value is wrong."""
  world = gridworlds.load('rewards_11')
  grid = skill_figures.Grid(world.walls, world.positions)
  right = np.asarray(run['value_error'])
  shown: list[figure_types.Figure] = [
    grid.map(
      title='Error of the value',
      caption=(
        f'Learned value less the exact one, of seed {seed}. A walk was made in '
        'the left half alone.'
      ),
      values=right,
      unit='units of reward',
    )
  ]
  for name, of_steps in run.items():
    if name.isdigit():
      spread = np.asarray(of_steps['spread'])
      shown.append(skill_figures.inconsistency(spread, int(name), grid))
  return shown


def _losses(
  runs: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[figure_types.Figure]:
  """What plans by all estimates lose from where, as means over seeds."""
  world = gridworlds.load('rewards_11')
  grid = skill_figures.Grid(world.walls, world.positions)
  return [
    grid.map(
      title=f'What is lost by: {name}',
      caption=(
        "Largest possible return less this plan's, by the cell in which one "
        f'starts, as the mean over {len(found)} seeds. A walk was made in the '
        'left half alone.'
      ),
      values=np.mean([run['lost'] for run in found], axis=0),
      unit='discounted reward',
    )
    for name, found in runs.items()
    if name.startswith(half_grid.MEAN)
  ]
