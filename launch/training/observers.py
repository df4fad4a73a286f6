"""Metrics of episodes besides their returns."""

from typing import Any

import dm_env

from envs import atari_coverage
from envs import capabilities
from skills.agents import acme_api


class Coverage(acme_api.EnvLoopObserver):
  """Number of places that the avatar of an Atari game visited."""

  def __init__(self, game: str):
    """Starts at zero; `game` is one of `atari_coverage.AVATAR_BYTES`."""
    self._coverage = atari_coverage.Coverage(game)

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
  environment: dm_env.Environment,
) -> list[acme_api.EnvLoopObserver]:
  """Makes the observers that suit an environment."""
  if not isinstance(environment, capabilities.HasConsole):
    return []
  game = environment.game
  return [Coverage(game)] if game in atari_coverage.AVATAR_BYTES else []
