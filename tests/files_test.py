"""Tests of skills/files.py."""

import pytest

from skills import files


def test_what_was_written_is_read_without_its_version(tmp_path):
  path = tmp_path / 'file.json'
  path.write_text('{"format_version": 3, "a": [1, 2]}')
  assert files.read(path, 3, 'numbers') == {'a': [1, 2]}


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('{"format_version": 3', 'is broken'),
    ('[3]', 'it holds no numbers'),
    ('{"a": 1}', 'version None; this program reads 3'),
    ('{"format_version": 4}', 'version 4; this program reads 3'),
  ],
)
def test_all_else_is_refused_by_name(tmp_path, text, message):
  path = tmp_path / 'file.json'
  path.write_text(text)
  with pytest.raises(ValueError, match=message) as refused:
    files.read(path, 3, 'numbers')
  assert str(path) in str(refused.value)


def test_a_missing_file_is_no_broken_one(tmp_path):
  with pytest.raises(FileNotFoundError):
    files.read(tmp_path / 'file.json', 3, 'numbers')
  (tmp_path / 'file').write_text('')
  with pytest.raises(NotADirectoryError):
    files.read(tmp_path / 'file' / 'file.json', 3, 'numbers')
