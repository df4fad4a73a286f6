"""Writes the skills of N environments to Reverb over one connection.

Items are those of `writer.make_adder`, row by row, but each column of an item
is sent as one array. N environments with T steps in a skill so need one call of
Reverb for N steps, where writing row by row needs two for each. In return the
server shares no rows between consecutive items: one observation of T + 1, and
the rows of `ReplayConfig.burn_in`.
"""

import collections
from typing import Any
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
    self._length = burn_in + skill_length + 1
    self._max_in_flight_items = max_in_flight_items
    self._writer: Any = None
    # Columns of the last item, as the writer keeps them.
    self._written: Any = None
    # The unfinished item of each environment: leaves `[N, L, ...]` of an
    # `adders.base.Trajectory`, the observation first. Made with the first step,
    # when their shapes are known.
    self._columns: list[np.ndarray] | None = None
    # Row of each environment's last observation, `[N]`.
    self._row = np.zeros(0, int)
    self._saved: list[Any] | None = None
    # Columns of finished items that are not sent yet.
    self._finished: collections.deque[list[np.ndarray]] = collections.deque()

  def add(
    self,
    timestep: dm_env.TimeStep,
    action: Any,
    after: dm_env.TimeStep,
    extras: Any,
  ) -> None:
    """Records a step of each environment that was in an episode."""
    begins = timestep.step_type == _FIRST
    values = jax.tree.leaves(
      adders.base.Trajectory(
        observation=timestep.observation,
        action=action,
        reward=after.reward,
        discount=after.discount,
        start_of_episode=begins,
        extras=extras,
      )
    )
    columns = self._columns
    if columns is None:
      columns = self._make_columns(values)
    if begins.any():
      self._row[begins] = self._burn_in
      for column in columns:
        column[begins] = 0  # Padding, before and after the episode.
    everyone = np.arange(len(begins))
    for column, value in zip(columns, values, strict=True):
      column[everyone, self._row] = value
    steps = steps_made(timestep, after)
    # A row is complete with the action after its observation.
    for i in np.flatnonzero(steps & (self._row == self._length - 1)):
      self._finish(i)
      self._go_on(i)
    self._row += steps
    for i in np.flatnonzero(steps & (after.step_type == _LAST)):
      for column in columns:
        column[i, self._row[i] :] = 0
      columns[0][i, self._row[i]] = after.observation[i]
      self._finish(i)

  def wait(self) -> None:
    """Sends finished items, no more than `max_in_flight_items` at a time."""
    while self._finished:
      if self._writer is None:
        self._writer = self._client.trajectory_writer(num_keep_alive_refs=1)
      # One array a column, in order: to go through the structure of an item
      # would take longer than to send it.
      self._writer.append(self._finished.popleft())
      if self._written is None:
        self._written = self._writer.history
      # 1 is the largest priority that there is.
      self._writer.create_item(
        replay_tables.TABLE, 1.0, [column[-1] for column in self._written]
      )
      self._writer.flush(self._max_in_flight_items)

  def flush(self) -> None:
    """Waits until the server has all finished items."""
    self.wait()
    if self._writer is not None:
      self._writer.flush()

  def close(self) -> None:
    """Closes the connection; items on their way are lost."""
    self._client.close()

  def save(self) -> list[Any] | None:
    """The unfinished items, as JSON can hold them; None before a step."""
    if self._columns is None:
      return self._saved
    return [x.tolist() for x in (self._row, *self._columns)]

  def restore(self, saved: list[Any] | None) -> None:
    """Continues with the unfinished items that `save` gave."""
    self._saved = saved

  def _make_columns(self, values: list[np.ndarray]) -> list[np.ndarray]:
    self._row = np.full(len(values[0]), self._burn_in)
    self._columns = [
      np.zeros((len(x), self._length, *x.shape[1:]), x.dtype) for x in values
    ]
    if self._saved is not None:
      mine = self._row, *self._columns
      for array, saved in zip(mine, self._saved, strict=True):
        array[...] = saved
    return self._columns

  def _go_on(self, i: int) -> None:
    """Goes on to the next skill, whose first rows are the last ones here."""
    assert self._columns is not None
    kept = self._burn_in + 1
    for column in self._columns:
      column[i, :kept] = column[i, self._skill_length :].copy()
      column[i, kept:] = 0
    self._row[i] -= self._skill_length

  def _finish(self, i: int) -> None:
    assert self._columns is not None
    self._finished.append([column[i].copy() for column in self._columns])


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
  return SkillBatchAdder(
    replay_writer.make_client(config, client, should_stop),
    burn_in=config.replay.burn_in,
    skill_length=config.skill_length,
    max_in_flight_items=2 * config.batch_size,
  )
