"""Provenance of a run: command, time, code revision and machine.

It is kept in `run.json`; `config.json` describes the run itself.
"""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import shlex
import subprocess
import sys
from typing import Any

import jax

from skills import files

RUN_FILE = 'run.json'
FORMAT_VERSION = 1

_VERSIONS = ('jax', 'dm-haiku', 'optax', 'dm-acme', 'dm-reverb', 'numpy')


def write(folder: str | os.PathLike[str]) -> None:
  """Records that a run starts, or is resumed, in a folder.

  Args:
    folder: of the run; it is made if there is none. If it has a `run.json`
      already, this start is added to the list `resumed` in it.

  Raises:
    ValueError: if the folder's `run.json` cannot be used.
  """
  folder = pathlib.Path(folder)
  earlier = read(folder)
  if earlier is None:
    content = {**start(), 'resumed': []}
  else:
    content = {**earlier, 'resumed': [*earlier['resumed'], start()]}
  files.write_json(folder / RUN_FILE, content, FORMAT_VERSION)


def read(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
  """Reads how a run was started.

  Args:
    folder: of the run.

  Returns:
    What `start` gives of its first start, and in `resumed` the same of each
    that continued it; None if there is no such file.

  Raises:
    ValueError: if the file is broken or of another format.
  """
  path = pathlib.Path(folder) / RUN_FILE
  try:
    content = files.read_json(path, FORMAT_VERSION, 'start of a run')
  except FileNotFoundError:
    return None
  if not isinstance(content.get('resumed'), list):
    raise ValueError(f"{path} is broken: it has no list 'resumed'.")
  return content


def start() -> dict[str, Any]:
  """This program's start, as JSON has it.

  Returns:
    `command`, as a shell takes it; `git_revision` of this code, with '+changes'
    if it is not what was committed, None where that is not known; `machine`;
    `started_at`, now, in UTC; `versions`.
  """
  return {
    # As it was typed, but for where Python lies.
    'command': shlex.join(['python', *sys.orig_argv[1:]]),
    'git_revision': git_revision(),
    'machine': machine(),
    'started_at': datetime.datetime.now(datetime.timezone.utc).isoformat(
      timespec='seconds'
    ),
    'versions': versions(),
  }


def git_revision(file: str | os.PathLike[str] = __file__) -> str | None:
  """The Git revision of a file.

  Args:
    file: a file that the repository must track: a repository in which this
      code is merely installed says nothing about it.

  Returns:
    Its hash, with '+changes' if anything in the repository differs from it;
    None outside of a repository, or without git.
  """
  path = pathlib.Path(file).resolve()
  if _output('git', '-C', path.parent, 'ls-files', '--', path.name) is None:
    return None
  revision = _output('git', '-C', path.parent, 'rev-parse', 'HEAD')
  if revision is None:  # Nothing was committed yet.
    return None
  changes = _output('git', '-C', path.parent, 'status', '--porcelain')
  return revision if changes is None else f'{revision}+changes'


def machine() -> dict[str, Any]:
  """Hardware that this program may use.

  Returns:
    `cores`; `memory` in bytes; `processor`; `accelerator`, such as '2 x NVIDIA
    A100', None where there is none.
  """
  return {
    'cores': len(os.sched_getaffinity(0)),
    'memory': os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'),
    'processor': _processor(),
    'accelerator': _accelerator(),
  }


def _processor() -> str:
  try:
    for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines():
      name, _, value = line.partition(':')
      if name.strip() == 'model name':
        return value.strip()
  except OSError:
    pass
  return platform.machine()


def _accelerator() -> str | None:
  names = [
    device.device_kind
    for device in jax.local_devices()
    if device.platform != 'cpu'
  ]
  if not names:
    # The leading process of a distributed run leaves them to the nodes.
    found = _output('nvidia-smi', '--query-gpu=name', '--format=csv,noheader')
    names = (found or '').splitlines()
  counted = {name: names.count(name) for name in names}
  return (
    ', '.join(
      name if count == 1 else f'{count} x {name}'
      for name, count in counted.items()
    )
    or None
  )


def _output(*command: str | os.PathLike[str]) -> str | None:
  """What a command prints; None for nothing, or if it cannot be run."""
  try:
    done = subprocess.run(
      command, capture_output=True, text=True, timeout=10, check=True
    )
  except (OSError, subprocess.SubprocessError):
    return None
  return done.stdout.strip() or None


def versions() -> dict[str, str]:
  """Versions of Python and of libraries that a result may depend on."""
  found = {'python': platform.python_version()}
  for name in _VERSIONS:
    found[name] = importlib.metadata.version(name)
  return found
