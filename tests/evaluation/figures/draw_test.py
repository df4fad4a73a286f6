"""Tests of skills/evaluation/figures/draw.py."""

import os
import re
import struct
import subprocess
import sys

from matplotlib import colors
from matplotlib import image as mpl_image
import numpy as np
import pytest

from skills.evaluation.figures import draw
from skills.evaluation.figures import figure_types
from skills.evaluation.figures import skill_figures

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
GRID = skill_figures.Grid(WALLS, POSITIONS, 0)
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


def skill_map(grid=GRID, counts=END_COUNTS, posterior=POSTERIOR):
  return skill_figures.ending_skills(counts, posterior, grid)


def draw_map(disagreement=DISAGREEMENT):
  return draw.figure(
    skill_map(),
    beside=[
      skill_figures.disagreement(disagreement, GRID, 2),
      skill_figures.confidence(POSTERIOR, GRID),
    ],
    title='A title',
    caption='A caption',
  )


def panel(figure, label='chart'):
  [axes] = [axes for axes in figure.axes if axes.get_label() == label]
  return axes


def numbers(axes):
  """The number written in each cell, by row and column."""
  return {
    (text.get_position()[1], text.get_position()[0]): text.get_text()
    for text in axes.texts
  }


def curves(lines=None, **changes):
  steps = np.arange(0, 1000, 100)
  if lines is None:
    lines = {'first': (steps, steps / 50), 'second': (steps, steps / 100)}
  arguments = {
    'title': 'A title',
    'caption': '',
    'xlabel': 'environment steps',
    'ylabel': 'skills learned',
    'lines': lines,
  }
  return figure_types.Curves(**(arguments | changes))


def paths(**changes):
  # Skill 3 goes right, twice; skill 1 goes up, for one step alone.
  positions = np.zeros((3, 3, 2))
  positions[:, 0, 0] = [0, 1, 2]
  positions[:, 1, 0] = [0, 2, 4]
  positions[:, 2, 1] = [0, 5, 99]
  arguments = {
    'title': 'A title',
    'caption': '',
    'xlabel': 'x',
    'ylabel': 'y',
    'paths': [positions[:, 0], positions[:, 1], positions[:2, 2]],
    'groups': ['3', '3', '1'],
  }
  return figure_types.Points(**(arguments | changes))


VALUES = {'map': skill_map, 'curves': curves, 'points': paths}


def test_each_cell_says_which_skill_ends_there_most_often():
  # States 0 and 3 are the ends of none: row and column of 1, 2 and 4.
  axes = panel(draw.figure(skill_map()))
  assert numbers(axes) == {(1, 2): '0', (2, 2): '1', (3, 2): '1'}


def test_cells_where_no_skill_ends_have_a_dot_and_no_number():
  dots = {
    (int(line.get_ydata()[0]), int(line.get_xdata()[0]))
    for line in panel(draw.figure(skill_map())).lines
  }
  assert dots == {(1, 1), (3, 1)}


def test_colors_fade_with_the_discriminators_doubt():
  image = panel(draw.figure(skill_map())).images[0].get_array()[..., :3]
  # Skill 1 has probability 0.7 in state 2 and 0.5 in state 4: one hue, mixed
  # with white by 0.15 + 0.85 * probability.
  pure = [
    1 - (1 - np.asarray(image[cell])) / (0.15 + 0.85 * probability)
    for cell, probability in (((2, 2), 0.7), ((3, 2), 0.5))
  ]
  np.testing.assert_allclose(pure[0], pure[1], atol=1e-6)
  assert image[2, 2].sum() < image[3, 2].sum()
  wall = colors.to_rgb(draw.WALL)
  np.testing.assert_allclose(image[WALLS], np.tile(wall, (WALLS.sum(), 1)))


