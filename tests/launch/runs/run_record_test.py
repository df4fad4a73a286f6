"""A run's folder says how the run was started."""

import datetime
import json
import os
import shlex
import shutil
import subprocess
import sys

import pytest

from launch.runs import run_record

pytestmark = pytest.mark.integration


def test_the_first_start_is_kept_and_others_are_added(tmp_path, monkeypatch):
  folder = tmp_path / 'run'
  monkeypatch.setattr(
    sys, 'orig_argv', ['/a/python', '-m', 'launch.run_local', "--set=a='b c'"]
  )
  before = datetime.datetime.now(datetime.timezone.utc)
  run_record.write(folder)
  first = run_record.read(folder)
  assert first['resumed'] == []
  assert shlex.split(first['command']) == [
    'python',
    '-m',
    'launch.run_local',
    "--set=a='b c'",
  ]
  started_at = datetime.datetime.fromisoformat(first['started_at'])
  assert started_at.utcoffset() == datetime.timedelta(0)
  assert abs((started_at - before).total_seconds()) < 60
  assert first['versions']['python'].startswith('3.')
  machine = first['machine']
  assert machine['cores'] == len(os.sched_getaffinity(0))
  assert 2**28 < machine['memory'] < 2**50
  assert machine['processor']

  monkeypatch.setattr(sys, 'orig_argv', ['python', 'other.py', '--resume'])
  run_record.write(folder)
  run_record.write(folder)
  later = run_record.read(folder)
  resumed = later.pop('resumed')
  assert [start['command'] for start in resumed] == [
    'python other.py --resume'
  ] * 2
  assert set(resumed[0]) == set(later)
  first.pop('resumed')
  assert later == first


def test_run_without_a_record_has_none(tmp_path):
  assert run_record.read(tmp_path) is None


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ('', 'is broken'),
    ('{"format_version": 1', 'is broken'),
    ('[]', 'is broken'),
    ('{"format_version": 1}', "no list 'resumed'"),
    ('{"format_version": 2, "resumed": []}', 'format version 2'),
  ],
)
def test_unusable_file_is_named(tmp_path, content, message):
  (tmp_path / 'run.json').write_text(content)
  with pytest.raises(ValueError, match=f'run.json .*{message}'):
    run_record.read(tmp_path)
  with pytest.raises(ValueError, match='run.json'):
    run_record.write(tmp_path)
  assert (tmp_path / 'run.json').read_text() == content


@pytest.mark.skipif(shutil.which('git') is None, reason='needs git')
def test_revision_is_that_of_the_code_and_marks_changes(tmp_path):
  def git(*arguments):
    return subprocess.run(
      ['git', '-c', 'user.name=a', '-c', 'user.email=a@b', *arguments],
      cwd=tmp_path,
      capture_output=True,
      text=True,
      check=True,
    ).stdout.strip()

  known = tmp_path / 'known.py'
  known.write_text('1')
  assert run_record.git_revision(known) is None  # No repository.
  git('init')
  git('add', 'known.py')
  assert run_record.git_revision(known) is None  # No commit.
  git('commit', '-m', 'first')
  revision = git('rev-parse', 'HEAD')
  assert run_record.git_revision(known) == revision
  installed = tmp_path / 'installed.py'
  installed.write_text('3')  # As in an environment within a repository.
  assert run_record.git_revision(installed) is None
  assert run_record.git_revision(known) == f'{revision}+changes'
  installed.unlink()
  known.write_text('2')
  assert run_record.git_revision(known) == f'{revision}+changes'


def test_without_git_there_is_no_revision(monkeypatch):
  monkeypatch.setenv('PATH', '/nowhere')
  assert run_record.git_revision() is None


def test_accelerators_are_counted_by_name(tmp_path, monkeypatch):
  monkeypatch.setattr(run_record.jax, 'local_devices', list)
  tool = tmp_path / 'nvidia-smi'
  tool.write_text('#!/bin/sh\necho A100\necho A100\necho H100\n')
  tool.chmod(0o755)
  monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
  assert run_record.machine()['accelerator'] == '2 x A100, H100'
  tool.write_text('#!/bin/sh\necho broken\nexit 9\n')
  assert run_record.machine()['accelerator'] is None


def test_the_file_is_json(tmp_path):
  run_record.write(tmp_path)
  content = json.loads((tmp_path / run_record.RUN_FILE).read_text())
  assert content['format_version'] == 1
