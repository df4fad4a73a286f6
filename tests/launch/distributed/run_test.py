"""Real programs of real processes: what they lose, and what ends them.

A program takes seconds to start: few of them, with many assertions in each.
"""

import csv
import itertools
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from launch.runs import run_checkpoints
from launch.runs import run_files
import skills
from skills import checkpoints
from skills.agents import acme_api
from skills.agents import builder as builder_lib
from skills.agents.replay import tables as replay_tables
from tests.programs import counting
from tests.programs import launchpad_programs
from tests.programs import numbered_program

pytestmark = [pytest.mark.integration, pytest.mark.launchpad]

SMALL = (
  '--set=replay.min_size=64',
  '--evaluation_episodes=16',
)
ENDLESS = '--num_steps=10000000'


def distributed(folder, *arguments):
  """The command, with numbers for little."""
  return (*launchpad_programs.COMMAND, f'--output_dir={folder}', *arguments)


def assert_nothing_went_wrong(folder, program):
  """No complaints, neither of the launcher nor in the log of any node."""
  logs = {path.name: path.read_text() for path in (folder / 'logs').iterdir()}
  for name, text in (logs | {'output': program.output()}).items():
    for complaint in ('Traceback', 'Timeout', 'Error', 'Fatal', 'terminate'):
      assert complaint not in text, (name, text)


def counts(folder):
  """Counts in the newest checkpoint."""
  checkpoint = checkpoints.latest(folder / checkpoints.FOLDER)
  return json.loads((checkpoint / 'meta.json').read_text())['counts']


def evaluated_at(folder):
  """Steps of all evaluations, as they were written."""
  with open(folder / 'evaluator' / 'metrics.csv', newline='') as file:
    return [float(row['actor_steps']) for row in csv.DictReader(file)]


# Nothing is lost.


def items_of(folder, num_shards):
  """All that a run's replay servers held, one list of items each.

  Takes the items out one by one, from servers that are made from the newest
  checkpoint.
  """
  spec = acme_api.specs.make_environment_spec(
    numbered_program.NumberedEnvironment(0)
  )
  builder = builder_lib.SkillBuilder(numbered_program.CONFIG)
  found = []
  for shard in range(num_shards):
    server = run_checkpoints.make_replay_server(
      folder, shard, builder.make_replay_tables(spec)
    )
    try:
      client = acme_api.reverb.Client(f'localhost:{server.port}')
      found.append([])
      size = client.server_info()[replay_tables.TABLE].current_size
      for _ in range(size):
        [sample] = client.sample(
          replay_tables.TABLE,
          emit_timesteps=False,
          unpack_as_table_signature=True,
        )
        found[-1].append(sample.data)
        client.mutate_priorities(replay_tables.TABLE, deletes=[sample.info.key])
    finally:
      server.stop()
  return found


def check_item(item):
  """Checks what one skill's steps say of each other.

  Returns:
    Whose they are, the episode, the first step and their number.
  """
  length = int(np.sum(item.extras['skill_step'][:-1] > 0))
  who, episode, begin, _ = item.observation[0].astype(int).tolist()
  # A skill begins with every episode, and where another one has ended.
  assert begin % numbered_program.T == 0
  seen = item.observation[: length + 1]
  assert (seen[:, :2] == [who, episode]).all()
  assert (seen[:, 2] == begin + np.arange(length + 1)).all()
  # The action that is recorded is the one that the world has seen.
  assert (seen[1:, 3] == item.action[:length]).all()
  assert (item.reward[:length] == 100 * episode + seen[1:, 2]).all()
  assert (item.extras['skill_step'][:length] == 1 + np.arange(length)).all()
  skills = set(item.extras['skill'][:length].tolist())
  assert len(skills) == 1
  assert skills <= set(range(counting.NUM_SKILLS))
  is_last = begin + length == numbered_program.LENGTHS[episode % 5]
  assert is_last or length == numbered_program.T
  ends = 0 if is_last and episode % 2 else 1
  assert (item.discount[: length - 1] == 1).all()
  assert item.discount[length - 1] == ends
  return who, episode, begin, length


