"""Bonuses for exploration, beside a skill reward."""

import dataclasses
from typing import Any

from skills import checks
from skills.objectives import base
from skills.objectives import vic


@dataclasses.dataclass(frozen=True, kw_only=True)
class BonusConfig:
  """Settings of a skill reward with a bonus.

  Attributes:
    over: configuration of the skill reward.
    bonus_weight: weight of the bonus relative to it.
    timesteps: 'final' pays for the state in which a skill ends; 'every' for
      each state that it visits.
  """

  over: Any = vic.VicConfig()
  bonus_weight: float = 1.0
  timesteps: str = 'final'

  def __post_init__(self) -> None:
    """Checks the settings."""
    checks.at_least(self, 0, 'bonus_weight')
    checks.choice(self, base.TIMESTEPS, 'timesteps')


def add(
  config: BonusConfig,
  context: base.ObjectiveContext,
  bonus: base.IntrinsicReward,
) -> base.IntrinsicReward:
  """The skill reward and, as a second stream, the bonus."""
  return base.add(
    context.objective(config.over), base.scale(bonus, config.bonus_weight)
  )
