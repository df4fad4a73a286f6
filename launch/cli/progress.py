"""Progress display: a live line in a terminal, periodic lines in a log."""

from collections.abc import Mapping
import time

from rich import console as rich_console
from rich import progress as rich_progress

# Seconds between lines where there is no terminal to redraw.
_LINE_EVERY_S = 10.0

# Seconds over which speeds are averaged.
_WINDOW_S = 5.0

# Metrics that are shown where they are known, in this order.
_NUMBERS = {
  'replay_size': 'replay {:,.0f}',
  'parameter_age': 'parameters {:,.0f} updates old',
  'skills_learned': '{:.1f} skills learned',
}


class Progress:
  """Shows steps, speeds, updates a step, skills learned and the time left."""

  def __init__(self, total: int, done: int = 0):
    """Initializes the display.

    Args:
      total: environment steps of the run.
      done: steps made before it was resumed.
    """
    self._total = total
    # Not on standard error, which may be a pipe to a filter.
    self._console = rich_console.Console()
    self._bar: rich_progress.Progress | None = None
    self._task = rich_progress.TaskID(0)
    if self._console.is_terminal:
      self._bar = rich_progress.Progress(
        rich_progress.TextColumn('{task.description}'),
        rich_progress.BarColumn(bar_width=None),
        rich_progress.TaskProgressColumn(),
        rich_progress.TextColumn('{task.fields[text]}'),
        console=self._console,
      )
      self._task = self._bar.add_task(
        'training', total=total, completed=done, text=''
      )
    now = time.monotonic()
    self._last_line = now
    # Times and counts of the last few seconds, oldest first.
    self._history: list[tuple[float, int, int | None]] = [(now, done, None)]

  def __enter__(self) -> 'Progress':
    """Starts drawing."""
    if self._bar is not None:
      self._bar.start()
    return self

  def __exit__(self, *_: object) -> None:
    """Stops drawing."""
    if self._bar is not None:
      self._bar.stop()

  def update(
    self,
    environment_steps: int,
    learner_steps: int,
    numbers: Mapping[str, float],
  ) -> None:
    """Shows the current state.

    Args:
      environment_steps: made so far.
      learner_steps: updates made so far.
      numbers: metrics of the newest evaluation, and of replay.
    """
    now = time.monotonic()
    self._history.append((now, environment_steps, learner_steps))
    while len(self._history) > 2 and now - self._history[1][0] > _WINDOW_S:
      self._history.pop(0)
    text = self._describe(numbers)
    if self._bar is not None:
      self._bar.update(
        self._task,
        completed=min(environment_steps, self._total),
        text=text,
      )
    elif now - self._last_line >= _LINE_EVERY_S:
      self._last_line = now
      percent = 100 * environment_steps / self._total
      self._console.print(
        f'{environment_steps:,} of {self._total:,} steps ({percent:.0f}%)  '
        f'{text}',
        highlight=False,
        soft_wrap=True,
      )

  def say(self, message: str) -> None:
    """Prints a line without disturbing the display."""
    self._console.print(message, highlight=False, soft_wrap=True)

  def _describe(self, numbers: Mapping[str, float]) -> str:
    then, steps_then, updates_then = self._history[0]
    now, steps, updates = self._history[-1]
    elapsed = max(now - then, 1e-6)
    steps_per_s = (steps - steps_then) / elapsed
    parts = [f'{steps_per_s:,.0f} steps/s'] if steps_per_s else []
    if steps_per_s and updates_then is not None and updates is not None:
      parts.append(f'{(updates - updates_then) / elapsed:,.0f} updates/s')
    if steps and updates:
      parts.append(f'{updates / steps:.3g} updates a step')
    parts += [
      text.format(numbers[name])
      for name, text in _NUMBERS.items()
      if name in numbers
    ]
    if steps_per_s > 0:
      left = max(self._total - steps, 0) / steps_per_s
      parts.append(f'{_clock(left)} left')
    return '  '.join(parts)


def _clock(seconds: float) -> str:
  minutes, seconds = divmod(int(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return (
    f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'
  )
