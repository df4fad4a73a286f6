"""Results of DISDAIN (arXiv:2107.14226), tabular release and paper.

The paper's claim: an agent with the bonus learns more skills than one without.
Every result is a number of skills learned; on device it is the mean over the
last tenth of training, and agents learn at the published rates.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import json
import shutil
import subprocess
import sys
from typing import Any

import numpy as np

from launch.reproductions import comparison_table
from launch.reproductions import parallel
from launch.reproductions import training
from launch.runs import experiment as experiment_lib
from launch.runs import run_files
from launch.runs import run_record
from launch.training import local


def _variants(
  environment: str, learning_rate: float, bonus_weights: Mapping[str, float]
) -> dict[str, training.Variant]:
  """Agents at the published rates, with a bonus and without.

  Args:
    environment: name of the environment.
    learning_rate: of values and of discriminators, whose loss is a mean over
      the ensemble.
    bonus_weights: weight of the bonus for each agent that has one.
  """
  values = ('learner.learning_rate', learning_rate)
  own = ('objective.discriminator.learning_rate', learning_rate)
  inner = ('objective.over.discriminator.learning_rate', learning_rate)
  pair = ('objective.discriminator.ensemble_size', 2)
  settings: dict[str, tuple[str, tuple[tuple[str, Any], ...]]] = {
    'vic': ('vic', (values, own)),
    'vic_ensemble': ('vic', (values, own, pair)),
  }
  for agent, weight in bonus_weights.items():
    bonus = ('objective.bonus_weight', weight)
    settings[agent] = agent, (values, inner, bonus)
  return {
    name: training.Variant(
      agent=agent,
      environment=environment,
      settings=changes,
      num_updates=1_000_000,
    )
    for name, (agent, changes) in settings.items()
  }


# Variant, name, the paper's number and source, and the mean's limits.
_Row = tuple[str, str, str, float | None, float | None]


def _skills(
  runs: parallel.Runs, rows: Sequence[_Row]
) -> list[comparison_table.Quantity]:
  """Number of skills that each variant learned."""
  return [
    comparison_table.Quantity(
      f'skills, {name}',
      paper,
      parallel.each(runs[variant], 'skills_learned'),
      low,
      high,
    )
    for variant, name, paper, low, high in rows
  ]


def release_grid(request: parallel.Request) -> comparison_table.Result:
  """The authors' tabular release: 24 cells, 24 skills of 8 steps.

  1,000,000 updates at learning rate 4e-3. Bars: DISDAIN (N=2, weight 20) learns
  at least 18 skills, and agents without the bonus (N=1, N=2) at most 12.
  """
  variants = _variants('grid:disdain_release', 4e-3, {'disdain': 20.0})
  runs = training.train_all(variants, request)
  rows = (
    ('disdain', 'DISDAIN (N=2, weight 20)', 'about 21 (release)', 18.0, None),
    ('vic', 'no bonus (N=1)', 'about 11 (release)', None, 12.0),
    # Missed as often as met: BUILD_NOTES.md has the mean over more seeds.
    ('vic_ensemble', 'no bonus (N=2)', 'about 12 (release)', None, 12.0),
  )
  return _skills(runs, rows), runs


def four_rooms(request: parallel.Request) -> comparison_table.Result:
  """The paper's Four Rooms: 104 cells, 128 skills of 20 steps.

  1,000,000 updates at learning rate 0.1. Bars: DISDAIN (N=2, weight 10) learns
  at least 85 skills, and the agent without a bonus at most 35. The count bonus
  is reported.
  """
  variants = _variants('grid:four_rooms', 0.1, {'disdain': 10.0, 'counts': 3.0})
  del variants['vic_ensemble']
  runs = training.train_all(variants, request)
  paper = '(Four Rooms)'
  rows = (
    ('disdain', 'DISDAIN (N=2, weight 10)', f'about 90 {paper}', 85.0, None),
    ('vic', 'no bonus (N=1)', f'about 30 {paper}', None, 35.0),
    ('counts', 'count bonus (weight 3)', 'not known', None, None),
  )
  return _skills(runs, rows), runs


def release_grid_acme(request: parallel.Request) -> comparison_table.Result:
  """The release grid through Acme's loop and Reverb, at the presets' rates.

  240,000 environment steps. Bar: DISDAIN learns at least 1.4 times the skills
  of the agent without the bonus, on the same seed.
  """
  runs: dict[str, Any] = {'disdain': [], 'vic': []}
  for agent, summaries in runs.items():
    for seed in request.seeds:
      experiment = experiment_lib.make(
        agent=agent,
        environment='grid:disdain_release',
        seed=seed,
        num_steps=240_000,
        output_dir=str(request.folder / f'{agent}-{seed}'),
      )
      shutil.rmtree(experiment.output_dir, ignore_errors=True)
      experiment_lib.save(experiment)
      run_record.write(experiment.output_dir)
      summaries.append(local.run(experiment).summary)
  rows = (
    ('disdain', 'DISDAIN', 'about 21 (release)', None, None),
    ('vic', 'no bonus', 'about 11 (release)', None, None),
  )
  with_bonus, without = _skills(runs, rows)
  pairs = zip(with_bonus.ours, without.ours, strict=True)
  ratio = comparison_table.Quantity(
    'ratio, same seed',
    'about 1.9 (release)',
    tuple(one / other for one, other in pairs),
    low=1.4,
  )
  return [with_bonus, without, ratio], runs


# The same experiment by one process, by threads and by processes.
_SCALES: Mapping[str, tuple[str, ...]] = {
  'run_local': ('launch.run_local',),
  'local_mt, 2 actors': (
    'launch.run_distributed',
    '--lp_launch_type=local_mt',
    '--num_actors=2',
  ),
  'local_mp, 2 actors': (
    'launch.run_distributed',
    '--lp_launch_type=local_mp',
    '--num_actors=2',
  ),
}
_SCALE_STEPS = 240_000

# Allowed relative difference between a mean and run_local's.
_SCALE_TOLERANCE = 0.15


def release_grid_at_any_scale(
  request: parallel.Request,
) -> comparison_table.Result:
  """DISDAIN on the release grid by one process, by threads and by processes.

  Bars: the mean of each over seeds lies within 15% of run_local's, chosen
  before any such run; run_local learns at least 10 skills; each makes 240,000
  environment steps, or up to 5% more, since distributed runs stop some tenths
  of a second late.

  Why 15%: three seeds of run_local had learned 16.76, 18.09 and 19.40 skills, a
  standard deviation of 1.32. By this estimate two means over three seeds of one
  program differ by 1.08 (standard deviation), or 6%: by more than 15% in one
  pair of 80, while a loss of a quarter of the skills is missed once in 20.
  """
  runs: dict[str, list[dict[str, Any]]] = {}
  for name, command in _SCALES.items():
    for seed in request.seeds:
      output_dir = request.folder / f'{name.partition(",")[0]}-{seed}'
      shutil.rmtree(output_dir, ignore_errors=True)
      subprocess.run(
        [
          sys.executable,
          '-m',
          *command,
          '--agent=disdain',
          '--env=grid:disdain_release',
          f'--num_steps={_SCALE_STEPS}',
          f'--seed={seed}',
          f'--output_dir={output_dir}',
        ],
        check=True,
      )
      summary = json.loads((output_dir / run_files.SUMMARY_FILE).read_text())
      runs.setdefault(name, []).append(summary)
  one, *others = runs
  mean = float(np.mean(parallel.each(runs[one], 'skills_learned')))
  low, high = (1 - _SCALE_TOLERANCE) * mean, (1 + _SCALE_TOLERANCE) * mean
  rows = [
    (one, one, 'about 21 (release)', 10.0, None),
    *((name, name, f'as {one}', low, high) for name in others),
  ]
  steps = [
    comparison_table.Quantity(
      f'1000 steps, {name}',
      'the same',
      tuple(run['environment_steps'] / 1000 for run in summaries),
      low=_SCALE_STEPS / 1000,
      high=1.05 * _SCALE_STEPS / 1000,
    )
    for name, summaries in runs.items()
  ]
  return _skills(runs, rows) + steps, runs
