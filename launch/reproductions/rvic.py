"""Results of RVIC (arXiv:2012.07827), and its skills as actions.

The paper's claim: RVIC's skills are relative to where they begin, so that they
tell little by the final state alone, reach more states than VIC's, and are
better actions for another agent. Grids have no walls, and skills follow one
another without resets. The paper's own numbers for grids are not known.
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

# Number of skills in each joint histogram.
_COUNTED_SKILLS = 2**18


class _StepSizes(NamedTuple):
  """Steps by which one trajectory of a batch moves table entries.

  For each method those that maximize its own objective, in bits, over seeds
  from 100 on, none of which is reported; BUILD_NOTES.md has the numbers.

  Attributes:
    value: fraction of its error by which a value moves.
    logit: step of a discriminator's logit.
  """

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

_OPEN_GRID_STEP_SIZES = {
  'rvic': _StepSizes(0.05, 0.4),
  'vic_final': _StepSizes(0.1, 0.1),
  'vic_pair': _StepSizes(0.05, 0.1),
}
_FACTORED_GRID_STEP_SIZES = {
  'rvic': _StepSizes(0.005, 0.05),
  # Among equals, those that reached most states.
  'vic_final': _StepSizes(0.01, 0.1),
  'vic_pair': _StepSizes(0.01, 0.05),
  # Those that reached most states, at some cost in information.
  'vic_final_wide': _StepSizes(0.05, 0.05),
  'vic_pair_wide': _StepSizes(0.05, 0.02),
}


_LABELS = {
  'information_final': 'I(z;s_T) bits',
  'information_pair': 'I(z;s_0,s_T) bits',
  'information_displacement': 'I(z;displacement) bits',
}


def _variant(
  agent: str, environment: str, steps: _StepSizes, num_updates: int
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
      # Evaluation measures the policy that learning is for.
      ('learner.epsilon', 0.05),
      ('learner.evaluation_epsilon', 0.05),
      *settings,
    ),
    num_updates=num_updates,
  )


def train_and_measure(variant: training.Variant, seed: int) -> dict[str, Any]:
  """Trains a variant in an endless grid, and measures its skills' information.

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


def open_grid(request: parallel.Request) -> comparison_table.Result:
  """RVIC and VIC in 11x11 cells: 8 skills of 4 steps, tables of all pairs.

  300,000 updates. Bars: for RVIC I(z;s_T) is at most .5 bits and
  I(z;s_0,s_T) at least 2; for VIC on the final state I(z;s_T) is at least 2.5.
  """
  variants = {
    agent: _variant(agent, 'grid:open_11', steps, 300_000)
    for agent, steps in _OPEN_GRID_STEP_SIZES.items()
  }
  runs = training.train_all(variants, request, train_and_measure)
  end, pair = 'information_final', 'information_pair'
  quantities = [
    comparison_table.Quantity(
      f'{_LABELS[name]}, {title}',
      f'{paper} (prototype)',
      parallel.each(runs[agent], name),
      low,
      high,
    )
    for agent, title, name, paper, low, high in (
      ('rvic', 'RVIC', end, 'low; 0.2', None, 0.5),
      ('rvic', 'RVIC', pair, 'high; 2.2', 2.0, None),
      ('vic_final', 'VIC on the final state', end, 'high; 2.7', 2.5, None),
      ('vic_pair', 'VIC on the pair', end, '2.1 to 2.3', None, None),
      ('vic_pair', 'VIC on the pair', pair, '2.6', None, None),
    )
  ]
  known = {'rvic': '39 to 75', 'vic_final': '87', 'vic_pair': '64 to 75'}
  quantities += [
    comparison_table.Quantity(
      f'effective states of 121, {agent}',
      f'{paper} (prototype)',
      parallel.each(runs[agent], 'effective_states'),
    )
    for agent, paper in known.items()
  ]
  return quantities, runs


_OPEN_41 = 'grid:open_41'


def _factored_grid_variants() -> dict[str, training.Variant]:
  return {
    agent: _variant(agent.removesuffix('_wide'), _OPEN_41, steps, 300_000)
    for agent, steps in _FACTORED_GRID_STEP_SIZES.items()
  }