def test_start_is_framed_in_every_panel():
  figure = draw_map()
  for label in (
    skill_figures.ENDING_SKILLS,
    skill_figures.DISAGREEMENT,
    skill_figures.BEST_GUESS,
  ):
    [frame] = [
      patch
      for patch in panel(figure, label).patches
      if patch.get_gid() == 'marked'
    ]
    center = frame.get_xy() + np.array([frame.get_width() / 2] * 2)
    np.testing.assert_allclose(center, [1, 1])  # Column, row.


@pytest.mark.parametrize(
  ('label', 'values', 'high'),
  [
    (skill_figures.DISAGREEMENT, DISAGREEMENT, 0.4),
    (skill_figures.BEST_GUESS, POSTERIOR.max(axis=1), 0.9),
  ],
)
def test_small_panels_show_the_values_that_were_given(label, values, high):
  [image] = panel(draw_map(), label).images
  shown = image.get_array()
  np.testing.assert_allclose(shown[~WALLS], values)
  assert np.all(np.ma.getmaskarray(shown) == WALLS)
  assert image.get_clim() == (0, high)


def test_scales_have_units_and_pictures_their_title_and_caption():
  figure = draw_map()
  assert {'nats', 'probability'} <= {axes.get_ylabel() for axes in figure.axes}
  assert figure.get_suptitle() == 'A title'
  assert figure.get_supxlabel() == 'A caption'


def test_traces_of_disagreement_are_not_blown_up():
  figure = draw_map(np.full(5, 1e-6))
  [image] = panel(figure, skill_figures.DISAGREEMENT).images
  assert image.get_clim() == (0, 0.01)


def test_caption_counts_the_cells_where_skills_end():
  assert skill_map().caption.startswith('Skills end in 3 of 5 cells.')


def test_of_skills_that_end_equally_often_the_more_probable_is_named():
  shown = skill_map(counts=np.full((3, 5), 2))
  owner = shown.groups[tuple(POSITIONS.T)]
  np.testing.assert_array_equal(owner[:4], [0, 0, 1, 2])


@pytest.mark.parametrize('num_skills', [2, 24, 128])
def test_picture_of_any_number_of_skills_that_all_stay_at_the_start(num_skills):
  counts = np.zeros((num_skills, 5))
  counts[:, 0] = 8
  figure = draw.figure(
    skill_map(counts=counts, posterior=np.full((5, num_skills), 1 / num_skills))
  )
  assert numbers(panel(figure)) == {(1, 1): '0'}


def test_picture_before_any_evaluation():
  figure = draw.figure(skill_map(counts=np.zeros((3, 5))))
  assert numbers(panel(figure)) == {}


@pytest.mark.parametrize('shape', [(13, 13), (8, 7), (3, 30), (30, 3)])
def test_numbers_stay_within_their_cells_and_panels_in_the_figure(shape):
  walls = np.ones(shape, bool)
  walls[1:-1, 1:-1] = False
  positions = np.argwhere(~walls)
  num_states = len(positions)
  counts = np.zeros((128, num_states))
  counts[100 + np.arange(num_states) % 28, np.arange(num_states)] = 1
  figure = draw.figure(
    skill_map(
      skill_figures.Grid(walls, positions),
      counts,
      np.full((num_states, 128), 1 / 128),
    )
  )
  figure.draw_without_rendering()
  main = panel(figure)
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


def test_arrays_of_another_shape_are_refused():
  shown = skill_figures.confidence(POSTERIOR, GRID)
  with pytest.raises(ValueError, match=r'text must have shape \(5, 4\)'):
    draw.figure(
      figure_types.Map(
        title='', caption='', values=shown.values, unit='', text=shown.text.T
      )
    )


def test_curves_show_the_values_that_were_given():
  value = curves()
  axes = panel(draw.figure(value))
  by_label = {line.get_label(): line for line in axes.lines}
  for name, (steps, values) in value.lines.items():
    np.testing.assert_array_equal(by_label[name].get_xdata(), steps)
    np.testing.assert_array_equal(by_label[name].get_ydata(), values)
  assert axes.get_xlabel() == 'environment steps'
  assert axes.get_ylabel() == 'skills learned'


