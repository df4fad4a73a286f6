"""Tests of skills/evaluation/figures/plots.py."""

import os
import struct
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('matplotlib', reason="needs the extra 'plots'")

from matplotlib import colors
from matplotlib import image as mpl_image

from skills.evaluation.figures import plots

PNG = b'\x89PNG\r\n\x1a\n'

# Two rows of two free cells within walls, and a corridor between them:
#   states 0 1
#          . 2
#          3 4
WALLS = np.array(
  [
    [1, 1, 1, 1],
    [1, 0, 0, 1],
    [1, 1, 0, 1],
    [1, 0, 0, 1],
    [1, 1, 1, 1],
  ],
  bool,
)
POSITIONS = np.argwhere(~WALLS)
# Skill 0 ends in states 1 and 2, skill 1 in 2 and 4, skill 2 nowhere else than
# in 4, more rarely.
END_COUNTS = np.array([[0, 6, 1, 0, 0], [0, 0, 5, 0, 4], [0, 0, 0, 0, 3]])
POSTERIOR = np.array(
  [
    [0.4, 0.3, 0.3],
    [0.9, 0.1, 0.0],
    [0.2, 0.7, 0.1],
    [0.3, 0.3, 0.4],
    [0.0, 0.5, 0.5],
  ]
)
DISAGREEMENT = np.array([0.0, 0.01, 0.05, 0.4, 0.1])


def draw(**changes):
  arguments = {
    'walls': WALLS,
    'positions': POSITIONS,
    'start': 0,
    'posterior': POSTERIOR,
    'end_counts': END_COUNTS,
    'disagreement': DISAGREEMENT,
    'title': 'A title',
    'skills_learned': 1.75,
  }
  return plots.draw_skill_map(**(arguments | changes))


def panel(figure, label):
  (axes,) = [axes for axes in figure.axes if axes.get_label() == label]
  return axes


def labels(figure):
  return [axes.get_label() for axes in figure.axes]


def numbers(figure):
  """The number written in each state's cell, by its place."""
  return {
    (text.get_position()[1], text.get_position()[0]): text.get_text()
    for text in panel(figure, 'skills').texts
  }


def size_of(png):
  assert png.startswith(PNG)
  return struct.unpack('>II', png[16:24])


def sample_curves():
  steps = np.arange(0, 1000, 100)
  return {'first': (steps, steps / 50), 'second': (steps, steps / 100)}


def draw_curves(curves=None, **changes):
  arguments = {
    'xlabel': 'environment steps',
    'ylabel': 'skills learned',
    'num_skills': 24,
    'title': 'A title',
  }
  return plots.draw_learning_curve(
    sample_curves() if curves is None else curves, **(arguments | changes)
  )


def test_each_cell_says_which_skill_ends_there_most_often():
  # States 0 and 3 are the ends of none: row and column of 1, 2 and 4.
  assert numbers(draw()) == {(1, 2): '0', (2, 2): '1', (3, 2): '1'}


def test_cells_where_no_skill_ends_have_a_dot_and_no_number():
  dots = {
    (int(line.get_ydata()[0]), int(line.get_xdata()[0]))
    for line in panel(draw(), 'skills').lines
  }
  assert dots == {(1, 1), (3, 1)}


def test_colours_fade_with_the_discriminators_doubt():
  image = panel(draw(), 'skills').images[0].get_array()
  # Skill 1 is held for 0.7 probable in state 2 and for 0.5 in state 4: one hue,
  # mixed with white by 0.15 + 0.85 * probability.
  pure = [
    1 - (1 - np.asarray(image[cell])) / (0.15 + 0.85 * probability)
    for cell, probability in (((2, 2), 0.7), ((3, 2), 0.5))
  ]
  np.testing.assert_allclose(pure[0], pure[1], atol=1e-6)
  assert image[2, 2].sum() < image[3, 2].sum()
  wall = colors.to_rgb(plots.WALL)
  np.testing.assert_allclose(image[WALLS], np.tile(wall, (WALLS.sum(), 1)))


def test_start_is_framed_in_every_panel():
  figure = draw(start=3)
  for label in ('skills', 'disagreement', 'confidence'):
    (frame,) = [
      patch
      for patch in panel(figure, label).patches
      if patch.get_gid() == 'start'
    ]
    center = frame.get_xy() + np.array([frame.get_width() / 2] * 2)
    np.testing.assert_allclose(center, [1, 3])  # Column, row.


