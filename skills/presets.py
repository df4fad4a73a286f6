"""Settings by agent and environment: what `--agent` and `--env` choose.

The grids take DISDAIN's own sizes (arXiv:2107.14226): 24 skills of 8 steps on
the release's grid, 128 of 20 in Four Rooms. Rates are ours, chosen for learning
from replay in minutes; BUILD_NOTES.md has the measurements behind them.
`launch.reproduce` sets the published rates over these. The open grids have 8
skills, of 4 steps in the small one and of 10 in the large one, whose tables are
factored into rows and columns. Any other environment gets networks in place of
tables; where it shows pictures, IMPALA's residual network, or a small one for
the few pixels of a grid.

Atari's games have skills of 20 steps and an ensemble of 40, here heads of one
torso, and for two cores 16 skills, which is what is known of DISDAIN's own
experiments but for their 64 skills. The rest is R2D2's recipe (Kapturowski et
al., 2019), made smaller: a core of 256 units, of 512; a burn-in of half a
trajectory; batches of 16, of 64; its exponents of priorities and of importance.
Tasks of large rewards are learned in its rescaled values.

Where actions are continuous and observations are vectors, tasks are learned by
soft actor-critic from replay, skills by the actor-critic, from the newest 256
trajectories and with small networks, so that time is left for many environments
(`--num_environments=64`). On device both are learned by the actor-critic, which
sweeps over fresh batches of many environments. `launch.sweep` chose sizes and
rates; BUILD_NOTES.md has the results.

DOMiNO's policies last an episode, and replay is larger, so that it holds
episodes of most of them. Its settings are those that are known of the paper but
for the rate of the multipliers, which is higher, since runs are shorter.
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
from skills.learners import actor_critic
from skills.learners import model_value
from skills.learners import q_learning
from skills.learners import soft_actor_critic
from skills.networks import discriminators
from skills.networks import models
from skills.networks import torsos
from skills.objectives import base as objectives
from skills.objectives import diayn
from skills.objectives import domino
from skills.objectives import ive


class _Sizes(NamedTuple):
  """Sizes that suit an environment.

  Attributes:
    num_skills: number of skills K.
    skill_length: steps of a skill T, which is the episode's length where
      episodes end.
    bonus_weights: by objective.
    epsilon: probability of a random action.
    pinned_state: of the discriminators.
    factored_states: of the tables.
    capacity: of replay, in trajectories.
    discriminator_learning_rate: of tables; the loss is a mean over the batch.
  """

  num_skills: int
  skill_length: int
  bonus_weights: Mapping[str, float] = {}
  epsilon: float = 0.001
  # DISDAIN's release never learns of the start.
  pinned_state: int | None = 0
  factored_states: tuple[int, ...] | None = None
  # Old trajectories tell discriminators of skills that are no more: with tables
  # at these rates a large buffer keeps skills from being told apart.
  capacity: int = 1000
  discriminator_learning_rate: float = 0.8


_GRIDS = {
  'grid:disdain_release': _Sizes(
    24, 8, {'disdain': 20.0, 'counts': 3.0, 'rnd': 3.0}
  ),
  'grid:four_rooms': _Sizes(
    128, 20, {'disdain': 10.0, 'counts': 3.0, 'rnd': 3.0}
  ),
  # Pairs of states are many, and a small buffer has few of them.
  'grid:open_11': _Sizes(
    8,
    4,
    epsilon=0.05,
    pinned_state=None,
    capacity=20_000,
    discriminator_learning_rate=3.2,
  ),
  'grid:open_41': _Sizes(
    8,
    10,
    epsilon=0.05,
    pinned_state=None,
    factored_states=(41, 41),
    capacity=20_000,
  ),
  'grid:top_rows': _Sizes(8, 64, pinned_state=None),
  'grid:bump': _Sizes(8, 64, pinned_state=None),
}
# Which have no skills of their own to look for, and short episodes.
_CLASSICS = {
  'classic:catch': _Sizes(16, 9, pinned_state=None),
  'classic:deep_sea': _Sizes(16, 10, pinned_state=None),
}
_OTHER = _Sizes(16, 20, pinned_state=None)

HIERARCHY = 'hierarchy'
"""Learns a task with trained skills among its actions.

