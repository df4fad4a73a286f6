"""Results of RVIC (arXiv:2012.07827), and its skills as actions.

In grids without walls in which skills follow one another without resets. The
paper's own numbers for grids are not known.
"""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs import factory
from envs import gridworlds
from launch.reproductions import comparison_table
from launch.reproductions import parallel
from launch.reproductions import semi_markov
from launch.reproductions import training
from launch.runs import experiment as experiment_lib
from skills import config as config_lib
from skills import loading
from skills import registry
from skills.evaluation import measure
from skills.learners import q_learning
from skills.networks import torsos
from skills.objectives import extrinsic

# Of which joint histograms are made.
_COUNTED_SKILLS = 2**18

# The steps by which one trajectory moves a value and a logit. Of each method
# those at which its own objective was largest, in bits, for seeds from 100 on,
# which are none of those that are reported; BUILD_NOTES.md has the numbers.


class _Steps(NamedTuple):
  """Of what is looked up, by one trajectory of a batch."""

  value: float
  logit: float


_AGENTS: Mapping[str, tuple[str, tuple[tuple[str, Any], ...]]] = {
  'rvic': ('rvic', ()),
  'vic_final': ('vic', (('objective.clip_at_zero', False),)),
  'vic_pair': (
    'vic',
    (('objective.clip_at_zero', False), ('objective.sees_start', True)),
  ),
}

_OPEN_GRID_STEPS = {
  'rvic': _Steps(0.05, 0.4),
  'vic_final': _Steps(0.1, 0.1),
  'vic_pair': _Steps(0.05, 0.1),
}
_FACTORED_GRID_STEPS = {
  'rvic': _Steps(0.005, 0.05),
  # Of equals, where it reached most states.
  'vic_final': _Steps(0.01, 0.1),
  'vic_pair': _Steps(0.01, 0.05),
  # Where they reached most states, whatever it cost them in information.
  'vic_final_wide': _Steps(0.05, 0.05),
  'vic_pair_wide': _Steps(0.05, 0.02),
}


# What is measured, in the words of tables.
_LABELS = {
  'information_final': 'I(z;s_T) bits',
  'information_pair': 'I(z;s_0,s_T) bits',
  'information_displacement': 'I(z;displacement) bits',
}


def _variant(
  agent: str, environment: str, steps: _Steps, num_updates: int
) -> training.Variant:
  batch_size = 16
  name, settings = _AGENTS[agent]
  return training.Variant(
    agent=name,
    environment=environment,
    settings=(
      ('batch_size', batch_size),
      # The loss is a mean over the batch, of squares without a factor 1/2.
      ('learner.learning_rate', steps.value * batch_size / 2),
      ('objective.discriminator.learning_rate', steps.logit * batch_size),
      # What is measured is the policy that was learned for.
      ('learner.epsilon', 0.05),
      ('learner.evaluation_epsilon', 0.05),
      *settings,
    ),
    num_updates=num_updates,
  )


def train_and_count(variant: training.Variant, seed: int) -> dict[str, Any]:
  """Trains a variant in a grid without end, and counts what its skills do.

  Returns:
    The numbers of `measure.information`, means over the last tenth of training;
    `std`: their standard deviations there; `updates` and `curve`: the
    evaluations behind them.
  """
  program = training.compiled(variant)
  curve = []
  for state, key in training.last_states(variant, seed):
    trajectory = program.evaluate(state, key, _COUNTED_SKILLS)
    curve.append(
      measure.information(trajectory, program.environment.grid.positions)
    )
  return {
    **training.means(curve),
    'std': {
      name: float(np.std([row[name] for row in curve])) for name in curve[0]
    },
    'updates': training.evaluated_at(variant)[-len(curve) :],
    'curve': curve,
  }


