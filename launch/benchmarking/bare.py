"""The parts of a run at work alone, which limit what the run can do."""

from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import dm_env
import jax

from launch.runs import experiment as experiment_lib
from skills import registry
from skills.agents import acme_api
from skills.agents import builder as builder_lib
from skills.agents import learning
from skills.learners import base


class Parts(NamedTuple):
  """An experiment's parts, outside of a run.

  Attributes:
    environment: which the loop acts in.
    spec: of the environment.
    agent: that is trained.
    state: of its learner, fresh.
    loop: the environment loop, with a policy that never changes.
  """

  environment: dm_env.Environment
  spec: acme_api.specs.EnvironmentSpec
  agent: registry.Agent
  state: base.LearnerState
  loop: acme_api.environment_loop.EnvironmentLoop


class _ConstantVariables(acme_api.core.VariableSource):
  """A source of variables that never change."""

  def __init__(self, variables: Any):
    self._variables = variables

  def get_variables(self, names: Sequence[str]) -> list[Any]:
    return [self._variables for _ in names]


def make(experiment: experiment_lib.Experiment) -> Parts:
  """Makes the parts of an experiment that acts and learns without replay."""
  environment = experiment.make_environment(0)
  spec = acme_api.specs.make_environment_spec(environment)
  agent = builder_lib.make_agent(experiment.config, spec)
  key = jax.random.PRNGKey(0)
  state = agent.learner.init(key)
  actor = builder_lib.SkillBuilder(experiment.config).make_actor(
    key,
    agent.policy,
    variable_source=_ConstantVariables(
      learning.to_host(agent.learner.variables(state))
    ),
  )
  loop = acme_api.environment_loop.EnvironmentLoop(
    environment, actor, logger=acme_api.loggers.NoOpLogger()
  )
  return Parts(environment, spec, agent, state, loop)