def expected(num_steps):
  """The first skills of an actor, as `check_item` gives them."""
  T = numbered_program.T
  for episode in itertools.count():
    whole = numbered_program.LENGTHS[episode % 5]
    for begin in range(0, whole, T):
      length = min(T, whole - begin)
      num_steps -= length
      if num_steps < 0:
        return
      yield episode, begin, length


@pytest.mark.parametrize(
  'launch_type, num_environments, num_inference_servers',
  [
    ('local_mp', 3, 0),
    ('local_mt', 3, 1),
    pytest.param('local_mt', 1, 0, marks=pytest.mark.slow),
    pytest.param('local_mp', 1, 0, marks=pytest.mark.slow),
  ],
)
def test_every_step_of_every_actor_is_in_replay_once(
  tmp_path, launch_type, num_environments, num_inference_servers
):
  folder = tmp_path / 'run'
  with launchpad_programs.started(
    tmp_path / 'output',
    sys.executable,
    '-m',
    'tests.programs.numbered_program',
    str(folder),
    launch_type,
    '1500',
    str(num_environments),
    str(num_inference_servers),
  ) as program:
    assert program.wait(90) == 0, program.output()
  counted = counts(folder)
  assert counted['actor_steps'] >= 1500

  actors = numbered_program.actors(
    numbered_program.make_experiment(folder, 1500, num_environments)
  )
  everyone = set(itertools.chain(*actors))
  assert len(everyone) == numbered_program.NUM_ACTORS * num_environments
  total = 0
  drawn, acted = set(), set()
  # Each actor writes to a server of its own.
  for names, items in zip(actors, items_of(folder, 2), strict=True):
    checked = [check_item(item) for item in items]
    assert {whose for whose, *_ in checked} == set(names)
    for who in names:
      found = sorted(skill[1:] for skill in checked if skill[0] == who)
      steps = sum(length for *_, length in found)
      assert found == list(expected(steps))
      total += steps
    drawn |= {int(item.extras['skill'][0]) for item in items}
    acted |= {int(item.action[0]) for item in items}
  assert drawn == set(range(counting.NUM_SKILLS))
  assert acted == set(range(counting.NUM_ACTIONS))
  # They were stopped within skills, of which replay knows nothing.
  unknown = counted['actor_steps'] - total
  assert 0 <= unknown <= len(everyone) * (numbered_program.T + 1)


def test_an_experiment_runs_in_launchpads_own_test_launcher(tmp_path):
  folder = tmp_path / 'run'
  with launchpad_programs.started(
    tmp_path / 'output',
    sys.executable,
    '-m',
    'tests.programs.numbered_program',
    str(folder),
    'test_mt',
    '1000',
  ) as program:
    assert program.wait(60) == 0, program.output()
    output = program.output()
  assert 'Traceback' not in output
  assert 'did not terminate in time' not in output
  assert counts(folder)['actor_steps'] >= 1000


@pytest.mark.slow
def test_a_set_of_policies_is_learned_as_anything_else_is(
  tmp_path,
):
  folder = tmp_path / 'run'
  arguments = distributed(
    folder,
    '--agent=domino',
    '--env=grid:top_rows',
    '--lp_launch_type=local_mt',
    '--num_actors=2',
    '--num_steps=4000',
    '--evaluation_episodes=2',
    '--set=replay.min_size=8',
    '--set=batch_size=8',
  )
  with launchpad_programs.started(tmp_path / 'output', *arguments) as program:
    assert program.wait(180) == 0, program.output()
    assert 'Traceback' not in program.output()
  trained = skills.load(folder)
  assert trained.config.keeps_skill
  averages = trained.objective_state.averages
  # Policy 0 was seen, and its features are shares of its steps.
  assert 0 < averages.features[0].sum() < 1.5
  with open(folder / 'learner' / 'metrics.csv', newline='') as file:
    assert 'policies/distance' in next(csv.DictReader(file))


