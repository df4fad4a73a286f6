"""The choice of MuJoCo's renderer, by the environment variable MUJOCO_GL."""

import ctypes
import os

# The library that each renderer needs, the preferred one first.
_LIBRARIES = (
  ('libEGL.so.1', 'egl'),
  ('libOSMesa.so.8', 'osmesa'),
  ('libOSMesa.so.6', 'osmesa'),
)
_VARIABLE, _NONE = 'MUJOCO_GL', 'disable'


def choose_renderer() -> None:
  """Chooses a renderer that needs no screen if there is no screen.

  dm_control, which reads the choice when it is imported, would try to open a
  window.
  """
  if 'DISPLAY' in os.environ or _VARIABLE in os.environ:
    return
  # Looking a library up starts processes; to try to load it is much cheaper.
  for library, renderer in _LIBRARIES:
    try:
      ctypes.CDLL(library)
    except OSError:
      continue
    os.environ[_VARIABLE] = renderer
    return
  os.environ[_VARIABLE] = _NONE


def is_possible() -> bool:
  """Whether a renderer is chosen, or left to MuJoCo."""
  return os.environ.get(_VARIABLE) != _NONE
