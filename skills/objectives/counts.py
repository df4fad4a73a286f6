"""A bonus for states that were rarely seen: 1 / sqrt(n(s)).

Strehl and Littman, "An analysis of model-based interval estimation for Markov
decision processes", 2008; the tabular baseline of DISDAIN (arXiv:2107.14226).

Departures: n(s) counts the states that the learner was shown, so with replay a
state counts as often as it was sampled.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int

from skills import types
from skills.objectives import base
from skills.objectives import bonus as bonus_lib

STREAM = 'counts'


def count_bonus(
  counts: Float[Array, 'S'], state: Int[Array, '*batch']
) -> Float[Array, '*batch']:
  """1 / sqrt(n(s)), in (0, 1]; a state never seen counts as seen once."""
  return jax.lax.rsqrt(jnp.maximum(counts[state], 1.0))


def bonus(num_states: int, timesteps: base.Timesteps) -> base.IntrinsicReward:
  """Makes the bonus.

  Args:
    num_states: number of states S; observations are their indices.
    timesteps: which states are counted and paid for.

  Returns:
    An objective of the one stream 'counts', whose state is the counts `[S]`.
  """

  def reward(counts: Float[Array, 'S'], trajectory: types.Trajectory):
    values = count_bonus(counts, timesteps.select(trajectory).observation)
    # The counts are floats, and state: without this they would get a gradient.
    return jax.lax.stop_gradient(timesteps.place(values, trajectory))[..., None]

  def update(counts, trajectory, key):
    del key
    selected = timesteps.select(trajectory)
    values = count_bonus(counts, selected.observation)
    metrics = {'count_bonus': base.masked_mean(values, selected.mask)}
    return counts.at[selected.observation].add(selected.mask), metrics

  return base.IntrinsicReward(
    streams=(STREAM,),
    init=lambda key: jnp.zeros((num_states,)),
    reward=reward,
    weights=lambda counts: jnp.ones((1,)),
    update=update,
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CountsConfig(bonus_lib.BonusConfig):
  """Settings of a skill reward with a count bonus.

  States are counted where they are paid for.
  """

  bonus_weight: float = 3.0


def make(
  config: CountsConfig, context: base.ObjectiveContext
) -> base.IntrinsicReward:
  """The skill reward and, as a second stream, the count bonus.

  Raises:
    ValueError: if observations are not state indices.
  """
  if context.problem.num_states is None:
    raise ValueError(
      'a count bonus needs observations that are state indices, got '
      f'observations of shape {context.problem.observation_shape}; use the '
      "bonus of 'rnd' instead."
    )
  timesteps = base.TIMESTEPS[config.timesteps]
  return bonus_lib.add(
    config, context, bonus(context.problem.num_states, timesteps)
  )
