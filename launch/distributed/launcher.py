"""Runs the nodes of a program on one host or several, and supervises them.

Launchpad's own `local_mp` restarts nothing, does not always notice a crash,
and kills itself with its nodes when one of them is late. This launcher runs
the same Launchpad nodes with the guarantees that a long run needs:

- A node that was killed is restarted, a few times; one that raised, or that
  ended before the program did, stops the program.
- A stop goes in stages: actors leave before the learner, which saves, and the
  learner before replay and counter. Late nodes are killed.
- On several hosts each host runs this launcher for its own nodes. The first
  host leads: the others exchange statuses with it several times a second, so
  that all start, stop and fail together, and a silent host ends the run.
"""

from collections.abc import Callable
from collections.abc import Mapping
import contextlib
import dataclasses
import functools
import itertools
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time
import traceback
from typing import Any
from typing import Protocol

import cloudpickle
from launchpad import context as lp_context
from launchpad.launch import serialization
from launchpad.launch import worker_manager
from launchpad.nodes.python import local_multi_processing
import portpicker

from launch.distributed import hosts as hosts_lib
from launch.distributed import node_process
from launch.distributed import program as program_lib
from skills import checks
from skills.agents import acme_api

lp = acme_api.launchpad

PROCESSES = 'local_mp'
THREADS = 'local_mt'
TEST = 'test_mt'
LOGS = 'logs'

_POLL_S = 0.2

# Lines of a failed node's log that are shown.
_TAIL_LINES = 40

# Seconds of silence after which a host that had joined counts as lost.
_SILENCE_S = 30.0

# Seconds that hosts wait for each other's last status.
_KILL_S = 5.0

# The stage of a host without running nodes.
_ALL_LEFT = 99


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """Launch type, restarts, ports and timeouts of a program.

  Attributes:
    launch_type: 'local_mp' for a process per node, 'local_mt' for a thread;
      'test_mt' for threads whose nodes are checked to be serializable.
    max_restarts: how often each node is restarted if it was killed.
    base_port: first of the fixed ports of several hosts.
    join_timeout_s: seconds that hosts wait for each other at the start.
    stop_timeout_s: seconds that nodes have to stop before they are killed.
  """

  launch_type: str = PROCESSES
  max_restarts: int = 3
  base_port: int = 23_000
  join_timeout_s: float = 600.0
  stop_timeout_s: float = 15.0

  def __post_init__(self) -> None:
    """Checks the settings."""
    allowed = (PROCESSES, THREADS, TEST)
    if self.launch_type not in allowed:
      raise ValueError(
        f'lp_launch_type must be one of {", ".join(allowed)}, got '
        f'{self.launch_type!r}; docs/distributed.md tells how to use '
        "Launchpad's other launchers."
      )
    checks.at_least(self, 0, 'max_restarts')
    checks.in_range(self, 1024, 65_000, 'base_port')
    checks.positive(self, 'join_timeout_s', 'stop_timeout_s')


class ProgramError(RuntimeError):
  """The program failed; names the node or the host."""


class _FixedAddress(lp.AbstractAddressBuilder):
  """An address that is known before the program starts."""

  def __init__(self, address: str):
    self._address = address

  def build(self) -> str:
    return self._address


class _Worker(Protocol):
  """A node that runs."""

  def poll(self) -> str | None:
    """How it ended, '' if well; None while it runs."""

  def was_killed(self) -> bool:
    """Whether something outside of it ended it."""

  def stop(self) -> None:
    """Asks it to leave."""

  def kill(self) -> None:
    """Ends it, if that can be done."""


class _Process:
  """A node that runs in a process and writes to a log of its own."""

  def __init__(
    self,
    name: str,
    node: Any,
    env: Mapping[str, str],
    folder: pathlib.Path,
    scratch: str,
  ):
    self._log = folder / LOGS / f'{name.replace("/", "-")}.log'
    self._log.parent.mkdir(parents=True, exist_ok=True)
    init_file = os.path.join(scratch, f'{name.replace("/", "-")}.init')
    with open(init_file, 'wb') as file:
      title = f'{name} {folder}'
      cloudpickle.dump(
        functools.partial(node_process.prepare, title, os.getpid()), file
      )
    [command] = local_multi_processing.to_multiprocessing_executables(
      [node], name, local_multi_processing.PythonProcess(), False
    )
    with open(self._log, 'ab') as log:
      self._log_start = log.tell()
      self._process = subprocess.Popen(
        [
          *command.command_as_list,
          f'--init_file={init_file}',
          # This launcher kills late nodes itself.
          '--lp_termination_notice_secs=-1',
        ],
        env={**os.environ, **env, 'PYTHONUNBUFFERED': '1'},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        # Only the launcher gets Ctrl-C.
        start_new_session=True,
      )

  def poll(self) -> str | None:
    status = self._process.poll()
    if not status:
      return None if status is None else ''
    if status < 0:
      return f'was killed by {signal.Signals(-status).name}'
    with open(self._log, 'rb') as log:
      log.seek(self._log_start)
      lines = log.read().decode(errors='replace').splitlines()
    starts = [
      i for i, line in enumerate(lines) if line.startswith('Traceback (most')
    ]
    shown = lines[starts[0] :] if starts else lines
    tail = '\n'.join(f'  {line}' for line in shown[-_TAIL_LINES:])
    return f'ended with status {status}; from {self._log}:\n{tail}'

  def was_killed(self) -> bool:
    return (self._process.returncode or 0) < 0

  def stop(self) -> None:
    self._process.terminate()

  def kill(self) -> None:
    with contextlib.suppress(ProcessLookupError):
      os.killpg(self._process.pid, signal.SIGKILL)
    self._process.wait()


