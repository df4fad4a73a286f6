"""Calls to other nodes that survive a restart of the callee.

A Courier call to a server that has died neither returns nor fails, and a
thread inside Courier's C++ code handles no signals.
"""

from collections.abc import Callable
from collections.abc import Sequence
import concurrent.futures
import functools
import math
import time
from typing import Any

from skills.agents import acme_api
from skills.agents.replay import stalls

_POLL_S = 0.5

# Seconds after the program's stop in which an answer may still arrive.
_LEAVE_S = 2.0


class NodeAwayError(RuntimeError):
  """Another node did not answer for too long."""


class Remote:
  """A client of another node whose calls wait until it answers."""

  def __init__(
    self,
    client: acme_api.launchpad.CourierClient,
    name: str,
    should_stop: stalls.ShouldStop,
    timeout_s: float,
    retry_after_s: float | None = None,
  ):
    """Initializes the client.

    Args:
      client: of the node's server.
      name: of the node, for messages.
      should_stop: whether the program is stopping.
      timeout_s: seconds without an answer after which to give up.
      retry_after_s: seconds after which a call is repeated, doubled each time,
        since an answer may just be large. None for calls that must not be made
        twice, to a node that is never restarted.
    """
    self._client = client
    self._name = name
    self._should_stop = should_stop
    self._timeout_s = timeout_s
    self._retry_after_s = retry_after_s

  def __getattr__(self, method: str) -> Callable[..., Any]:
    """A method of the node.

    Raises (when called):
      StoppedError: if the program is stopping.
      NodeAwayError: if there was no answer for `timeout_s`.
    """
    if method.startswith('_'):
      raise AttributeError(method)
    return functools.partial(self._call, method)

  def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
    started = time.monotonic()
    stopping_since = math.inf
    attempt_s = self._retry_after_s or math.inf
    while True:
      future = getattr(self._client.futures, method)(*args, **kwargs)
      deadline = time.monotonic() + attempt_s
      while time.monotonic() < deadline:
        try:
          return future.result(timeout=_POLL_S)
        except concurrent.futures.TimeoutError:
          now = time.monotonic()
          if self._should_stop():
            stopping_since = min(stopping_since, now)
          if now - stopping_since > _LEAVE_S:
            future.cancel()
            raise stalls.StoppedError from None
          waited = now - started
          if waited > self._timeout_s:
            future.cancel()
            raise NodeAwayError(
              f'the {self._name} has not answered for {waited:.0f} s.'
            ) from None
      future.cancel()
      attempt_s *= 2


class RemoteLearner(acme_api.core.VariableSource):
  """The learner's variables; the last known ones while the program stops."""

  def __init__(self, learner: Remote):
    """Initializes the source."""
    self._learner = learner
    self._last: dict[tuple[str, ...], list[Any]] = {}

  def get_variables(self, names: Sequence[str]) -> list[Any]:
    """Copies of the newest variables."""
    names = tuple(names)
    try:
      self._last[names] = self._learner.get_variables(list(names))
    except stalls.StoppedError:
      # Acme calls this in a thread whose errors it only logs.
      if names not in self._last:
        raise
    return self._last[names]