@pytest.mark.slow
def test_a_model_is_learned_as_anything_else_is(tmp_path):
  folder = tmp_path / 'run'
  arguments = distributed(
    folder,
    '--agent=ive',
    '--env=classic:catch',
    '--lp_launch_type=local_mt',
    '--num_actors=2',
    '--num_steps=3000',
    '--set=replay.min_size=8',
    '--set=updates_per_step=4',
    *SMALL,
  )
  with launchpad_programs.started(tmp_path / 'output', *arguments) as program:
    assert program.wait(240) == 0, program.output()
    assert 'Traceback' not in program.output()
  # Of 9 steps an episode, each learned from 16 times in batches of 16.
  assert counts(folder)['learner_steps'] > 200
  with open(folder / 'learner' / 'metrics.csv', newline='') as file:
    first, *_, last = csv.DictReader(file)
  assert float(last['loss/reward']) < 0.5 * float(first['loss/reward'])
  # The stream of what the model does not know.
  assert float(last['reward/ive']) > 0
  agent = skills.load(folder)
  assert agent.config.learner.ive.bonus_weight == 1


def test_an_error_in_one_actor_ends_the_program_with_its_traceback(tmp_path):
  folder = tmp_path / 'run'
  result = subprocess.run(
    [
      *(sys.executable, '-m', 'tests.programs.numbered_program'),
      *(str(folder), 'local_mp', '10000000', '1', '0', 'fault'),
    ],
    cwd=launchpad_programs.ROOT,
    stdin=subprocess.DEVNULL,
    capture_output=True,
    text=True,
    timeout=90,
    check=False,
  )
  assert result.returncode == 1
  assert result.stderr.startswith('error: actor/1 ended with status 1; from ')
  assert 'Traceback (most recent call last)' in result.stderr
  assert 'RuntimeError: the environment broke down' in result.stderr
  assert str(folder / 'logs' / 'actor-1.log') in result.stderr
  assert not launchpad_programs.nodes_of(folder)
  assert not (folder / 'summary.json').exists()


# Interrupted, and continued by whatever can.


def test_an_interrupted_run_is_continued_by_either_command(tmp_path):
  folder = tmp_path / 'run'
  endless = distributed(folder, ENDLESS, *SMALL)
  with launchpad_programs.started(tmp_path / 'output-1', *endless) as program:
    program.wait_until(
      lambda: (
        launchpad_programs.number(folder, 'learner', 'learner_steps') > 100
      )
    )
    program.send(signal.SIGINT)
    assert program.wait(30) == 130, program.output()
    assert not launchpad_programs.nodes_of(folder)
    assert 'Interrupted and saved' in program.output()
    assert_nothing_went_wrong(folder, program)
  first = counts(folder)
  assert first['learner_steps'] > 100
  summary = json.loads((folder / 'summary.json').read_text())
  assert summary['complete'] is False
  assert summary['environment_steps'] == first['actor_steps']
  assert not (folder / '.replay').exists()

  # In one process, to an end.
  end = first['actor_steps'] + 2000
  local = (*launchpad_programs.LOCAL, f'--output_dir={folder}', '--resume')
  with launchpad_programs.started(
    tmp_path / 'output-2', *local, f'--num_steps={end}'
  ) as program:
    assert program.wait(60) == 0, program.output()
  second = counts(folder)
  assert second['actor_steps'] == end
  assert second['actor_episodes'] > first['actor_episodes']
  assert second['learner_steps'] > first['learner_steps']

  # And again by many, of which two share a process now.
  with launchpad_programs.started(
    tmp_path / 'output-3',
    *distributed(folder, '--resume', ENDLESS, '--colocate_learner_and_replay'),
  ) as program:
    program.wait_until(
      lambda: (
        launchpad_programs.number(folder, 'learner', 'learner_steps')
        > second['learner_steps'] + 50
      )
    )
    program.send(signal.SIGTERM)
    launchpad_programs.wait_until_gone(folder, 15)
    assert program.wait(30) == 0, program.output()
    assert_nothing_went_wrong(folder, program)
  third = counts(folder)
  assert all(third[name] > second[name] for name in second)
  summary = json.loads((folder / 'summary.json').read_text())
  assert summary['complete'] is False
  assert summary['learner_steps'] == third['learner_steps']
  steps = evaluated_at(folder)
  assert len(steps) >= 3
  assert steps == sorted(steps)
  # Replay came along: it holds what the first ones wrote, and is sampled from
  # at once.
  rows = run_files.read_metrics(folder / 'learner' / 'metrics.csv')
  learned = [float(row['learner_steps']) for row in rows]
  assert learned == sorted(learned)


