"""Runs skills in an environment of their own and measures them."""

from collections.abc import Sequence
from typing import Any

from acme import core
from acme import environment_loop
from acme.adders import base as adders
from acme.utils import counting
from acme.utils import loggers
from acme.utils import observers as observers_lib
import dm_env
import jax
import numpy as np

from skills import registry
from skills import types
from skills.agents import builder as builder_lib
from skills.agents import learning
from skills.evaluation import measure


class Recorder(adders.Adder):
  """An adder that keeps whole skills in memory instead of replay."""

  def __init__(self, skill_length: int):
    """Initializes the recorder; skills have `skill_length` steps."""
    self._skill_length = skill_length
    self._skills: list[dict[str, list[Any]]] = []
    self._observation: Any = None

  @property
  def num_skills(self) -> int:
    """Number of skills begun."""
    return len(self._skills)

  def clear(self) -> None:
    """Drops all recorded skills."""
    self._skills = []

  def reset(self) -> None:
    """Does nothing: an episode's skills are complete as they are."""

  def add_first(self, timestep: dm_env.TimeStep) -> None:
    """Begins an episode."""
    self._observation = timestep.observation

  def add(
    self,
    action: Any,
    next_timestep: dm_env.TimeStep,
    extras: Any = (),
  ) -> None:
    """Records a step; begins a new skill if it is a skill's first."""
    if int(extras['skill_step']) == 1:
      self._skills.append(
        {
          'observation': [self._observation],
          'action': [],
          'reward': [],
          'discount': [],
          'skill': [],
        }
      )
    skill = self._skills[-1]
    skill['observation'].append(next_timestep.observation)
    skill['action'].append(action)
    skill['reward'].append(next_timestep.reward)
    skill['discount'].append(next_timestep.discount)
    skill['skill'].append(int(extras['skill']))
    self._observation = next_timestep.observation

  def trajectory(self) -> types.Trajectory:
    """All recorded skills, one per element of the batch."""

    def stack(name: str, length: int, dtype: Any = None) -> Any:
      rows = [skill[name] for skill in self._skills]
      padded = [row + [row[-1]] * (length - len(row)) for row in rows]
      return np.swapaxes(np.asarray(padded, dtype), 0, 1)

    steps = np.arange(self._skill_length)[:, None]
    lengths = np.array([len(skill['action']) for skill in self._skills])
    mask: Any = (steps < lengths).astype(np.float32)
    return types.Trajectory(
      observation=stack('observation', self._skill_length + 1),
      action=stack('action', self._skill_length),
      reward=stack('reward', self._skill_length, np.float32),
      discount=stack('discount', self._skill_length, np.float32),
      skill=stack('skill', self._skill_length, np.int32),
      mask=mask,
    )


class Evaluator:
  """Measures skills while, or after, they are learned.

  Attributes:
    num_episodes: episodes of the last run.
  """

  def __init__(
    self,
    agent: registry.Agent,
    builder: builder_lib.SkillBuilder,
    environment: dm_env.Environment,
    variable_source: core.VariableSource,
    random_key: types.PRNGKey,
    observers: Sequence[observers_lib.EnvLoopObserver] = (),
  ):
    """Initializes the evaluator.

    Args:
      agent: to be evaluated.
      builder: makes its actor.
      environment: for the evaluator alone.
      variable_source: the learner.
      random_key: of its own.
      observers: of its episodes. Their metrics that begin with 'episode_' are
        averaged over episodes; of those with 'lifetime_' the last is kept.
    """
    self.num_episodes = 0
    self._variable_source = variable_source
    self._measure = jax.jit(measure.measure(agent.objective, agent.problem))
    self._recorder = Recorder(agent.config.skill_length)
    self._actor = builder.make_actor(
      random_key,
      builder.make_policy(agent, evaluation=True),
      self._recorder,
      variable_source,
    )
    self._loop = environment_loop.EnvironmentLoop(
      environment,
      self._actor,
      counter=counting.Counter(),
      logger=loggers.NoOpLogger(),
      observers=observers,
    )

  def run(
    self, num_episodes: int, num_skills: int = 1
  ) -> tuple[types.Trajectory, dict[str, float]]:
    """Runs fresh episodes of the newest policy.

    Args:
      num_episodes: at least so many.
      num_skills: at least so many, in whole episodes.

    Returns:
      The recorded skills and their metrics.
    """
    self._recorder.clear()
    self._actor.fetch()  # It has the variables of the last evaluation.
    results = []
    while len(results) < num_episodes or self._recorder.num_skills < num_skills:
      results.append(self._loop.run_episode())
    trajectory = self._recorder.trajectory()
    [state] = self._variable_source.get_variables([learning.OBJECTIVE])
    numbers: dict[str, float] = {
      name: float(value)
      for name, value in self._measure(state, trajectory).items()
    }
    self.num_episodes = len(results)
    for name in results[-1]:
      if name.startswith('episode_'):
        numbers[name] = float(np.mean([result[name] for result in results]))
      elif name.startswith('lifetime_'):
        numbers[name] = float(results[-1][name])
    return trajectory, numbers
