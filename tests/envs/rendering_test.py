"""Tests of envs/rendering.py."""

import os

import pytest

from envs import rendering


@pytest.fixture
def load(monkeypatch):
  """Lets some libraries be found; MUJOCO_GL is set back afterwards."""
  monkeypatch.delenv('DISPLAY', raising=False)
  # Set first, so that what the test chooses is undone too.
  monkeypatch.setenv('MUJOCO_GL', '')
  monkeypatch.delenv('MUJOCO_GL')

  def let(*found):
    def load_library(name):
      if name not in found:
        raise OSError(name)

    monkeypatch.setattr(rendering.ctypes, 'CDLL', load_library)

  return let


@pytest.mark.parametrize(
  ('found', 'renderer'),
  [
    (('libEGL.so.1', 'libOSMesa.so.8'), 'egl'),
    (('libOSMesa.so.8',), 'osmesa'),
    (('libOSMesa.so.6',), 'osmesa'),
    ((), 'disable'),
  ],
)
def test_the_first_renderer_whose_library_is_there_is_chosen(
  load, found, renderer
):
  load(*found)
  rendering.choose_renderer()
  assert os.environ['MUJOCO_GL'] == renderer
  assert rendering.is_possible() == (renderer != 'disable')


@pytest.mark.parametrize(
  ('name', 'value'), [('DISPLAY', ':0'), ('MUJOCO_GL', 'glfw')]
)
def test_a_screen_or_an_earlier_choice_is_kept(load, monkeypatch, name, value):
  load('libEGL.so.1')
  monkeypatch.setenv(name, value)
  rendering.choose_renderer()
  assert os.environ.get('MUJOCO_GL', value) == value
