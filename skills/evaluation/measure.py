"""Metrics of a set of skills, from its trajectories."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
import numpy as np

from skills import types
from skills.evaluation import metrics
from skills.objectives import base
from skills.objectives import discrimination
from skills.ops import episodes

# Limit of observation entries that the discriminators judge at once.
_MAX_NUMBERS = 2**22


def logits_of(
  discriminator: base.Discriminator,
  state: base.ObjectiveState,
  trajectory: types.Trajectory,
) -> Float[Array, 'N M B K']:
  """Logits of the discriminators on trajectories, of large pictures too."""
  return _in_parts(discriminator.logits, state, trajectory, 2)


def _in_parts(
  function: Callable[[base.ObjectiveState, types.Trajectory], Array],
  state: base.ObjectiveState,
  trajectory: types.Trajectory,
  axis: int,
) -> Array:
  """Maps a function over parts of a batch that fit in memory.

  Args:
    function: what to compute of trajectories.
    state: of the objective.
    trajectory: all of them.
    axis: that of the trajectories in the result.
  """
  if trajectory.observation.size <= _MAX_NUMBERS:
    return function(state, trajectory)
  per_skill = trajectory.observation[:, 0].size
  by_skill = jax.lax.map(
    lambda skill: jnp.squeeze(
      function(state, jax.tree.map(lambda x: x[:, None], skill)), axis
    ),
    jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), trajectory),
    batch_size=max(_MAX_NUMBERS // per_skill, 1),
  )
  return jnp.moveaxis(by_skill, 0, axis)


def measure(
  objective: base.IntrinsicReward, problem: types.ProblemSpec
) -> Callable[[base.ObjectiveState, types.Trajectory], types.Metrics]:
  """Makes the function that measures; jit it.

  Args:
    objective: whose discriminators judge; one without gives no number of
      skills.
    problem: the environment's shapes.

  Returns:
    A function of the objective's state and of fresh trajectories with uniformly
    drawn skills. It gives `skill_return`, the environment's reward summed over
    a skill; `intrinsic_return/<stream>`, the same of each of the objective's
    own rewards; `skills_learned`, in (0, K]; `held_out_loss`, the
    discriminators' cross-entropy in nats, which is higher than in what they
    learned from if they know that by heart; where discriminators see every
    state of a skill, `skills_learned_at_end`, the same by its last one alone;
    and in environments of S states `coverage`, the fraction of them that some
    skill visited.
  """
  discriminator = objective.discriminator

  def compute(
    state: base.ObjectiveState, trajectory: types.Trajectory
  ) -> types.Metrics:
    mask = trajectory.mask
    numbers = {
      'skill_return': jnp.mean(jnp.sum(trajectory.reward * mask, axis=0))
    }
    rewards = _in_parts(objective.reward, state, trajectory, 1)
    for i, stream in enumerate(objective.streams):
      numbers[f'intrinsic_return/{stream}'] = jnp.mean(
        jnp.sum(rewards[..., i] * mask, axis=0)
      )
    if discriminator is not None:
      moments = discriminator.timesteps.select(trajectory)
      logits = logits_of(discriminator, state, trajectory)
      numbers['skills_learned'] = metrics.skills_learned_from_logits(
        logits, moments.skill, moments.mask
      )
      losses = discrimination.cross_entropy(logits, moments.skill)
      numbers['held_out_loss'] = base.masked_mean(
        jnp.mean(losses, axis=0), moments.mask
      )
      if moments.mask.shape == mask.shape and len(mask) > 1:
        numbers['skills_learned_at_end'] = metrics.skills_learned_from_logits(
          logits,
          moments.skill,
          episodes.at_last_step(jnp.ones(mask.shape[1:]), mask),
        )
    if problem.num_states is not None:
      numbers['coverage'] = metrics.coverage(
        trajectory.observation[1:], problem.num_states, mask
      )
    return numbers

  return compute


def information(
  trajectory: types.Trajectory, positions: Int[np.ndarray, 'S D']
) -> dict[str, float]:
  """Information of states about skills, by counting; see `metrics`.

  Args:
    trajectory: from an environment whose observations are state indices; many
      times more skills than there are outcomes.
    positions: of each state, such as row and column.

  Returns:
    `information_final`, `information_pair` and `information_displacement`, in
    bits, and `effective_states`, in [1, S], of all states that were visited.
  """
  observation, skill, mask = (
    np.asarray(part)
    for part in (trajectory.observation, trajectory.skill, trajectory.mask)
  )
  last = mask.sum(axis=0).astype(int)
  found = metrics.skill_information(
    skill[0],
    observation[0],
    observation[last, np.arange(len(last))],
    positions,
  )
  visits = np.bincount(observation[1:][mask > 0], minlength=len(positions))
  return {
    'information_final': found.final,
    'information_pair': found.pair,
    'information_displacement': found.displacement,
    'effective_states': metrics.effective_states(visits),
  }
