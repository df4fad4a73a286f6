"""Results of self-consistency (arXiv:2110.12840).

The paper's settings in random worlds are not known; these are those of a
prototype.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import functools
import pathlib
from typing import Any

import numpy as np

from launch.reproductions import comparison_table
from launch.reproductions import parallel
from launch.reproductions import random_worlds
from launch.reproductions import training

_TABULAR_RATES = (0.1, 0.3, 1.0)
# By number of steps and loss.
_PROTOTYPE_TABULAR: Mapping[tuple[int, str | None], float] = {
  (0, None): 0.624,
  (1, 'dyna'): 0.357,
  (1, 'direct'): 0.357,
  (1, 'reverse'): 0.726,
  (1, 'residual'): 0.598,
  (3, 'dyna'): 0.357,
  (3, 'direct'): 0.363,
  (3, 'reverse'): 0.801,
  (3, 'residual'): 0.597,
}


def tabular(
  request: parallel.Request,
) -> tuple[list[comparison_table.Quantity], parallel.Runs]:
  """Errors of values in random worlds, with planning in a table and without."""
  jobs = {
    (num_steps, kind): functools.partial(
      random_worlds.tabular_runs,
      kind,
      num_steps,
      _TABULAR_RATES if kind else (0.0,),
      request.seeds,
    )
    for num_steps, kind in _PROTOTYPE_TABULAR
  }
  found = parallel.run_each(jobs, request.processes)
  errors = {
    job: np.array([parallel.each(rows, 'error') for rows in of_rates])
    for job, of_rates in found.items()
  }
  quantities = [
    comparison_table.Quantity(
      name='error of dyna less direct, K=1, largest',
      paper='0 (the same by construction)',
      ours=_largest_difference(found[1, 'dyna'], found[1, 'direct']),
      high=1e-6,
    ),
    *_planning_against_none(
      {k: rows for (n, k), rows in errors.items() if n != 1}
    ),
  ]
  for (num_steps, kind), rows in errors.items():
    known = _PROTOTYPE_TABULAR[num_steps, kind]
    for i, row in enumerate(rows):
      label = f', step size {_TABULAR_RATES[i]:g}' if kind else ''
      quantities.append(
        comparison_table.Quantity(
          name=(
            f'error, {kind}, K={num_steps}{label}' if kind else 'error, none'
          ),
          paper=f'{known} at its best (prototype)',
          ours=tuple(row.tolist()),
        )
      )
  return quantities, {
    f'{kind or "none"}, K={num_steps}, step size {i}': rows
    for (num_steps, kind), of_rates in found.items()
    for i, rows in enumerate(of_rates)
  }


def _largest_difference(
  first: Sequence[Sequence[Mapping[str, Any]]],
  second: Sequence[Sequence[Mapping[str, Any]]],
) -> tuple[float, ...]:
  """Of two curves for each step size and seed: of each seed, anywhere."""
  curves = [
    np.array([parallel.each(rows, 'curve') for rows in of_rates])
    for of_rates in (first, second)
  ]
  difference = np.abs(np.subtract(*curves))
  return tuple(difference.max(axis=(0, 2)).tolist())


def _planning_against_none(
  errors: Mapping[str | None, np.ndarray],
) -> list[comparison_table.Quantity]:
  """Each loss, at the step size that suits it best, against no planning.

  Args:
    errors: by loss, of each step size and seed; `None` for no planning.
  """
  nothing = errors[None].mean()
  quantities = []
  for kind, low, high in (
    ('dyna', None, 0.65),
    ('direct', None, 0.65),
    ('residual', 0.9, 1.1),
    ('reverse', 1.0, None),
  ):
    best = errors[kind][errors[kind].mean(axis=1).argmin()]
    known = _PROTOTYPE_TABULAR[3, kind] / _PROTOTYPE_TABULAR[0, None]
    quantities.append(
      comparison_table.Quantity(
        name=f'error, {kind} / mean without planning, K=3',
        paper=f'{known:.2f} (prototype)',
        ours=tuple((best / nothing).tolist()),
        low=low,
        high=high,
      )
    )
  return quantities


_PROTOTYPE_LATENT = {
  None: (1.66, 0.865),
  'dyna': (1.234, 0.563),
  'direct': (1.179, 0.531),
  'residual': (1.40, 0.71),
  'reverse': (1.75, 0.92),
}
# The first of each pair should have the smaller error.
_LATENT_ORDER = (
  ('direct', 'residual'),
  ('dyna', 'residual'),
  ('residual', None),
  (None, 'reverse'),
  ('direct', 'dyna'),
)


def latent(
  request: parallel.Request,
) -> tuple[list[comparison_table.Quantity], parallel.Runs]:
  """The same with a latent model, on which values and rewards depend."""
  jobs = {
    kind or 'none': functools.partial(
      random_worlds.latent_runs, kind, request.seeds
    )
    for kind in _PROTOTYPE_LATENT
  }
  runs = parallel.run_each(jobs, request.processes)
  quantities = []
  for first, second in _LATENT_ORDER:
    known = _PROTOTYPE_LATENT[first][0] - _PROTOTYPE_LATENT[second][0]
    names = first or 'none', second or 'none'
    quantities.append(
      comparison_table.Quantity(
        name=f'error of {names[0]} less {names[1]}, paired',
        paper=f'{known:.3f} (prototype)',
        ours=parallel.difference(runs, *names, 'error'),
        high=0.0,
      )
    )
  for i, name in enumerate(('error', 'final')):
    for kind, known in _PROTOTYPE_LATENT.items():
      quantities.append(
        comparison_table.Quantity(
          name=f'{"mean error" if i == 0 else "error at the end"}, '
          f'{kind or "none"}',
          paper=f'{known[i]} (prototype)',
          ours=parallel.each(runs[kind or 'none'], name),
        )
      )
  return quantities, runs


# What planning brings to an agent that learns a task; worlds and budgets of the
# paper are beyond two cores.
_CONTROL_KINDS = (None, 'dyna', 'direct', 'reverse')
_CONTROL_UPDATES = 1000


def control(
  request: parallel.Request,
) -> tuple[list[comparison_table.Quantity], parallel.Runs]:
  """Catch from the board, with each of the losses and without."""
  variants = {}
  for kind in _CONTROL_KINDS:
    # Whoever does not plan imagines as much, to no effect.
    settings = (
      ('batch_size', 16),
      ('learner.self_consistency.kind', kind or 'dyna'),
      ('learner.self_consistency.weight', 1.0 if kind else 1e-12),
    )
    variants[kind or 'none'] = training.Variant(
      agent='muesli',
      environment='classic:catch',
      settings=settings,
      num_updates=_CONTROL_UPDATES,
      options=(('observation', 'board'),),
    )
  runs = training.train_all(variants, request, training.train_for_return)
  _draw_returns(
    request.folder.with_suffix('.png'), 'Catch from the board', runs
  )
  quantities = [
    comparison_table.Quantity(
      name=f'{label}, {name}',
      paper='no such world there',
      ours=parallel.each(found, key),
    )
    for label, key in (('mean return', 'mean'), ('return at the end', 'final'))
    for name, found in runs.items()
  ]
  for name, other in (
    ('direct', 'none'),
    ('direct', 'dyna'),
    ('none', 'reverse'),
  ):
    quantities.append(
      comparison_table.Quantity(
        name=f'mean return, {name} less {other}',
        paper='above 0 (in Sokoban and Atari)',
        ours=parallel.difference(runs, name, other, 'mean'),
      )
    )
  return quantities, runs


def _draw_returns(path: pathlib.Path, title: str, runs: parallel.Runs) -> None:
  """Draws the runs' mean returns, in bands of two standard errors."""
  from skills.evaluation.figures import plots  # Needs the extra 'plots'.

  path.parent.mkdir(parents=True, exist_ok=True)
  plots.save(
    plots.draw_learning_curve(
      {
        kind: (
          np.array(found[0]['updates']),
          np.array([run['curve'] for run in found]),
        )
        for kind, found in runs.items()
      },
      xlabel='updates',
      ylabel='return of an episode',
      title=title,
    ),
    path,
  )
