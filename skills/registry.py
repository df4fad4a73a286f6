"""Every objective by name, and the parts of an agent from its configuration.

To add an objective: write `skills/objectives/foo.py` with a `FooConfig` and a
`make(config, context)`, and add its line to `OBJECTIVES`. A learner is added in
the same way to `LEARNERS`.
"""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

from skills import acting
from skills import config as config_lib
from skills import types
from skills.learners import actor_critic
from skills.learners import base as learners
from skills.learners import model_value
from skills.learners import q_learning
from skills.learners import soft_actor_critic
from skills.objectives import base
from skills.objectives import counts
from skills.objectives import diayn
from skills.objectives import disdain
from skills.objectives import domino
from skills.objectives import extrinsic
from skills.objectives import rnd
from skills.objectives import rvic
from skills.objectives import vic


class Objective(NamedTuple):
  """How an objective is configured and made.

  Attributes:
    config: class of its configuration; all fields have defaults.
    make: configuration, what it is given -> the objective.
  """

  config: type
  make: Callable[[Any, base.ObjectiveContext], base.IntrinsicReward]


OBJECTIVES: Mapping[str, Objective] = {
  'counts': Objective(counts.CountsConfig, counts.make),
  'diayn': Objective(diayn.DiaynConfig, diayn.make),
  'disdain': Objective(disdain.DisdainConfig, disdain.make),
  'domino': Objective(domino.DominoConfig, domino.make),
  'extrinsic': Objective(extrinsic.ExtrinsicConfig, extrinsic.make),
  'rnd': Objective(rnd.RndConfig, rnd.make),
  'rvic': Objective(rvic.RvicConfig, rvic.make),
  'vic': Objective(vic.VicConfig, vic.make),
}


class Algorithm(NamedTuple):
  """How a learner is configured and made.

  Attributes:
    config: class of its configuration; all fields have defaults.
    make: configuration, that of the networks, problem, number of skills and
      objective -> its parts.
  """

  config: type
  make: Callable[
    [Any, Any, types.ProblemSpec, int, base.IntrinsicReward],
    learners.AgentFunctions,
  ]


LEARNERS: Mapping[str, Algorithm] = {
  'actor_critic': Algorithm(
    actor_critic.ActorCriticConfig, actor_critic.make_agent_functions
  ),
  'model_value': Algorithm(
    model_value.ModelValueConfig, model_value.make_agent_functions
  ),
  'q_learning': Algorithm(
    q_learning.QLearningConfig, q_learning.make_agent_functions
  ),
  'soft_actor_critic': Algorithm(
    soft_actor_critic.SoftActorCriticConfig,
    soft_actor_critic.make_agent_functions,
  ),
}


def name_of(config: Any) -> str:
  """The name of an objective or a learner, from its configuration.

  Raises:
    ValueError: if none has such a configuration.
  """
  for name, entry in (*OBJECTIVES.items(), *LEARNERS.items()):
    if type(config) is entry.config:
      return name
  raise ValueError(
    'no objective and no learner has a configuration of type '
    f'{type(config).__name__}; there are {", ".join((*OBJECTIVES, *LEARNERS))}.'
  )


def make_objective(
  config: Any, problem: types.ProblemSpec, num_skills: int
) -> base.IntrinsicReward:
  """Makes an objective, and those that it builds on.

  Args:
    config: one of the configurations in `OBJECTIVES`.
    problem: the environment's shapes.
    num_skills: number of skills K.
  """
  context = base.ObjectiveContext(
    problem,
    num_skills,
    lambda inner: make_objective(inner, problem, num_skills),
  )
  return OBJECTIVES[name_of(config)].make(config, context)


class Agent(NamedTuple):
  """The pure parts of an agent, the same on every path.

  Attributes:
    config: what it was made from.
    problem: the environment's shapes.
    objective: what it learns from.
    learner: how it learns.
    acting_policy: how it chooses actions while training.
    evaluation_acting_policy: how it chooses them while evaluating.
    policy: how it acts while training.
    evaluation_policy: how it acts while evaluating.
  """

  config: config_lib.SkillAgentConfig
  problem: types.ProblemSpec
  objective: base.IntrinsicReward
  learner: learners.Learner
  acting_policy: learners.ActingPolicy
  evaluation_acting_policy: learners.ActingPolicy
  policy: acting.ActorCore
  evaluation_policy: acting.ActorCore


def make_agent(
  config: config_lib.SkillAgentConfig, problem: types.ProblemSpec
) -> Agent:
  """Makes an agent's parts.

  Args:
    config: its settings.
    problem: the environment's shapes.

  Raises:
    ValueError: if the settings do not fit the environment.
  """
  objective = make_objective(config.objective, problem, config.num_skills)
  if config.num_skills < 2 and objective.discriminator is not None:
    raise ValueError(
      f'num_skills must be >= 2 to tell skills apart, got {config.num_skills}.'
    )
  parts = LEARNERS[name_of(config.learner)].make(
    config.learner, config.network, problem, config.num_skills, objective
  )

  if (
    config.replay.priority_exponent is not None
    and parts.learner.update_with_priorities is None
  ):
    raise ValueError(
      'replay.priority_exponent must be None for the learner '
      f'{name_of(config.learner)!r}, which gives no priorities, got '
      f'{config.replay.priority_exponent}.'
    )

  def policy(acting_policy: learners.ActingPolicy) -> acting.ActorCore:
    return acting.make(
      acting_policy,
      config.num_skills,
      config.skill_length,
      config.fixed_skill,
      keeps_skill=config.keeps_skill,
    )

  return Agent(
    config,
    problem,
    objective,
    *parts,
    policy(parts.acting_policy),
    policy(parts.evaluation_acting_policy),
  )