class _Thread:
  """A node that runs in a thread of this process, as `_Process` does."""

  def __init__(self, name: str, node: Any):
    # A manager for each node, as nodes stop at different times.
    self._manager = worker_manager.WorkerManager(kill_main_thread=False)
    self._ending: str | None = None

    def run() -> None:
      try:
        node.function()
        self._ending = ''
      except BaseException:
        self._ending = f'raised:\n{traceback.format_exc()}'

    self._manager.thread_worker(name, run)

  def poll(self) -> str | None:
    return self._ending

  def was_killed(self) -> bool:
    return False

  def stop(self) -> None:
    self._manager.stop_event().set()

  def kill(self) -> None:
    """Does nothing: the thread ends with its process."""


@dataclasses.dataclass
class _Node:
  """A node of this host."""

  name: str
  stage: int
  start: Callable[[], _Worker]
  restarts_left: int
  worker: _Worker | None = None
  asked_to_stop: bool = False

  def ending(self) -> str | None:
    """How it ended, '' if well or never started; None while it runs."""
    return '' if self.worker is None else self.worker.poll()

  def stop(self) -> None:
    """Asks it to leave, once."""
    if self.worker is not None and not self.asked_to_stop:
      self.asked_to_stop = True
      self.worker.stop()

  def kill(self) -> None:
    """Kills it if it runs."""
    if self.worker is not None and self.worker.poll() is None:
      self.worker.kill()


@dataclasses.dataclass(frozen=True)
class Status:
  """Status of a host or of the whole program, as hosts exchange it.

  Attributes:
    is_running: False once the program stops, for any reason.
    failure: why it failed; empty if it did not.
    stage: the lowest stop stage of a node that still runs.
    has_begun: whether nodes may be started.
  """

  is_running: bool = True
  failure: str = ''
  stage: int = 0
  has_begun: bool = False


class _Agreement:
  """Combines the statuses of all hosts to that of the program."""

  def __init__(
    self, hosts: hosts_lib.Hosts, settings: Settings, command: Mapping[str, Any]
  ):
    self._hosts = hosts
    self._settings = settings
    self._command = dict(command)
    self._lock = threading.Lock()
    self._failure = ''
    self._is_running = True
    self._stages = [0] * hosts.count
    self._started = time.monotonic()
    self._seen: list[float | None] = [None] * hosts.count

  def report(
    self, index: int, command: Mapping[str, Any], status: Mapping[str, Any]
  ) -> dict[str, Any]:
    """Records a host's status; returns that of the whole program."""
    told = Status(**status)
    with self._lock:
      now = time.monotonic()
      for name, value in command.items():
        if value != self._command.get(name):
          self._fail(
            f'host {index} ({self._hosts.names[index]}) was started with '
            f'{name}={value!r}, but host 0 with {self._command.get(name)!r}.'
          )
      self._seen[index] = now
      self._stages[index] = told.stage
      self._fail(told.failure)
      self._is_running &= told.is_running
      for i, seen in enumerate(self._seen):
        name = f'host {i} ({self._hosts.names[i]})'
        if seen is None:
          if now - self._started > self._settings.join_timeout_s:
            self._fail(
              f'{name} has not joined for {self._settings.join_timeout_s:g} s.'
            )
        elif now - seen > _SILENCE_S and self._stages[i] < _ALL_LEFT:
          self._fail(f'{name} has been silent for {_SILENCE_S:g} s.')
          self._stages[i] = _ALL_LEFT
      has_begun = None not in self._seen
      # Hosts that never joined have no nodes to stop.
      stage = min(
        _ALL_LEFT if seen is None else stage
        for stage, seen in zip(self._stages, self._seen, strict=True)
      )
      return dataclasses.asdict(
        Status(self._is_running, self._failure, stage, has_begun)
      )

  def all_have_left(self) -> bool:
    """Whether no host has running nodes."""
    with self._lock:
      return all(
        stage == _ALL_LEFT or seen is None
        for stage, seen in zip(self._stages, self._seen, strict=True)
      )

  def _fail(self, failure: str) -> None:
    if failure:
      self._failure = self._failure or failure
      self._is_running = False


