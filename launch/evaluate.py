"""Measures the policies of a trained run: how good they are, and how diverse.

  python -m launch.evaluate runs/domino-control-walker_stand-0 --pictures

runs every skill as a policy, from an episode's first step to its last, in the
same episodes and as it acted while it learned (or with --greedy), and prints
the return of each, its ratio to that of policy 0, how far it is from the policy
that is most like it (in the features that the agent was trained with; if there
are none, in normalized observations), and the mean of these distances, the
diversity.

With several runs also the plane of quality and diversity is drawn:

  python -m launch.evaluate runs/alpha-0.7 runs/alpha-0.9 runs/none

K-shot adaptation: in an environment that was changed after training every
policy is tried for `--shots` episodes. The return of the best one is then that
of other, fresh episodes, in which policy 0 and a run without diversity are
played too:

  python -m launch.evaluate runs/set-0 runs/set-1 runs/set-2 \
    --single=runs/one-0 --single=runs/one-1 --single=runs/one-2 \
    --perturb=motor:right_hip=0 --perturb='friction:*=0.3,mass:torso=1.5'

See envs/perturbations.py for what can be changed.

Leaves in --evaluation_dir: evaluation.json, with --pictures films, bars of
features or maps of occupancies, and of several runs quality_diversity.png.
"""

from collections.abc import Sequence
import os
import pathlib
from typing import Any

from absl import flags
from jaxtyping import Float
import numpy as np
from rich import table as rich_table

from envs import capabilities
from envs import perturbations
from envs import rendering
from launch.cli import command
from launch.reporting import policy_evaluation
from launch.reporting import rollouts
from launch.runs import run_record
from skills import checks
from skills import config_io
from skills import files
from skills.evaluation import feature_maps
from skills.evaluation import metrics
from skills.evaluation.figures import draw
from skills.evaluation.figures import figure_types
from skills.evaluation.figures import policy_plots

EVALUATION_FILE = 'evaluation.json'
FEATURES = 'features.png'
OCCUPANCIES = 'occupancies.png'
STRIP = 'film_strip.png'
FILM = 'film.webp'
PLANE = 'quality_diversity.png'

# A film has about so many pictures, of so many pixels.
_FRAMES = 100
_HEIGHT, _WIDTH = 144, 192

_EPISODES = flags.DEFINE_integer('episodes', 10, 'Episodes of each policy.')
_SEED = flags.DEFINE_integer(
  'evaluation_seed',
  0,
  'Seed of the environments in which all policies of all runs are played.',
)
_GREEDY = flags.DEFINE_bool(
  'greedy',
  False,
  "Act as in training's evaluations, by the most likely action, and not as "
  'while learning. Sets that were to differ by chance may then be alike.',
)
_OUTPUT_DIR = flags.DEFINE_string(
  'evaluation_dir',
  None,
  'Where to write. [RUN_DIR/evaluation; of several runs, runs/evaluation]',
)
_PICTURES = flags.DEFINE_bool(
  'pictures',
  False,
  'Draw what the policies do, and film it in control tasks and games.',
)
_PERTURB = flags.DEFINE_multi_string(
  'perturb',
  [],
  "A change to a control task's body, 'kind:target=factor', with commas "
  'between those that come together; kinds: '
  f'{", ".join(perturbations.KINDS)}.',
)
_SHOTS = flags.DEFINE_integer(
  'shots', 5, 'Episodes in which each policy is tried in a changed environment.'
)
_SINGLE = flags.DEFINE_multi_string(
  'single',
  [],
  'A run whose policy 0 is compared with the best of the set in changed '
  'environments; once for all runs, or once for each in their order.',
)


def _number(value: float | None) -> str:
  if value is None:
    return '-'
  return f'{value:.1f}' if abs(value) >= 100 else f'{value:.3g}'


def _with_error(returns: Float[np.ndarray, 'M'] | None) -> str:
  if returns is None:
    return '-'
  mean, error = metrics.mean_and_error(returns)
  return _number(mean) + ('' if error is None else f' ± {_number(error)}')


def _described(returns: Float[np.ndarray, 'M'] | None) -> dict[str, Any] | None:
  """Returns as JSON has them."""
  if returns is None:
    return None
  mean, error = metrics.mean_and_error(returns)
  return {'mean': mean, 'error': error, 'returns': returns.tolist()}


