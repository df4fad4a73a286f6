"""DISDAIN: an exploration bonus from disagreeing skill discriminators.

Strouse, Baumli, Warde-Farley, Mnih and Hansen, "Learning more skills through
optimistic exploration", 2021 (arXiv:2107.14226).

A discriminator is unsure in states it has rarely seen, so the skill reward
log q(z|s) - log p(z) punishes exploration. DISDAIN trains an ensemble of N
discriminators, estimates from them how much of the doubt more data would
remove, I(Z; Phi | O) = H[Z | O] - H[Z | O, Phi], and pays the policy for it.

Departures from the paper: none known.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float

from skills import checks
from skills.networks import discriminators
from skills.objectives import base
from skills.objectives import vic
from skills.ops import categorical

STREAM = 'disdain'


def disagreement(
  logits: Float[Array, 'N *batch K'],
) -> Float[Array, '*batch']:
  """Information that naming the member would give about the skill.

      H[ mean_i q_i(.|o) ] - mean_i H[ q_i(.|o) ]

  Args:
    logits: unnormalized log q_i(z|o) of each of the N members.

  Returns:
    The bonus in nats: 0 where members agree, at most log(min(N, K)).
  """
  log_q = jax.nn.log_softmax(logits)
  q = jnp.exp(log_q)
  mean_entropy = -jnp.mean(jnp.sum(q * log_q, axis=-1), axis=0)
  return categorical.entropy(jnp.mean(q, axis=0)) - mean_entropy


def bonus(skill_reward: base.IntrinsicReward) -> base.IntrinsicReward:
  """The bonus alone, read off the discriminators of another objective.

  Args:
    skill_reward: an objective with discriminators.

  Returns:
    An objective of the one stream 'disdain', over the state of `skill_reward`;
    its update is that of `skill_reward`.

  Raises:
    ValueError: if `skill_reward` has no discriminators.
  """
  discriminator = skill_reward.discriminator
  if discriminator is None:
    raise ValueError(
      'DISDAIN needs an objective with discriminators to build on, got one of '
      f'the streams {skill_reward.streams}.'
    )

  def reward(state, trajectory):
    values = disagreement(discriminator.logits(state, trajectory))
    placed = discriminator.timesteps.place(values, trajectory)
    return jax.lax.stop_gradient(placed)[..., None]

  def update(state, trajectory, key):
    selected = discriminator.timesteps.select(trajectory)
    values = disagreement(discriminator.logits(state, trajectory))
    metrics = {'disagreement': base.masked_mean(values, selected.mask)}
    state, discriminator_metrics = skill_reward.update(state, trajectory, key)
    return state, discriminator_metrics | metrics

  return skill_reward._replace(
    streams=(STREAM,),
    reward=reward,
    weights=lambda state: jnp.ones((1,)),
    update=update,
  )


def with_bonus(
  skill_reward: base.IntrinsicReward, weight: float
) -> base.IntrinsicReward:
  """An objective and, beside it, the disagreement of its discriminators.

  Both read and train the same ensemble, so this is no plain `base.add`, which
  would keep two.

  Args:
    skill_reward: an objective with discriminators.
    weight: of the bonus in the mixture, relative to the skill reward.
  """
  exploration = base.scale(bonus(skill_reward), weight)
  return exploration._replace(
    streams=skill_reward.streams + exploration.streams,
    reward=lambda state, trajectory: jnp.concatenate(
      [
        skill_reward.reward(state, trajectory),
        exploration.reward(state, trajectory),
      ],
      axis=-1,
    ),
    weights=lambda state: jnp.concatenate(
      [skill_reward.weights(state), exploration.weights(state)]
    ),
  )


def _default_over() -> vic.VicConfig:
  return vic.VicConfig(
    discriminator=discriminators.DiscriminatorConfig(ensemble_size=2)
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DisdainConfig:
  """Settings of DISDAIN.

  Attributes:
    over: configuration of the objective whose discriminators disagree; its
      `discriminator.ensemble_size` is the N of the bonus.
    bonus_weight: weight lambda of the bonus relative to the skill reward.
  """

  over: Any = dataclasses.field(default_factory=_default_over)
  bonus_weight: float = 20.0

  def __post_init__(self) -> None:
    """Checks the settings."""
    checks.at_least(self, 0, 'bonus_weight')
    discriminator = getattr(self.over, 'discriminator', None)
    if discriminator is None:
      raise ValueError(
        'over must configure an objective with a discriminator, got '
        f'{type(self.over).__name__}.'
      )
    ensemble_size = discriminator.ensemble_size
    if ensemble_size < 2:
      raise ValueError(
        'over.discriminator.ensemble_size must be >= 2 for members to '
        f'disagree, got {ensemble_size}; for no bonus use the objective itself.'
      )


def make(
  config: DisdainConfig, context: base.ObjectiveContext
) -> base.IntrinsicReward:
  """The skill reward, and the bonus at the same steps."""
  return with_bonus(context.objective(config.over), config.bonus_weight)
