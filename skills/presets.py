"""Settings by agent and world: what `--agent` and `--env` choose.

The grids take DISDAIN's own sizes (arXiv:2107.14226): 24 skills of 8 steps on
the release's grid, 128 of 20 in Four Rooms. Rates are ours, chosen for learning
from replay in minutes; BUILD_NOTES.md has the measurements behind them.
`launch.reproduce` sets the published rates over these. Any other world gets
networks in place of tables.
"""

import dataclasses
from typing import NamedTuple

from skills import acting
from skills import config as config_lib
from skills import registry
from skills import types
from skills.learners import q_learning
from skills.networks import discriminators
from skills.networks import q_networks


class _Grid(NamedTuple):
  """A tabular world's sizes.

  Attributes:
    num_skills: number of skills K.
    skill_length: steps of a skill T, which is the episode's length.
    learning_rate: of values and discriminators.
    bonus_weights: by objective.
  """

  num_skills: int
  skill_length: int
  learning_rate: float
  bonus_weights: dict[str, float]


_GRIDS = {
  'grid:disdain_release': _Grid(
    24, 8, 0.2, {'disdain': 20.0, 'counts': 3.0, 'rnd': 3.0}
  ),
  'grid:four_rooms': _Grid(
    128, 20, 0.4, {'disdain': 10.0, 'counts': 3.0, 'rnd': 3.0}
  ),
}

_HIDDEN_SIZES = (256, 256)


def make(
  agent: str, environment: str, problem: types.ProblemSpec
) -> config_lib.SkillAgentConfig:
  """The settings to start from.

  Args:
    agent: an objective's name; the agent of the same name learns from it.
    environment: its name, 'suite:task'.
    problem: the environment's shapes.
  """
  grid = _GRIDS.get(environment)
  is_table = problem.num_states is not None
  optimizer = 'sgd' if is_table else 'adam'
  learning_rate = grid.learning_rate if grid and is_table else 1e-3
  discriminator = discriminators.DiscriminatorConfig(
    hidden_sizes=None if is_table else _HIDDEN_SIZES,
    learning_rate=learning_rate,
    optimizer=optimizer,
    # DISDAIN's release never learns of the start.
    pinned_state=0 if grid and is_table else None,
  )
  objective = _objective(
    agent, discriminator, grid.bonus_weights if grid else {}
  )
  return config_lib.SkillAgentConfig(
    objective=objective,
    num_skills=grid.num_skills if grid else 16,
    skill_length=grid.skill_length if grid else 20,
    network=q_networks.QNetworkConfig(
      hidden_sizes=None if is_table else _HIDDEN_SIZES
    ),
    learner=q_learning.QLearningConfig(
      learning_rate=learning_rate,
      optimizer=optimizer,
      target_update_period=None if is_table else 100,
    ),
    acting=acting.ActingConfig(epsilon=0.001 if is_table else 0.05),
    updates_per_step=8,
  )


def _objective(agent, discriminator, bonus_weights):
  """An objective's defaults, with the world's discriminator all the way down."""
  config = registry.OBJECTIVES[agent].config()
  if hasattr(config, 'discriminator'):
    return dataclasses.replace(config, discriminator=discriminator)
  inner = registry.name_of(config.over)
  ensemble_size = config.over.discriminator.ensemble_size
  over = _objective(
    inner,
    dataclasses.replace(discriminator, ensemble_size=ensemble_size),
    bonus_weights,
  )
  weight = bonus_weights.get(agent, config.bonus_weight)
  return dataclasses.replace(config, over=over, bonus_weight=weight)