def test_several_runs_are_a_mean_within_two_standard_errors():
  # Means 2 and 5; deviations 1 and 3 of 4 runs, so errors of .5 and 1.5.
  runs = np.array([2, 5]) + np.array([[1, 3], [-1, -3]] * 2) * 0.75**0.5
  mean, band = skill_figures.runs_mean(runs)
  steps = np.array([0, 1])
  value = curves(
    {'a': (steps, mean)},
    bands={'a': band},
    parts={'a': [(steps, run) for run in runs]},
  )
  axes = panel(draw.figure(value))
  *thin, line = axes.lines
  np.testing.assert_allclose(line.get_ydata(), [2, 5])
  assert len(thin) == 4
  [drawn] = axes.collections
  vertices = drawn.get_paths()[0].vertices[:, 1]
  np.testing.assert_allclose([vertices.min(), vertices.max()], [1, 8])
  assert skill_figures.runs_mean(runs[:1])[1] is None


def test_legend_names_the_curves_alone():
  [legend] = draw.figure(curves(levels={'all': 24.0})).legends
  assert [text.get_text() for text in legend.get_texts()] == ['first', 'second']


def test_reference_lines_stand_at_their_levels_with_their_names():
  axes = panel(draw.figure(curves(levels={'chance: 1': 1.0, 'all: 24': 24.0})))
  levels = [
    line.get_ydata()[0]
    for line in axes.lines
    if line.get_label().startswith('_')
  ]
  assert levels == [1, 24]
  assert [text.get_text() for text in axes.texts] == ['chance: 1', 'all: 24']


def test_curves_differ_in_color_or_dash():
  many = {str(i): (np.arange(3), np.arange(3) + i) for i in range(20)}
  axes = panel(draw.figure(curves(many)))
  looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
  assert len(looks) == 20


def test_a_curve_of_one_point_can_be_seen():
  value = curves({'a': (np.array([0]), np.array([1.0]))})
  [line] = panel(draw.figure(value)).lines
  assert line.get_marker() == 'o'


def test_curves_that_make_no_sense_are_refused():
  with pytest.raises(ValueError, match='at least one curve'):
    draw.figure(curves({}))
  with pytest.raises(ValueError, match=r"curve 'a' .* \(3,\) .* \(2,\)"):
    draw.figure(curves({'a': (np.arange(3), np.arange(2))}))


def test_each_skill_is_numbered_at_the_median_of_its_ends():
  axes = panel(draw.figure(paths()))
  places = {text.get_text(): text.xy for text in axes.texts}
  assert set(places) == {'1', '3'}
  np.testing.assert_allclose(places['3'], [3.0, 0.0])
  np.testing.assert_allclose(places['1'], [0.0, 5.0])
  dots = {
    tuple(point) for line in axes.lines for point in line.get_xydata().tolist()
  }
  assert dots == {(2.0, 0.0), (4.0, 0.0), (0.0, 5.0)}


def test_paths_end_where_skills_do():
  axes = panel(draw.figure(paths()))
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


def test_skills_of_a_picture_have_different_colors():
  ends = np.random.default_rng(0).normal(size=(16, 1, 2))
  groups = [str(skill) for skill in range(16)]
  axes = panel(draw.figure(paths(paths=list(ends), groups=groups)))
  assert len({line.get_color() for line in axes.lines}) == 16


