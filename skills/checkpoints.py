"""Checkpoints: a tree of arrays and what belongs to it, all or nothing.

A checkpoint is a folder named by its step, with `state.npz` (one array for each
leaf, named by its path), `meta.json`, and whatever else a program puts beside
them. It is written under another name and renamed when it is complete, so that
a program killed at any moment leaves only complete ones. No pickle: NumPy alone
can read them.
"""

from collections.abc import Callable
import os
import pathlib
from typing import Any
import zipfile

import jax
import numpy as np

from skills import files
from skills import types

FORMAT_VERSION = 1

# Folder of the checkpoints within that of a run.
FOLDER = 'checkpoints'

_STATE = 'state.npz'
_META = 'meta.json'


class CheckpointError(ValueError):
  """A checkpoint that cannot be used, and why."""


def save(
  folder: str | os.PathLike[str],
  step: int,
  state: types.PyTree,
  meta: dict[str, Any],
  *,
  extra: Callable[[pathlib.Path], None] | None = None,
  keep: int = 2,
) -> pathlib.Path:
  """Writes a checkpoint and removes older ones.

  Args:
    folder: of the checkpoints.
    step: names this one; later ones have larger steps.
    state: arrays.
    meta: what JSON can hold.
    extra: puts further files into the checkpoint's folder before it counts.
    keep: newest checkpoints to keep.

  Returns:
    The checkpoint's folder.
  """
  folder = pathlib.Path(folder)
  for leftover in folder.glob('.*.unfinished'):
    files.remove(leftover)

  def produce(unfinished: pathlib.Path) -> None:
    unfinished.mkdir()
    if extra is not None:
      extra(unfinished)
    arrays = {name: np.asarray(leaf) for name, leaf in _leaves(state)}
    np.savez(unfinished / _STATE, **arrays)
    files.write_json(unfinished / _META, meta, FORMAT_VERSION)

  target = folder / f'{step:012d}'
  files.write(target, produce)
  for old in _finished(folder)[:-keep]:
    files.remove(old)
  return target


def latest(folder: str | os.PathLike[str]) -> pathlib.Path:
  """The newest whole checkpoint.

  Raises:
    CheckpointError: if there is none.
  """
  finished = _finished(pathlib.Path(folder))
  if not finished:
    raise CheckpointError(f'there is no checkpoint in {folder}.')
  return finished[-1]


def read_meta(checkpoint: str | os.PathLike[str]) -> dict[str, Any]:
  """Reads what belongs to a checkpoint's state.

  Raises:
    CheckpointError: if it is broken or of another format.
  """
  checkpoint = pathlib.Path(checkpoint)
  try:
    return files.read_json(checkpoint / _META, FORMAT_VERSION, 'checkpoint')
  except (OSError, ValueError) as error:
    raise CheckpointError(f'{checkpoint} is no checkpoint: {error}') from error


def load(
  checkpoint: str | os.PathLike[str],
  like: types.PyTree,
  *,
  allow_more: bool = False,
) -> tuple[types.PyTree, dict[str, Any]]:
  """Reads a checkpoint.

  Args:
    checkpoint: its folder.
    like: a tree of the structure, shapes and dtypes to expect, of arrays or
      `jax.ShapeDtypeStruct`.
    allow_more: whether it may hold arrays that are not in that tree, which are
      left out.

  Returns:
    The state as NumPy arrays in that structure, and the meta data.

  Raises:
    CheckpointError: if it is broken, of another format, or of another
      configuration.
  """
  checkpoint = pathlib.Path(checkpoint)
  meta = read_meta(checkpoint)
  try:
    # Opened here, for NumPy leaves a file that it cannot read open.
    with (
      open(checkpoint / _STATE, 'rb') as opened,
      np.load(opened, allow_pickle=False) as file,
    ):
      arrays = dict(file)
  except (EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
    raise CheckpointError(f'{checkpoint} is broken: {error}.') from error
  leaves = []
  for name, leaf in _leaves(like):
    if name not in arrays:
      raise CheckpointError(
        f'{checkpoint} has no {name!r}; it is of another configuration.'
      )
    array = arrays.pop(name)
    if array.shape != leaf.shape or array.dtype != leaf.dtype:
      raise CheckpointError(
        f'{checkpoint}: {name!r} is {array.dtype}{list(array.shape)}, but this '
        f'configuration needs {leaf.dtype}{list(leaf.shape)}.'
      )
    leaves.append(array)
  if arrays and not allow_more:
    raise CheckpointError(
      f'{checkpoint} also has {sorted(arrays)[0]!r}, which this configuration '
      'lacks.'
    )
  return jax.tree.unflatten(jax.tree.structure(like), leaves), meta


def _finished(folder: pathlib.Path) -> list[pathlib.Path]:
  if not folder.is_dir():
    return []
  return sorted(path for path in folder.iterdir() if path.name.isdigit())


def _leaves(tree: types.PyTree) -> list[tuple[str, Any]]:
  return [
    (jax.tree_util.keystr(path), leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  ]