@pytest.mark.parametrize(
  ('label', 'values'),
  [('disagreement', DISAGREEMENT), ('confidence', POSTERIOR.max(axis=1))],
)
def test_small_panels_show_the_values_that_were_given(label, values):
  (image,) = panel(draw(), label).images
  shown = image.get_array()
  np.testing.assert_allclose(shown[~WALLS], values)
  assert np.all(np.ma.getmaskarray(shown) == WALLS)
  low, high = image.get_clim()
  assert low == 0
  assert high == {'disagreement': 0.4, 'confidence': 1.0}[label]


def test_disagreement_is_given_in_nats():
  axes_labels = [axes.get_ylabel() for axes in draw().axes]
  assert 'disagreement [nats]' in axes_labels


def test_one_discriminator_cannot_disagree():
  figure = draw(disagreement=None)
  assert 'disagreement' not in labels(figure)
  assert 'confidence' in labels(figure)


def test_traces_of_disagreement_are_not_blown_up():
  figure = draw(disagreement=np.full(5, 1e-6))
  (image,) = panel(figure, 'disagreement').images
  assert image.get_clim() == (0, 0.01)


def test_caption_counts_ends_and_skills():
  caption = panel(draw(), 'skills').get_xlabel()
  assert caption == 'Skills end in 3 of 5 cells; 1.8 of 3 skills learned'
  caption = panel(draw(skills_learned=None), 'skills').get_xlabel()
  assert caption == 'Skills end in 3 of 5 cells'


def test_among_skills_that_end_equally_often_the_more_probable_is_named():
  counts = np.full((3, 5), 2)
  owner = plots.ending_skill(counts, POSTERIOR)
  np.testing.assert_array_equal(owner[:4], [0, 0, 1, 2])


@pytest.mark.parametrize('num_skills', [2, 24, 128])
def test_picture_of_any_number_of_skills_that_all_stay_at_the_start(
  num_skills, tmp_path
):
  counts = np.zeros((num_skills, 5))
  counts[:, 0] = 8
  figure = draw(
    posterior=np.full((5, num_skills), 1 / num_skills),
    end_counts=counts,
    disagreement=np.zeros(5),
  )
  assert numbers(figure) == {(1, 1): '0'}
  plots.save(figure, tmp_path / 'map.png')


def test_picture_before_any_evaluation(tmp_path):
  figure = draw(end_counts=np.zeros((3, 5)))
  assert numbers(figure) == {}
  plots.save(figure, tmp_path / 'map.png')


@pytest.mark.parametrize('shape', [(13, 13), (8, 7), (3, 30), (30, 3)])
def test_numbers_stay_within_their_cells_and_panels_in_the_figure(shape):
  walls = np.ones(shape, bool)
  walls[1:-1, 1:-1] = False
  positions = np.argwhere(~walls)
  num_states = len(positions)
  counts = np.zeros((128, num_states))
  counts[100 + np.arange(num_states) % 28, np.arange(num_states)] = 1
  figure = draw(
    walls=walls,
    positions=positions,
    posterior=np.full((num_states, 128), 1 / 128),
    end_counts=counts,
    disagreement=np.zeros(num_states),
  )
  figure.canvas.draw()
  main = panel(figure, 'skills')
  cell = main.get_window_extent().width / shape[1]
  assert main.get_window_extent().height / shape[0] == pytest.approx(cell)
  for text in main.texts:
    extent = text.get_window_extent()
    assert extent.width <= 0.97 * cell
    assert extent.height <= 0.97 * cell
  for axes in figure.axes:
    tight, whole = axes.get_tightbbox(), figure.bbox
    assert tight.x0 >= whole.x0 and tight.x1 <= whole.x1
    assert tight.y0 >= whole.y0 and tight.y1 <= whole.y1


def test_neighbours_have_colours_that_the_colour_blind_tell_apart():
  positions = np.argwhere(np.ones((11, 11), bool))
  owner = np.random.default_rng(0).permutation(121)
  colours = plots.skill_colours(owner, positions)
  of_state = np.array([colours[skill] for skill in owner])
  distance = np.abs(positions[:, None] - positions[None]).max(axis=-1)
  # Black and white are 1 apart.
  assert plots._differences(of_state)[distance == 1].min() > 0.07
  assert np.all((of_state >= 0) & (of_state <= 1))


def test_difference_of_black_and_white_is_one_to_every_eye():
  black_and_white = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
  np.testing.assert_allclose(
    plots._differences(black_and_white), [[0, 1], [1, 0]], atol=1e-3
  )


