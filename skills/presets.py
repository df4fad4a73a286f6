"""Settings by agent and world: what `--agent` and `--env` choose.

The grids take DISDAIN's own sizes (arXiv:2107.14226): 24 skills of 8 steps on
the release's grid, 128 of 20 in Four Rooms. Rates are ours, chosen for learning
from replay in minutes; BUILD_NOTES.md has the measurements behind them.
`launch.reproduce` sets the published rates over these. Any other world gets
networks in place of tables; where it shows pictures, IMPALA's residual network,
or a small one for the few pixels of a grid.

Atari's games have skills of 20 steps and an ensemble of 40, here heads of one
torso, and for two cores 16 skills, which is what is known of DISDAIN's own
experiments but for their 64 skills.
"""

from collections.abc import Mapping
import dataclasses
import math
from typing import Any
from typing import NamedTuple

import numpy as np

from skills import config as config_lib
from skills import registry
from skills import types
from skills.learners import q_learning
from skills.networks import discriminators
from skills.networks import torsos


class _Sizes(NamedTuple):
  """A world's sizes.

  Attributes:
    num_skills: number of skills K.
    skill_length: steps of a skill T; in the grids, the episode's length.
    bonus_weights: by objective.
  """

  num_skills: int
  skill_length: int
  bonus_weights: Mapping[str, float]


_GRIDS = {
  'grid:disdain_release': _Sizes(
    24, 8, {'disdain': 20.0, 'counts': 3.0, 'rnd': 3.0}
  ),
  'grid:four_rooms': _Sizes(
    128, 20, {'disdain': 10.0, 'counts': 3.0, 'rnd': 3.0}
  ),
}

_OTHER = _Sizes(16, 20, {})

# Of tables, the second for each member of an ensemble. Far larger than the
# published rates, which are for a hundred times as many trajectories.
_VALUE_RATE = 0.4
_DISCRIMINATOR_RATE = 0.8

# Old trajectories tell discriminators of skills that are no more: with tables
# at these rates a large buffer keeps skills from being told apart.
_TABLE_REPLAY = config_lib.ReplayConfig(capacity=1000, samples_per_insert=16.0)

_HIDDEN_SIZES = (256, 256)

_ATARI = _Sizes(16, 20, {'disdain': 180.0})
_ATARI_HEADS = 40

# Pictures with fewer pixels are those of grids, a cell in each.
_MIN_PIXELS = 32 * 32

# What a replay server holds at most, before Reverb compresses it.
_REPLAY_BYTES = 2**30


class _Parts(NamedTuple):
  """What depends on how a world is seen.

  Attributes:
    discriminator: how skills are told apart.
    num_heads: of an ensemble, whose members are heads of one torso; None for
      members of their own, as many as the objective has.
    network: of the values.
    learner: of the values.
    replay: how much is kept.
    updates_per_step: how many are made at once.
  """

  discriminator: discriminators.DiscriminatorConfig
  network: torsos.NetworkConfig
  learner: q_learning.QLearningConfig
  replay: config_lib.ReplayConfig = config_lib.ReplayConfig()
  updates_per_step: int = 16
  num_heads: int | None = None


def make(
  agent: str, environment: str, problem: types.ProblemSpec
) -> config_lib.SkillAgentConfig:
  """The settings to start from.

  Args:
    agent: an objective's name; the agent of the same name learns from it.
    environment: its name, 'suite:task'.
    problem: the environment's shapes.
  """
  sizes = _GRIDS.get(environment)
  if environment.startswith('atari:'):
    sizes = _ATARI
  if problem.num_states is not None:
    parts = _tables(is_pinned=sizes is not None)
  elif len(problem.observation_shape) == 3:
    parts = _pictures(problem)
  else:
    parts = _vectors()
  sizes = sizes or _OTHER
  return config_lib.SkillAgentConfig(
    objective=_objective(
      agent, parts.discriminator, parts.num_heads, sizes.bonus_weights
    ),
    num_skills=1 if agent == 'extrinsic' else sizes.num_skills,
    skill_length=sizes.skill_length,
    network=parts.network,
    learner=parts.learner,
    replay=_bounded(parts.replay, sizes.skill_length, problem),
    updates_per_step=parts.updates_per_step,
  )


def _tables(is_pinned: bool) -> _Parts:
  return _Parts(
    discriminators.DiscriminatorConfig(
      learning_rate=_DISCRIMINATOR_RATE,
      # DISDAIN's release never learns of the start.
      pinned_state=0 if is_pinned else None,
    ),
    torsos.NetworkConfig(),
    q_learning.QLearningConfig(learning_rate=_VALUE_RATE, epsilon=0.001),
    _TABLE_REPLAY,
  )


def _vectors() -> _Parts:
  return _Parts(
    discriminators.DiscriminatorConfig(
      hidden_sizes=_HIDDEN_SIZES, learning_rate=1e-3, optimizer='adam'
    ),
    torsos.NetworkConfig(hidden_sizes=_HIDDEN_SIZES),
    q_learning.QLearningConfig(
      learning_rate=1e-3, optimizer='adam', target_update_period=100
    ),
  )


def _pictures(problem: types.ProblemSpec) -> _Parts:
  height, width, _ = problem.observation_shape
  if height * width < _MIN_PIXELS:
    torso = {
      'torso': 'resnet',
      'channels': (16,),
      'num_blocks': 0,
      'hidden_sizes': (128,),
    }
    return _Parts(
      discriminators.DiscriminatorConfig(
        **torso, learning_rate=1e-3, optimizer='adam'
      ),
      torsos.NetworkConfig(**torso),
      q_learning.QLearningConfig(
        learning_rate=1e-3, optimizer='adam', target_update_period=100
      ),
    )
  torso = {'torso': 'resnet', 'hidden_sizes': (256,)}
  return _Parts(
    discriminators.DiscriminatorConfig(
      **torso, learning_rate=1e-4, optimizer='adam'
    ),
    torsos.NetworkConfig(**torso),
    q_learning.QLearningConfig(
      discount=0.997,
      learning_rate=1e-4,
      optimizer='adam',
      max_gradient_norm=40.0,
      target_update_period=100,
    ),
    # An update costs as much as hundreds of the world's steps.
    config_lib.ReplayConfig(min_size=64, samples_per_insert=1.0),
    updates_per_step=1,
    num_heads=_ATARI_HEADS,
  )


def _bounded(
  replay: config_lib.ReplayConfig, skill_length: int, problem: types.ProblemSpec
) -> config_lib.ReplayConfig:
  """Replay of no more trajectories than memory should hold."""
  item = (skill_length + 1) * math.prod(problem.observation_shape)
  item *= np.dtype(problem.observation_dtype).itemsize
  capacity = min(replay.capacity, _REPLAY_BYTES // item)
  return dataclasses.replace(
    replay,
    capacity=capacity,
    min_size=min(replay.min_size, capacity),
  )


def _objective(
  agent: str,
  discriminator: discriminators.DiscriminatorConfig,
  num_heads: int | None,
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
  if size > 1 and num_heads is not None:
    size = num_heads
  is_sgd = discriminator.optimizer == 'sgd'
  over = dataclasses.replace(
    discriminator,
    ensemble_size=size,
    is_torso_shared=size > 1 and num_heads is not None,
    learning_rate=discriminator.learning_rate * (size if is_sgd else 1),
  )
  return dataclasses.replace(
    config,
    over=_objective(
      registry.name_of(config.over), over, num_heads, bonus_weights
    ),
    bonus_weight=bonus_weights.get(agent, config.bonus_weight),
  )