class _Follower:
  """Exchanges statuses with the leader without waiting for it."""

  def __init__(
    self, hosts: hosts_lib.Hosts, settings: Settings, command: Mapping[str, Any]
  ):
    self._hosts = hosts
    self._timeout_s = settings.join_timeout_s
    self._command = dict(command)
    self._client = lp.CourierClient(f'{hosts.leader}:{settings.base_port}')
    self._answered = time.monotonic()
    self._asked = 0.0
    self._question: Any = None
    self._status = Status()
    # The newest status, the one sent last and the one last answered.
    self._news = self._asked_with = self._heard = Status()

  def report(self, status: Status) -> Status:
    """Sends this host's status; returns the program's, as known here."""
    now = time.monotonic()
    self._news = status
    if self._question is not None and self._question.done():
      if self._question.exception() is None:
        self._heard = self._asked_with
        self._status = Status(**self._question.result())
        self._answered = now
        self._timeout_s = _SILENCE_S
      self._question = None
    if self._question is not None and now - self._asked > 2:
      # Courier never reports that a server has died.
      self._question.cancel()
      self._question = None
    if self._question is None:
      self._asked = now
      self._asked_with = status
      self._question = self._client.futures.report(
        self._hosts.index, self._command, dataclasses.asdict(status)
      )
    if now - self._answered > self._timeout_s:
      failure = (
        f'host 0 ({self._hosts.leader}) has not answered for '
        f'{self._timeout_s:g} s.'
      )
      self._status = dataclasses.replace(
        self._status, is_running=False, failure=failure, stage=_ALL_LEFT
      )
    return self._status

  def close(self) -> None:
    """Waits until the leader has the last status, which others wait for."""
    deadline = time.monotonic() + _KILL_S
    while self._heard != self._news and time.monotonic() < deadline:
      self.report(self._news)
      time.sleep(_POLL_S / 4)
    # An open call would keep this process alive.
    if self._question is not None:
      self._question.cancel()


