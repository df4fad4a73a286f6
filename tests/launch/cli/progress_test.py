"""Progress: a live line in a terminal, now and then a line in a log."""

import io

import pytest
from rich import console as rich_console

from launch.cli import progress as progress_lib


class Clock:
  """Time that passes when it is told to."""

  def __init__(self):
    self.now = 1000.0

  def monotonic(self):
    return self.now


@pytest.fixture
def clock(monkeypatch):
  clock = Clock()
  monkeypatch.setattr(progress_lib, 'time', clock)
  return clock


@pytest.fixture
def display(monkeypatch):
  """Makes a display that writes where the test can read."""
  real = rich_console.Console
  text = io.StringIO()

  def make(total, done=0, terminal=False):
    monkeypatch.setattr(
      progress_lib.rich_console,
      'Console',
      lambda **kwargs: real(
        file=text, force_terminal=terminal, width=120, **kwargs
      ),
    )
    return progress_lib.Progress(total, done), text

  return make


def test_a_log_gets_a_line_every_ten_seconds_with_speeds_and_time_left(
  clock, display
):
  bar, text = display(10_000)
  with bar:
    for second in range(26):
      clock.now = 1000.0 + second
      bar.update(100 * second, 40 * second, {})
  lines = text.getvalue().splitlines()
  # At 10 s and 20 s.
  assert [line.split(' steps')[0] for line in lines] == [
    '1,000 of 10,000',
    '2,000 of 10,000',
  ]
  # 8,000 steps are left, at 100 a second.
  assert (
    '(20%)  100 steps/s  40 updates/s  0.4 updates a step  1:20 left'
  ) in lines[-1]
  assert '\x1b' not in text.getvalue()


def test_skills_learned_are_shown_once_they_are_known(clock, display):
  bar, text = display(100)
  with bar:
    clock.now += 10
    bar.update(5, 0, {})
    clock.now += 10
    bar.update(10, 1, {'skills_learned': 3.14159, 'coverage': 1.0})
  first, second = text.getvalue().splitlines()
  assert 'skills' not in first
  assert '3.1 skills learned' in second


def test_speeds_are_those_of_the_last_seconds(clock, display):
  bar, text = display(1_000_000)
  with bar:
    steps = 0
    for second in range(21):
      clock.now = 1000.0 + second
      bar.update(steps, 0, {})
      steps += 1000 if second < 10 else 10
  # Slow since ten seconds.
  assert ' 10 steps/s' in text.getvalue().splitlines()[-1]


def test_a_resumed_run_counts_from_where_it_was(clock, display):
  bar, text = display(1000, done=900)
  with bar:
    clock.now += 10
    bar.update(950, 7, {})
  [line] = text.getvalue().splitlines()
  # 50 steps in 10 s.
  assert '(95%)  5 steps/s' in line
  assert '0:10 left' in line


def test_display_without_steps_divides_by_nothing(clock, display):
  bar, text = display(10)
  with bar:
    bar.update(0, 0, {})
    clock.now += 10
    bar.update(0, 0, {})
  assert '0 of 10 steps (0%)' in text.getvalue()
  assert 'steps/s' not in text.getvalue()
  assert 'left' not in text.getvalue()


def test_a_terminal_gets_one_line_that_is_redrawn(clock, display):
  bar, text = display(100, terminal=True)
  with bar:
    for i in range(5):
      clock.now += 1
      bar.update(10 * i, i, {'skills_learned': 2.0})
    bar.say('a word in between')
  assert '\x1b' in text.getvalue()
  assert 'a word in between' in text.getvalue()
  assert '40%' in text.getvalue()


@pytest.mark.parametrize(
  'seconds, text',
  [(0, '0:00'), (59.9, '0:59'), (61, '1:01'), (3725, '1:02:05')],
)
def test_times_are_written_as_on_a_clock(seconds, text):
  assert progress_lib._clock(seconds) == text