def test_red_and_green_of_one_lightness_look_alike_to_the_colour_blind():
  red_and_green = np.array([[0.8, 0.4, 0.3], [0.5, 0.55, 0.25]])
  assert plots._differences(red_and_green)[0, 1] < 0.07


def test_ink_is_dark_on_light_and_light_on_dark():
  assert plots._ink_on(np.array([1.0, 1.0, 0.8])) == plots.INK
  assert plots._ink_on(np.array([0.1, 0.1, 0.4])) == 'white'


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'end_counts': END_COUNTS.T}, r'end_counts must have shape \(3, 5\)'),
    ({'positions': POSITIONS[1:]}, r'positions must have shape \(5, 2\)'),
    ({'disagreement': np.zeros(4)}, r'disagreement must have shape \(5,\)'),
    ({'start': 5}, r'start must lie in \[0, 5\), got 5'),
  ],
)
def test_arrays_of_another_world_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    draw(**changes)


def test_curves_show_the_values_that_were_given():
  axes = panel(draw_curves(), 'curves')
  by_label = {line.get_label(): line for line in axes.lines}
  for name, (steps, values) in sample_curves().items():
    np.testing.assert_array_equal(by_label[name].get_xdata(), steps)
    np.testing.assert_array_equal(by_label[name].get_ydata(), values)
  assert axes.get_xlabel() == 'environment steps'
  assert axes.get_ylabel() == 'skills learned'
  assert axes.get_title(loc='left') == 'A title'


def test_several_runs_are_a_mean_within_two_standard_errors():
  # Means 2 and 5; deviations 1 and 3 of 4 runs, so errors of .5 and 1.5.
  runs = np.array([2, 5]) + np.array([[1, 3], [-1, -3]] * 2) * 0.75**0.5
  figure = draw_curves({'a': (np.array([0, 1]), runs)}, num_skills=None)
  axes = panel(figure, 'curves')
  (line,) = axes.lines
  np.testing.assert_allclose(line.get_ydata(), [2, 5])
  (band,) = axes.collections
  low, high = (
    band.get_paths()[0].vertices[:, 1].min(),
    band.get_paths()[0].vertices[:, 1].max(),
  )
  np.testing.assert_allclose([low, high], [1, 8])


def test_legend_names_the_curves_alone():
  (legend,) = draw_curves().legends
  assert [text.get_text() for text in legend.get_texts()] == ['first', 'second']


def levels(figure):
  return [
    line.get_ydata()[0]
    for line in panel(figure, 'curves').lines
    if line.get_label().startswith('_')
  ]


def test_lines_mark_chance_and_all_skills():
  assert levels(draw_curves()) == [1, 24]
  assert levels(draw_curves(num_skills=None)) == []


def test_curves_differ_in_colour_or_dash():
  many = {str(i): (np.arange(3), np.arange(3) + i) for i in range(20)}
  axes = panel(draw_curves(many, num_skills=None), 'curves')
  looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
  assert len(looks) == 20


def test_a_curve_of_one_point_can_be_seen():
  figure = draw_curves({'a': (np.array([0]), np.array([1.0]))}, num_skills=None)
  (line,) = panel(figure, 'curves').lines
  assert line.get_marker() == 'o'


def test_curves_that_make_no_sense_are_refused():
  with pytest.raises(ValueError, match='at least one curve'):
    draw_curves({})
  with pytest.raises(ValueError, match=r"curve 'a' .* \(3,\) .* \(2,\)"):
    draw_curves({'a': (np.arange(3), np.arange(2))})


def write_map(path):
  plots.save(
    plots.draw_skill_map(
      walls=WALLS,
      positions=POSITIONS,
      start=0,
      posterior=POSTERIOR,
      end_counts=END_COUNTS,
      disagreement=DISAGREEMENT,
      title='A title',
      skills_learned=1.75,
    ),
    path,
  )


def write_curves(path):
  plots.save(
    plots.draw_learning_curve(
      sample_curves(),
      xlabel='environment steps',
      ylabel='skills learned',
      num_skills=24,
      title='A title',
    ),
    path,
  )


@pytest.mark.parametrize('write', [write_map, write_curves])
def test_picture_is_a_png_that_shows_something(write, tmp_path):
  path = tmp_path / 'new' / 'folder' / 'picture.png'
  write(path)
  width, height = size_of(path.read_bytes())
  assert 600 <= width <= 3000
  assert 400 <= height <= 3000
  pixels = mpl_image.imread(path)
  assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 50
  # Nothing but the picture stays behind.
  assert os.listdir(path.parent) == ['picture.png']