`skills.agents.hierarchy` makes an environment of them in which that is plain
reinforcement learning.
"""

_DOMINO = 'domino'
_EXTRINSIC = 'extrinsic'

_VARIANTS: Mapping[str, Mapping[str, Any]] = {
  'domino_vdw': {
    'attractive_coeff': domino.VAN_DER_WAALS,
    'target_distance': 0.2,
  },
  'domino_no_diversity': {'constraint': 'none'},
  'domino_linear': {'constraint': 'linear'},
  'domino_smerl': {'constraint': 'smerl'},
  'domino_reverse_smerl': {'constraint': 'reverse_smerl'},
}
"""DOMiNO with Van der Waals' force, and the baselines of its paper."""

_MODELS: Mapping[str, Mapping[str, Any]] = {
  'muesli': {},
  # A state of the model has more entries than there are states to see: else
  # what is learned of some is learned of all, and nothing looks unknown.
  'ive': {
    'ive': ive.IveConfig(bonus_weight=1.0, num_steps=3),
    'model': models.LatentConfig(size=192, num_atoms=None),
    'num_unrolled': 3,
  },
}
"""Agents that learn a task with a model: how, beside the learner's defaults."""

# For small vectors. Retrace follows a trajectory while the policy would still
# choose its actions: from old ones values learn of what comes step by step.
_MODEL_CAPACITY = 512

_MODEL_RATE = 1e-3
_MODEL_RATES = {'classic:cartpole': 3e-3}

AGENTS = tuple(sorted((*registry.OBJECTIVES, HIERARCHY, *_VARIANTS, *_MODELS)))
"""Every agent: one for each objective, and what is made of such."""

# For tables. These and the grids' discriminator rates, of each member of an
# ensemble, are far larger than the published ones, which are for a hundred
# times as many trajectories.
_VALUE_RATE = 0.4

_HIDDEN_SIZES = (256, 256)

_CONTROL = _Sizes(16, 50)

# Bodies that are measured in tenths of meters are seen in units of that size.
_INPUT_SCALES = {'control:point_mass_easy': 5.0, 'control:point_mass_hard': 5.0}

# On two cores a layer of 256 costs six times one of 64.
_CONTROL_HIDDEN_SIZES = (64, 64)
_DEVICE = config_lib.DeviceConfig(environments=64, epochs=4, minibatches=4)
_REPLAYING_DEVICE = config_lib.DeviceConfig(environments=16, replays=True)
# Updates after which a policy moves little, and no longer falls back.
_DEVICE_DECAY = 12_000
_REPLAY_DECAY = 8_000
# An update of small networks takes little longer than a call of the learner.
_CONTROL_UPDATES_PER_STEP = 8

# Trajectories of a task are short, so that transitions of an update come from
# many places: 32 of 8 steps are the 256 that the literature takes.
_SAC = 'soft_actor_critic'
_SAC_STEPS = 200_000
_SAC_LENGTH = 8
_SAC_BATCH_SIZE = 32
_SAC_HIDDEN_SIZES = (128, 128)

_ATARI = _Sizes(16, 20, {'disdain': 180.0})
_ATARI_HEADS = 40

_DOMINO_GRIDS = ('grid:top_rows', 'grid:bump')

# Policies must move little within the memory of the features' averages, or they
# swing about the distance that they should keep. No limit of the gradient's
# norm: it would tie policy 0 to the others.
_DOMINO_TABLES = actor_critic.ActorCriticConfig(
  discount=0.97,
  lambda_=0.9,
  policy_learning_rate=1e-3,
  value_learning_rate=2e-2,
  max_gradient_norm=None,
  entropy_weight=0.03,
  table_init_stddev=0.3,
)

# Pictures with fewer pixels are those of grids, a cell in each.
_MIN_PIXELS = 32 * 32

# What a replay server holds at most, before Reverb compresses it.
_REPLAY_BYTES = 2**30


class _Parts(NamedTuple):
  """Settings that depend on the kind of observation.

  Attributes:
    discriminator: how skills are told apart.
    num_heads: of an ensemble, whose members are heads of one torso; None for
      members of their own, as many as the objective has.
    network: of values and policies.
    learner: how it learns.
    replay: how much is kept.
    updates_per_skill: updates in the time in which actors run one skill.
    updates_per_step: how many are made at once.
  """

  discriminator: discriminators.DiscriminatorConfig
  network: torsos.NetworkConfig
  learner: Any
  replay: config_lib.ReplayConfig = config_lib.ReplayConfig()
  updates_per_skill: float = 0.5
  updates_per_step: int = 16
  num_heads: int | None = None


def make(
  agent: str,
  environment: str,
  problem: types.ProblemSpec,
  *,
  learner: str | None = None,
  on_device: bool = False,
) -> config_lib.SkillAgentConfig:
  """The settings to start from.

  Args:
    agent: one of `AGENTS`. That of an objective's name learns from it.
    environment: its name, 'suite:task'.
    problem: the environment's shapes.
    learner: the learner that the user chose, for which some settings are then
      made; None for the agent's own.
    on_device: whether environment and learner are one compiled program.
  """
  if agent in _VARIANTS:
    config = make(_DOMINO, environment, problem)
    return dataclasses.replace(
      config,
      objective=dataclasses.replace(config.objective, **_VARIANTS[agent]),
    )
  if agent in _MODELS:
    return _with_model(agent, environment, problem)
  if agent == HIERARCHY:
    return _hierarchy(make(_EXTRINSIC, environment, problem))
  sizes = {**_GRIDS, **_CLASSICS}.get(environment, _OTHER)
  if environment.startswith('atari:'):
    sizes = _ATARI
  if problem.num_actions is None:
    sizes, parts = _CONTROL, _continuous(agent, problem)
  elif problem.num_states is not None:
    parts = _tables(sizes)
  elif len(problem.observation_shape) == 3:
    parts = _pictures(problem)
    if sizes is _ATARI:
      parts = _remembering(parts, agent, sizes.skill_length)
  else:
    parts = _vectors()
  config = config_lib.SkillAgentConfig(
    objective=_objective(
      agent, parts.discriminator, parts.num_heads, sizes.bonus_weights
    ),
    num_skills=1 if agent == _EXTRINSIC else sizes.num_skills,
    skill_length=sizes.skill_length,
    network=parts.network,
    learner=parts.learner,
    replay=dataclasses.replace(
      _bounded(parts.replay, sizes.skill_length, problem),
      updates_per_environment_step=parts.updates_per_skill / sizes.skill_length,
    ),
    updates_per_step=parts.updates_per_step,
  )
  if agent == _DOMINO:
    return _domino(config, environment, problem)
  is_vector = problem.num_states is None and len(problem.observation_shape) < 3
  if problem.num_actions is not None or not is_vector:
    return config
  is_off_policy = agent == _EXTRINSIC and not on_device
  if learner == _SAC or (learner is None and is_off_policy):
    config = _soft_actor_critic(config, is_task=agent == _EXTRINSIC)
    device = _REPLAYING_DEVICE if on_device else config.device
    return dataclasses.replace(config, device=device)
  if on_device:
    config = _with_small_networks(config, environment)
    return _control_on_device(config, is_task=agent == _EXTRINSIC)
  return config if agent == _EXTRINSIC else _control_skills(config, environment)


def _with_small_networks(
  config: config_lib.SkillAgentConfig, environment: str
) -> config_lib.SkillAgentConfig:
  """Networks that cost little, and see a body in units of its size."""
  torso = {
    'hidden_sizes': _CONTROL_HIDDEN_SIZES,
    'input_scale': _INPUT_SCALES.get(environment, 1.0),
  }
  objective = config.objective
  discriminator = objectives.discriminator_of(objective)
  if discriminator is not None:
    objective = objectives.with_discriminator(
      objective, dataclasses.replace(discriminator, **torso)
    )
  return dataclasses.replace(
    config,
    objective=objective,
    network=dataclasses.replace(config.network, **torso),
  )


def _control_on_device(
  config: config_lib.SkillAgentConfig, *, is_task: bool
) -> config_lib.SkillAgentConfig:
  """Many environments, and a policy that comes to rest."""
  learner = dataclasses.replace(config.learner, policy_decay=_DEVICE_DECAY)
  if is_task:
    # A task's reward stands still: there is time, and policies that moved
    # faster fell back.
    learner = dataclasses.replace(learner, policy_learning_rate=3e-4)
  return dataclasses.replace(
    config,
    learner=learner,
    device=_DEVICE,
  )


def _control_skills(
  config: config_lib.SkillAgentConfig, environment: str
) -> config_lib.SkillAgentConfig:
  """Skills from replay: small networks, and a policy that comes to rest."""
  config = _with_small_networks(config, environment)
  objective = config.objective
  if isinstance(objective, diayn.DiaynConfig):
    # What would follow a skill's last state is paid like the rest.
    objective = dataclasses.replace(objective, bootstrap_at_skill_end=True)
  return dataclasses.replace(
    config,
    objective=objective,
    learner=dataclasses.replace(config.learner, policy_decay=_REPLAY_DECAY),
    updates_per_step=_CONTROL_UPDATES_PER_STEP,
  )


def _soft_actor_critic(
  config: config_lib.SkillAgentConfig, *, is_task: bool
) -> config_lib.SkillAgentConfig:
  """Off-policy, by one update of 256 transitions for each environment step."""
  learner = soft_actor_critic.SoftActorCriticConfig(
    policy_learning_rate=1e-3,
    critic_learning_rate=1e-3,
    temperature_learning_rate=1e-3,
  )
  length, batch_size = _SAC_LENGTH, _SAC_BATCH_SIZE
  if is_task:
    learner = dataclasses.replace(learner, transitions=None)
  else:
    # What discriminators pay changes, and a learned temperature would follow.
    learner = dataclasses.replace(
      learner,
      temperature_learning_rate=None,
      init_temperature=0.05,
      skill_bias_std=1.0,
    )
    length, batch_size = config.skill_length, config.batch_size
  return dataclasses.replace(
    config,
    skill_length=length,
    batch_size=batch_size,
    updates_per_step=16,
    network=dataclasses.replace(config.network, hidden_sizes=_SAC_HIDDEN_SIZES),
    learner=learner,
    replay=dataclasses.replace(
      config.replay,
      capacity=_SAC_STEPS // length,
      min_size=1000 // length,
      updates_per_environment_step=1.0,
    ),
  )


def _domino(
  config: config_lib.SkillAgentConfig,
  environment: str,
  problem: types.ProblemSpec,
) -> config_lib.SkillAgentConfig:
  """The settings of a set of policies, from those of other agents."""
  hidden_sizes = config.network.hidden_sizes
  config = dataclasses.replace(
    config,
    objective=dataclasses.replace(
      config.objective, multiplier_learning_rate=1e-2, hidden_sizes=hidden_sizes
    ),
  )
  if environment in _GRIDS and environment not in _DOMINO_GRIDS:
    return config
  config = dataclasses.replace(config, keeps_skill=True)
  if environment in _DOMINO_GRIDS:
    return dataclasses.replace(
      _resized(config, skill_length=config.skill_length, batch_size=64),
      # Features are parts of one: divided by their number they would be as
      # nothing beside the task's reward.
      objective=dataclasses.replace(
        config.objective, per_feature=False, multiplier_learning_rate=3e-3
      ),
      learner=_DOMINO_TABLES,
      updates_per_step=1,
    )
  if problem.num_actions is None:
    return dataclasses.replace(
      config,
      num_skills=10,
      objective=dataclasses.replace(
        config.objective,
        # What it costs to be elsewhere mostly grows with the square of how far
        # that is. So would the paper's push, and no weight of the two would
        # keep a body where it is.
        repulsive_power=-1.0,
        # A body takes long to follow its multiplier, which would swing it about
        # the constraint, and one that has gone far takes long to come back.
        multiplier_gain=20.0,
        multiplier_learning_rate=1e-3,
        max_multiplier=1.0,
      ),
      # Bodies that are a little apart are paid next to nothing for it.
      learner=dataclasses.replace(config.learner, normalize_streams=True),
      replay=dataclasses.replace(config.replay, capacity=256),
    )
  return config


def _resized(
  config: config_lib.SkillAgentConfig, *, skill_length: int, batch_size: int
) -> config_lib.SkillAgentConfig:
  """With other sizes, and each trajectory learned from as often as before."""
  samples_per_insert: Any = config.samples_per_insert
  return dataclasses.replace(
    config,
    skill_length=skill_length,
    batch_size=batch_size,
    replay=dataclasses.replace(
      config.replay,
      updates_per_environment_step=samples_per_insert
      / (batch_size * skill_length),
    ),
  )


def _tables(sizes: _Sizes) -> _Parts:
  return _Parts(
    discriminators.DiscriminatorConfig(
      learning_rate=sizes.discriminator_learning_rate,
      pinned_state=sizes.pinned_state,
      factored_states=sizes.factored_states,
    ),
    torsos.NetworkConfig(factored_states=sizes.factored_states),
    q_learning.QLearningConfig(
      learning_rate=_VALUE_RATE, epsilon=sizes.epsilon
    ),
    config_lib.ReplayConfig(capacity=sizes.capacity),
    updates_per_skill=1.0,
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
    # An update costs as much as hundreds of the environment's steps.
    config_lib.ReplayConfig(min_size=64),
    updates_per_skill=1 / 16,
    updates_per_step=1,
    num_heads=_ATARI_HEADS,
  )


def _remembering(parts: _Parts, agent: str, skill_length: int) -> _Parts:
  """With a memory, and a replay that serves it."""
  return parts._replace(
    network=dataclasses.replace(parts.network, lstm_size=256),
    learner=dataclasses.replace(
      parts.learner, rescale_values=agent == _EXTRINSIC
    ),
    replay=dataclasses.replace(
      parts.replay,
      burn_in=skill_length // 2,
      priority_exponent=0.9,
      importance_exponent=0.6,
    ),
  )


def _bounded(
  replay: config_lib.ReplayConfig, skill_length: int, problem: types.ProblemSpec
) -> config_lib.ReplayConfig:
  """Replay of no more trajectories than memory should hold."""
  item = (replay.burn_in + skill_length + 1) * math.prod(
    problem.observation_shape
  )
  item *= np.dtype(problem.observation_dtype).itemsize
  capacity = min(replay.capacity, _REPLAY_BYTES // item)
  return dataclasses.replace(
    replay,
    capacity=capacity,
    min_size=min(replay.min_size, capacity),
  )


def _continuous(agent: str, problem: types.ProblemSpec) -> _Parts:
  is_picture = len(problem.observation_shape) == 3
  seen = _pictures(problem) if is_picture else _vectors()
  # Bodies that fall have speeds of tens, on which values diverge.
  squash = not is_picture
  parts = _Parts(
    dataclasses.replace(seen.discriminator, squash_inputs=squash),
    dataclasses.replace(seen.network, squash_inputs=squash),
    actor_critic.ActorCriticConfig(
      policy_learning_rate=1e-3, policy_init_scale=1.0
    ),
    # The newest few thousand steps: older ones tell little of a policy that
    # has moved on.
    config_lib.ReplayConfig(capacity=64, min_size=32),
    updates_per_step=2,
  )
  if agent in (_EXTRINSIC, _DOMINO):
    return parts._replace(
      learner=dataclasses.replace(parts.learner, values_per_step=True)
    )
  return parts._replace(
    learner=dataclasses.replace(
      parts.learner,
      # What is paid once, at a skill's end, must be seen from its beginning.
      discount=0.95 if agent == 'diayn' else 0.99,
      skill_bias_std=1.0,
    ),
    # A smaller one is learned by heart, and fresh skills are not told apart.
    replay=dataclasses.replace(parts.replay, capacity=256),
    updates_per_skill=1.0,
  )


def _hierarchy(
  config: config_lib.SkillAgentConfig,
) -> config_lib.SkillAgentConfig:
  """The settings of a controller, from those of an agent of its environment."""
  return dataclasses.replace(
    # Its steps are skills, of which an episode holds few.
    _resized(config, skill_length=4, batch_size=config.batch_size),
    # Rewards are rare, and nothing but chance finds the first one: values that
    # begin at random would lead it about for long.
    network=dataclasses.replace(
      config.network, factored_states=None, table_init_range=0.0
    ),
    learner=dataclasses.replace(
      config.learner,
      # Gamma is in the discounts that its environment hands up.
      discount=1.0,
      epsilon=0.1,
      random_ties=True,
    ),
  )


def _with_model(
  agent: str, environment: str, problem: types.ProblemSpec
) -> config_lib.SkillAgentConfig:
  """The settings of an agent with a model, from those of one without."""
  config = make(_EXTRINSIC, environment, problem)
  capacity = config.replay.capacity
  if problem.num_states is None and len(problem.observation_shape) < 3:
    capacity = min(capacity, _MODEL_CAPACITY)
  return dataclasses.replace(
    config,
    # The model has no memory, and gives no priorities.
    network=dataclasses.replace(config.network, lstm_size=None),
    replay=dataclasses.replace(
      config.replay, capacity=capacity, burn_in=0, priority_exponent=None
    ),
    learner=model_value.ModelValueConfig(
      learning_rate=_MODEL_RATES.get(environment, _MODEL_RATE), **_MODELS[agent]
    ),
  )


def _objective(
  agent: str,
  discriminator: discriminators.DiscriminatorConfig,
  num_heads: int | None,
  bonus_weights: Mapping[str, float],
) -> Any:
  """An objective's defaults, with this discriminator however deep inside."""
  config = registry.OBJECTIVES[agent].config()
  own = objectives.discriminator_of(config)
  if own is None:
    return config
  size = own.ensemble_size
  is_shared = size > 1 and num_heads is not None
  if is_shared:
    size = num_heads
  # The loss is a mean over members: this keeps each member's own rate.
  factor = size if discriminator.optimizer == 'sgd' else 1
  config = objectives.with_discriminator(
    config,
    dataclasses.replace(
      discriminator,
      ensemble_size=size,
      is_torso_shared=is_shared,
      learning_rate=discriminator.learning_rate * factor,
    ),
  )
  if agent not in bonus_weights:
    return config
  return dataclasses.replace(config, bonus_weight=bonus_weights[agent])
