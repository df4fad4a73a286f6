"""Start, end, errors and signals of every command."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from typing import Any

from absl import app
from absl import flags
from absl import logging
from rich import console as rich_console

from launch.cli import compilation_cache
from skills import checkpoints

_CHATTER = (
  r'^\[reverb/cc/.*\] +(Initializing TFRecordCheckpointer|Loading |Loaded |'
  r'Started replay server|Shutting down replay server|Stored checkpoint|'
  r'Sampler and server are owned|Successfully loaded)'
)


@dataclasses.dataclass(frozen=True)
class Outcome:
  """How a run ended.

  Attributes:
    summary: its final numbers, as in `summary.json`.
    signal: the signal that interrupted it; None if it is complete.
  """

  summary: dict[str, Any]
  signal: int | None

  @property
  def status(self) -> int:
    """The exit status: 130 after Ctrl-C, else 0."""
    return 130 if self.signal == signal.SIGINT else 0


@contextlib.contextmanager
def caught_signals() -> Iterator[list[int]]:
  """Records Ctrl-C and SIGTERM in the list that it yields."""
  received: list[int] = []
  handlers = {
    number: signal.signal(number, lambda number, _: received.append(number))
    for number in (signal.SIGINT, signal.SIGTERM)
  }
  try:
    yield received
  finally:
    for number, handler in handlers.items():
      signal.signal(number, handler)


@contextlib.contextmanager
def exit_on_user_error() -> Iterator[None]:
  """Turns a ValueError into one line on standard error and status 2."""
  try:
    yield
  except ValueError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)


def console() -> rich_console.Console:
  """The console for tables: as wide as a terminal, or 110 columns."""
  wide = rich_console.Console()
  return wide if wide.is_terminal else rich_console.Console(width=110)


def run(main: Callable[[Sequence[str]], int | None]) -> None:
  """Runs a command.

  Args:
    main: reads the flags and returns the exit status.
  """

  def quiet(argv: Sequence[str]) -> int | None:
    if not flags.FLAGS['verbosity'].present:
      logging.set_verbosity(logging.WARNING)
    compilation_cache.use()
    with without_reverb_chatter():
      try:
        return main(argv)
      except checkpoints.CheckpointError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2

  app.run(quiet)


@contextlib.contextmanager
def without_reverb_chatter() -> Iterator[None]:
  """Drops the routine messages of Reverb's C++ code.

  They go straight to standard error, whatever the settings. A process of its
  own filters them, so that everything else that is written there appears even
  if this process is killed.
  """
  original = os.dup(2)
  reader, writer = os.pipe()
  with subprocess.Popen(
    ['grep', '-v', '--line-buffered', '-E', _CHATTER],
    stdin=reader,
    stdout=original,
    # Ctrl-C is for this process alone.
    start_new_session=True,
  ) as filter_process:
    os.close(reader)
    os.dup2(writer, 2)
    os.close(writer)
    try:
      yield
    finally:
      sys.stderr.flush()
      os.dup2(original, 2)
      os.close(original)
      # It ends by itself when the last copy of its input is closed, of which a
      # child of this process may hold one.
      try:
        filter_process.wait(timeout=1)
      except subprocess.TimeoutExpired:
        filter_process.terminate()
