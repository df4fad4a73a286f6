"""Writes trajectories to Reverb, one item per skill.

An item has the T steps of a skill and the T + 1 observations around them, after
the `ReplayConfig.burn_in` steps that preceded it. At the start of an episode
these are rows of zeros; 'skill_step' is 0 in all padding.
"""

from collections.abc import Callable
import contextlib
import time
from typing import Any
import weakref

from acme.adders import reverb as adders
import dm_env
import jax
import numpy as np
import reverb

from skills import config as config_lib
from skills.agents.replay import stalls
from skills.agents.replay import tables as replay_tables


class _PatientWriter:
  """A trajectory writer whose blocking calls heed a watchdog.

  While its server is away, these calls time out as they do at a full table, and
  Reverb keeps what was written. Once the server is back, Reverb sends all that
  it had not confirmed: nothing is lost but what the server itself forgot, and
  an item whose confirmation was on its way may arrive twice.
  """

  def __init__(
    self, writer: reverb.TrajectoryWriter, watchdog: stalls.Watchdog
  ):
    self._writer = writer
    self._watchdog = watchdog
    self._is_closed = False

  def __getattr__(self, name: str) -> Any:
    return getattr(self._writer, name)

  def flush(
    self, block_until_num_items: int = 0, timeout_ms: int | None = None
  ):
    if timeout_ms is None:
      self._patiently(self._writer.flush, block_until_num_items)
      return
    # Only an adder that is being deleted bounds its wait. It must neither wait
    # for long nor fail: a stall was reported before.
    if not self._is_closed:
      with contextlib.suppress(reverb.DeadlineExceededError):
        self._writer.flush(
          block_until_num_items, timeout_ms=int(1000 * stalls.POLL_S)
        )

  def end_episode(
    self, clear_buffers: bool = True, timeout_ms: int | None = None
  ):
    del timeout_ms
    self._patiently(self._writer.end_episode, clear_buffers)

  def close(self) -> None:
    # The adder flushes and closes again when it is deleted.
    if not self._is_closed:
      self._is_closed = True
      self._writer.close()

  def _patiently(self, call: Callable[..., None], argument: Any) -> None:
    while True:
      since = time.monotonic()
      try:
        call(argument, timeout_ms=int(1000 * stalls.POLL_S))
        self._watchdog.served()
        return
      except reverb.DeadlineExceededError:
        pass
      except RuntimeError:
        if self._is_closed:  # By another thread, to end this call.
          raise stalls.StoppedError from None
        raise
      self._watchdog.still_waiting(since)


class PatientClient(reverb.Client):
  """A Reverb client that hands out patient writers."""

  def __init__(self, client: reverb.Client, watchdog: stalls.Watchdog):
    super().__init__(client.server_address)
    self._watchdog = watchdog
    self._newest: _PatientWriter | None = None

  def trajectory_writer(
    self, *args: Any, get_signature_timeout_ms: int | None = None, **kwargs: Any
  ) -> Any:
    # A writer asks the server for its signature; Acme would wait 300 s.
    del get_signature_timeout_ms
    while True:
      since = time.monotonic()
      try:
        writer = super().trajectory_writer(
          *args,
          get_signature_timeout_ms=1000 * replay_tables.ANSWER_S,
          **kwargs,
        )
        self._watchdog.served()
        self._newest = _PatientWriter(writer, self._watchdog)
        return self._newest
      except RuntimeError:  # There was no answer.
        pass
      self._watchdog.still_waiting(since)

  def close(self) -> None:
    if self._newest is not None:
      self._newest.close()


class SkillAdder(adders.SequenceAdder):
  """Acme's sequence adder with padding before episodes, and `close`."""

  def __init__(self, client: PatientClient, *, padding: int, **kwargs: Any):
    """Initializes the adder.

    Args:
      client: of the replay server.
      padding: rows of zeros before an episode's first step.
      **kwargs: for Acme's adder.
    """
    super().__init__(client=client, **kwargs)
    self._padding = padding
    self._first: dm_env.TimeStep | None = None
    self._patient_client = client
    # Else it would be closed while the interpreter finalizes.
    weakref.finalize(self, client.close)

  def add_first(self, timestep: dm_env.TimeStep) -> None:
    """Begins an episode."""
    if not self._padding:
      super().add_first(timestep)
      return
    # The shape of a whole row is known with the first action.
    self._first = timestep

  def add(
    self, action: Any, next_timestep: dm_env.TimeStep, extras: Any = ()
  ) -> None:
    """Records a step."""
    if self._first is not None:
      first, self._first = self._first, None
      row = {
        'observation': first.observation,
        'start_of_episode': first.first(),
        'action': action,
        'reward': next_timestep.reward,
        'discount': next_timestep.discount,
        'extras': extras,
      }
      row = jax.tree.map(np.zeros_like, row)
      for _ in range(self._padding):
        self._writer.append(row)
      super().add_first(first)
    super().add(action, next_timestep, extras)

  def close(self) -> None:
    """Closes the connection; steps that were not yet written are lost.

    A server that stops would otherwise wait long for it.
    """
    self._patient_client.close()


def make_client(
  config: config_lib.SkillAgentConfig,
  client: reverb.Client,
  should_stop: stalls.ShouldStop,
) -> PatientClient:
  """Makes the client of an actor, which waits for replay as long as it may.

  Args:
    config: of the agent.
    client: of the replay server.
    should_stop: whether the program is stopping.
  """
  return PatientClient(
    client,
    stalls.Watchdog(client, 'actor', config.replay.timeout_s, should_stop),
  )


def make_adder(
  config: config_lib.SkillAgentConfig,
  client: reverb.Client,
  should_stop: stalls.ShouldStop = stalls.never_stop,
) -> SkillAdder:
  """Makes an adder that writes one item per skill.

  Consecutive items share the observation between their skills and, with
  `burn_in`, the steps before it; the server keeps these once. The last item of
  an episode that ends within a skill is padded, and so are the first ones in
  place of the steps before them; the extra 'skill_step' is 0 there.

  Args:
    config: of the agent.
    client: of the replay server.
    should_stop: whether the program is stopping.
  """
  return SkillAdder(
    make_client(config, client, should_stop),
    padding=config.replay.burn_in,
    sequence_length=replay_tables.sequence_length(config),
    period=config.skill_length,
    priority_fns={replay_tables.TABLE: None},  # 1, the largest that there is.
    max_in_flight_items=2 * config.batch_size,
    end_of_episode_behavior=adders.EndBehavior.ZERO_PAD,
  )