def open_grid(
  request: parallel.Request,
) -> tuple[list[comparison_table.Quantity], parallel.Runs]:
  """RVIC and VIC in 11x11 cells: 8 skills of 4 steps, tables of all pairs."""
  variants = {
    agent: _variant(agent, 'grid:open_11', steps, 300_000)
    for agent, steps in _OPEN_GRID_STEPS.items()
  }
  runs = training.train_all(variants, request, train_and_count)
  end, pair = 'information_final', 'information_pair'
  quantities = [
    comparison_table.Quantity(
      name=f'{_LABELS[name]}, {title}',
      paper=f'{paper} (prototype)',
      ours=parallel.each(runs[agent], name),
      low=low,
      high=high,
    )
    for agent, title, name, paper, low, high in (
      ('rvic', 'RVIC', end, 'low; 0.2', None, 0.5),
      ('rvic', 'RVIC', pair, 'high; 2.2', 2.0, None),
      ('vic_final', 'VIC on the final state', end, 'high; 2.7', 2.5, None),
      ('vic_pair', 'VIC on the pair', end, '2.1 to 2.3', None, None),
      ('vic_pair', 'VIC on the pair', pair, '2.6', None, None),
    )
  ]
  for agent, paper in (
    ('rvic', '39 to 75'),
    ('vic_final', '87'),
    ('vic_pair', '64 to 75'),
  ):
    quantities.append(
      comparison_table.Quantity(
        name=f'effective states of 121, {agent}',
        paper=f'{paper} (prototype)',
        ours=parallel.each(runs[agent], 'effective_states'),
      )
    )
  return quantities, runs


_OPEN_41 = 'grid:open_41'


def _factored_grid_variants() -> dict[str, training.Variant]:
  return {
    agent: _variant(agent.removesuffix('_wide'), _OPEN_41, steps, 300_000)
    for agent, steps in _FACTORED_GRID_STEPS.items()
  }


def factored_grid(
  request: parallel.Request,
) -> tuple[list[comparison_table.Quantity], parallel.Runs]:
  """The same in 41x41 cells, skills of 10 steps, rows and columns apart."""
  variants = _factored_grid_variants()
  runs = training.train_all(variants, request, train_and_count)
  states = {
    agent: parallel.each(runs[agent], 'effective_states') for agent in variants
  }
  quantities = [
    comparison_table.Quantity(
      name=f'{_LABELS["information_displacement"]}, RVIC',
      paper='1.5 to 1.6 (prototype)',
      ours=parallel.each(runs['rvic'], 'information_displacement'),
      low=1.3,
    )
  ]
  for agent, paper, low in (
    ('vic_final', '2.4 to 5.2', 2.0),
    ('vic_pair', '6.1 to 12', 2.0),
    # The baselines where they reach most, at some cost to what they are for.
    ('vic_final_wide', 'not known', None),
    ('vic_pair_wide', 'not known', None),
  ):
    quantities.append(
      comparison_table.Quantity(
        name=f'effective states, RVIC to the mean of {agent}',
        paper=f'{paper} (prototype)',
        # Runs of different agents are no pairs, and a ratio to one run of few
        # states would say much of that run.
        ours=tuple(
          value / float(np.mean(states[agent])) for value in states['rvic']
        ),
        low=low,
      )
    )
  for agent in variants:
    for name, label in (
      *_LABELS.items(),
      ('effective_states', 'effective states of 1681'),
    ):
      if (agent, name) != ('rvic', 'information_displacement'):
        quantities.append(
          comparison_table.Quantity(
            name=f'{label}, {agent}',
            paper='not known',
            ours=parallel.each(runs[agent], name),
          )
        )
  return quantities, runs


# RVIC's skills as the actions of another agent.

# 41x41, start in the centre, horizon 400: a tabular learner on the task's
# reward, of one goal each.
_TASK_STEPS = 100_000
_TASK_DISCOUNT = 0.99
# The loss has no factor 1/2: values move by a fifth of their error.
_TASK_RATE = 0.1