# Killed.


def has_next_step(
  folder, program, name, label='learner', column='learner_steps'
):
  """Kills a node and waits until it is back, and numbers are written again."""
  killed = launchpad_programs.kill(folder, name)
  program.wait_until(
    lambda: launchpad_programs.nodes_of(folder).get(name, killed) != killed, 15
  )
  path = folder / label / 'metrics.csv'
  size = path.stat().st_size

  def rows():
    with open(path, newline='') as file:
      # Only what was written since then.
      text = file.read()[size:].splitlines()
    header = path.read_text().splitlines()[0].split(',')
    return [
      float(line.split(',')[header.index(column)])
      for line in text
      if line.count(',') == len(header) - 1
    ]

  if label == 'learner':
    # What was learned before the kill may still be written after it.
    return program.wait_until(
      lambda: len(rows()) > 4 and rows()[-1] > rows()[-3] > rows()[-5]
    )
  return program.wait_until(lambda: len(rows()) > 0)


def test_killed_nodes_come_back_and_without_the_counter_it_ends(tmp_path):
  folder = tmp_path / 'run'
  arguments = distributed(folder, ENDLESS, '--checkpoint_every_s=2', *SMALL)
  with launchpad_programs.started(tmp_path / 'output', *arguments) as program:
    program.wait_until(lambda: (folder / checkpoints.FOLDER).is_dir())
    program.wait_until(
      lambda: launchpad_programs.number(folder, 'learner', 'learner_steps') > 50
    )
    # As `ps` shows them.
    assert set(launchpad_programs.nodes_of(folder)) == {
      *('replay/0', 'counter', 'learner', 'actor/0', 'actor/1', 'evaluator/0')
    }
    assert sorted(path.stem for path in (folder / 'logs').iterdir()) == [
      *('actor-0', 'actor-1', 'counter', 'evaluator-0', 'learner', 'replay-0')
    ]
    for name in ('actor/0', 'replay/0', 'learner'):
      has_next_step(folder, program, name)
      assert f'{name} was killed by SIGKILL: starting it again.' in (
        program.output()
      )
    saved = counts(folder)['learner_steps']
    assert saved > 0
    # What a learner knows, and what is shown while it learns.
    assert launchpad_programs.number(folder, 'learner', 'parameter_age') >= 0
    assert all(
      words in program.output()
      for words in ('updates a step', 'updates old', 'replay ')
    )

    launchpad_programs.kill(folder, 'counter')
    assert program.wait(40) == 1, program.output()
    assert 'error: counter was killed by SIGKILL' in program.output()
    assert not launchpad_programs.nodes_of(folder)
  # The two actors were different ones.
  returns = [
    run_files.read_metrics(folder / f'actor-{i}' / 'metrics.csv')
    for i in range(2)
  ]
  assert returns[0] and returns[1]
  assert returns[0] != returns[1]


