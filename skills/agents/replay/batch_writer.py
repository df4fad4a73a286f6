"""Writes the skills of N environments to Reverb over one connection.

Items are those of `writer.make_adder`, row by row, but each column of an item
is sent as one array. N environments with T steps in a skill so need one call of
Reverb for N steps, where writing row by row needs two for each. In return the
server shares no rows between consecutive items: one observation of T + 1, and
the rows of `ReplayConfig.burn_in`.
"""

from typing import Any
from typing import NamedTuple
from typing import Protocol

from acme.adders import reverb as adders
import dm_env
import jax
from jaxtyping import Bool
import numpy as np
import reverb

from skills import config as config_lib
from skills.agents.replay import stalls
from skills.agents.replay import tables as replay_tables
from skills.agents.replay import writer as replay_writer

_FIRST = int(dm_env.StepType.FIRST)
_LAST = int(dm_env.StepType.LAST)


class BatchAdder(Protocol):
  """What the steps of N environments are handed to."""

  def add(
    self,
    timestep: dm_env.TimeStep,
    action: Any,
    after: dm_env.TimeStep,
    extras: Any,
  ) -> None:
    """Records a step of each environment that was in an episode.

    Args:
      timestep: N time steps.
      action: one for each environment.
      after: the next time steps; see `steps_made`.
      extras: recorded beside the actions.
    """
    ...

  def wait(self) -> None:
    """Waits until there is room for more."""
    ...


def steps_made(
  timestep: dm_env.TimeStep, after: dm_env.TimeStep
) -> Bool[np.ndarray, 'N']:
  """Environments whose episode went on from one time step to the next."""
  return (timestep.step_type != _LAST) & (after.step_type != _FIRST)


class Rows(NamedTuple):
  """Unfinished items of N environments.

  Attributes:
    columns: an `adders.base.Trajectory` of arrays `[N, L, ...]`: the L rows of
      an item for each environment.
    position: row of each environment's last observation, `[N]`.
  """

  columns: Any
  position: np.ndarray


class SkillBatchAdder:
  """Writes one item per skill of N environments."""

  def __init__(
    self,
    client: replay_writer.PatientClient,
    *,
    burn_in: int,
    skill_length: int,
    max_in_flight_items: int,
  ):
    """Initializes the adder.

    Args:
      client: of the replay server.
      burn_in: rows of an item before its skill.
      skill_length: steps of a skill.
      max_in_flight_items: items that may be on their way while more are added.
    """
    self._client = client
    self._burn_in = burn_in
    self._skill_length = skill_length
    self._max_in_flight_items = max_in_flight_items
    self._writer: Any = None
    self._rows: Rows | None = None
    self._saved: list[Any] | None = None

  def add(
    self,
    timestep: dm_env.TimeStep,
    action: Any,
    after: dm_env.TimeStep,
    extras: Any,
  ) -> None:
    """Records a step of each environment that was in an episode."""
    step = adders.base.Trajectory(
      observation=timestep.observation,
      action=action,
      reward=after.reward,
      discount=after.discount,
      start_of_episode=timestep.step_type == _FIRST,
      extras=extras,
    )
    if self._rows is None:
      self._rows = self._empty(step)
    columns, position = self._rows
    begins = timestep.step_type == _FIRST
    if begins.any():
      self._clear(begins)
    everyone = np.arange(len(position))
    for column, value in zip(
      jax.tree.leaves(columns), jax.tree.leaves(step), strict=True
    ):
      column[everyone, position] = value
    steps = steps_made(timestep, after)
    # A row is complete with the action after its observation.
    for i in np.flatnonzero(steps & (position == self._length - 1)):
      self._write(i)
      self._shift(i)
    position += steps
    for i in np.flatnonzero(steps & (after.step_type == _LAST)):
      self._finish(i, after.observation[i])

  def wait(self) -> None:
    """Waits until no more than `max_in_flight_items` are on their way."""
    if self._writer is not None:
      self._writer.flush(self._max_in_flight_items)

  def flush(self) -> None:
    """Waits until the server has all items."""
    if self._writer is not None:
      self._writer.flush()

  def close(self) -> None:
    """Closes the connection; items on their way are lost."""
    self._client.close()

  def save(self) -> list[Any] | None:
    """The unfinished items, as JSON can hold them; None before a step."""
    if self._rows is None:
      return self._saved
    return [leaf.tolist() for leaf in jax.tree.leaves(self._rows)]

  def restore(self, saved: list[Any] | None) -> None:
    """Continues with the unfinished items that `save` gave."""
    # Shapes and types are known with the first step.
    self._saved = saved

  @property
  def _length(self) -> int:
    """Rows of an item."""
    return self._burn_in + self._skill_length + 1

  def _empty(self, step: adders.base.Trajectory) -> Rows:
    columns = jax.tree.map(
      lambda x: np.zeros((len(x), self._length, *x.shape[1:]), x.dtype), step
    )
    position = np.full(len(columns.reward), self._burn_in)
    rows = Rows(columns, position)
    if self._saved is not None:
      for leaf, values in zip(jax.tree.leaves(rows), self._saved, strict=True):
        leaf[...] = values
    return rows

  def _clear(self, begins: Bool[np.ndarray, 'N']) -> None:
    """Zeros where an episode begins: padding before and after it."""
    assert self._rows is not None
    for column in jax.tree.leaves(self._rows.columns):
      column[begins] = 0
    self._rows.position[begins] = self._burn_in

  def _finish(self, i: int, observation: np.ndarray) -> None:
    """Writes the last item of an episode, padded with zeros."""
    assert self._rows is not None
    columns, position = self._rows
    for column in jax.tree.leaves(columns):
      column[i, position[i] :] = 0
    columns.observation[i, position[i]] = observation
    self._write(i)

  def _shift(self, i: int) -> None:
    """Goes on to the next skill, whose first rows are the last ones here."""
    assert self._rows is not None
    kept = self._burn_in + 1
    for column in jax.tree.leaves(self._rows.columns):
      column[i, :kept] = column[i, self._skill_length :].copy()
      column[i, kept:] = 0
    self._rows.position[i] -= self._skill_length

  def _write(self, i: int) -> None:
    assert self._rows is not None
    if self._writer is None:
      self._writer = self._client.trajectory_writer(num_keep_alive_refs=1)
    self._writer.append(
      {
        name: jax.tree.map(lambda column: column[i], value)
        for name, value in self._rows.columns._asdict().items()
      }
    )
    item = adders.base.Trajectory(
      **jax.tree.map(lambda column: column[-1], self._writer.history)
    )
    # 1 is the largest priority that there is.
    self._writer.create_item(replay_tables.TABLE, 1.0, item)


def make_adder(
  config: config_lib.SkillAgentConfig,
  client: reverb.Client,
  should_stop: stalls.ShouldStop = stalls.never_stop,
) -> SkillBatchAdder:
  """Makes an adder that writes one item per skill of N environments.

  Args:
    config: of the agent.
    client: of the replay server.
    should_stop: whether the program is stopping.
  """
  watchdog = stalls.Watchdog(
    client, 'actor', config.replay.timeout_s, should_stop
  )
  return SkillBatchAdder(
    replay_writer.PatientClient(client, watchdog),
    burn_in=config.replay.burn_in,
    skill_length=config.skill_length,
    max_in_flight_items=2 * config.batch_size,
  )
