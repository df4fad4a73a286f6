"""Every objective by name, and the parts of an agent from its configuration.

To add an objective: write `skills/objectives/foo.py` with a `FooConfig` and a
`make(config, given)`, and add its line to `OBJECTIVES`.
"""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

from skills import acting
from skills import config as config_lib
from skills import types
from skills.learners import base as learners
from skills.learners import q_learning
from skills.networks import q_networks
from skills.objectives import base
from skills.objectives import counts
from skills.objectives import diayn
from skills.objectives import disdain
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
  make: Callable[[Any, base.Given], base.IntrinsicReward]


OBJECTIVES: Mapping[str, Objective] = {
  'counts': Objective(counts.CountsConfig, counts.make),
  'diayn': Objective(diayn.DiaynConfig, diayn.make),
  'disdain': Objective(disdain.DisdainConfig, disdain.make),
  'rnd': Objective(rnd.RndConfig, rnd.make),
  'rvic': Objective(rvic.RvicConfig, rvic.make),
  'vic': Objective(vic.VicConfig, vic.make),
}


def name_of(config: Any) -> str:
  """The objective's name, from its configuration.

  Raises:
    ValueError: if no objective has such a configuration.
  """
  for name, objective in OBJECTIVES.items():
    if type(config) is objective.config:
      return name
  raise ValueError(
    f'no objective has a configuration of type {type(config).__name__}; there '
    f'are {", ".join(OBJECTIVES)}.'
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
  given = base.Given(
    problem,
    num_skills,
    lambda inner: make_objective(inner, problem, num_skills),
  )
  return OBJECTIVES[name_of(config)].make(config, given)


class Agent(NamedTuple):
  """The pure parts of an agent, the same on every path.

  Attributes:
    config: what it was made from.
    problem: the environment's shapes.
    network: action values.
    objective: what it learns from.
    learner: how it learns.
    policy: how it acts while training.
    evaluation_policy: how it acts while evaluating.
  """

  config: config_lib.SkillAgentConfig
  problem: types.ProblemSpec
  network: types.Network
  objective: base.IntrinsicReward
  learner: learners.Learner
  policy: acting.PolicyCore
  evaluation_policy: acting.PolicyCore


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
  network = q_networks.make(
    config.network, problem, config.num_skills, len(objective.streams)
  )
  policies = (
    acting.make(network, config.num_skills, config.skill_length, epsilon)
    for epsilon in (config.acting.epsilon, config.acting.evaluation_epsilon)
  )
  return Agent(
    config,
    problem,
    network,
    objective,
    q_learning.make(config.learner, network, objective),
    *policies,
  )
