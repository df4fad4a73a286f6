"""Tests of launch/cli/compilation_cache.py."""

import os
import subprocess
import sys

import pytest

from launch.cli import compilation_cache

PROGRAM = """
import jax
import jax.numpy as jnp
from launch.cli import command


def main(argv):
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
  jax.jit(lambda x: jnp.linalg.inv(jnp.tanh(x @ x)))(jnp.eye(3))
  print('folder', jax.config.jax_compilation_cache_dir)


command.run(main)
"""


def run(tmp_path, *arguments, **environment):
  # The tests themselves have named a folder for JAX.
  inherited = {
    name: value
    for name, value in os.environ.items()
    if name != 'JAX_COMPILATION_CACHE_DIR'
  }
  found = subprocess.run(
    [sys.executable, '-c', PROGRAM, *arguments],
    env=inherited | {'XDG_CACHE_HOME': str(tmp_path)} | environment,
    capture_output=True,
    text=True,
    check=True,
  )
  return found.stdout.split()[-1]


def test_compiled_programs_are_kept_in_the_user_s_cache(tmp_path):
  folder = tmp_path / 'skills' / 'jax'
  assert run(tmp_path) == str(folder)
  kept = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
  assert kept
  # A second process reads them and writes nothing new.
  run(tmp_path)
  assert kept == {path: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.parametrize(
  ('arguments', 'environment', 'folder'),
  [
    (['--nocompilation_cache'], {}, 'None'),
    (
      [],
      {'JAX_COMPILATION_CACHE_DIR': '/tmp/skills-of-user'},
      '/tmp/skills-of-user',
    ),
    ([], {'XDG_CACHE_HOME': '/proc/nowhere'}, 'None'),
  ],
)
def test_the_cache_may_be_off_elsewhere_or_impossible(
  tmp_path, arguments, environment, folder
):
  assert run(tmp_path, *arguments, **environment) == folder
  assert not (tmp_path / 'skills').exists()


def test_prune_removes_the_oldest_files_first(tmp_path):
  for age, name in enumerate(['new', 'middle', 'old']):
    (tmp_path / name).write_bytes(bytes(100))
    os.utime(tmp_path / name, (1000 - age, 1000 - age))
  compilation_cache.prune(tmp_path, 250)
  assert sorted(path.name for path in tmp_path.iterdir()) == ['middle', 'new']
  compilation_cache.prune(tmp_path, 250)
  assert len(list(tmp_path.iterdir())) == 2