def successes(
  variant: training.Variant | None, seed: int, num_steps: int = _TASK_STEPS
) -> dict[str, Any]:
  """Trains skills and, for each goal of their world, a controller of them.

  Args:
    variant: of the skills; None for primitive actions alone.
    seed: of skills and controllers.
    num_steps: environment steps of each controller.

  Returns:
    `successes`: how often a controller reached its goal, the mean over goals;
    `of_each_goal`; `choices`, the mean number that a controller made.
  """
  name = _OPEN_41 if variant is None else variant.environment
  world: Any = factory.make(name)
  trained = None if variant is None else _train_skills(variant, seed)
  of_skills = 0 if trained is None else trained.config.num_skills
  problem = experiment_lib.problem_of(world)
  controller = registry.make_agent(
    config_lib.SkillAgentConfig(
      objective=extrinsic.ExtrinsicConfig(),
      num_skills=1,
      skill_length=1,
      batch_size=1,
      # Nothing is known at first, and nothing preferred.
      network=torsos.NetworkConfig(table_init_range=0.0),
      learner=q_learning.QLearningConfig(
        discount=1.0,  # It is in what the environment hands up.
        learning_rate=_TASK_RATE,
        epsilon=0.1,
        random_ties=True,
      ),
    ),
    dataclasses.replace(
      problem, num_actions=of_skills + (problem.num_actions or 0)
    ),
  )
  layout = gridworlds.MAPS[name.partition(':')[2]]
  goals = [
    np.flatnonzero((world.grid.positions == goal).all(axis=1))[0]
    for goal in layout.goals
  ]
  assert layout.goal_horizon is not None
  run = semi_markov.make(
    controller,
    world.functional(),
    goals=jnp.array(goals),
    horizon=layout.goal_horizon,
    num_steps=num_steps,
    discount=_TASK_DISCOUNT,
    trained=trained,
  )
  of_each_goal, num_choices = jax.jit(run)(jax.random.PRNGKey(seed))
  return {
    'successes': float(np.mean(of_each_goal)),
    'of_each_goal': np.asarray(of_each_goal).tolist(),
    'choices': float(np.mean(num_choices)),
  }


def _train_skills(
  variant: training.Variant, seed: int
) -> loading.TrainedSkills:
  """Trains a variant; the skills are those that `train_and_count` judges."""
  *_, (state, _) = training.states(variant, seed)
  return loading.TrainedSkills(
    agent=training.compiled(variant).agent, state=state.learner
  )


def hierarchy(
  request: parallel.Request,
) -> tuple[list[comparison_table.Quantity], parallel.Runs]:
  """Skills as actions: how often each of 32 distant goals is reached.

  A controller has one goal, which never changes, and 100,000 environment steps;
  the number is the mean over the 32 goals. All controllers are the same, those
  with primitive actions alone included, but for their number of actions.
  """
  variants = {**_factored_grid_variants(), 'primitives': None}
  jobs = {
    name: functools.partial(successes, variant)
    for name, variant in variants.items()
  }
  runs = parallel.run_all(jobs, request)
  found = {
    name: tuple(run['successes'] for run in results_of)
    for name, results_of in runs.items()
  }
  means = {name: float(np.mean(values)) for name, values in found.items()}
  known = {
    'rvic': '499 to 842 (prototype)',
    'vic_final': '110 to 462 (prototype)',
    'vic_pair': '112 to 378 (prototype)',
    'primitives': '12 (prototype)',
  }
  quantities = [
    comparison_table.Quantity(
      name=f'successes, {name}',
      paper=known.get(name, 'not known'),
      ours=values,
    )
    for name, values in found.items()
  ]
  # Of means: a VIC whose skills happen to lead nowhere divides by next to
  # nothing. One success in all is the least that counts.
  least = 1 / len(gridworlds.MAPS['open_41'].goals)
  for other, bar in (
    ('vic_final', 1.5),
    ('vic_pair', 1.5),
    ('vic_final_wide', None),
    ('vic_pair_wide', None),
    ('primitives', 10.0),
  ):
    quantities.append(
      comparison_table.Quantity(
        name=f'successes, RVIC / mean of {other}',
        paper='better (abstract)',
        ours=tuple(value / max(means[other], least) for value in found['rvic']),
        low=bar,
      )
    )
  return quantities, runs