class Launcher:
  """Runs the nodes of this host."""

  def __init__(
    self,
    program: program_lib.Program,
    hosts: hosts_lib.Hosts,
    settings: Settings,
    folder: pathlib.Path,
    command: Mapping[str, Any],
  ):
    """Prepares the nodes of this host; starts nothing yet.

    Args:
      program: made for as many hosts.
      hosts: with the index of this one.
      settings: of the launch.
      folder: of the run.
      command: settings that must be equal on all hosts.
    """
    self._hosts = hosts
    self._settings = settings
    self._folder = folder
    self._command = command
    if settings.launch_type == TEST:
      for label, group in program.program.groups.items():
        serialization.check_nodes_are_serializable(label, group)
    if settings.launch_type != PROCESSES:
      # The first manager handles signals; handlers set later replace its own.
      worker_manager.WorkerManager(kill_main_thread=False)
    self._scratch = tempfile.TemporaryDirectory(prefix='skills-')
    self._bind(program)
    self._nodes = [
      self._make_node(name, node, program.placements[name])
      for name, node in program_lib.node_names(program.program).items()
      if program.placements[name].host == hosts.index
    ]

  def _bind(self, program: program_lib.Program) -> None:
    """Binds the addresses of all nodes, equally on every host."""
    # Tells a node how to request the program's end.
    launch_type, config = lp_context.LaunchType.LOCAL_MULTI_THREADING, None
    if self._settings.launch_type == PROCESSES:
      launch_type = lp_context.LaunchType.LOCAL_MULTI_PROCESSING
      config = local_multi_processing.PythonProcess()
    # The first port is the leader's own. All ports differ, so that hosts may be
    # addresses of one machine.
    ports = itertools.count(self._settings.base_port + 1)
    taken: set[int] = set()
    for name, node in program_lib.node_names(program.program).items():
      node._initialize_context(launch_type, config)
      host = program.placements[name].host
      for address in node.addresses:
        if self._hosts.count == 1:
          port = portpicker.pick_unused_port()
          while port in taken:
            port = portpicker.pick_unused_port()
          taken.add(port)
        else:
          port = next(ports)
        address.bind(_FixedAddress(f'{self._hosts.names[host]}:{port}'))
    for label, group in program.program.groups.items():
      for node in group:
        for handle in node.input_handles:
          handle.connect(node, label)

  def _make_node(
    self, name: str, node: Any, placement: program_lib.Placement
  ) -> _Node:
    if self._settings.launch_type != PROCESSES:
      start = functools.partial(_Thread, name, node)
    else:
      start = functools.partial(
        _Process, name, node, placement.env, self._folder, self._scratch.name
      )
    restarts = self._settings.max_restarts if placement.may_restart else 0
    return _Node(name, placement.stage, start, restarts)

  def run(
    self,
    received: list[int],
    show: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = print,
  ) -> None:
    """Runs until the program stops.

    Args:
      received: signals received by this process, which stop the program.
      show: called several times a second.
      say: informs the user of restarts.

    Raises:
      ProgramError: if it failed.
    """
    with contextlib.ExitStack() as stack:
      stack.callback(self._scratch.cleanup)
      stack.callback(self._kill)
      exchange = self._exchange(stack)
      failure = self._work(received, exchange, show, say)
      failure = self._stop(received, exchange, failure)
    if failure:
      raise ProgramError(failure)

  def _exchange(
    self, stack: contextlib.ExitStack
  ) -> Callable[[Status], Status]:
    """Makes the function from this host's status to the program's."""
    arguments = (self._hosts, self._settings, self._command)
    if not self._hosts.is_leader:
      follower = _Follower(*arguments)
      stack.callback(follower.close)
      return follower.report
    agreement = _Agreement(*arguments)
    if self._hosts.count > 1:
      server = acme_api.courier.Server(port=self._settings.base_port)
      server.Bind('report', agreement.report)
      server.Start()
      stack.callback(server.Stop)

      def wait_for_the_others():
        deadline = time.monotonic() + _KILL_S
        while not agreement.all_have_left() and time.monotonic() < deadline:
          time.sleep(_POLL_S)

      stack.callback(wait_for_the_others)

    def report(status: Status) -> Status:
      told = dataclasses.asdict(status)
      return Status(**agreement.report(0, self._command, told))

    return report

  def _work(
    self,
    received: list[int],
    exchange: Callable[[Status], Status],
    show: Callable[[], None],
    say: Callable[[str], None],
  ) -> str:
    """Starts the nodes and watches them.

    Returns:
      Why the program failed; empty if it did not.
    """
    failure = ''
    is_waiting = self._hosts.count > 1
    if is_waiting:
      say(
        f'host {self._hosts.index} of {self._hosts.count} '
        f'({self._hosts.address}) waits for the others.'
      )
    while True:
      status = exchange(Status(not received and not failure, failure))
      if not status.is_running or received or failure:
        return failure or status.failure
      if status.has_begun:
        if is_waiting:
          is_waiting = False
          say('all hosts are here.')
        for node in self._nodes:
          failure = failure or self._look_after(node, say)
        show()
      time.sleep(_POLL_S)

  def _look_after(self, node: _Node, say: Callable[[str], None]) -> str:
    if node.worker is None:
      node.worker = node.start()
      return ''
    ending = node.worker.poll()
    if ending is None:
      return ''
    name = node.name
    if self._hosts.count > 1:
      name += f' on {self._hosts.address}'
    if not ending:
      return f'{name} ended before the program did.'
    if not node.worker.was_killed() or not node.restarts_left:
      return f'{name} {ending}'
    node.restarts_left -= 1
    say(f'{name} {ending}: starting it again.')
    node.worker = node.start()
    return ''

  def _stop(
    self,
    received: list[int],
    exchange: Callable[[Status], Status],
    failure: str,
  ) -> str:
    """Stops the nodes in stages."""
    deadline = time.monotonic() + self._settings.stop_timeout_s
    while True:
      running = [node for node in self._nodes if node.ending() is None]
      own = min((node.stage for node in running), default=_ALL_LEFT)
      status = exchange(Status(False, failure, own))
      failure = failure or status.failure
      if not running:
        break
      for node in running:
        if node.stage <= status.stage:
          node.stop()
      is_impatient = received.count(signal.SIGINT) > 1
      if time.monotonic() > deadline or is_impatient:
        for node in running:
          node.kill()
        # Servers have nothing to save and are no longer needed.
        late = [n.name for n in running if n.stage < program_lib.SERVERS]
        if late and not failure:
          failure = (
            f'{", ".join(late)} did not stop within '
            f'{self._settings.stop_timeout_s:g} s.'
          )
        exchange(Status(False, failure, _ALL_LEFT))
        return failure
      time.sleep(_POLL_S / 4)
    for node in self._nodes:
      if ending := node.ending():
        failure = failure or f'while the program stopped, {node.name} {ending}'
    exchange(Status(False, failure, _ALL_LEFT))
    return failure

  def _kill(self) -> None:
    """Kills all nodes that still run."""
    for node in self._nodes:
      node.kill()
