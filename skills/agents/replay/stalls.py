"""Bounded waits for a Reverb server.

Calls that may block time out after `POLL_S` and are repeated. If replay makes
no progress for `ReplayConfig.timeout_s`, a `ReplayStalledError` says what it
holds and what it waits for. A server that was killed is waited for just as
long; if it returns by then, at the same address, reading and writing go on.
"""

from collections.abc import Callable
import time

import reverb
import tensorflow as tf

from skills.agents.replay import tables as replay_tables

# Seconds after which a call into Reverb times out. A thread inside its C++ code
# runs no Python, so it notices neither a stop nor a stall.
POLL_S = 0.5

# What a dataset may raise while its server is away; mostly it blocks instead.
CONNECTION_ERRORS = (
  reverb.DeadlineExceededError,
  tf.errors.CancelledError,
  tf.errors.DeadlineExceededError,
  tf.errors.UnavailableError,
)

ShouldStop = Callable[[], bool]


class ReplayStalledError(RuntimeError):
  """Replay made no progress for too long."""


class StoppedError(Exception):
  """A wait was given up because the program is stopping."""


def never_stop() -> bool:
  """The `ShouldStop` of programs that end by themselves."""
  return False


class Watchdog:
  """Bounds the time that a learner or an actor waits for replay."""

  def __init__(
    self,
    client: reverb.Client,
    role: str,
    timeout_s: float,
    should_stop: ShouldStop,
  ):
    """Initializes the watchdog.

    Args:
      client: of the replay server, whose state the error describes.
      role: 'learner' or 'actor', for the message.
      timeout_s: seconds without progress after which to give up.
      should_stop: whether the program is stopping.
    """
    self._client = client
    self._role = role
    self._timeout_s = timeout_s
    self._should_stop = should_stop
    self._waiting_since: float | None = None
    self._stats: replay_tables.Stats | None = None

  def served(self) -> None:
    """Records that a call succeeded."""
    self._waiting_since = None

  def still_waiting(self, since: float) -> None:
    """Records that a call timed out.

    Args:
      since: when the call began, by `time.monotonic`.

    Raises:
      StoppedError: if the program is stopping.
      ReplayStalledError: if replay made no progress for too long.
    """
    if self._should_stop():
      raise StoppedError
    now = replay_tables.stats(self._client)
    if self._should_stop():
      raise StoppedError
    if self._waiting_since is None:
      self._waiting_since, self._stats = since, now
    elif now is not None and now != self._stats:
      # Progress: the other side is only slow, or the server is back.
      self._waiting_since, self._stats = time.monotonic(), now
    waited = time.monotonic() - self._waiting_since
    if waited >= self._timeout_s:
      raise ReplayStalledError(
        f'the {self._role} has waited {waited:.0f} s for replay at '
        f'{self._client.server_address}. '
        f'{replay_tables.describe(self._client)} Look for what keeps the other '
        'side from its work, or change replay.timeout_s.'
      )
