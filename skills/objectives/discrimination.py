"""Variational lower bound on I(Z; O): what VIC, DIAYN and RVIC share.

A variational lower bound on the information between skill and outcome (Barber
and Agakov, 2003): E[log q(z|o) - log p(z)] <= I(Z; O), with a uniform prior
p(z) = 1/K. Objectives differ by the timesteps that they look at.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
import optax

from skills import optimizers
from skills import types
from skills.networks import discriminators
from skills.objectives import base
from skills.ops import categorical

SKILL_STREAM = 'skill'


class DiscriminationState(NamedTuple):
  """State of the discriminators.

  Attributes:
    params: of every member, with a leading axis N.
    optimizer: their optimizer's state.
  """

  params: types.Params
  optimizer: optax.OptState


def skill_reward(
  logits: Float[Array, 'N *batch K'], skill: Int[Array, '*batch']
) -> Float[Array, '*batch']:
  """Reward of the ensemble for naming the skill better than chance.

      log qbar(z|o) + log K,  qbar = mean_i q_i

  Args:
    logits: unnormalized log q_i(z|o) of each member.
    skill: the skill that was run.

  Returns:
    The reward in nats, at most log K; 0 at chance.
  """
  log_q = categorical.log_mean(-cross_entropy(logits, skill))
  return log_q + jnp.log(float(logits.shape[-1]))


def cross_entropy(
  logits: Float[Array, 'N *batch K'], skill: Int[Array, '*batch']
) -> Float[Array, 'N *batch']:
  """Loss of each member, -log q_i(z|o) in nats."""
  log_q = jax.nn.log_softmax(logits)
  index = jnp.broadcast_to(skill, logits.shape[:-1])
  return -categorical.log_prob(log_q, index)


def make(
  timesteps: base.Timesteps,
  network: types.Network,
  optimizer: optax.GradientTransformation,
  *,
  clip_at_zero: bool,
  sees_start: bool = False,
  bootstrap_at_skill_end: bool = False,
) -> base.IntrinsicReward:
  """Makes an objective that rewards distinguishable skills.

  Args:
    timesteps: those that the discriminators see and that are rewarded.
    network: observations `[*batch, ...]` -> logits `[N, *batch, K]`; it takes
      two of them, s_0 first, if `sees_start`.
    optimizer: of the discriminators.
    clip_at_zero: whether a skill that is named worse than by chance costs
      nothing.
    sees_start: whether the discriminators see where the skill began, too.
    bootstrap_at_skill_end: whether returns go on past a skill's end, as
      `base.IntrinsicReward` has it.

  Returns:
    An objective of the one stream 'skill'.
  """

  def init(key: types.PRNGKey) -> DiscriminationState:
    params = network.init(key)
    return DiscriminationState(params, optimizer.init(params))

  def apply(params: types.Params, selected: base.SelectedSteps):
    if sees_start:
      return network.apply(params, selected.start, selected.observation)
    return network.apply(params, selected.observation)

  def logits(state: DiscriminationState, trajectory: types.Trajectory):
    return apply(state.params, timesteps.select(trajectory))

  def reward(state: DiscriminationState, trajectory: types.Trajectory):
    skill = timesteps.select(trajectory).skill
    values = skill_reward(logits(state, trajectory), skill)
    if clip_at_zero:
      values = jnp.maximum(values, 0.0)
    return jax.lax.stop_gradient(timesteps.place(values, trajectory))[..., None]

  def update(
    state: DiscriminationState, trajectory: types.Trajectory, key: types.PRNGKey
  ):
    del key
    selected = timesteps.select(trajectory)

    def loss_fn(params: types.Params):
      outputs = apply(params, selected)
      losses = cross_entropy(outputs, selected.skill)
      mask = jnp.broadcast_to(selected.mask, losses.shape)
      return base.masked_mean(losses, mask), outputs

    params, optimizer_state, outputs = optimizers.gradient_step(
      optimizer, loss_fn, state.params, state.optimizer
    )
    return DiscriminationState(params, optimizer_state), _metrics(
      outputs, selected
    )

  return base.IntrinsicReward(
    streams=(SKILL_STREAM,),
    init=init,
    reward=reward,
    weights=lambda state: jnp.ones((1,)),
    update=update,
    discriminator=base.Discriminator(logits, timesteps),
    bootstrap_at_skill_end=bootstrap_at_skill_end,
  )


def from_config(
  config: discriminators.DiscriminatorConfig,
  context: base.ObjectiveContext,
  timesteps: base.Timesteps,
  *,
  clip_at_zero: bool,
  sees_start: bool = False,
  bootstrap_at_skill_end: bool = False,
) -> base.IntrinsicReward:
  """Makes the discriminators of a configuration, and `make`s the objective."""
  network = discriminators.make(
    config, context.problem, context.num_skills, sees_start=sees_start
  )
  return make(
    timesteps,
    network,
    optimizers.make(config.optimizer, config.learning_rate),
    clip_at_zero=clip_at_zero,
    sees_start=sees_start,
    bootstrap_at_skill_end=bootstrap_at_skill_end,
  )


def _metrics(
  logits: Float[Array, 'N M B K'], selected: base.SelectedSteps
) -> types.Metrics:
  """Loss, accuracy and reward on a batch, before the update."""
  losses = cross_entropy(logits, selected.skill)
  q = jnp.mean(jax.nn.softmax(logits), axis=0)
  right = (jnp.argmax(q, axis=-1) == selected.skill).astype(jnp.float32)
  # Unclipped: the clipped reward would overstate what is known.
  unclipped = skill_reward(logits, selected.skill)
  return {
    'discriminator_loss': base.masked_mean(jnp.mean(losses, 0), selected.mask),
    'discriminator_accuracy': base.masked_mean(right, selected.mask),
    'skill_reward': base.masked_mean(unclipped, selected.mask),
  }
