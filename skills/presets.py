"""Settings by agent and world: what `--agent` and `--env` choose.

The grids take DISDAIN's own sizes (arXiv:2107.14226): 24 skills of 8 steps on
the release's grid, 128 of 20 in Four Rooms. Rates are ours, chosen for learning
from replay in minutes; BUILD_NOTES.md has the measurements behind them.
`launch.reproduce` sets the published rates over these. The open grids have 8
skills, of 4 steps in the small one and of 10 in the large one, whose tables are
factored into rows and columns. Any other world gets networks in place of
tables.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any
from typing import NamedTuple

from skills import config as config_lib
from skills import registry
from skills import types
from skills.learners import q_learning
from skills.networks import discriminators
from skills.networks import torsos


class _Grid(NamedTuple):
  """A tabular world's sizes.

  Attributes:
    num_skills: number of skills K.
    skill_length: steps of a skill T, which is the episode's length where
      episodes end.
    bonus_weights: by objective.
    epsilon: probability of a random action.
    pinned_state: of the discriminators.
    factors: of the tables.
    capacity: of replay, in trajectories.
    discriminator_rate: of tables; the loss is a mean over the batch.
  """

  num_skills: int
  skill_length: int
  bonus_weights: Mapping[str, float] = {}
  epsilon: float = 0.001
  # DISDAIN's release never learns of the start.
  pinned_state: int | None = 0
  factors: tuple[int, ...] | None = None
  # Old trajectories tell discriminators of skills that are no more: with tables
  # at these rates a large buffer keeps skills from being told apart.
  capacity: int = 1000
  discriminator_rate: float = 0.8


_GRIDS = {
  'grid:disdain_release': _Grid(
    24, 8, {'disdain': 20.0, 'counts': 3.0, 'rnd': 3.0}
  ),
  'grid:four_rooms': _Grid(
    128, 20, {'disdain': 10.0, 'counts': 3.0, 'rnd': 3.0}
  ),
  # Pairs of states are many, and a small buffer has few of them.
  'grid:open_11': _Grid(
    8,
    4,
    epsilon=0.05,
    pinned_state=None,
    capacity=20_000,
    discriminator_rate=3.2,
  ),
  'grid:open_41': _Grid(
    8,
    10,
    epsilon=0.05,
    pinned_state=None,
    factors=(41, 41),
    capacity=20_000,
  ),
}
_OTHER = _Grid(16, 20, pinned_state=None)

HIERARCHY = 'hierarchy'
"""Learns a task with trained skills among its actions.

`skills.agents.hierarchy` makes a world of them in which that is plain
reinforcement learning.
"""

AGENTS = tuple(sorted((*registry.OBJECTIVES, HIERARCHY)))
"""Every agent: one for each objective, and what is made of such."""

# Of tables. These and the grids' discriminator rates, of each member of an
# ensemble, are far larger than the published ones, which are for a hundred
# times as many trajectories.
_VALUE_RATE = 0.4

_HIDDEN_SIZES = (256, 256)


def make(
  agent: str, environment: str, problem: types.ProblemSpec
) -> config_lib.SkillAgentConfig:
  """The settings to start from.

  Args:
    agent: one of `AGENTS`. That of an objective's name learns from it.
    environment: its name, 'suite:task'.
    problem: the environment's shapes.
  """
  if agent == HIERARCHY:
    return _hierarchy(make('extrinsic', environment, problem))
  grid = _GRIDS.get(environment, _OTHER)
  is_table = problem.num_states is not None
  if is_table:
    network = torsos.NetworkConfig(factors=grid.factors)
    discriminator = discriminators.DiscriminatorConfig(
      learning_rate=grid.discriminator_rate,
      pinned_state=grid.pinned_state,
      factors=grid.factors,
    )
    learner = q_learning.QLearningConfig(
      learning_rate=_VALUE_RATE, epsilon=grid.epsilon
    )
  else:
    network = torsos.NetworkConfig(hidden_sizes=_HIDDEN_SIZES)
    discriminator = discriminators.DiscriminatorConfig(
      hidden_sizes=_HIDDEN_SIZES, learning_rate=1e-3, optimizer='adam'
    )
    learner = q_learning.QLearningConfig(
      learning_rate=1e-3, optimizer='adam', target_update_period=100
    )
  return config_lib.SkillAgentConfig(
    objective=_objective(agent, discriminator, grid.bonus_weights),
    num_skills=1 if agent == 'extrinsic' else grid.num_skills,
    skill_length=grid.skill_length,
    network=network,
    learner=learner,
    replay=(
      config_lib.ReplayConfig(capacity=grid.capacity, samples_per_insert=16.0)
      if is_table
      else config_lib.ReplayConfig()
    ),
    updates_per_step=16,
  )


def _hierarchy(
  config: config_lib.SkillAgentConfig,
) -> config_lib.SkillAgentConfig:
  """The settings of a controller, from those of an agent of its world."""
  return dataclasses.replace(
    config,
    # Its steps are skills, of which an episode holds few.
    skill_length=4,
    # Rewards are rare, and nothing but chance finds the first one: values that
    # begin at random would lead it about for long.
    network=dataclasses.replace(config.network, factors=None, table_spread=0.0),
    learner=dataclasses.replace(
      config.learner,
      # Gamma is in the discounts that its environment hands up.
      discount=1.0,
      epsilon=0.1,
      random_ties=True,
    ),
  )


def _objective(
  agent: str,
  discriminator: discriminators.DiscriminatorConfig,
  bonus_weights: Mapping[str, float],
) -> Any:
  """An objective's defaults, with this discriminator however deep inside."""
  config = registry.OBJECTIVES[agent].config()
  if hasattr(config, 'discriminator'):
    return dataclasses.replace(config, discriminator=discriminator)
  if not hasattr(config, 'over'):
    return config
  # The loss is a mean over members: this keeps each member's own rate.
  size = config.over.discriminator.ensemble_size
  is_sgd = discriminator.optimizer == 'sgd'
  over = dataclasses.replace(
    discriminator,
    ensemble_size=size,
    learning_rate=discriminator.learning_rate * (size if is_sgd else 1),
  )
  return dataclasses.replace(
    config,
    over=_objective(registry.name_of(config.over), over, bonus_weights),
    bonus_weight=bonus_weights.get(agent, config.bonus_weight),
  )
