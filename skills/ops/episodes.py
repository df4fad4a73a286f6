"""Last steps and final observations of trajectories.

Real steps fill a prefix of a trajectory's T steps; `mask` marks them.
"""

import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Shaped


def last_step(mask: Float[Array, 'T B']) -> Int[Array, 'B']:
  """Index of each trajectory's last real step."""
  return jnp.sum(mask, axis=0).astype(jnp.int32) - 1


def at_last_step(
  values: Float[Array, 'B'], mask: Float[Array, 'T B']
) -> Float[Array, 'T B']:
  """Puts one value a trajectory at its last real step, and 0 elsewhere."""
  steps = jnp.arange(mask.shape[0])[:, None]
  return jnp.where(steps == last_step(mask)[None], values[None], 0.0)


def final(
  observation: Shaped[Array, 'T_plus_1 B *rest'], mask: Float[Array, 'T B']
) -> Shaped[Array, 'B *rest']:
  """Final observation s_T, also of a skill that was cut short."""
  index = last_step(mask) + 1
  return observation[index, jnp.arange(mask.shape[1])]