def describe(
  run: policy_evaluation.Run, measured: policy_evaluation.Measured
) -> dict[str, Any]:
  """What is measured of a run, as JSON has it."""
  ratios, distances = measured.ratios, measured.distances
  features = measured.features
  return {
    'run_dir': os.fspath(run.folder),
    'agent': run.experiment.agent,
    'seed': run.seed,
    'settings': config_io.flatten(run.experiment.config),
    'mean_return': float(measured.returns.mean()),
    'mean_ratio': measured.mean_ratio,
    'worst_ratio': None if ratios is None else float(ratios.min()),
    'diversity': measured.diversity,
    'near_optimal_diversity': measured.near_optimal_diversity,
    'policies': [
      {
        'policy': k,
        'return': _described(returns),
        'ratio': None if ratios is None else float(ratios[k]),
        'distance': None if distances is None else float(distances[k]),
        'features': None if features is None else features[k].tolist(),
      }
      for k, returns in enumerate(measured.returns)
    ],
  }


def print_policies(
  described: dict[str, Any],
  measured: policy_evaluation.Measured,
  environment: str,
) -> None:
  """Prints the table of a run.

  Args:
    described: what `describe` says.
    measured: the same, as it was measured.
    environment: its name.
  """
  table = rich_table.Table(
    title=f'{described["run_dir"]}: {described["agent"]} in {environment}, '
    f'{measured.returns.shape[1]} episodes of each policy',
    title_justify='left',
  )
  for column in ('policy', 'return', 'ratio to policy 0', 'nearest other'):
    table.add_column(column, justify='right')
  for row, returns in zip(described['policies'], measured.returns):
    table.add_row(
      str(row['policy']),
      _with_error(returns),
      _number(row['ratio']),
      _number(row['distance']),
    )
  command.console().print(table)
  line = f'  mean return {_number(described["mean_return"])}'
  if described['mean_ratio'] is not None:
    line += (
      f'; ratio to policy 0: mean {_number(described["mean_ratio"])}, '
      f'worst {_number(described["worst_ratio"])}'
    )
  if described['diversity'] is not None:
    line += f'; diversity {_number(described["diversity"])}'
  if described['near_optimal_diversity'] is not None:
    line += (
      f', of those at {policy_evaluation.NEAR_OPTIMAL:g} or more '
      f'{_number(described["near_optimal_diversity"])}'
    )
  print(line)
  if not measured.returns.any():
    hint = ' Grids with goals pay for --env_option goal=0 in training.'
    is_grid = environment.startswith('grid:')
    print(
      '  Nothing was paid, so there are no ratios.' + (hint if is_grid else '')
    )
  elif measured.ratios is None:
    print('  The return of policy 0 is not positive, so there are no ratios.')


def report_adaptation(
  changes: str,
  runs: Sequence[policy_evaluation.Run],
  singles: Sequence[policy_evaluation.Run | None],
  shots: int,
  num_fresh: int,
) -> dict[str, Any]:
  """Adapts all runs to a changed environment and prints the table.

  Returns:
    The same for JSON.
  """
  table = rich_table.Table(
    title=f'{changes}: the best in {shots} episodes of each policy, and its '
    f'return in {num_fresh} others',
    title_justify='left',
  )
  columns = ('run', 'chosen', 'best of the set', 'policy 0', 'single policy')
  for column in columns:
    table.add_column(column, justify='left' if column == 'run' else 'right')
  rows, gains = [], {'policy_0': [], 'single': []}
  for run, single in zip(runs, singles):
    adapted, alone = policy_evaluation.adapt(
      run, single, changes, shots, num_fresh
    )
    gains['policy_0'].append(adapted.best.mean() - adapted.first.mean())
    if alone is not None:
      gains['single'].append(adapted.best.mean() - alone.mean())
    table.add_row(
      str(run.folder),
      f'policy {adapted.chosen}',
      *map(_with_error, (adapted.best, adapted.first, alone)),
    )
    rows.append(
      {
        'run_dir': os.fspath(run.folder),
        'single_run_dir': None if single is None else os.fspath(single.folder),
        'chosen': adapted.chosen,
        'trials': adapted.trials.tolist(),
        'best': _described(adapted.best),
        'policy_0': _described(adapted.first),
        'single': _described(alone),
      }
    )
  command.console().print(table)
  return {
    'perturbation': changes,
    'shots': shots,
    'fresh_episodes': num_fresh,
    'best_minus': {
      name: _report_gain(name, np.array(values))
      for name, values in gains.items()
      if values
    },
    'runs': rows,
  }


def _report_gain(
  name: str, gains: Float[np.ndarray, 'runs']
) -> dict[str, float | None]:
  """Prints how much better the best of the set is, over runs."""
  spread = float(gains.std(ddof=1)) if len(gains) > 1 else None
  line = f'  best of the set - {name.replace("_", " ")}: '
  line += _number(float(gains.mean()))
  if spread is not None:
    line += f', standard deviation over {len(gains)} runs {_number(spread)}'
  print(line)
  return {'mean': float(gains.mean()), 'spread': spread}


def _labels(returns: Float[np.ndarray, 'K']) -> list[str]:
  """Above pictures of policies; where nothing is paid there is no return."""
  return [
    f'policy {k}' + (f', return {_number(value)}' if returns.any() else '')
    for k, value in enumerate(returns.tolist())
  ]


def draw_run(
  folder: pathlib.Path,
  run: policy_evaluation.Run,
  measured: policy_evaluation.Measured,
  feature_map: feature_maps.FeatureMap | None,
) -> list[pathlib.Path]:
  """Draws what the policies of a run do; returns the files."""
  title = f'{run.experiment.agent} in {run.experiment.environment}'
  labels = _labels(measured.returns.mean(axis=1))
  files = []

  def save(name: str, figure: Any) -> None:
    draw.save(figure, folder / name)
    files.append(folder / name)

  environment: Any = run.experiment.make_environment(0)
  if measured.features is not None and feature_map is not None:
    if isinstance(environment, capabilities.HasGrid):
      save(
        OCCUPANCIES,
        policy_plots.draw_occupancies(
          measured.features,
          walls=environment.grid.walls,
          positions=environment.grid.positions,
          start=environment.grid.start,
          labels=labels,
          title=title,
        ),
      )
    else:
      save(
        FEATURES,
        policy_plots.draw_features(
          measured.features, feature_map.names, labels=labels, title=title
        ),
      )
  films = [own[0].film for own in measured.episodes if own[0].film]
  if films:
    frames, every = [film.frames for film in films], films[0].every
    # Its own return and no mean, since that is what one sees.
    seen = _labels(measured.returns[:, 0])
    strip = policy_plots.draw_strip(
      frames, labels=seen, steps_per_frame=every, title=title
    )
    save(STRIP, strip)
    policy_plots.film(folder / FILM, frames, labels=seen, steps_per_frame=every)
    files.append(folder / FILM)
  return files


def draw_plane(
  path: pathlib.Path,
  runs: Sequence[policy_evaluation.Run],
  measured: Sequence[policy_evaluation.Measured],
  feature_map: feature_maps.FeatureMap,
) -> bool:
  """Draws quality and diversity of several runs; says whether there are any."""
  pairs = [
    (run, each, each.diversity)
    for run, each in zip(runs, measured, strict=True)
    if each.diversity is not None
  ]
  if not pairs:
    return False
  ratios = [each.mean_ratio for _, each, _ in pairs]
  has_ratios = None not in ratios
  levels = {}
  for run, _, _ in pairs if has_ratios else ():
    alpha = run.trained.objective.min_value_ratio
    if alpha is not None:
      levels[f'alpha = {alpha:g}'] = alpha
  quality = (
    ratios if has_ratios else [each.returns.mean() for _, each, _ in pairs]
  )
  value = figure_types.Points(
    title=f'Quality and diversity in {runs[0].experiment.environment}',
    caption='A point for each run; a cross at the mean of several.',
    xlabel='mean ratio of the other policies to policy 0'
    if has_ratios
    else 'mean return of the policies',
    ylabel='mean distance to the nearest policy',
    paths=[
      np.array([[x, diversity]])
      for x, (_, _, diversity) in zip(quality, pairs, strict=True)
    ],
    groups=policy_evaluation.labels_of([run for run, _, _ in pairs]),
    levels=levels,
    show_means=True,
  )
  draw.save(draw.figure(value, title=value.title), path)
  return True


