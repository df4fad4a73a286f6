"""Calls to real Courier servers that come late, die and come back."""

import re
import subprocess
import sys
import threading

import courier
import portpicker
import pytest

from launch.distributed import remote
from skills.agents.replay import stalls
from tests.programs import launchpad_programs

pytestmark = pytest.mark.integration


class Server:
  """A server at one address, which can be killed and started again."""

  def __init__(self, folder):
    self._folder = folder
    self.port = portpicker.pick_unused_port()
    self._process = None

  def start(self):
    self._process = subprocess.Popen(
      [
        sys.executable,
        '-m',
        'tests.programs.courier_program',
        str(self.port),
        str(self._folder),
      ],
      cwd=launchpad_programs.ROOT,
      stdout=subprocess.PIPE,
    )
    assert self._process.stdout.readline() == b'serves\n'
    return self._process.pid

  def kill(self):
    if self._process is not None:
      self._process.kill()
      self._process.wait()
      self._process.stdout.close()
      self._process = None

  def calls(self, name):
    path = self._folder / 'calls'
    lines = path.read_text().splitlines() if path.exists() else []
    return sum(line.startswith(f'{name} ') for line in lines)

  def remote(self, should_stop=stalls.never_stop, timeout_s=30.0, **kwargs):
    client = courier.Client(f'localhost:{self.port}')
    return remote.Remote(client, 'learner', should_stop, timeout_s, **kwargs)


@pytest.fixture
def server(tmp_path):
  server = Server(tmp_path)
  yield server
  server.kill()


def waited(error):
  """Seconds without an answer, from the message of a `NodeAwayError`."""
  return int(re.search(r'for (\d+) s', str(error.value))[1])


def later(seconds, function):
  timer = threading.Timer(seconds, function)
  timer.start()
  return timer


def test_a_call_is_answered_and_only_made_once(server):
  pid = server.start()
  assert server.remote().who() == pid
  assert server.remote(retry_after_s=5.0).slow(seconds=1.2) == pid
  assert (server.calls('who'), server.calls('slow')) == (1, 1)


def test_a_server_that_comes_later_is_waited_for(server):
  pids = []
  timer = later(1.0, lambda: pids.append(server.start()))
  # Without a second attempt, for that is how the counter is called.
  assert [server.remote().who()] == pids
  timer.join()


def test_a_call_whose_server_died_is_made_again(server):
  server.start()
  pids = []

  def restart():
    server.kill()
    pids.append(server.start())

  timer = later(0.5, restart)
  answer = server.remote(retry_after_s=1.0).slow(2.5)
  timer.join()
  assert [answer] == pids
  # Each attempt is given twice the time of the one before.
  assert 2 <= server.calls('slow') <= 4


def test_a_call_that_must_not_be_made_twice_is_not(server):
  server.start()
  later(0.5, server.kill)
  with pytest.raises(
    remote.NodeAwayError, match='the learner has not answered for'
  ) as error:
    server.remote(timeout_s=3.0).slow(60)
  assert 3 <= waited(error) < 30
  assert server.calls('slow') == 1


def test_a_node_that_stays_away_is_named_after_the_timeout(server):
  with pytest.raises(
    remote.NodeAwayError, match='the learner has not answered for'
  ) as error:
    server.remote(timeout_s=2.0, retry_after_s=0.5).who()
  assert 2 <= waited(error) < 30


def test_a_stop_ends_a_call_but_lets_a_soon_answer_arrive(server):
  pid = server.start()
  stop = threading.Event()
  calls = server.remote(stop.is_set)
  later(0.3, stop.set)
  with pytest.raises(stalls.StoppedError):
    calls.slow(60)
  # A soon answer is returned although the program is stopping.
  assert calls.slow(1.0) == pid


def test_an_error_on_the_server_is_raised_here_and_at_once(server):
  server.start()
  with pytest.raises(Exception, match='the server cannot swim'):
    server.remote(retry_after_s=0.5).fail('swim')
  # Raised at once: no second attempt was due.
  assert server.calls('fail') == 1


def test_private_names_are_no_methods_of_the_server(server):
  with pytest.raises(AttributeError):
    server.remote()._hidden()


def test_a_stopping_program_keeps_the_variables_that_it_had():
  stop = threading.Event()
  courier_server = courier.Server(port=portpicker.pick_unused_port())
  asked = []

  def get_variables(names):
    asked.append(names)
    return [f'{name} {len(asked)}' for name in names]

  courier_server.Bind('get_variables', get_variables)
  courier_server.Start()
  source = remote.RemoteLearner(
    remote.Remote(
      courier.Client(courier_server.address),
      'learner',
      stop.is_set,
      timeout_s=20.0,
      retry_after_s=1.0,
    )
  )
  try:
    assert source.get_variables(['policy']) == ['policy 1']
    assert source.get_variables(('policy',)) == ['policy 2']
  finally:
    courier_server.Stop()
  stop.set()
  assert source.get_variables(['policy']) == ['policy 2']
  with pytest.raises(stalls.StoppedError):
    source.get_variables(['objective'])
