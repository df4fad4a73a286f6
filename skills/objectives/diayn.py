"""DIAYN: skills told apart by every state that they visit.

Eysenbach, Gupta, Ibarz and Levine, "Diversity is all you need", 2018
(arXiv:1802.06070), eq. 3: r_t = log q(z|s_{t+1}) - log p(z).

Departures from the paper: the learner need not be SAC, so the entropy term of
its objective is whatever exploration the learner has.
"""

import dataclasses

from skills.networks import discriminators
from skills.objectives import base
from skills.objectives import discrimination


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiaynConfig:
  """Settings of DIAYN.

  Attributes:
    discriminator: the network q(z|s) and how it learns.
    clip_at_zero: whether the reward of a skill that is named worse than by
      chance counts as 0; not in the paper.
    bootstrap_at_skill_end: whether returns go on past a skill's last step, with
      the value of the state and skill that it ended in. Every state pays, so
      that a skill which could go on is worth more than what it was paid so far.
      In the paper a skill lasts for an episode; here `skill_length` cuts it,
      and without this the last steps of a skill look as if nothing followed.
      A bonus that is added must agree, as `base.add` says; DISDAIN's follows.
  """

  discriminator: discriminators.DiscriminatorConfig = (
    discriminators.DiscriminatorConfig()
  )
  clip_at_zero: bool = False
  bootstrap_at_skill_end: bool = False


def make(
  config: DiaynConfig, context: base.ObjectiveContext
) -> base.IntrinsicReward:
  """Pays log q(z|s_{t+1}) - log p(z), in nats, at every step."""
  return discrimination.from_config(
    config.discriminator,
    context,
    base.EVERY_STEP,
    clip_at_zero=config.clip_at_zero,
    bootstrap_at_skill_end=config.bootstrap_at_skill_end,
  )
