"""Metrics of episodes besides their returns."""

from typing import Any

import dm_env

from envs import atari_coverage
from envs import batched
from envs import capabilities
from skills.agents import acme_api
from skills.agents import batch_actor


class Coverage(acme_api.EnvLoopObserver):
  """Number of places that the avatar of an Atari game visited."""

  def __init__(self, game: str, beside: 'Coverage | None' = None):
    """Starts at zero.

    Args:
      game: one of `atari_coverage.AVATAR_BYTES`.
      beside: an observer of another console, whose lifetime it shares.
    """
    self._coverage = atari_coverage.Coverage(
      game, beside._coverage if beside else None
    )

  def observe_first(
    self, env: dm_env.Environment, timestep: dm_env.TimeStep
  ) -> None:
    """Counts the place where an episode begins."""
    del timestep
    self._coverage.begin_episode()
    self._visit(env)

  def observe(
    self, env: dm_env.Environment, timestep: dm_env.TimeStep, action: Any
  ) -> None:
    """Counts the place where a step led to."""
    del timestep, action
    self._visit(env)

  def get_metrics(self) -> dict[str, Any]:
    """Places visited in this episode, and in all episodes so far."""
    return {
      'episode_coverage': self._coverage.episode,
      'lifetime_coverage': self._coverage.lifetime,
    }

  def _visit(self, environment: Any) -> None:
    self._coverage.visit(environment.ram())


def make(
  environment: dm_env.Environment | batched.BatchedEnvironment,
) -> list[Any]:
  """Makes the observers that suit an environment, or each of several.

  Args:
    environment: that is observed.

  Returns:
    Observers; of several environments, a `batch_actor.Observed` for each, whose
    observers share their lifetime.
  """
  if isinstance(environment, dm_env.Environment):
    return _of_one(environment)
  # Other batches have no environment that could be looked at.
  each_one = (
    environment.environments if isinstance(environment, batched.Serial) else ()
  )
  observed: list[batch_actor.Observed] = []
  shared = None
  for each in each_one:
    for observer in _of_one(each, shared):
      shared = observer
      observed.append(batch_actor.Observed(each, [observer]))
  return observed


def _of_one(
  environment: dm_env.Environment, beside: Coverage | None = None
) -> list[Coverage]:
  if not isinstance(environment, capabilities.HasConsole):
    return []
  game = environment.game
  if game not in atari_coverage.AVATAR_BYTES:
    return []
  return [Coverage(game, beside)]
