"""Results of DOMiNO (arXiv:2205.13521), in tables and in control.

The tables are of grids of 7x7 cells that the paper does not have. What is
compared with there are numbers of a prototype that knew the world.
"""

from collections.abc import Mapping
import functools
import pathlib
import shutil
import sys
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np

from envs import factory
from envs.tabular import mdp as tabular_mdp
from launch.reproductions import comparison_table
from launch.reproductions import parallel
from launch.reproductions import planning
from launch.reproductions import training
from launch.runs import experiment as experiment_lib
from launch.runs import run_files
from launch.runs import run_record
from skills.evaluation import metrics
from skills.objectives import domino


def _judged(
  occupancies: Float[np.ndarray, 'K S'], values: Float[np.ndarray, 'K']
) -> dict[str, float]:
  """How diverse and how good a set of policies is."""
  ratios = metrics.value_ratios(values)
  return {
    'distance': metrics.diversity_score(occupancies),
    'min_distance': float(metrics.neighbour_distances(occupancies).min()),
    'value_0': float(values[0]),
    'value_ratio': float(np.mean(ratios[1:])),
    'worst_value_ratio': float(np.min(ratios)),
  }


def train_set(variant: training.Variant, seed: int) -> dict[str, Any]:
  """Trains a set of policies that are tables, and judges them exactly.

  Occupancies are the shares of an episode's steps that lead to each state, and
  values the mean rewards of its steps, both by the world's own probabilities.

  Returns:
    What `_judged` gives, means over the last tenth of training, and `curve`:
    the evaluations behind them.
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
      paid = np.sum(policy * mdp.rewards, axis=-1)
      values.append(visits[:-1].mean(axis=0) @ paid)
    curve.append(_judged(np.stack(occupancies), np.array(values)))
  return {**training.means(curve), 'curve': curve}


def plan_set(
  environment: str, settings: Mapping[str, Any], rate: float, seed: int
) -> dict[str, Any]:
  """Plans a set of policies, and judges them by discounted occupancies.

  Args:
    environment: a grid world.
    settings: of the objective.
    rate: of the planner.
    seed: of the first policies.

  Returns:
    What `_judged` gives.
  """
  mdp: tabular_mdp.TabularMDP = factory.make(environment).mdp  # pyrefly: ignore
  world = planning.World(
    *(
      jnp.asarray(part, jnp.float32)
      for part in (mdp.transitions, mdp.rewards, mdp.initial)
    )
  )
  config = domino.DominoConfig(
    per_feature=False, multiplier_learning_rate=1e-2, **settings
  )
  planner = planning.PlannerConfig(rate=rate)
  found = jax.jit(
    functools.partial(planning.plan, config, planner, world, _SET_SIZE)
  )(jax.random.PRNGKey(seed))
  policies = np.asarray(found.policies, np.float64)
  policies /= policies.sum(axis=-1, keepdims=True)
  occupancies = np.stack(
    [mdp.occupancy(policy, planner.discount) for policy in policies]
  )
  values = np.einsum('ks,ksa,sa->k', occupancies, policies, mdp.rewards)
  return _judged(occupancies, values)


_SET_SIZE = 8
_TOP_ROWS, _BUMP = 'grid:top_rows', 'grid:bump'
_VDW = domino.VAN_DER_WAALS
_ALPHAS = (0.7, 0.9, 0.97)

# Name -> world and settings of the objective.
_SETS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
  'no diversity': (_TOP_ROWS, {'constraint': 'none'}),
  'repulsive': (_TOP_ROWS, {}),
  'VDW 0.1': (
    _TOP_ROWS,
    {'attractive_coeff': _VDW, 'target_distance': 0.1},
  ),
  'VDW 0.2': (
    _TOP_ROWS,
    {'attractive_coeff': _VDW, 'target_distance': 0.2},
  ),
  **{f'bump, alpha {alpha:g}': (_BUMP, {'alpha': alpha}) for alpha in _ALPHAS},
}
_PLANNER_RATE = 0.03
_SET_UPDATES = 20_000


def tabular(
  request: parallel.Request,
) -> tuple[list[comparison_table.Quantity], parallel.Runs]:
  """DOMiNO in 7x7 cells: sampled agent and exact planner, exact occupancies."""
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
  for who in ('planner', 'agent'):
    quantities += _of_sets(who, runs)
  return quantities, runs


def _of_sets(who: str, runs: parallel.Runs) -> list[comparison_table.Quantity]:
  """What is asked of the planner's sets, or of the agent's."""
  known = {
    'no diversity': '0.02',
    'repulsive': '0.77',
    'VDW 0.1': '0.102',
    'VDW 0.2': '0.205',
  }
  limits = {'VDW 0.1': (0.075, 0.125), 'VDW 0.2': (0.15, 0.25)}
  quantities = []
  for name, (environment, _) in _SETS.items():
    found = runs[f'{who}, {name}']
    low, high = limits.get(name, (0.6 if name == 'repulsive' else None, None))
    paper = f'{known[name]} (prototype)' if name in known else 'not known'
    quantities.append(
      comparison_table.Quantity(
        name=f'{who}: distance, {name}',
        paper=paper,
        ours=parallel.each(found, 'distance'),
        low=low,
        high=high,
      )
    )
    # On the bump only how diversity falls is asked for.
    is_bound = environment == _TOP_ROWS
    for field, least in (('value_ratio', 0.9), ('worst_value_ratio', 0.85)):
      quantities.append(
        comparison_table.Quantity(
          name=f'{who}: {field.replace("_", " ")}, {name}',
          paper='>= alpha',
          ours=parallel.each(found, field),
          low=least if is_bound else None,
        )
      )
  for lower, higher in zip(_ALPHAS, _ALPHAS[1:]):
    first, second = (
      f'{who}, bump, alpha {alpha:g}' for alpha in (lower, higher)
    )
    quantities.append(
      comparison_table.Quantity(
        name=f'{who}: fall of distance, alpha {lower:g} to {higher:g}',
        paper='above 0',
        ours=parallel.difference(runs, first, second, 'distance'),
        low=0.0,
      )
    )
  return quantities


# Of dm-control's tasks one that is light, pays at every step and can be solved
# in more ways than one: a pole is balanced wherever its cart stands, and pays
# the less the further that is from the middle.
_CONTROL = 'control:cartpole_balance'
# A pole that falls is caught in time by an action for every .08 s, and an
# episode of ten seconds is then 125 steps and not a thousand.
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
# Bodies that no policy has seen, in which one of a set is chosen by so many
# episodes of each, to be compared with the single policy.
_CONTROL_ADAPTS = 'alpha 0.85'
_CONTROL_SHOTS = 5
_CONTROL_CHANGES = ('motor:slide=0.3', 'length:pole_1=3', 'length:pole_1=0.3')
_CONTROL_SETTINGS = {
  'num_skills': 5,
  'skill_length': 25,
  'network.hidden_sizes': (64, 64),
  # Advantages are normalised within each policy's share of a batch.
  'batch_size': 32,
  'replay.capacity': 96,
  'replay.samples_per_insert': 16.0,
  # Poles do not fall at once where little is done.
  'learner.init_stddev': 0.3,
  'learner.policy_init_scale': 0.3,
  # At the end no policy is on its way to somewhere else.
  'learner.policy_learning_rate': 8e-4,
  'learner.policy_decay': 6_000,
  # Where the cart stands.
  'objective.features': ('position[0]',),
  # The task comes first: before poles are balanced, carts are anywhere.
  'objective.burn_in': 2_400,
}


def control(
  request: parallel.Request,
) -> tuple[list[comparison_table.Quantity], parallel.Runs]:
  """DOMiNO balances a pole in five ways, through Acme's loop and Reverb.

  Four sets a seed, of some 7 minutes each on a core of its own. Called again
  after an interruption it goes on where it was: with runs that are complete
  nothing is done, and others continue from their checkpoints.
  """
  # Imported here: nothing else needs Acme, which takes seconds to import.
  from launch.reporting import policy_evaluation

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
    # All sets of a seed are measured in the features of its first.
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
  return _of_control(runs), runs


def _control_set(
  folder: pathlib.Path, seed: int, agent: str, settings: Mapping[str, Any]
) -> str:
  """Trains a set, if that was not done before.

  Args:
    folder: of the run.
    seed: of it.
    agent: that has such sets.
    settings: changes to its preset, by path, besides those of all sets.

  Returns:
    The folder.
  """
  from launch.training import local

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


def _adapted(run: Any, single: Any, changes: str) -> dict[str, float]:
  """Mean returns in a changed world: the best of a set, and a single policy."""
  from launch.reporting import policy_evaluation

  adapted, alone = policy_evaluation.adapt(
    run, single, changes, _CONTROL_SHOTS, _CONTROL_EPISODES
  )
  assert alone is not None
  return {'best': float(adapted.best.mean()), 'single': float(alone.mean())}


def _of_control(runs: parallel.Runs) -> list[comparison_table.Quantity]:
  """What is asked of the sets that balance a pole."""
  quantities = []
  for name, found in runs.items():
    quantities += [
      comparison_table.Quantity(
        name=f'return of policy 0, {name}',
        paper='not known',
        ours=tuple(run['returns'][0] for run in found),
      ),
      comparison_table.Quantity(
        name=f'distance, {name}',
        paper='not known',
        ours=parallel.each(found, 'distance'),
      ),
    ]
  alike = parallel.each(runs[_NO_DIVERSITY], 'distance')
  for alpha in _CONTROL_ALPHAS:
    found = runs[f'alpha {alpha:g}']
    quantities.append(
      comparison_table.Quantity(
        name=f'worst value ratio, alpha {alpha:g}',
        paper='>= alpha',
        ours=parallel.each(found, 'worst_value_ratio'),
        low=alpha - 0.05,
      )
    )
  for changes in _CONTROL_CHANGES:
    pairs = [run['adapted'][changes] for run in runs[_CONTROL_ADAPTS]]
    quantities.append(
      comparison_table.Quantity(
        name=f'best of the set / single policy, {changes}',
        paper='>= 1',
        ours=tuple(pair['best'] / pair['single'] for pair in pairs),
        low=1.0,
      )
    )
  names = [f'alpha {alpha:g}' for alpha in _CONTROL_ALPHAS]
  diverse = parallel.each(runs[names[-1]], 'distance')
  quantities.append(
    comparison_table.Quantity(
      name=f'distance, {names[-1]} / no diversity',
      paper='above 1',
      ours=tuple(a / max(b, 1e-6) for a, b in zip(diverse, alike)),
      low=3.0,
    )
  )
  for lower, higher in zip(names, names[1:]):
    quantities.append(
      comparison_table.Quantity(
        name=f'fall of distance, {lower} to {higher.removeprefix("alpha ")}',
        paper='above 0',
        ours=parallel.difference(runs, lower, higher, 'distance'),
        low=0.0,
      )
    )
  return quantities
