"""Tests of skills/files.py."""

import json

import pytest

from skills import files


class Killed(BaseException):
  """As if the process had ended here."""


def names(folder):
  return sorted(path.name for path in folder.iterdir())


def test_files_are_replaced_and_their_folders_are_made(tmp_path):
  folder = tmp_path / 'a' / 'b'
  files.write_text(folder / 'text', 'one')
  files.write_text(str(folder / 'text'), 'zw\u00f6lf')
  files.write_bytes(folder / 'bytes', b'\x00\xff')
  assert (folder / 'text').read_text('utf-8') == 'zw\u00f6lf'
  assert (folder / 'bytes').read_bytes() == b'\x00\xff'
  assert names(folder) == ['bytes', 'text']


def test_folders_are_replaced_as_a_whole(tmp_path):
  def produce(name):
    def write(unfinished):
      (unfinished / 'part').mkdir(parents=True)
      (unfinished / 'part' / name).write_text(name)

    return write

  files.write(tmp_path / 'folder', produce('old'))
  files.write(tmp_path / 'folder', produce('new'))
  assert names(tmp_path) == ['folder']
  assert names(tmp_path / 'folder' / 'part') == ['new']


@pytest.mark.parametrize('error', [Killed, ValueError])
def test_an_error_leaves_what_was_there_before(tmp_path, error):
  def produce(unfinished):
    unfinished.write_text('ha')
    raise error

  files.write_text(tmp_path / 'file', 'whole')
  for name in ('file', 'other'):
    with pytest.raises(error):
      files.write(tmp_path / name, produce)
  assert names(tmp_path) == ['file']
  assert (tmp_path / 'file').read_text() == 'whole'


def test_content_is_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
  calls = []
  for name in ('fsync', 'replace'):
    function = getattr(files.os, name)

    def record(*arguments, name=name, function=function):
      calls.append(name)
      return function(*arguments)

    monkeypatch.setattr(files.os, name, record)
  files.write_text(tmp_path / 'file', 'text')
  assert calls == ['fsync', 'replace', 'fsync']


def test_json_is_complete_or_not_there(tmp_path):
  path = tmp_path / 'summary.json'
  files.write_json(path, {'old': 1})
  with pytest.raises(TypeError):
    files.write_json(path, {'new': object()})
  assert json.loads(path.read_text()) == {'old': 1}
  files.write_json(path, {'new': 2})
  assert json.loads(path.read_text()) == {'new': 2}
  assert names(tmp_path) == ['summary.json']


def test_json_is_read_without_its_version(tmp_path):
  path = tmp_path / 'file.json'
  files.write_json(path, {'a': [1, 2]}, version=3)
  assert json.loads(path.read_text()) == {'format_version': 3, 'a': [1, 2]}
  assert files.read_json(path, 3, 'numbers') == {'a': [1, 2]}


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('{"format_version": 3', 'is broken'),
    ('[3]', 'it holds no numbers'),
    ('{"a": 1}', 'version None; this program reads 3'),
    (
      '{"format_version": 4}',
      'version 4; this program reads 3: run again, or use the release that',
    ),
  ],
)
def test_broken_and_other_files_are_refused_by_name(tmp_path, text, message):
  path = tmp_path / 'file.json'
  path.write_text(text)
  with pytest.raises(ValueError, match=message) as refused:
    files.read_json(path, 3, 'numbers')
  assert str(path) in str(refused.value)


def test_a_missing_file_is_not_called_broken(tmp_path):
  with pytest.raises(FileNotFoundError):
    files.read_json(tmp_path / 'file.json', 3, 'numbers')
  (tmp_path / 'file').write_text('')
  with pytest.raises(NotADirectoryError):
    files.read_json(tmp_path / 'file' / 'file.json', 3, 'numbers')
