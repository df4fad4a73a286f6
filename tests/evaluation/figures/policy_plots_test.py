"""Tests of skills/evaluation/figures/policy_plots.py."""

import io

import numpy as np
from PIL import Image
import pytest

from skills.evaluation.figures import draw
from skills.evaluation.figures import policy_plots

# A row of three free cells within walls.
WALLS = np.ones((3, 5), bool)
WALLS[1, 1:4] = False
POSITIONS = np.argwhere(~WALLS)
FEATURES = np.array([[0.5, -1.0, 0.0], [2.0, 0.0, 1.0]])


def panel(figure, label):
  (axes,) = [axes for axes in figure.axes if axes.get_label() == label]
  return axes


def frames(*shades, size=(24, 32)):
  """A film of plain pictures, one of each shade."""
  return np.stack([np.full((*size, 3), shade, np.uint8) for shade in shades])


def test_bars_are_as_long_as_the_features():
  figure = policy_plots.draw_features(
    FEATURES, ['a', 'b', 'c'], labels=['one', 'other'], title='A title'
  )
  for k, name in enumerate(['one', 'other']):
    axes = panel(figure, f'policy {k}')
    assert axes.get_title() == name
    np.testing.assert_array_equal(
      [bar.get_width() for bar in axes.patches], FEATURES[k]
    )
    assert axes.get_xlim() == panel(figure, 'policy 0').get_xlim()
  names = [
    label.get_text() for label in panel(figure, 'policy 0').get_yticklabels()
  ]
  assert names == ['a', 'b', 'c']


def test_of_many_features_those_that_differ_the_most_are_drawn_in_order():
  features = np.ones((2, 100))
  differing = np.arange(30, 30 + policy_plots.MAX_FEATURES)
  features[1, differing] += np.linspace(5, 1, len(differing))
  figure = policy_plots.draw_features(
    features, [str(i) for i in range(100)], labels=['', ''], title=''
  )
  axes = panel(figure, 'policy 0')
  assert [label.get_text() for label in axes.get_yticklabels()] == [
    str(i) for i in differing
  ]
  assert f'{policy_plots.MAX_FEATURES} of 100' in figure.get_supxlabel()


def test_maps_show_each_policy_s_share_of_steps_on_one_scale():
  occupancies = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
  figure = policy_plots.draw_occupancies(
    occupancies,
    walls=WALLS,
    positions=POSITIONS,
    start=0,
    labels=['one', 'other'],
    title='A title',
  )
  for k in range(2):
    [image] = panel(figure, f'policy {k}').images
    shown = np.ma.filled(image.get_array().astype(float), np.nan)
    np.testing.assert_array_equal(shown[1, 1:4], occupancies[k])
    assert np.isnan(shown[WALLS]).all()
    assert (image.norm.vmin, image.norm.vmax) == (0, 1)


def test_a_strip_shows_moments_from_the_start_to_the_end():
  films = [frames(*range(0, 210, 10)), frames(5, 6)]  # The second is cut short.
  figure = policy_plots.draw_strip(
    films, labels=['long', 'short'], steps_per_frame=4, title='', moments=3
  )
  shown = [
    axes.images[0].get_array()[0, 0, 0] if axes.images else None
    for axes in figure.axes
  ]
  assert shown == [0, 100, 200, 5, None, None]
  titles = [axes.get_title() for axes in figure.axes[:3]]
  assert titles == ['step 0', 'step 40', 'step 80']


def test_a_film_opens_and_moves(tmp_path):
  path = tmp_path / 'folder' / 'film.webp'
  policy_plots.film(
    path,
    [frames(250, 150, 50), frames(0, 90)],
    labels=['policy 0', 'policy 1'],
    steps_per_frame=10,
  )
  with Image.open(path) as film:
    assert film.n_frames == 3
    seen = []
    for i in range(3):
      film.seek(i)
      seen.append(np.asarray(film.convert('RGB'), int))
      assert film.info['duration'] == 50
  # Two of 24 x 32 side by side; a line of text above and one below.
  assert seen[0].shape == (24 + 32, 64, 3)
  middles = [[picture[28, x].mean() for x in (16, 48)] for picture in seen]
  # The episode that is over stands still.
  np.testing.assert_allclose(middles, [[250, 0], [150, 90], [50, 90]], atol=6)
  assert list(path.parent.iterdir()) == [path]


def test_labels_may_change_with_the_frames():
  pictures = []
  for labels in (['same'], [['same', 'other']], [['same', 'same']]):
    content = policy_plots.encode_film(
      [frames(5, 5)], labels=labels, steps_per_frame=1, quality=100
    )
    with Image.open(io.BytesIO(content)) as film:
      film.seek(1)
      pictures.append(np.asarray(film.convert('RGB'), int))
  one, other, again = pictures
  assert (one[:16] != other[:16]).any()  # The line of text above.
  np.testing.assert_array_equal(one, again)


@pytest.mark.parametrize(
  ('films', 'labels'), [([], []), ([frames(1)[:0]], ['a']), ([frames(1)], [])]
)
def test_films_that_cannot_be_are_refused(tmp_path, films, labels):
  path = tmp_path / 'film.webp'
  with pytest.raises(ValueError):
    policy_plots.film(path, films, labels=labels, steps_per_frame=1)
  assert not path.exists()


def test_the_same_numbers_give_the_same_files(tmp_path):
  for name in ('one', 'other'):
    policy_plots.film(
      tmp_path / name, [frames(1, 90)], labels=['a'], steps_per_frame=1
    )
    figure = policy_plots.draw_features(
      FEATURES, ['a', 'b', 'c'], labels=['one', 'other'], title=''
    )
    draw.save(figure, tmp_path / f'{name}.png')
  for suffix in ('', '.png'):
    one, other = (tmp_path / f'{name}{suffix}' for name in ('one', 'other'))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize('given', [{'names': ['a']}, {'labels': ['one']}])
def test_names_that_do_not_match_are_refused(given):
  arguments = {'names': ['a', 'b', 'c'], 'labels': ['one', 'other']} | given
  with pytest.raises(ValueError, match=f'{next(iter(given))} must be'):
    policy_plots.draw_features(
      FEATURES, arguments['names'], labels=arguments['labels'], title=''
    )
