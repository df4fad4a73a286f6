"""Replay on device: a ring of the newest trajectories."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Int

from skills import types
from skills.learners import base


class Replay(NamedTuple):
  """The newest trajectories.

  Attributes:
    trajectories: of C places, `[T, C]`; those not yet written are zeros.
    num_added: trajectories that were ever added.
  """

  trajectories: types.Trajectory
  num_added: Int[Array, '']


def init(batch: types.Trajectory, capacity: int) -> Replay:
  """An empty ring.

  Args:
    batch: shapes and types of what is added at a time, B trajectories.
    capacity: trajectories that are kept; rounded up to a multiple of B.
  """
  size = batch.mask.shape[1]
  places = -(-capacity // size) * size
  return Replay(
    jax.tree.map(
      lambda x: jnp.zeros((x.shape[0], places) + x.shape[2:], x.dtype), batch
    ),
    jnp.zeros((), jnp.int32),
  )


def add(replay: Replay, batch: types.Trajectory) -> Replay:
  """The ring with a batch in the place of its oldest one."""
  places = replay.trajectories.mask.shape[1]
  start = replay.num_added % places
  return Replay(
    jax.tree.map(
      lambda kept, new: jax.lax.dynamic_update_slice_in_dim(
        kept, new, start, axis=1
      ),
      replay.trajectories,
      batch,
    ),
    replay.num_added + batch.mask.shape[1],
  )


def sample(replay: Replay, size: int, key: types.PRNGKey) -> types.Trajectory:
  """Trajectories drawn uniformly, with replacement, from those in the ring."""
  places = replay.trajectories.mask.shape[1]
  index = jax.random.randint(
    key, (size,), 0, jnp.minimum(replay.num_added, places)
  )
  return jax.tree.map(lambda x: jnp.take(x, index, axis=1), replay.trajectories)


def learn(
  learner: base.Learner,
  state: base.LearnerState,
  replay: Replay,
  key: types.PRNGKey,
  *,
  num_updates: int,
  batch_size: int,
  min_size: int,
) -> tuple[base.LearnerState, types.Metrics]:
  """Makes updates, each from trajectories that are drawn anew.

  Args:
    learner: whose updates they are.
    state: of the learner.
    replay: that is learned from.
    key: of the draws.
    num_updates: at least 1.
    batch_size: trajectories of an update.
    min_size: trajectories in replay from which on updates are made.

  Returns:
    The state after them, and the last one's metrics, 0 where none was made.
  """

  def update(state, key):
    return learner.update(state, sample(replay, batch_size, key))

  def updates(state):
    state, metrics = jax.lax.scan(
      update, state, jax.random.split(key, num_updates)
    )
    return state, jax.tree.map(lambda x: x[-1], metrics)

  def none(state):
    _, metrics = jax.eval_shape(updates, state)
    return state, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), metrics)

  return jax.lax.cond(replay.num_added >= min_size, updates, none, state)