def factored_grid(request: parallel.Request) -> comparison_table.Result:
  """The same in 41x41 cells: skills of 10 steps, tables of rows and columns.

  300,000 updates. Bars: for RVIC I(z;displacement) is at least 1.3 bits, and
  its effective number of states is at least twice either VIC's. VICs at the
  step sizes where they reach most states are reported.
  """
  variants = _factored_grid_variants()
  runs = training.train_all(variants, request, train_and_measure)
  states = {
    agent: parallel.each(runs[agent], 'effective_states') for agent in variants
  }
  quantities = [
    comparison_table.Quantity(
      f'{_LABELS["information_displacement"]}, RVIC',
      '1.5 to 1.6 (prototype)',
      parallel.each(runs['rvic'], 'information_displacement'),
      low=1.3,
    )
  ]
  for agent, paper, low in (
    ('vic_final', '2.4 to 5.2', 2.0),
    ('vic_pair', '6.1 to 12', 2.0),
    ('vic_final_wide', 'not known', None),
    ('vic_pair_wide', 'not known', None),
  ):
    # Not paired: runs of different agents have nothing in common, and a single
    # run with few states would dominate its ratio.
    mean = float(np.mean(states[agent]))
    quantities.append(
      comparison_table.Quantity(
        f'effective states, RVIC to the mean of {agent}',
        f'{paper} (prototype)',
        tuple(value / mean for value in states['rvic']),
        low,
      )
    )
  labels = {**_LABELS, 'effective_states': 'effective states of 1681'}
  quantities += [
    comparison_table.Quantity(
      f'{label}, {agent}', 'not known', parallel.each(runs[agent], name)
    )
    for agent in variants
    for name, label in labels.items()
    if (agent, name) != ('rvic', 'information_displacement')
  ]
  return quantities, runs


# RVIC's skills as the actions of another agent: a tabular learner of one goal,
# in 41x41 cells, from the center, with a horizon of 400 steps.
_TASK_STEPS = 100_000
_TASK_DISCOUNT = 0.99
# The loss has no factor 1/2: values move by a fifth of their error.
_TASK_RATE = 0.1


def successes(
  variant: training.Variant | None, seed: int, num_steps: int = _TASK_STEPS
) -> dict[str, Any]:
  """Trains skills and, for each goal of their environment, a controller.

  Args:
    variant: of the skills; None for primitive actions alone.
    seed: of skills and controllers.
    num_steps: environment steps of each controller.

  Returns:
    `of_each_goal`: how often its controller reached it; `successes`: their
    mean; `choices`: mean number of a controller's choices.
  """
  name = _OPEN_41 if variant is None else variant.environment
  environment: Any = factory.make(name)
  trained = None if variant is None else _train_skills(variant, seed)
  num_skills = 0 if trained is None else trained.config.num_skills
  problem = experiment_lib.problem_of(environment)
  controller = registry.make_agent(
    config_lib.SkillAgentConfig(
      objective=extrinsic.ExtrinsicConfig(),
      num_skills=1,
      skill_length=1,
      batch_size=1,
      network=torsos.NetworkConfig(table_init_range=0.0),
      learner=q_learning.QLearningConfig(
        discount=1.0,  # The outcomes of choices hold it.
        learning_rate=_TASK_RATE,
        epsilon=0.1,
        random_ties=True,
      ),
    ),
    dataclasses.replace(
      problem, num_actions=num_skills + (problem.num_actions or 0)
    ),
  )
  layout = gridworlds.MAPS[name.partition(':')[2]]
  goals = [
    np.flatnonzero((environment.grid.positions == goal).all(axis=1))[0]
    for goal in layout.goals
  ]
  assert layout.goal_horizon is not None
  run = semi_markov.make(
    controller,
    environment.functional(),
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
  """Trains a variant as `train_and_measure` does, and gives its skills."""
  *_, (state, _) = training.states(variant, seed)
  return loading.TrainedSkills(
    agent=training.compiled(variant).agent, state=state.learner
  )


def hierarchy(request: parallel.Request) -> comparison_table.Result:
  """Skills as actions: how often each of 32 distant goals is reached.

  Controllers have one goal each and 100,000 environment steps, and differ in
  their number of actions alone. Successes are means over the 32 goals. Bars:
  with RVIC's skills they are at least 1.5 times those with either VIC's, and 10
  times those with primitive actions alone.
  """
  variants = {**_factored_grid_variants(), 'primitives': None}
  jobs = {
    name: functools.partial(successes, variant)
    for name, variant in variants.items()
  }
  runs = parallel.run_all(jobs, request)
  found = {name: parallel.each(runs[name], 'successes') for name in runs}
  means = {name: float(np.mean(values)) for name, values in found.items()}
  known = {
    'rvic': '499 to 842 (prototype)',
    'vic_final': '110 to 462 (prototype)',
    'vic_pair': '112 to 378 (prototype)',
    'primitives': '12 (prototype)',
  }
  quantities = [
    comparison_table.Quantity(
      f'successes, {name}', known.get(name, 'not known'), values
    )
    for name, values in found.items()
  ]
  # Ratios to means: a VIC whose skills happen to lead nowhere divides by almost
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
        f'successes, RVIC / mean of {other}',
        'better (abstract)',
        tuple(value / max(means[other], least) for value in found['rvic']),
        low=bar,
      )
    )
  return quantities, runs