@pytest.mark.slow
def test_killed_inference_servers_and_evaluators_come_back(tmp_path):
  folder = tmp_path / 'run'
  arguments = distributed(
    folder,
    ENDLESS,
    '--checkpoint_every_s=2',
    '--num_inference_servers=1',
    '--max_restarts=5',
    *SMALL,
  )
  with launchpad_programs.started(tmp_path / 'output', *arguments) as program:
    program.wait_until(
      lambda: launchpad_programs.number(folder, 'learner', 'learner_steps') > 50
    )
    program.wait_until(lambda: evaluated_at(folder))
    for name in ('inference/0', 'actor/1', 'replay/0', 'learner'):
      has_next_step(folder, program, name)
    has_next_step(folder, program, 'evaluator/0', 'evaluator', 'actor_steps')
    has_next_step(folder, program, 'inference/0')
    program.send(signal.SIGTERM)
    assert program.wait(40) == 0, program.output()
    assert not launchpad_programs.nodes_of(folder)
  assert evaluated_at(folder) == sorted(evaluated_at(folder))


# Several learners, several hosts.

PAIR = ('--num_learners=2', '--num_replay_shards=2')


def host(folder, index, hosts, port, *arguments, steps=6000):
  """The command of one of two hosts."""
  return distributed(
    folder,
    f'--num_steps={steps}',
    f'--hosts={",".join(hosts)}',
    f'--host_index={index}',
    f'--base_port={port}',
    '--stop_timeout_s=60',
    *SMALL,
    *arguments,
  )


@pytest.mark.slow
def test_two_hosts_share_a_run_to_its_end(tmp_path):
  folder = tmp_path / 'run'
  port = launchpad_programs.free_ports(20)
  names = ('127.0.0.1', '127.0.0.2')
  with (
    launchpad_programs.started(
      tmp_path / 'output-0', *host(folder, 0, names, port, *PAIR)
    ) as leader,
    launchpad_programs.started(
      tmp_path / 'output-1', *host(folder, 1, names, port, *PAIR)
    ) as other,
  ):
    leader.wait_until(
      lambda: (
        launchpad_programs.number(folder, 'learner', 'learner_steps') > 20
      ),
      120,
    )
    found = launchpad_programs.nodes_of(folder)
    assert {'learner/0', 'learner/1', 'replay/0', 'replay/1'} <= set(found)
    parents = {
      name: pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2]
      for name, pid in found.items()
    }
    on_other = {
      name
      for name, text in parents.items()
      if int(text.split()[1]) == other.pid
    }
    assert on_other == {'learner/1', 'replay/1', 'actor/1', 'evaluator/0'}
    assert leader.wait(90) == 0, leader.output()
    assert other.wait(20) == 0, other.output()
    assert 'waits for the others' in other.output()
    assert_nothing_went_wrong(folder, leader)
    assert 'Traceback' not in other.output()
  # Learners read from both, each by the address of its host.
  for i in range(2):
    log = (folder / 'logs' / f'learner-{i}.log').read_text()
    for name in names:
      assert f'Reverb client connecting to: {name}:' in log
  summary = json.loads((folder / 'summary.json').read_text())
  assert summary['complete'] is True
  assert summary['learner_steps'] > 0
  # Both servers' trajectories are in the checkpoint.
  saved = checkpoints.latest(folder / checkpoints.FOLDER) / 'replay'
  assert sorted(path.name for path in saved.iterdir()) == ['0', '1']


@pytest.mark.slow
def test_a_signal_to_one_host_ends_the_run_on_both(tmp_path):
  folder = tmp_path / 'run'
  port = launchpad_programs.free_ports(20)
  names = ('127.0.0.1', '127.0.0.2')
  with (
    launchpad_programs.started(
      tmp_path / 'output-0', *host(folder, 0, names, port, steps=10**7)
    ) as leader,
    launchpad_programs.started(
      tmp_path / 'output-1', *host(folder, 1, names, port, steps=10**7)
    ) as other,
  ):
    leader.wait_until(
      lambda: (
        launchpad_programs.number(folder, 'learner', 'learner_steps') > 20
      ),
      90,
    )
    other.send(signal.SIGTERM)
    assert other.wait(60) == 0, other.output()
    assert leader.wait(60) == 0, leader.output()
    assert_nothing_went_wrong(folder, leader)
  assert counts(folder)['learner_steps'] > 20
  assert not launchpad_programs.nodes_of(folder)


