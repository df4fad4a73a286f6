"""A cache of compiled programs that outlives a command.

XLA compiles for half a minute where networks train on device. A program that
was compiled once on this machine is read from the user's cache folder.
"""

import os
import pathlib
import sys

from absl import flags

_FLAG = flags.DEFINE_bool(
  'compilation_cache',
  True,
  'Keep compiled programs in $XDG_CACHE_HOME/skills/jax (~/.cache/skills/jax), '
  'at most 1 GB, for the next command. JAX_COMPILATION_CACHE_DIR names another '
  'folder.',
)

_FOLDER = 'JAX_COMPILATION_CACHE_DIR'
_LEAST_SECONDS = 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'
_MAX_BYTES = 2**30


def folder() -> pathlib.Path:
  """The folder in the user's cache."""
  cache = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  return pathlib.Path(cache) / 'skills' / 'jax'


def use() -> None:
  """Lets this process and those that it starts use the cache.

  Does nothing where the flag says so, where the user has named a folder for
  JAX, or where the folder cannot be written.
  """
  if not _FLAG.value or os.environ.get(_FOLDER):
    return
  path = folder()
  try:
    path.mkdir(parents=True, exist_ok=True)
    prune(path, _MAX_BYTES)
  except OSError:
    return
  if not os.access(path, os.W_OK):
    return
  settings = {_FOLDER: str(path), _LEAST_SECONDS: '0.5'}
  os.environ.update(settings)
  # JAX has read the environment if it is there already.
  if 'jax' in sys.modules:
    config = sys.modules['jax'].config
    config.update(_FOLDER.lower(), str(path))
    config.update(_LEAST_SECONDS.lower(), 0.5)


def prune(path: pathlib.Path, max_bytes: int) -> None:
  """Removes the oldest files of a folder until the rest is small enough."""
  files = []
  for file in path.iterdir():
    status = file.stat()
    files.append((status.st_mtime, status.st_size, file))
  size = sum(bytes_ for _, bytes_, _ in files)
  for _, bytes_, file in sorted(files):
    if size <= max_bytes:
      return
    # Another command may have removed it.
    file.unlink(missing_ok=True)
    size -= bytes_
