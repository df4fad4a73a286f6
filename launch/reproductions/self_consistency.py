"""Results of self-consistency (arXiv:2110.12840).

The paper's claim: `direct` self-consistency speeds up learning of values at
least as much as Dyna does, and `residual` and `reverse` less or not at all. The
paper's settings in random processes are not known; these are those of a
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
from launch.reproductions import random_mdp_values
from launch.reproductions import training
from skills.evaluation.figures import draw
from skills.evaluation.figures import figure_types
from skills.evaluation.figures import skill_figures

_TABULAR_RATES = (0.1, 0.3, 1.0)
# Mean error by number of steps and loss.
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


def tabular(request: parallel.Request) -> comparison_table.Result:
  """Value errors in random processes, with planning in a table and without.

  4,000 steps of the uniform policy in 20 states; errors are relative root mean
  squares, means over all updates. Each loss counts at the step size of .1, .3
  and 1 that suits it best. Bars on the ratio to the error without planning, at
  K=3: dyna and direct at most .65, residual .9 to 1.1, reverse at least 1; and
  at K=1 dyna and direct are equal.
  """
  jobs = {
    (num_steps, kind): functools.partial(
      random_mdp_values.tabular_runs,
      kind,
      num_steps,
      _TABULAR_RATES if kind else (0.0,),
      request.seeds,
    )
    for num_steps, kind in _PROTOTYPE_TABULAR
  }
  found = parallel.run_each(jobs, request.processes)
  errors = {
    job: np.array([parallel.each(rows, 'error') for rows in rate_rows])
    for job, rate_rows in found.items()
  }
  quantities = [
    comparison_table.Quantity(
      'error of dyna less direct, K=1, largest',
      '0 (the same by construction)',
      _largest_difference(found[1, 'dyna'], found[1, 'direct']),
      high=1e-6,
    ),
    *_error_ratios({k: rows for (n, k), rows in errors.items() if n != 1}),
  ]
  for (num_steps, kind), rows in errors.items():
    known = _PROTOTYPE_TABULAR[num_steps, kind]
    for i, row in enumerate(rows):
      name = 'error, none'
      if kind:
        name = f'error, {kind}, K={num_steps}, step size {_TABULAR_RATES[i]:g}'
      paper = f'{known} at its best (prototype)'
      ours = tuple(row.tolist())
      quantities.append(comparison_table.Quantity(name, paper, ours))
  return quantities, {
    f'{kind or "none"}, K={num_steps}, step size {i}': rows
    for (num_steps, kind), rate_rows in found.items()
    for i, rows in enumerate(rate_rows)
  }


def _largest_difference(
  first: Sequence[Sequence[Mapping[str, Any]]],
  second: Sequence[Sequence[Mapping[str, Any]]],
) -> tuple[float, ...]:
  """Largest difference of two curves for each seed, over all step sizes."""
  one, other = (
    np.array([parallel.each(rows, 'curve') for rows in rate_rows])
    for rate_rows in (first, second)
  )
  difference = np.abs(one - other)
  return tuple(difference.max(axis=(0, 2)).tolist())


def _error_ratios(
  errors: Mapping[str | None, np.ndarray],
) -> list[comparison_table.Quantity]:
  """Error of each loss, at its best step size, over that without planning.

  Args:
    errors: by loss, for each step size and seed; `None` for no planning.
  """
  unplanned = errors[None].mean()
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
        f'error, {kind} / mean without planning, K=3',
        f'{known:.2f} (prototype)',
        tuple((best / unplanned).tolist()),
        low,
        high,
      )
    )
  return quantities


# Mean error, and error at the end.
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


def latent(request: parallel.Request) -> comparison_table.Result:
  """The same with a latent model, on which values and rewards depend.

  2,500 updates in 30 states, K=3. Bars: the mean errors are in the order
  direct < residual < none < reverse, dyna < residual and direct < dyna, as
  paired differences.
  """
  jobs = {
    kind or 'none': functools.partial(
      random_mdp_values.latent_runs, kind, request.seeds
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
        f'error of {names[0]} less {names[1]}, paired',
        f'{known:.3f} (prototype)',
        parallel.difference(runs, *names, 'error'),
        high=0.0,
      )
    )
  for i, (field, label) in enumerate(
    (('error', 'mean error'), ('final', 'error at the end'))
  ):
    quantities += [
      comparison_table.Quantity(
        f'{label}, {kind or "none"}',
        f'{known[i]} (prototype)',
        parallel.each(runs[kind or 'none'], field),
      )
      for kind, known in _PROTOTYPE_LATENT.items()
    ]
  return quantities, runs


# The paper's environments and budgets are beyond two cores.
_CONTROL_KINDS = (None, 'dyna', 'direct', 'reverse')
_CONTROL_UPDATES = 1000


def control(request: parallel.Request) -> comparison_table.Result:
  """Catch from the board, with each of the losses and without.

  1,000 updates of the learner with a model. No bars: returns and their paired
  differences are reported, and drawn beside the JSON file.
  """
  variants = {}
  for kind in _CONTROL_KINDS:
    # Without planning as much is imagined, to no effect.
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
      f'{label}, {name}', 'not in the paper', parallel.each(found, key)
    )
    for label, key in (('mean return', 'mean'), ('return at the end', 'final'))
    for name, found in runs.items()
  ]
  pairs = (('direct', 'none'), ('direct', 'dyna'), ('none', 'reverse'))
  quantities += [
    comparison_table.Quantity(
      f'mean return, {name} less {other}',
      'above 0 (in Sokoban and Atari)',
      parallel.difference(runs, name, other, 'mean'),
    )
    for name, other in pairs
  ]
  return quantities, runs


def _draw_returns(path: pathlib.Path, title: str, runs: parallel.Runs) -> None:
  """Draws the runs' mean returns, in bands of two standard errors."""
  lines, bands = {}, {}
  for kind, found in runs.items():
    mean, band = skill_figures.runs_mean(
      np.array([run['curve'] for run in found])
    )
    lines[kind] = np.array(found[0]['updates']), mean
    if band is not None:
      bands[kind] = band
  value = figure_types.Curves(
    title=title,
    caption='',
    xlabel='updates',
    ylabel='return of an episode',
    lines=lines,
    bands=bands,
  )
  draw.save(draw.figure(value, title=title), path)