def test_the_plane_has_a_point_for_each_run_and_a_cross_for_several_seeds():
  value = paths(
    paths=[np.array([[0.9, 1.0]]), np.array([[1.0, 2.0]]), np.zeros((1, 2))],
    groups=['alpha=0.9', 'alpha=0.9', 'none'],
    levels={'alpha = 0.9': 0.9},
    show_means=True,
  )
  axes = panel(draw.figure(value))
  by_label = {line.get_label(): line for line in axes.lines}
  np.testing.assert_array_equal(
    by_label['alpha=0.9'].get_xydata(), [[0.9, 1], [1, 2]]
  )
  np.testing.assert_array_equal(by_label['none'].get_xydata(), [[0, 0]])
  [cross] = [line for line in axes.lines if line.get_gid() == 'mean']
  np.testing.assert_allclose(cross.get_xydata(), [[0.95, 1.5]])
  assert [text.get_text() for text in axes.texts] == ['alpha = 0.9']


@pytest.mark.parametrize(
  ('changes', 'part'),
  [
    ({'paths': [], 'groups': []}, 'at least one path'),
    ({'paths': [np.zeros((3, 4))] * 3}, 'two coordinates'),
    ({'groups': ['1']}, 'one for each of groups'),
  ],
)
def test_paths_that_do_not_match_are_refused(changes, part):
  with pytest.raises(ValueError, match=part):
    draw.figure(paths(**changes))


@pytest.mark.parametrize('name', VALUES)
def test_picture_is_a_png_that_shows_something(name, tmp_path):
  path = tmp_path / 'new' / 'folder' / 'picture.png'
  draw.save(draw.figure(VALUES[name]()), path)
  content = path.read_bytes()
  assert content.startswith(PNG)
  width, height = struct.unpack('>II', content[16:24])
  assert 600 <= width <= 3000
  assert 400 <= height <= 3000
  pixels = mpl_image.imread(path)
  assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 50
  # Nothing but the picture stays behind.
  assert os.listdir(path.parent) == ['picture.png']


@pytest.mark.parametrize('name', VALUES)
def test_same_values_give_the_same_files(name, tmp_path):
  for file in ('a.png', 'b.png'):
    draw.save(draw.figure(VALUES[name]()), tmp_path / file)
  first = (tmp_path / 'a.png').read_bytes()
  assert first == (tmp_path / 'b.png').read_bytes()
  assert b'matplotlib' not in first.lower()
  svg = draw.to_svg(VALUES[name](), 'a')
  assert svg == draw.to_svg(VALUES[name](), 'a')
  assert 'matplotlib' not in svg.lower()


def test_charts_of_a_page_share_glyphs_and_no_other_ids():
  page = draw.share_glyphs(
    draw.to_svg(curves(), 'a')
    + draw.to_svg(curves(levels={'all': 1.0}), 'b')
    + draw.to_svg(skill_map(), 'c')
  )
  ids = re.findall(r'\sid="([^"]*)"', page)
  assert len(ids) == len(set(ids))
  referred = set(re.findall(r'(?:url\(|href=")#([^")]+)', page))
  assert referred == set(ids)


@pytest.mark.parametrize('name', VALUES)
def test_charts_need_no_style_script_or_font(name):
  svg = draw.to_svg(VALUES[name](), 'a')
  assert svg.startswith('<svg ') and 'viewBox="0 0 ' in svg
  for part in ('style', '<script', '<text', '<metadata', 'http-equiv'):
    assert part not in svg


def test_a_file_stays_as_it_was_if_drawing_fails(tmp_path):
  path = tmp_path / 'picture.png'
  path.write_bytes(b'before')

  class Broken:
    def savefig(self, file, **_):
      file.write(b'half')
      raise RuntimeError('no ink')

  with pytest.raises(RuntimeError, match='no ink'):
    draw.save(Broken(), path)
  assert path.read_bytes() == b'before'
  assert os.listdir(tmp_path) == ['picture.png']


def test_pyplot_and_its_global_state_are_never_loaded():
  program = (
    'import sys; from skills.evaluation.figures import draw\n'
    'assert "matplotlib.pyplot" not in sys.modules'
  )
  result = subprocess.run(
    [sys.executable, '-c', program],
    env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr
