"""Results of DOMiNO (arXiv:2205.13521), in tables and in control.

The paper's claim: a set of policies becomes diverse, by repulsion or at a
target distance (VDW), while each keeps a value of at least alpha times the
optimal one, and the set adapts to changes better than a single policy. The
tables are of grids of 7x7 cells that the paper does not have; they are compared
with numbers of a prototype that knew the transitions.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import functools
import itertools
import pathlib
import shutil
import sys
from typing import Any

import jax
from jaxtyping import Float
import numpy as np

from envs import factory
from envs.tabular import mdp as tabular_mdp
from launch.reporting import policy_evaluation
from launch.reproductions import comparison_table
from launch.reproductions import parallel
from launch.reproductions import planning
from launch.reproductions import training
from launch.runs import experiment as experiment_lib
from launch.runs import run_files
from launch.runs import run_record
from launch.training import local
from skills.evaluation import metrics
from skills.objectives import domino


def _diversity_and_value(
  occupancies: Float[np.ndarray, 'K S'], values: Float[np.ndarray, 'K']
) -> dict[str, float]:
  """Distances between policies, and ratios of their values to policy 0's."""
  ratios = metrics.value_ratios(values)
  return {
    'distance': metrics.diversity_score(occupancies),
    'min_distance': float(metrics.neighbour_distances(occupancies).min()),
    'value_0': float(values[0]),
    'value_ratio': float(np.mean(ratios[1:])),
    'worst_value_ratio': float(np.min(ratios)),
  }


def train_set(variant: training.Variant, seed: int) -> dict[str, Any]:
  """Trains a set of tabular policies, and evaluates it exactly.

  Occupancies are the shares of an episode's steps that lead to each state, and
  values the mean rewards of its steps, both by the exact probabilities.

  Returns:
    The numbers of `_diversity_and_value`, means over the last tenth of
    training, and `curve`: the evaluations behind them.
  """
  program = training.compiled(variant)
  mdp: tabular_mdp.TabularMDP = program.environment.mdp
  config = program.agent.config
  curve = []
  for state, _ in training.last_states(variant, seed):
    [logits] = jax.tree.leaves(state.learner.params.policy)
    logits = np.asarray(logits, np.float64).reshape(
      config.num_skills, mdp.num_states, mdp.num_actions
    )
    policies = np.exp(logits - logits.max(axis=-1, keepdims=True))
    policies /= policies.sum(axis=-1, keepdims=True)
    occupancies, values = [], []
    for policy in policies:
      visits = np.stack(
        [
          mdp.state_distribution(policy, t)
          for t in range(config.skill_length + 1)
        ]
      )
      occupancies.append(visits[1:].mean(axis=0))
      rewards = np.sum(policy * mdp.rewards, axis=-1)
      values.append(visits[:-1].mean(axis=0) @ rewards)
    curve.append(_diversity_and_value(np.stack(occupancies), np.array(values)))
  return {**training.means(curve), 'curve': curve}


def plan_set(
  environment: str,
  settings: Mapping[str, Any],
  learning_rate: float,
  seed: int,
) -> dict[str, Any]:
  """Plans a set of policies, and evaluates it by discounted occupancies.

  Args:
    environment: name of a gridworld.
    settings: of the objective.
    learning_rate: of the planner.
    seed: of the initial policies.

  Returns:
    The numbers of `_diversity_and_value`.
  """
  mdp: tabular_mdp.TabularMDP = factory.make(environment).mdp  # pyrefly: ignore
  config = domino.DominoConfig(
    per_feature=False, multiplier_learning_rate=1e-2, **settings
  )
  planner = planning.PlannerConfig(learning_rate=learning_rate)
  plan = functools.partial(
    planning.plan, config, planner, planning.known(mdp), _SET_SIZE
  )
  planned = jax.jit(plan)(jax.random.PRNGKey(seed))
  policies = np.asarray(planned.policies, np.float64)
  policies /= policies.sum(axis=-1, keepdims=True)
  occupancies = np.stack(
    [mdp.occupancy(policy, planner.discount) for policy in policies]
  )
  values = np.einsum('ks,ksa,sa->k', occupancies, policies, mdp.rewards)
  return _diversity_and_value(occupancies, values)


_SET_SIZE = 8
_TOP_ROWS, _BUMP = 'grid:top_rows', 'grid:bump'
_VDW = domino.VAN_DER_WAALS
_ALPHAS = (0.7, 0.9, 0.97)

# Name -> environment and settings of the objective.
_SETS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
  'no diversity': (_TOP_ROWS, {'constraint': 'none'}),
  'repulsive': (_TOP_ROWS, {}),
  'VDW 0.1': (_TOP_ROWS, {'attractive_coeff': _VDW, 'target_distance': 0.1}),
  'VDW 0.2': (_TOP_ROWS, {'attractive_coeff': _VDW, 'target_distance': 0.2}),
  **{f'bump, alpha {alpha:g}': (_BUMP, {'alpha': alpha}) for alpha in _ALPHAS},
}
_PLANNER_RATE = 0.03
_SET_UPDATES = 20_000


def tabular(request: parallel.Request) -> comparison_table.Result:
  """DOMiNO in 7x7 cells: sampled agent and exact planner, exact occupancies.

  8 policies, 20,000 updates of the agent, 8,000 of the planner, alpha .9. Bars
  for each: the distance between policies is at least .6 with repulsion and
  within a quarter of the target with VDW; the mean value ratio is at least .9
  and the worst at least .85; on the bump the distance falls as alpha grows.
  """
  jobs = {}
  for name, (environment, settings) in _SETS.items():
    variant = training.Variant(
      agent='domino',
      environment=environment,
      settings=tuple(
        (f'objective.{field}', value) for field, value in settings.items()
      ),
      num_updates=_SET_UPDATES,
    )
    jobs[f'agent, {name}'] = functools.partial(train_set, variant)
    jobs[f'planner, {name}'] = functools.partial(
      plan_set, environment, settings, _PLANNER_RATE
    )
  runs = parallel.run_all(jobs, request)
  quantities = []
  for source in ('planner', 'agent'):
    quantities += _tabular_quantities(source, runs)
  return quantities, runs


def _tabular_quantities(
  source: str, runs: parallel.Runs
) -> list[comparison_table.Quantity]:
  """Bars on the planner's sets, or on the agent's."""
  known = {
    'no diversity': '0.02',
    'repulsive': '0.77',
    'VDW 0.1': '0.102',
    'VDW 0.2': '0.205',
  }
  limits = {'VDW 0.1': (0.075, 0.125), 'VDW 0.2': (0.15, 0.25)}
  quantities = []
  for name, (environment, _) in _SETS.items():
    found = runs[f'{source}, {name}']
    low, high = limits.get(name, (0.6 if name == 'repulsive' else None, None))
    paper = f'{known[name]} (prototype)' if name in known else 'not known'
    quantities.append(
      comparison_table.Quantity(
        f'{source}: distance, {name}',
        paper,
        parallel.each(found, 'distance'),
        low,
        high,
      )
    )
    # On the bump the only bar is that diversity falls.
    is_bound = environment == _TOP_ROWS
    for field, least in (('value_ratio', 0.9), ('worst_value_ratio', 0.85)):
      quantities.append(
        comparison_table.Quantity(
          f'{source}: {field.replace("_", " ")}, {name}',
          '>= alpha',
          parallel.each(found, field),
          low=least if is_bound else None,
        )
      )
  return quantities + _falls(
    runs, f'{source}: ', f'{source}, bump, ', [f'{a:g}' for a in _ALPHAS]
  )


def _falls(
  runs: parallel.Runs, label: str, name: str, alphas: Sequence[str]
) -> list[comparison_table.Quantity]:
  """Falls of the distance from each alpha to the next, which must not be < 0.

  Args:
    runs: by `name` and 'alpha ...'.
    label: before the names of the quantities.
    name: before 'alpha ...'.
    alphas: in increasing order.
  """
  return [
    comparison_table.Quantity(
      f'{label}fall of distance, alpha {lower} to {higher}',
      'above 0',
      parallel.difference(
        runs, f'{name}alpha {lower}', f'{name}alpha {higher}', 'distance'
      ),
      low=0.0,
    )
    for lower, higher in itertools.pairwise(alphas)
  ]


# A light task of dm-control with rewards at every step and several solutions: a
# pole is balanced wherever its cart stands, for less reward the further that is
# from the middle.
_CONTROL = 'control:cartpole_balance'
# An action every .08 s is enough to balance the pole, and makes an episode of
# ten seconds 125 steps instead of a thousand.
_CONTROL_OPTIONS = {'control_timestep': 0.08}
_CONTROL_STEPS = 300_000
_CONTROL_ALPHAS = (0.7, 0.85, 0.95)
_CONTROL_EPISODES = 10
_NO_DIVERSITY = 'no diversity'
_CONTROL_SETS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
  **{
    f'alpha {alpha:g}': ('domino', {'objective.alpha': alpha})
    for alpha in _CONTROL_ALPHAS
  },
  _NO_DIVERSITY: ('domino_no_diversity', {}),
}
# Changes of the body that are not in training, where one policy of a set is
# chosen by so many episodes of each, to be compared with the single policy.
_CONTROL_ADAPTS = 'alpha 0.85'
_CONTROL_SHOTS = 5
_CONTROL_CHANGES = ('motor:slide=0.3', 'length:pole_1=3', 'length:pole_1=0.3')
_CONTROL_SETTINGS = {
  'num_skills': 5,
  'skill_length': 25,
  'network.hidden_sizes': (64, 64),
  # Advantages are normalized within each policy's share of a batch.
  'batch_size': 32,
  'replay.capacity': 96,
  'replay.updates_per_environment_step': 0.02,
  # Poles do not fall at once under small actions.
  'learner.init_stddev': 0.3,
  'learner.policy_init_scale': 0.3,
  # Policies have converged at the end.
  'learner.policy_learning_rate': 8e-4,
  'learner.policy_decay': 6_000,
  # Position of the cart.
  'objective.features': ('position[0]',),
  # The task comes first: until poles are balanced, carts are anywhere.
  'objective.burn_in': 2_400,
}


def control(request: parallel.Request) -> comparison_table.Result:
  """DOMiNO balances a pole in five ways, through Acme's loop and Reverb.

  Sets for alpha .7, .85, .95 and without diversity, 300,000 steps each. Bars:
  the worst value ratio is at least alpha - .05; the distance falls as alpha
  grows, and at alpha .95 is at least 3 times that without diversity; in changed
  bodies the best of the set for alpha .85 is at least as good as the single
  policy.

  Four sets a seed, of some 7 minutes each on a core of its own. After an
  interruption the same command continues: complete runs are kept, and others
  continue from their checkpoints.
  """
  trained_in = parallel.run_each(
    {
      (name, seed): functools.partial(
        _control_set,
        request.folder / f'{name.replace(" ", "-")}-{seed}',
        seed,
        agent,
        settings,
      )
      for seed in request.seeds
      for name, (agent, settings) in _CONTROL_SETS.items()
    },
    request.processes,
  )
  runs: dict[str, list[dict[str, Any]]] = {name: [] for name in _CONTROL_SETS}
  for seed in request.seeds:
    folders = [trained_in[name, seed] for name in _CONTROL_SETS]
    trained, _ = policy_evaluation.load_all(folders, (), seed, greedy=True)
    played = [
      policy_evaluation.play(run, _CONTROL_EPISODES, None) for run in trained
    ]
    # All sets of a seed are measured in the features of the first.
    feature_map = policy_evaluation.choose_feature_map(trained, played)
    single = trained[list(runs).index(_NO_DIVERSITY)]
    for name, run, measured in zip(runs, trained, played, strict=True):
      measured = policy_evaluation.compare(measured, feature_map)
      assert measured.distances is not None
      values = measured.returns.mean(axis=1)
      ratios = metrics.value_ratios(values)
      found = {
        'distance': float(measured.distances.mean()),
        'returns': values.tolist(),
        'value_ratio': float(ratios[1:].mean()),
        'worst_value_ratio': float(ratios.min()),
      }
      if name == _CONTROL_ADAPTS:
        found['adapted'] = {
          changes: _adapted(run, single, changes)
          for changes in _CONTROL_CHANGES
        }
      runs[name].append(found)
  return _control_quantities(runs), runs


def _control_set(
  folder: pathlib.Path, seed: int, agent: str, settings: Mapping[str, Any]
) -> str:
  """Trains a set, unless its run is complete, and gives the folder.

  Args:
    folder: of the run.
    seed: of the run.
    agent: name of the preset.
    settings: changes to the preset, by path, besides those of all sets.
  """
  experiment = experiment_lib.make(
    agent=agent,
    environment=_CONTROL,
    environment_options=_CONTROL_OPTIONS,
    settings={**_CONTROL_SETTINGS, **settings},
    seed=seed,
    num_steps=_CONTROL_STEPS,
    evaluation_episodes=1,
    evaluation_every=_CONTROL_STEPS,
    output_dir=str(folder),
  )
  if folder.exists() and experiment_lib.load(str(folder)) != experiment:
    shutil.rmtree(folder)
  if not (folder / run_files.SUMMARY_FILE).exists():
    experiment_lib.save(experiment)
    run_record.write(experiment.output_dir)
    received = local.run(experiment).signal
    if received is not None:
      print('Stopped and saved. The same command goes on.', file=sys.stderr)
      sys.exit(128 + received)
  return str(folder)


def _adapted(
  run: policy_evaluation.Run, single: policy_evaluation.Run, changes: str
) -> dict[str, float]:
  """Mean returns in a changed environment: best of a set, and single policy."""
  adapted, alone = policy_evaluation.adapt(
    run, single, changes, _CONTROL_SHOTS, _CONTROL_EPISODES
  )
  assert alone is not None
  return {'best': float(adapted.best.mean()), 'single': float(alone.mean())}


def _control_quantities(
  runs: parallel.Runs,
) -> list[comparison_table.Quantity]:
  """Bars on the sets that balance a pole."""
  quantities = []
  for name, found in runs.items():
    quantities += [
      comparison_table.Quantity(
        f'return of policy 0, {name}',
        'not known',
        tuple(run['returns'][0] for run in found),
      ),
      comparison_table.Quantity(
        f'distance, {name}', 'not known', parallel.each(found, 'distance')
      ),
    ]
  quantities += [
    comparison_table.Quantity(
      f'worst value ratio, alpha {alpha:g}',
      '>= alpha',
      parallel.each(runs[f'alpha {alpha:g}'], 'worst_value_ratio'),
      low=alpha - 0.05,
    )
    for alpha in _CONTROL_ALPHAS
  ]
  for changes in _CONTROL_CHANGES:
    pairs = [run['adapted'][changes] for run in runs[_CONTROL_ADAPTS]]
    quantities.append(
      comparison_table.Quantity(
        f'best of the set / single policy, {changes}',
        '>= 1',
        tuple(pair['best'] / pair['single'] for pair in pairs),
        low=1.0,
      )
    )
  alphas = [f'{alpha:g}' for alpha in _CONTROL_ALPHAS]
  diverse = parallel.each(runs[f'alpha {alphas[-1]}'], 'distance')
  plain = parallel.each(runs[_NO_DIVERSITY], 'distance')
  ratios = comparison_table.Quantity(
    f'distance, alpha {alphas[-1]} / no diversity',
    'above 1',
    tuple(a / max(b, 1e-6) for a, b in zip(diverse, plain)),
    low=3.0,
  )
  return [*quantities, ratios, *_falls(runs, '', '', alphas)]
