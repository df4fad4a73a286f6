"""What the launcher promises, shown with nodes that do next to nothing."""

import dataclasses
import os
import signal
import sys
import threading
import time

import pytest

from launch.distributed import hosts as hosts_lib
from launch.distributed import launcher
from launch.distributed import node_process
from tests.programs import fake_nodes
from tests.programs import fake_program
from tests.programs import launchpad_programs

pytestmark = pytest.mark.integration


class Run:
  """A launcher in a thread of this process, its nodes in their own."""

  def __init__(
    self,
    folder,
    nodes,
    *,
    hosts=fake_program.ALONE,
    command=None,
    settings=None,
    **fields,
  ):
    self.received = []
    self.said = []
    self.error = None
    self.folder = folder
    self._launcher = launcher.Launcher(
      fake_program.make(folder, nodes, **fields),
      hosts,
      launcher.Settings(**(settings or {})),
      folder,
      command or {},
    )
    self._thread = threading.Thread(target=self._run, daemon=True)
    self._thread.start()

  def _run(self):
    try:
      self._launcher.run(self.received, say=self.said.append)
    except launcher.ProgramError as error:
      self.error = str(error)

  def wait_until(self, condition, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
      assert time.monotonic() < deadline, (fake_nodes.notes(self.folder), self)
      assert self._thread.is_alive(), self.error
      time.sleep(0.05)

  def wait_for_notes(self, *lines):
    self.wait_until(lambda: set(lines) <= set(fake_nodes.notes(self.folder)))

  def stop(self, number=signal.SIGTERM, times=1):
    """Stops it, as a signal would, and waits for its end."""
    self.received.extend([number] * times)
    self.join()

  def join(self, seconds=40):
    """Waits for its end."""
    self._thread.join(seconds)
    assert not self._thread.is_alive()

  def __repr__(self):
    return f'said {self.said}, {self.error}'


@pytest.fixture(autouse=True)
def light_nodes(monkeypatch):
  """Nodes that do not import the suite, which takes seconds."""
  monkeypatch.setattr(node_process, 'prepare', node_process.tie)


@pytest.fixture
def run(tmp_path):
  """Starts programs; none of their nodes is left at the end."""
  folders = set()

  def start(nodes, folder=tmp_path, **kwargs):
    folder.mkdir(exist_ok=True)
    folders.add(folder)
    return Run(folder, nodes, **kwargs)

  yield start
  for folder in folders:
    assert not launchpad_programs.nodes_of(folder)


def test_a_node_that_raises_ends_the_program_with_its_traceback(run, tmp_path):
  program = run(
    {'actor': (fake_nodes.serve,), 'learner': (fake_nodes.fail,)},
    stages={'learner': 1},
  )
  program.join()
  assert program.error.startswith('learner ended with status 1; from ')
  assert str(tmp_path / 'logs' / 'learner.log') in program.error
  assert 'Traceback (most recent call last)' in program.error
  assert 'RuntimeError: learner broke down' in program.error
  assert 'in fail' in program.error
  # It was not tried again, and the other one was asked to leave.
  assert fake_nodes.notes(tmp_path).count('learner begins') == 1
  assert not program.said
  notes = fake_nodes.notes(tmp_path)
  assert ('actor begins' in notes) == ('actor leaves' in notes)


def test_a_node_that_ends_early_ends_the_program(run):
  program = run({'actor': (fake_nodes.end,), 'other': (fake_nodes.serve,)})
  program.join()
  assert program.error == 'actor/0 ended before the program did.'


def test_killed_nodes_are_restarted_a_limited_number_of_times(run, tmp_path):
  program = run(
    {
      'unlucky': (fake_nodes.die, 2),
      'other': (fake_nodes.serve,),
      'broken': (fake_nodes.die,),
    },
    settings={'max_restarts': 2},
  )
  program.join(60)
  assert program.error == 'broken/0 was killed by SIGKILL'
  assert program.said.count(
    'broken/0 was killed by SIGKILL: starting it again.'
  ) == 2  # fmt: skip
  notes = fake_nodes.notes(tmp_path)
  assert notes.count('broken begins') == 3
  assert notes.count('other begins') == 1


@pytest.mark.slow
def test_a_restarted_node_keeps_running_and_others_are_undisturbed(
  run, tmp_path
):
  program = run(
    {'unlucky': (fake_nodes.die, 1), 'other': (fake_nodes.serve,)},
    settings={'max_restarts': 1},
  )
  program.wait_until(
    lambda: fake_nodes.notes(tmp_path).count('unlucky begins') == 2
  )
  program.wait_for_notes('other begins')
  program.stop()
  assert program.error is None
  assert program.said == ['unlucky/0 was killed by SIGKILL: starting it again.']
  assert fake_nodes.notes(tmp_path).count('other begins') == 1


def test_a_killed_node_that_must_not_restart_ends_the_program(run, tmp_path):
  program = run({'counter': (fake_nodes.die,)}, fixed=['counter'])
  program.join()
  assert program.error == 'counter was killed by SIGKILL'
  assert not program.said
  assert fake_nodes.notes(tmp_path) == ['counter begins']


def test_nodes_leave_in_stages(run, tmp_path):
  program = run(
    {
      'replay': (fake_nodes.serve,),
      'learner': (fake_nodes.serve, 1.0),
      'actor': (fake_nodes.serve, 1.0),
      'evaluator': (fake_nodes.serve, 0.5),
    },
    stages={'learner': 1, 'replay': 2},
  )
  begins = [f'{n} begins' for n in ('replay', 'learner', 'actor', 'evaluator')]
  program.wait_for_notes(*begins)
  # As others see them while they run.
  assert set(launchpad_programs.nodes_of(tmp_path)) == {
    'replay/0',
    'learner',
    'actor/0',
    'evaluator/0',
  }
  assert sorted(path.name for path in (tmp_path / 'logs').iterdir()) == [
    'actor-0.log',
    'evaluator-0.log',
    'learner.log',
    'replay-0.log',
  ]
  program.stop()
  assert program.error is None
  left = fake_nodes.notes(tmp_path)[4:]
  assert set(left[:2]) == {'actor is asked', 'evaluator is asked'}
  assert left[2:] == [
    'evaluator leaves',
    'actor leaves',
    'learner is asked',
    'learner leaves',
    'replay is asked',
    'replay leaves',
  ]


def test_late_nodes_are_killed_and_named(run, tmp_path):
  program = run(
    {
      'actor': (fake_nodes.stay,),
      'learner': (fake_nodes.serve,),
      'other': (fake_nodes.serve,),
    },
    stages={'learner': 1},
    settings={'stop_timeout_s': 2.0},
  )
  program.wait_for_notes('actor begins', 'learner begins', 'other begins')
  begin = time.monotonic()
  program.stop()
  assert time.monotonic() - begin > 1.5
  # The learner was never asked, for the actor had not left.
  assert program.error == 'actor/0, learner did not stop within 2 s.'
  assert 'other leaves' in fake_nodes.notes(tmp_path)


def test_a_second_ctrl_c_kills_nodes_before_their_timeout(run):
  program = run({'actor': (fake_nodes.stay,)}, settings={'stop_timeout_s': 600})
  program.wait_for_notes('actor begins')
  program.stop(signal.SIGINT, times=2)


def test_a_node_that_fails_during_the_stop_is_reported(run):
  program = run({'learner': (fake_nodes.fail_at_the_end,)})
  program.wait_for_notes('learner begins')
  program.stop()
  assert program.error.startswith('while the program stopped, learner ended')
  assert 'RuntimeError: learner could not save' in program.error


def test_no_node_outlives_its_launcher(tmp_path):
  with launchpad_programs.started(
    tmp_path / 'output',
    sys.executable,
    '-m',
    'tests.programs.fake_program',
    str(tmp_path),
  ) as program:
    program.wait_until(lambda: len(fake_nodes.notes(tmp_path)) == 2)
    assert set(launchpad_programs.nodes_of(tmp_path)) == {'one/0', 'two/0'}
    program.kill()
    launchpad_programs.wait_until_gone(tmp_path, 3)


def test_equal_programs_in_two_folders_do_not_disturb_each_other(run, tmp_path):
  nodes = {'actor': (fake_nodes.serve,)}
  first, second = (run(nodes, tmp_path / name) for name in ('one', 'two'))
  for program in (first, second):
    program.wait_for_notes('actor begins')
  [pid] = launchpad_programs.nodes_of(second.folder).values()
  os.kill(launchpad_programs.nodes_of(first.folder)['actor/0'], signal.SIGKILL)
  first.wait_until(
    lambda: fake_nodes.notes(first.folder) == ['actor begins'] * 2
  )
  first.stop()
  assert first.error is None
  assert launchpad_programs.nodes_of(second.folder) == {'actor/0': pid}
  assert fake_nodes.notes(second.folder) == ['actor begins']
  second.stop()
  assert second.error is None
  assert not second.said


# Several hosts: a launcher each, here side by side.

BOTH = {'on': {'actor': 1}, 'stages': {'learner': 1}}


@pytest.fixture
def run_two(run):
  """Starts a program on two hosts, each with a launcher of its own."""

  def start(nodes, commands=(None, None), **settings):
    settings = {'base_port': launchpad_programs.free_ports(2), **settings}
    return [
      run(
        nodes,
        hosts=hosts_lib.Hosts(fake_program.TWO, i),
        command=command,
        settings=settings,
        **BOTH,
      )
      for i, command in enumerate(commands)
    ]

  return start


def test_hosts_run_their_own_nodes_and_stop_in_common_stages(run_two, tmp_path):
  leader, other = run_two(
    {'learner': (fake_nodes.serve,), 'actor': (fake_nodes.serve, 1.5)}
  )
  leader.wait_for_notes('learner begins', 'actor begins')
  assert leader.said == [
    'host 0 of 2 (127.0.0.1) waits for the others.',
    'all hosts are here.',
  ]
  # It is enough to tell one of them.
  other.stop()
  leader.join()
  assert (leader.error, other.error) == (None, None)
  assert fake_nodes.notes(tmp_path)[2:] == [
    'actor is asked',
    'actor leaves',
    'learner is asked',
    'learner leaves',
  ]


def test_hosts_fail_together(run_two, tmp_path):
  leader, other = run_two(
    {
      'learner': (fake_nodes.serve,),
      'actor': (fake_nodes.fail, 'learner begins'),
    }
  )
  leader.join()
  other.join()
  for program in (leader, other):
    assert program.error.startswith(
      'actor/0 on 127.0.0.2 ended with status 1'
    ), program
    assert 'RuntimeError: actor broke down' in program.error
  # The failed nodes were not waited for.
  assert 'learner leaves' in fake_nodes.notes(tmp_path)


@pytest.mark.slow
def test_a_node_that_stops_the_program_stops_all_hosts(tmp_path):
  # It tells the process that launched it, so that must be one of its own.
  port = str(launchpad_programs.free_ports(2))
  command = (sys.executable, '-m', 'tests.programs.fake_program', str(tmp_path))
  with (
    launchpad_programs.started(
      tmp_path / 'output-0', *command, '0', port, 'stop'
    ) as one,
    launchpad_programs.started(
      tmp_path / 'output-1', *command, '1', port, 'stop'
    ) as two,
  ):
    assert (one.wait(90), two.wait(30)) == (0, 0)
  assert 'one leaves' in fake_nodes.notes(tmp_path)


def test_hosts_with_different_commands_do_not_begin(run_two, tmp_path):
  programs_of_hosts = run_two(
    {'learner': (fake_nodes.serve,), 'actor': (fake_nodes.serve,)},
    commands=({'seed': '1', 'agent': 'vic'}, {'seed': '2', 'agent': 'vic'}),
  )
  for program in programs_of_hosts:
    program.join()
    assert program.error == (
      "host 1 (127.0.0.2) was started with seed='2', but host 0 with '1'."
    )
  assert not fake_nodes.notes(tmp_path)


@pytest.mark.parametrize('index', [0, 1])
@pytest.mark.slow
def test_a_host_without_the_other_gives_up(run, index):
  program = run(
    {'learner': (fake_nodes.serve,), 'actor': (fake_nodes.serve,)},
    hosts=hosts_lib.Hosts(fake_program.TWO, index),
    settings={
      'base_port': launchpad_programs.free_ports(2),
      'join_timeout_s': 1.5,
    },
    **BOTH,
  )
  program.join(15)
  assert program.error == (
    'host 0 (127.0.0.1) has not answered for 1.5 s.'
    if index
    else 'host 1 (127.0.0.2) has not joined for 1.5 s.'
  )
  assert not fake_nodes.notes(program.folder)


@pytest.mark.parametrize('index', [0, 1])
@pytest.mark.slow
def test_a_host_that_falls_silent_ends_the_program(
  run, tmp_path, monkeypatch, index
):
  monkeypatch.setattr(launcher, '_SILENCE_S', 3.0)
  port = launchpad_programs.free_ports(2)
  program = run(
    {'one': (fake_nodes.serve,), 'two': (fake_nodes.serve,)},
    hosts=hosts_lib.Hosts(fake_program.TWO, index),
    settings={'base_port': port},
    on={'two': 1},
  )
  with launchpad_programs.started(
    tmp_path / 'output',
    sys.executable,
    '-m',
    'tests.programs.fake_program',
    str(tmp_path),
    str(1 - index),
    str(port),
  ) as other:
    program.wait_for_notes('one begins', 'two begins')
    other.kill()
    program.join()
  assert program.error == (
    'host 0 (127.0.0.1) has not answered for 3 s.'
    if index
    else 'host 1 (127.0.0.2) has been silent for 3 s.'
  )
  # Nodes here left as they should.
  assert f'{"two" if index else "one"} leaves' in fake_nodes.notes(tmp_path)


# What the leader makes of what hosts tell it.


def agreement(count=3, command=None, **settings):
  made = launcher._Agreement(
    hosts_lib.Hosts(('a', 'b', 'c')[:count], 0),
    launcher.Settings(**settings),
    command or {},
  )

  def report(index, command=None, **status):
    told = dataclasses.asdict(launcher.Status(**status))
    return launcher.Status(**made.report(index, command or {}, told))

  return made, report


def test_nodes_start_once_all_hosts_have_joined():
  _, report = agreement()
  assert report(0) == launcher.Status(has_begun=False)
  assert not report(1).has_begun
  assert not report(0).has_begun
  assert report(2).has_begun
  assert report(0) == launcher.Status(has_begun=True)


def test_a_host_that_joins_late_learns_of_the_end():
  _, report = agreement(join_timeout_s=0.05)
  assert report(0).is_running
  report(1)
  time.sleep(0.1)
  assert report(0).failure == 'host 2 (c) has not joined for 0.05 s.'
  late = report(2)
  assert not late.is_running
  assert late.failure == 'host 2 (c) has not joined for 0.05 s.'


def test_one_host_stops_all_of_them():
  _, report = agreement(2)
  report(0)
  report(1)
  assert report(0).is_running
  assert not report(1, is_running=False).is_running
  assert report(0) == launcher.Status(is_running=False, has_begun=True)
  # For good.
  assert not report(1).is_running


def test_the_first_failure_is_the_reason():
  _, report = agreement(2)
  report(0)
  report(1, failure='actor/1 fell', is_running=False)
  assert report(0, failure='learner fell').failure == 'actor/1 fell'
  assert report(1).failure == 'actor/1 fell'


def test_stages_wait_for_the_slowest_host_that_is_there():
  made, report = agreement()
  assert report(0, stage=1).stage == 1  # The others never came.
  assert report(1, stage=0).stage == 0
  assert report(2, stage=launcher._ALL_LEFT).stage == 0
  assert report(1, stage=2).stage == 1
  assert report(0, stage=launcher._ALL_LEFT).stage == 2
  assert not made.all_have_left()
  assert report(1, stage=launcher._ALL_LEFT).stage == launcher._ALL_LEFT
  assert made.all_have_left()


def test_each_setting_that_differs_is_a_reason():
  command = {'seed': '1', 'agent': "'vic'"}
  _, report = agreement(2, command)
  assert report(0, command).is_running
  assert report(1, dict(command)).is_running
  status = report(1, command | {'agent': "'rnd'"})
  assert not status.is_running
  assert status.failure.startswith('host 1 (b) was started with agent=')
  assert "'rnd'" in status.failure
  assert "'vic'" in status.failure


def test_silence_is_a_failure_unless_a_host_has_left(monkeypatch):
  monkeypatch.setattr(launcher, '_SILENCE_S', 0.05)
  _, report = agreement()
  report(0)
  report(1)
  report(2, stage=launcher._ALL_LEFT)
  time.sleep(0.1)
  status = report(0)
  assert status.failure == 'host 1 (b) has been silent for 0.05 s.'
  # It is no longer waited for.
  assert report(0, stage=2).stage == 2


@pytest.mark.parametrize(
  'fields, part',
  [
    ({'launch_type': 'vertex_ai'}, "local_mt, test_mt, got 'vertex_ai'"),
    ({'max_restarts': -1}, 'max_restarts must be >= 0, got -1'),
    ({'base_port': 80}, 'base_port must be in [1024, 65000], got 80'),
    ({'base_port': 65_001}, 'base_port must be in [1024, 65000], got 65001'),
    ({'join_timeout_s': 0.0}, 'join_timeout_s must be positive, got 0'),
    ({'stop_timeout_s': -1.0}, 'stop_timeout_s must be positive, got -1'),
  ],
)
def test_settings_that_cannot_work_are_refused(fields, part):
  with pytest.raises(ValueError) as error:
    launcher.Settings(**fields)
  assert part in str(error.value)
