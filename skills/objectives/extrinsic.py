"""The environment's own reward: a task, and no skills to tell apart.

With one skill this is reinforcement learning as usual. Nothing ends where a
skill's steps do, which are merely the steps of one item of replay: returns go
on past them, and stop only where the environment says so.
"""

import dataclasses

import jax.numpy as jnp

from skills import types
from skills.objectives import base

STREAM = 'extrinsic'


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExtrinsicConfig:
  """Settings of the task's reward.

  Attributes:
    scale: factor on the reward.
  """

  scale: float = 1.0


def make(
  config: ExtrinsicConfig, context: base.ObjectiveContext
) -> base.IntrinsicReward:
  """Pays what the environment pays, times `scale`."""
  del context

  def reward(state: base.ObjectiveState, trajectory: types.Trajectory):
    del state
    return (config.scale * trajectory.reward * trajectory.mask)[..., None]

  def update(state: base.ObjectiveState, trajectory: types.Trajectory, key):
    del trajectory, key
    return state, {}

  return base.IntrinsicReward(
    streams=(STREAM,),
    init=lambda key: (),
    reward=reward,
    weights=lambda state: jnp.ones((1,)),
    update=update,
    bootstrap_at_skill_end=True,
  )
