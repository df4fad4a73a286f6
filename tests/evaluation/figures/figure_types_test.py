"""Figures are what they were after they lay on a disk."""

import dataclasses
import json

import numpy as np
import pytest

from skills.evaluation.figures import figure_types

TITLES = {'title': 'Überschrift „1“', 'caption': 'Größe in Å; 日本語'}
SOME = [
  figure_types.Table(
    **TITLES,
    columns=['skill', 'bits'],
    rows=[
      ['zéro', 0.1],
      [1, None],
      ['', float('nan')],
      ['inf', -np.inf],
      [np.int32(3), np.float32(0.5)],
    ],
  ),
  figure_types.Curves(
    **TITLES,
    xlabel='steps',
    ylabel='β [nats]',
    lines={
      'β': (np.array([1, 2**40]), np.array([np.nan, 1e300])),
      'a': (np.array([0.5]), np.array([-0.0], np.float32)),
    },
  ),
  figure_types.Map(
    **TITLES,
    values=np.array([[1.5, np.nan, np.inf], [0, -1, 2]]),
    unit='bits',
    text=np.array([['', 'é', 'long text'], ['a', 'b', 'c']]),
  ),
  figure_types.Map(**TITLES, values=np.arange(6).reshape(2, 3), unit=''),
  figure_types.Points(
    **TITLES,
    xlabel='x [m]',
    ylabel='y [m]',
    paths=[np.ones((1, 2)), np.arange(8.0).reshape(4, 2), np.zeros((0, 2))],
    groups=['0', '1', '1'],
  ),
  figure_types.Film(
    **TITLES, mime='image/webp', content=b'\x00\xff', num_frames=2
  ),
  figure_types.Missing(**TITLES),
]
EMPTY = [
  figure_types.Table(title='', caption='', columns=[], rows=[]),
  figure_types.Curves(title='', caption='', xlabel='', ylabel='', lines={}),
  figure_types.Map(title='', caption='', values=np.zeros((0, 3)), unit=''),
  figure_types.Points(
    title='', caption='', xlabel='', ylabel='', paths=[], groups=[]
  ),
  figure_types.Film(title='', caption='', mime='', content=b'', num_frames=0),
]


def check_same(found, expected):
  """Values, not only numbers that are close; tuples stand for lists."""
  if isinstance(expected, np.ndarray):
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)
    if expected.dtype.kind == 'f':
      np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))
  elif isinstance(expected, dict):
    assert list(found) == list(expected)
    for key in expected:
      check_same(found[key], expected[key])
  elif isinstance(expected, (list, tuple)):
    assert isinstance(found, tuple)
    assert len(found) == len(expected)
    for pair in zip(found, expected):
      check_same(*pair)
  elif isinstance(expected, float) and np.isnan(expected):
    assert np.isnan(found)
  else:
    assert found == expected


@pytest.mark.parametrize('expected', [SOME, EMPTY, []])
def test_load_gives_what_save_wrote(tmp_path, expected):
  figure_types.save(tmp_path / 'run', expected)
  (tmp_path / 'run').rename(tmp_path / 'elsewhere')
  found = figure_types.load(tmp_path / 'elsewhere')
  assert len(found) == len(expected)
  for one, other in zip(found, expected):
    assert type(one) is type(other)
    for field in dataclasses.fields(other):
      check_same(getattr(one, field.name), getattr(other, field.name))


def test_any_reader_of_json_can_read_the_file(tmp_path):
  path = figure_types.save(tmp_path, SOME)

  def refuse(constant):
    raise AssertionError(constant)  # NaN and Infinity are no JSON.

  content = json.loads(path.read_text(), parse_constant=refuse)
  assert content['figures'][0]['kind'] == 'Table'


def test_files_that_nothing_refers_to_any_more_go(tmp_path):
  figure_types.save(tmp_path, SOME)
  figure_types.save(tmp_path, SOME[:1])
  assert len(list((tmp_path / 'figures').iterdir())) == 1  # The arrays.
  assert len(figure_types.load(tmp_path)) == 1


def test_the_old_ones_are_whole_if_the_new_ones_cannot_be_written(tmp_path):
  figure_types.save(tmp_path, SOME)
  broken = figure_types.Map(
    title='', caption='', values=np.array([object()]), unit=''
  )
  with pytest.raises(TypeError, match='object'):
    figure_types.save(tmp_path, [broken])
  assert len(figure_types.load(tmp_path)) == len(SOME)


def test_no_figures_are_said_to_be_none(tmp_path):
  with pytest.raises(ValueError, match='figures.json is missing'):
    figure_types.load(tmp_path)


def test_a_newer_format_is_refused(tmp_path):
  path = figure_types.save(tmp_path, SOME)
  content = json.loads(path.read_text())
  path.write_text(json.dumps({**content, 'format_version': 2}))
  with pytest.raises(ValueError, match=r'figures.json has format version 2'):
    figure_types.load(tmp_path)


def test_whatever_is_cut_short_or_missing_is_named(tmp_path):
  path = figure_types.save(tmp_path, SOME)
  parts = sorted((tmp_path / 'figures').iterdir())
  assert len(parts) == 2
  for file in (path, *parts):
    whole = file.read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 3):
      if length >= len(whole) or length < 0:
        continue
      file.write_bytes(whole[:length])
      with pytest.raises(ValueError, match=f'{file.name} is broken'):
        figure_types.load(tmp_path)
    file.unlink()
    with pytest.raises(ValueError, match=file.name):
      figure_types.load(tmp_path)
    file.write_bytes(whole)
  assert len(figure_types.load(tmp_path)) == len(SOME)


@pytest.mark.parametrize(
  'change',
  [
    {'kind': 'Sculpture'},
    {'more': 1},
    {'caption': {'array': ['<f8', 0, [10**6]]}},
    {'caption': {'nothing': 1}},
    {'caption': {'array': 3}},
  ],
)
def test_files_with_impossible_content_are_called_broken(tmp_path, change):
  path = figure_types.save(tmp_path, SOME)
  content = json.loads(path.read_text())
  content['figures'][0] |= change
  path.write_text(json.dumps(content))
  with pytest.raises(ValueError, match='figures.json is broken'):
    figure_types.load(tmp_path)


@pytest.mark.parametrize('text', ['[]', '{"format_version": 1}', 'null'])
def test_files_without_figures_are_called_broken(tmp_path, text):
  (tmp_path / 'figures.json').write_text(text)
  with pytest.raises(ValueError, match='figures.json is broken'):
    figure_types.load(tmp_path)
