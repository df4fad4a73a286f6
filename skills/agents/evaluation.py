"""Runs skills in an environment of their own and measures them."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from acme import core
from acme import environment_loop
from acme.adders import base as adders
from acme.utils import counting
from acme.utils import loggers
import dm_env
import jax
import numpy as np

from envs import batched
from skills import registry
from skills import types
from skills.agents import batch_actor
from skills.agents import builder as builder_lib
from skills.agents import learning
from skills.agents.replay import batch_writer
from skills.agents.replay import stalls
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

  def extend(self, other: 'Recorder') -> None:
    """Adds the skills that another recorder has."""
    self._skills.extend(other._skills)

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


class _Episodes:
  """Episodes of one environment, one after the other."""

  def __init__(
    self,
    environment: dm_env.Environment,
    actor: builder_lib.SkillActor,
    recorder: Recorder,
    observers: Sequence[Any],
  ):
    self.actor = actor
    self._recorder = recorder
    self._loop = environment_loop.EnvironmentLoop(
      environment,
      actor,
      counter=counting.Counter(),
      logger=loggers.NoOpLogger(),
      observers=observers,
    )

  def run(self, is_enough: Callable[[int], bool]) -> list[dict[str, Any]]:
    """Runs episodes until there are enough of them; returns their results."""
    results: list[dict[str, Any]] = []
    while not is_enough(len(results)):
      results.append(dict(self._loop.run_episode()))
    return results


class _BatchRecorder:
  """Records the first episode of each of N environments."""

  def __init__(self, num_environments: int, skill_length: int):
    self.recorders = [Recorder(skill_length) for _ in range(num_environments)]
    self._is_over = np.zeros(num_environments, bool)

  @property
  def is_complete(self) -> bool:
    return bool(self._is_over.all())

  def clear(self) -> None:
    self._is_over[:] = False
    for recorder in self.recorders:
      recorder.clear()

  def add(
    self,
    timestep: dm_env.TimeStep,
    action: Any,
    after: dm_env.TimeStep,
    extras: Any,
  ) -> None:
    steps = batch_writer.steps_made(timestep, after) & ~self._is_over
    for i in np.flatnonzero(steps):
      now, then = (batch_actor.select(each, i) for each in (timestep, after))
      if now.first():
        self.recorders[i].add_first(now)
      self.recorders[i].add(
        action[i], then, {name: value[i] for name, value in extras.items()}
      )
      self._is_over[i] = then.last()

  def wait(self) -> None:
    pass


class _BatchEpisodes:
  """Episodes of N environments, side by side.

  Each round has one episode of each environment. Those that end early are not
  replaced within it: long episodes would else be too few.
  """

  def __init__(
    self,
    environment: batched.BatchedEnvironment,
    actor: batch_actor.BatchActor,
    recorder: Recorder,
    skill_length: int,
    observed: Sequence[Any],
    should_stop: stalls.ShouldStop,
  ):
    self.actor = actor
    self._recorder = recorder
    self._round = _BatchRecorder(environment.num_environments, skill_length)
    self._loop = batch_actor.BatchLoop(
      environment,
      actor,
      self._round,
      counting.Counter(),
      observed,
      should_stop,
    )

  def run(self, is_enough: Callable[[int], bool]) -> list[dict[str, Any]]:
    """Runs rounds until there are enough episodes; returns their results."""
    results: list[dict[str, Any]] = []
    while not is_enough(len(results)):
      self._round.clear()
      self._loop.reset()
      found: dict[int, dict[str, Any]] = {}
      while not self._round.is_complete:
        for i, result in self._loop.step():
          found.setdefault(i, result)
      for i in sorted(found):
        if is_enough(len(results)):
          break
        results.append(found[i])
        self._recorder.extend(self._round.recorders[i])
    return results


class Evaluator:
  """Measures skills while, or after, they are learned.

  Attributes:
    num_episodes: episodes of the last run.
  """

  def __init__(
    self,
    agent: registry.Agent,
    builder: builder_lib.SkillBuilder,
    environment: dm_env.Environment | batched.BatchedEnvironment,
    variable_source: core.VariableSource,
    random_key: types.PRNGKey,
    observers: Sequence[Any] = (),
    should_stop: stalls.ShouldStop = stalls.never_stop,
  ):
    """Initializes the evaluator.

    Args:
      agent: to be evaluated.
      builder: makes its actor.
      environment: for the evaluator alone; or several, whose episodes then run
        side by side.
      variable_source: the learner.
      random_key: of its own.
      observers: of its episodes, as Acme's; of several environments, a
        `batch_actor.Observed` for each.
        Their metrics that begin with 'episode_' are averaged over episodes; of
        those with 'lifetime_' the last is kept.
      should_stop: whether the program is stopping, which ends the episodes of
        several environments; one environment has to notice by itself.
    """
    self.num_episodes = 0
    self._variable_source = variable_source
    self._measure = jax.jit(measure.measure(agent.objective, agent.problem))
    self._recorder = Recorder(agent.config.skill_length)
    policy = builder.make_policy(agent, evaluation=True)
    self._episodes: _Episodes | _BatchEpisodes
    if not isinstance(environment, dm_env.Environment):
      keys = jax.random.split(random_key, environment.num_environments)
      self._episodes = _BatchEpisodes(
        environment,
        builder.make_batch_actor(list(keys), policy, variable_source),
        self._recorder,
        agent.config.skill_length,
        observers,
        should_stop,
      )
    else:
      self._episodes = _Episodes(
        environment,
        builder.make_actor(random_key, policy, self._recorder, variable_source),
        self._recorder,
        observers,
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

    Raises:
      StoppedError: if the program is stopping.
    """
    self._recorder.clear()
    # It has the variables of the last evaluation.
    self._episodes.actor.fetch()
    results = self._episodes.run(
      lambda number: (
        number >= num_episodes and self._recorder.num_skills >= num_skills
      )
    )
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