def _camera(run: policy_evaluation.Run) -> rollouts.Camera | None:
  """For environments that can be filmed.

  Raises:
    ValueError: if this one could, but nothing can draw.
  """
  environment: Any = run.experiment.make_environment(0)
  is_drawn = isinstance(environment, capabilities.HasPhysics)
  is_filmed = capabilities.can_film(environment)
  environment.close()
  if not is_filmed:
    return None
  if is_drawn and not rendering.is_possible():
    raise ValueError(
      "--pictures needs a renderer for films, but MUJOCO_GL is 'disable'; "
      'unset it (and install libegl1 if there is no renderer yet), or leave '
      '--pictures out.'
    )
  return rollouts.Camera(_FRAMES, _HEIGHT, _WIDTH)


def _check_flags() -> None:
  for flag in (_EPISODES, _SHOTS):
    if flag.value < 1:
      raise ValueError(f'--{flag.name} must be >= 1, got {flag.value}.')
  checks.integer('--evaluation_seed', _SEED.value, 0, 2**32 - 1)
  if _SINGLE.value and not _PERTURB.value:
    raise ValueError('--single is of use with --perturb alone; add one.')


def _draw_all(
  folder: pathlib.Path,
  runs: Sequence[policy_evaluation.Run],
  measured: Sequence[policy_evaluation.Measured],
  feature_map: feature_maps.FeatureMap | None,
) -> list[pathlib.Path]:
  """All pictures that are wanted; returns the files."""
  files = []
  if len(runs) > 1 and feature_map is not None:
    path = folder / PLANE
    if draw_plane(path, runs, measured, feature_map):
      files.append(path)
  if not _PICTURES.value:
    return files
  for i, (run, each) in enumerate(zip(runs, measured)):
    own = folder
    if len(runs) > 1:
      name = pathlib.Path(os.path.abspath(run.folder)).name
      own = folder / f'{i}-{name}'
    files += draw_run(own, run, each, feature_map)
  return files


def main(argv: Sequence[str]) -> int:
  """Reads the flags and measures."""
  with command.exit_on_user_error():
    _check_flags()
    runs, singles = policy_evaluation.load_all(
      argv[1:], _SINGLE.value, _SEED.value, greedy=_GREEDY.value
    )
    for changes in _PERTURB.value:
      runs[0].make_environment('adaptation', changes, 0).close()
    camera = _camera(runs[0]) if _PICTURES.value else None
  folder = pathlib.Path(
    _OUTPUT_DIR.value
    or (
      pathlib.Path(runs[0].folder, 'evaluation')
      if len(runs) == 1
      else 'runs/evaluation'
    )
  )
  folder.mkdir(parents=True, exist_ok=True)
  measured = [
    policy_evaluation.play(run, _EPISODES.value, camera) for run in runs
  ]
  feature_map = policy_evaluation.choose_feature_map(runs, measured)
  measured = [policy_evaluation.compare(each, feature_map) for each in measured]
  content: dict[str, Any] = {
    'environment': runs[0].experiment.environment,
    'environment_options': dict(runs[0].experiment.environment_options),
    'seed': _SEED.value,
    'episodes': _EPISODES.value,
    'greedy': _GREEDY.value,
    'features': None if feature_map is None else feature_map.what,
    'feature_names': None if feature_map is None else list(feature_map.names),
    'runs': [describe(*pair) for pair in zip(runs, measured)],
  }
  for described, each in zip(content['runs'], measured):
    print_policies(described, each, content['environment'])
  if feature_map is not None:
    print(f'  distances are of: {feature_map.what}')
  content['adaptation'] = [
    report_adaptation(changes, runs, singles, _SHOTS.value, _EPISODES.value)
    for changes in _PERTURB.value
  ]
  content['versions'] = run_record.versions()
  files.write_json(folder / EVALUATION_FILE, content)
  drawn = _draw_all(folder, runs, measured, feature_map)
  for file in [folder / EVALUATION_FILE, *drawn]:
    print(f'  {file}')
  return 0


if __name__ == '__main__':
  command.run(main)
