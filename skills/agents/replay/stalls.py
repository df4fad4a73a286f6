"""Bounded waits for a Reverb server.

Every call that may block returns after a short time and looks around. If
nothing moves for longer than `ReplayConfig.timeout_s`, a `ReplayStalledError`
says what replay holds and what it waits for. A server that was killed is waited
for just as long; if it is back by then, at the same address, reading and
writing go on.
"""

from collections.abc import Callable
import time

import reverb
import tensorflow as tf

from skills.agents.replay import tables as replay_tables

# How long Reverb's C++ code may keep a thread before it looks around. A thread
# inside it runs no Python, so it neither stops nor complains.
POLL_S = 0.5

# What a dataset ends with where its server goes or does not come. Most of the
# time it waits inside Reverb instead.
CONNECTION_ERRORS = (
  reverb.DeadlineExceededError,
  tf.errors.CancelledError,
  tf.errors.DeadlineExceededError,
  tf.errors.UnavailableError,
)

ShouldStop = Callable[[], bool]


class ReplayStalledError(RuntimeError):
  """Replay let nobody through for too long."""


class StoppedError(Exception):
  """The program is stopping, so what was waited for will not come."""


def never_stop() -> bool:
  """For programs that end by themselves."""
  return False


class Watchdog:
  """Bounds how long replay may keep somebody waiting."""

  def __init__(
    self,
    client: reverb.Client,
    who: str,
    timeout_s: float,
    should_stop: ShouldStop,
  ):
    """Initialises the watchdog.

    Args:
      client: of the replay server, asked what is wrong.
      who: 'learner' or 'actor', for the message.
      timeout_s: seconds of waiting after which to give up.
      should_stop: whether the program is stopping.
    """
    self._client = client
    self._who = who
    self._timeout_s = timeout_s
    self._should_stop = should_stop
    self._waiting_since: float | None = None
    self._stats: replay_tables.Stats | None = None

  def served(self) -> None:
    """Tells that replay answered."""
    self._waiting_since = None

  def still_waiting(self, since: float) -> None:
    """Tells that replay has not answered yet.

    Args:
      since: when the current call began, by `time.monotonic`.

    Raises:
      StoppedError: if the program is stopping.
      ReplayStalledError: if the wait has become too long.
    """
    if self._should_stop():
      raise StoppedError
    now = replay_tables.stats(self._client)
    if self._should_stop():
      raise StoppedError
    if self._waiting_since is None:
      self._waiting_since, self._stats = since, now
    elif now is not None and now != self._stats:
      # The other side is slow, and not stuck; or the server is back.
      self._waiting_since, self._stats = time.monotonic(), now
    waited = time.monotonic() - self._waiting_since
    if waited >= self._timeout_s:
      raise ReplayStalledError(
        f'the {self._who} has waited {waited:.0f} s for replay at '
        f'{self._client.server_address}. '
        f'{replay_tables.describe(self._client)} Look for what keeps the other '
        'side from its work, or change replay.timeout_s.'
      )
