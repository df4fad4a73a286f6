"""The final state of a run: its agent, variables and last evaluation."""

from typing import Any
from typing import NamedTuple

import dm_env

from launch.runs import experiment as experiment_lib
from skills import registry
from skills import types
from skills.learners import base


class Final(NamedTuple):
  """The final state of a run.

  Attributes:
    agent: the agent.
    variables: of the final policy.
    objective_state: state of the objective.
    environment: one with a `grid` gets a map, others with vectors of numbers a
      picture of where skills end.
    trajectory: fresh skills of the final policy.
  """

  agent: registry.Agent
  variables: base.Variables
  objective_state: Any
  environment: dm_env.Environment
  trajectory: types.Trajectory


def final_size(experiment: experiment_lib.Experiment) -> tuple[int, int]:
  """Episodes and skills of the final evaluation, enough to see each skill."""
  episodes, skills = experiment.evaluation_size
  return episodes, max(skills, 20 * experiment.config.num_skills)
