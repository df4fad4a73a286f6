"""Start, end, errors and signals of commands."""

import os
import signal
import subprocess
import sys

import pytest

from launch.cli import command


def test_refused_value_ends_in_one_line_and_status_2(capsys):
  with pytest.raises(SystemExit) as exit_info, command.exit_on_user_error():
    raise ValueError('batch_size must be >= 1, got 0.')
  assert exit_info.value.code == 2
  assert capsys.readouterr().err == 'error: batch_size must be >= 1, got 0.\n'


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_are_recorded_and_handlers_restored(number):
  before = signal.getsignal(number)
  with command.caught_signals() as received:
    os.kill(os.getpid(), number)
    assert received == [number]
  assert signal.getsignal(number) is before


@pytest.mark.parametrize(
  ('number', 'status'), [(None, 0), (signal.SIGINT, 130), (signal.SIGTERM, 0)]
)
def test_ctrl_c_has_its_own_status(number, status):
  assert command.Outcome({}, number).status == status


def test_only_messages_of_reverb_are_dropped():
  program = """
import os
from launch.cli import command
with command.without_reverb_chatter():
  os.write(2, b'[reverb/cc/platform/default/server.cc:71] Started replay'
              b' server on port 1\\n')
  os.write(2, b'[reverb/cc/table.cc:1] Check failed\\n')
  os.write(2, b'something else\\n')
os.write(2, b'after\\n')
"""
  found = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True, timeout=60
  )
  assert found.returncode == 0
  assert found.stderr == (
    '[reverb/cc/table.cc:1] Check failed\nsomething else\nafter\n'
  )


def test_last_words_of_a_killed_process_appear():
  program = """
import os
from launch.cli import command
with command.without_reverb_chatter():
  os.write(2, b'last words\\n')
  os.abort()
"""
  found = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True, timeout=60
  )
  assert found.returncode == -signal.SIGABRT
  assert 'last words' in found.stderr
