"""VIC: skills told apart by the state in which they end.

Gregor, Rezende and Wierstra, "Variational intrinsic control", 2016
(arXiv:1611.07507), in the form that DISDAIN builds on: a fixed uniform prior
over skills, and q(z|s_T) on the final state alone. With `sees_start` it is
q(z|s_0, s_T), as in the paper and in the experiments of RVIC.

Departures from the paper: the prior is not learned, and unless asked q does not
see s_0.
"""

import dataclasses

from skills.networks import discriminators
from skills.objectives import base
from skills.objectives import discrimination


@dataclasses.dataclass(frozen=True, kw_only=True)
class VicConfig:
  """Settings of VIC.

  Attributes:
    discriminator: the network q(z|s_T) and how it learns.
    clip_at_zero: whether the reward of a skill that is named worse than by
      chance counts as 0, as DISDAIN's release does.
    sees_start: whether the discriminator sees s_0 beside s_T.
  """

  discriminator: discriminators.DiscriminatorConfig = (
    discriminators.DiscriminatorConfig()
  )
  clip_at_zero: bool = True
  sees_start: bool = False


def make(
  config: VicConfig, context: base.ObjectiveContext
) -> base.IntrinsicReward:
  """Pays log q(z|s_T) - log p(z), in nats, at a skill's last step."""
  return discrimination.from_config(
    config.discriminator,
    context,
    base.FINAL_STEP,
    clip_at_zero=config.clip_at_zero,
    sees_start=config.sees_start,
  )