@pytest.mark.parametrize('write', [write_map, write_curves])
def test_same_numbers_give_the_same_file(write, tmp_path):
  write(tmp_path / 'a.png')
  write(tmp_path / 'b.png')
  first = (tmp_path / 'a.png').read_bytes()
  assert first == (tmp_path / 'b.png').read_bytes()
  assert b'matplotlib' not in first.lower()


def test_save_replaces_a_file_and_leaves_it_alone_if_drawing_fails(tmp_path):
  path = tmp_path / 'picture.png'
  path.write_bytes(b'before')

  class Broken:
    def savefig(self, file, **_):
      with open(file, 'wb') as half:
        half.write(b'half')
      raise RuntimeError('no ink')

  with pytest.raises(RuntimeError, match='no ink'):
    plots.save(Broken(), path)
  assert path.read_bytes() == b'before'
  assert os.listdir(tmp_path) == ['picture.png']
  write_curves(path)
  assert path.read_bytes().startswith(PNG)


def run(program):
  return subprocess.run(
    [sys.executable, '-c', program],
    env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
    capture_output=True,
    text=True,
    check=False,
  )


def test_without_matplotlib_the_error_says_what_to_install():
  result = run(
    'import sys; sys.modules["matplotlib"] = None\n'
    'from skills.evaluation import plots'
  )
  assert result.returncode != 0
  assert "pip install 'skill-discovery-suite[plots]'" in result.stderr


def test_pyplot_and_its_global_state_are_never_loaded():
  result = run(
    'import sys; from skills.evaluation import plots\n'
    'assert "matplotlib.pyplot" not in sys.modules'
  )
  assert result.returncode == 0, result.stderr


def draw_ends(**changes):
  # Skill 3 goes right, twice; skill 1 goes up and is cut short.
  paths = np.zeros((3, 3, 2))
  paths[:, 0, 0] = [0, 1, 2]
  paths[:, 1, 0] = [0, 2, 4]
  paths[:, 2, 1] = [0, 5, 99]
  arguments = {
    'paths': paths,
    'lengths': np.array([2, 2, 1]),
    'skills': np.array([3, 3, 1]),
    'labels': ('x', 'y'),
    'title': 'A title',
  }
  return plots.draw_skill_ends(**(arguments | changes))


def test_each_skill_is_numbered_at_the_middle_of_its_ends():
  axes = panel(draw_ends(), 'skills')
  places = {text.get_text(): text.xy for text in axes.texts}
  assert set(places) == {'1', '3'}
  np.testing.assert_allclose(places['3'], [3.0, 0.0])
  np.testing.assert_allclose(places['1'], [0.0, 5.0])
  dots = {
    tuple(point) for line in axes.lines for point in line.get_xydata().tolist()
  }
  assert dots == {(2.0, 0.0), (4.0, 0.0), (0.0, 5.0)}


def test_paths_end_where_skills_do():
  axes = panel(draw_ends(), 'skills')
  drawn = [
    path.vertices.tolist()
    for collection in axes.collections
    for path in collection.get_paths()
  ]
  assert sorted(drawn) == [
    [[0, 0], [0, 5]],
    [[0, 0], [1, 0], [2, 0]],
    [[0, 0], [2, 0], [4, 0]],
  ]


def test_skills_of_a_picture_have_different_colours():
  num_skills = 16
  figure = draw_ends(
    paths=np.random.default_rng(0).normal(size=(2, num_skills, 2)),
    lengths=np.ones(num_skills, int),
    skills=np.arange(num_skills),
  )
  colours = {
    colors.to_hex(line.get_color()) for line in panel(figure, 'skills').lines
  }
  assert len(colours) == num_skills


def test_ends_are_written_to_a_file(tmp_path):
  plots.save(draw_ends(caption='2 skills'), tmp_path / 'ends.png')
  assert (tmp_path / 'ends.png').read_bytes().startswith(PNG)


@pytest.mark.parametrize(
  ('changes', 'part'),
  [
    ({'skills': np.array([], int)}, 'at least one run'),
    ({'paths': np.zeros((3, 3, 4))}, 'two coordinates'),
    ({'lengths': np.array([1])}, 'lengths must have shape'),
  ],
)
def test_ends_that_do_not_match_are_refused(changes, part):
  with pytest.raises(ValueError, match=part):
    draw_ends(**changes)