def test_hosts_that_were_told_different_things_do_not_begin(tmp_path):
  folder = tmp_path / 'run'
  port = launchpad_programs.free_ports(20)
  names = ('127.0.0.1', '127.0.0.2')
  with (
    launchpad_programs.started(
      tmp_path / 'output-0', *host(folder, 0, names, port)
    ) as leader,
    launchpad_programs.started(
      tmp_path / 'output-1', *host(folder, 1, names, port, '--seed=7')
    ) as other,
  ):
    for program in (leader, other):
      assert program.wait(60) == 1, program.output()
      assert (
        "error: host 1 (127.0.0.2) was started with seed='7', but host 0 "
        "with '0'."
      ) in program.output()
  assert not (folder / 'logs').exists()


@pytest.mark.slow
def test_two_learners_with_two_servers_reach_the_end(tmp_path):
  folder = tmp_path / 'run'
  with launchpad_programs.started(
    tmp_path / 'output',
    *distributed(folder, '--num_steps=20000', *PAIR, *SMALL),
  ) as program:
    assert program.wait(200) == 0, program.output()
    assert_nothing_went_wrong(folder, program)
  summary = json.loads((folder / 'summary.json').read_text())
  assert summary['complete'] is True


@pytest.fixture
def namespaces():
  """Two network namespaces with a cable between them."""
  if shutil.which('ip') is None:
    pytest.skip('needs the command `ip`.')
  mark = f'skt{time.monotonic_ns() % 10**6}'
  names = [f'{mark}{i}' for i in range(2)]

  def ip(*arguments):
    return subprocess.run(
      ['ip', *arguments], capture_output=True, text=True, check=False
    )

  made = [
    ip('netns', 'add', names[0]),
    ip('netns', 'add', names[1]),
    ip(
      *('link', 'add', 'v0', 'netns', names[0], 'type', 'veth'),
      *('peer', 'name', 'v1', 'netns', names[1]),
    ),
  ]
  for i, name in enumerate(names):
    made.append(
      ip('-n', name, 'addr', 'add', f'10.77.1.{i + 1}/24', 'dev', f'v{i}')
    )
    made.append(ip('-n', name, 'link', 'set', f'v{i}', 'up'))
    made.append(ip('-n', name, 'link', 'set', 'lo', 'up'))
  try:
    failed = [done.stderr.strip() for done in made if done.returncode]
    if failed:
      pytest.skip(f'may not make network namespaces: {failed[0]}')
    yield names
  finally:
    for name in names:
      ip('netns', 'del', name)


@pytest.mark.slow
def test_two_hosts_need_nothing_but_a_network_and_files(tmp_path, namespaces):
  folder = tmp_path / 'run'
  names = ('10.77.1.1', '10.77.1.2')
  prefixes = [('ip', 'netns', 'exec', name) for name in namespaces]
  with (
    launchpad_programs.started(
      tmp_path / 'output-0',
      *prefixes[0],
      *host(folder, 0, names, 23_000, *PAIR),
    ) as leader,
    launchpad_programs.started(
      tmp_path / 'output-1',
      *prefixes[1],
      *host(folder, 1, names, 23_000, *PAIR),
    ) as other,
  ):
    assert leader.wait(200) == 0, leader.output()
    assert other.wait(20) == 0, other.output()
    assert_nothing_went_wrong(folder, leader)
  assert json.loads((folder / 'summary.json').read_text())['complete'] is True
