"""Examines the installation: what works, and how to mend what does not.

    python -m launch.doctor               # everything, under a minute
    python -m launch.doctor --only=jax,reverb
    python -m launch.doctor --json

The exit status is 0 if the suite can be used and 1 otherwise.

This module imports the standard library only, and each library is tried in a
process of its own: it has to work where everything else is broken.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent import futures
import dataclasses
import importlib
from importlib import metadata
import importlib.util
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import textwrap

PROJECT = 'skill-discovery-suite'

OK = 'ok'
WARN = 'warn'
FAIL = 'FAIL'

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_REBUILD = 'rm -rf .venv && make setup'
_MARK = 'doctor-found: '  # Libraries print to stdout as well.


@dataclasses.dataclass(frozen=True)
class Finding:
  """One line of the report.

  Attributes:
    status: OK, WARN (usable, but not as it should be) or FAIL.
    what: what was examined.
    found: what was found.
    fix: what to do about it; empty if nothing.
  """

  status: str
  what: str
  found: str
  fix: str = ''


@dataclasses.dataclass(frozen=True)
class Attempt:
  """The result of a probe in its own process.

  Attributes:
    works: whether it ran to its end.
    found: what it reported, or the error in one line.
    text: everything that it printed, to look for known causes.
  """

  works: bool
  found: str
  text: str = ''


# --- Probes: each is run by `python -c` and reports by `found(...)`. ---------

_PRELUDE = f"""
from importlib.metadata import version

def found(text):
  print({_MARK!r} + str(text), flush=True)
"""

_RENDER = """
import mujoco
model = mujoco.MjModel.from_xml_string(
  '<mujoco><worldbody><light pos="0 0 3"/><geom size="1"/>'
  '<camera name="c" pos="0 0 4"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 32, 32)
renderer.update_scene(data, 'c')
assert renderer.render().max() > 0, 'the picture is black'
found('renders')
"""

LIBRARIES = {
  'jax': """
import jax
value = float(jax.jit(lambda x: (x * x).sum())(jax.numpy.arange(3.0)))
assert value == 5.0, value
devices = ', '.join(str(device) for device in jax.devices())
found(f'{jax.__version__}, backend {jax.default_backend()}: {devices}')
""",
  'tensorflow': """
import tensorflow as tf
assert float(tf.reduce_sum([1.0, 2.0])) == 3.0
gpus = len(tf.config.list_physical_devices('GPU'))
found(tf.__version__ + (f', takes {gpus} GPUs' if gpus else ''))
""",
  'protobuf': """
import google.protobuf
from google.protobuf import struct_pb2
from google.protobuf.internal import api_implementation
message = struct_pb2.Struct()
message['x'] = 1.0
again = struct_pb2.Struct.FromString(message.SerializeToString())
assert again['x'] == 1.0
found(f'{google.protobuf.__version__}, {api_implementation.Type()}')
""",
  'reverb': """
import numpy as np
import reverb
table = reverb.Table('t', reverb.selectors.Fifo(), reverb.selectors.Fifo(), 1,
                     reverb.rate_limiters.MinSize(1))
server = reverb.Server([table])
client = reverb.Client(f'localhost:{server.port}')
client.insert([np.float32(7.0)], {'t': 1.0})
sample = next(iter(client.sample('t', 1)))
assert float(sample[0].data[0]) == 7.0, sample
server.stop()
found(version('dm-reverb') + ', an item went through a server')
""",
  'launchpad': """
import courier
import launchpad
server = courier.Server()
server.Bind('double', lambda x: 2 * x)
server.Start()
assert courier.Client(f'localhost:{server.port}').double(2) == 4
server.Stop()
found(version('dm-launchpad') + ', a call went through Courier')
""",
  'mujoco': """
import mujoco
model = mujoco.MjModel.from_xml_string(
  '<mujoco><worldbody><body><freejoint/><geom size="1"/></body></worldbody>'
  '</mujoco>')
data = mujoco.MjData(model)
mujoco.mj_step(model, data)
assert data.time > 0
found(mujoco.__version__)
""",
  'dm_control': """
from dm_control import suite
environment = suite.load('cartpole', 'balance')
environment.reset()
environment.step([0.0])
found(version('dm-control') + ', cartpole steps')
""",
  'ale_py': """
import ale_py
from ale_py import roms
ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
game = ale_py.ALEInterface()
game.loadROM(roms.get_rom_path('pong'))
game.act(0)
found(f'{ale_py.__version__}, pong steps')
""",
  'acme': """
from skills.agents import acme_api
found(version('dm-acme') + ', through skills.agents')
""",
}

_RENDERERS = {
  'egl': 'apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri',
  'osmesa': 'apt-get install libosmesa6',
  'glfw': 'apt-get install libglfw3, and a screen (DISPLAY)',
}

# Part of an error's text -> its remedy. The first that occurs counts.
_CAUSES = (
  (
    'libpython',
    'this Python is static and its shared library is missing: '
    'apt-get install libpython3.10, or another Python (PYTHON=... make setup)',
  ),
  (
    'Descriptors cannot',
    f'protobuf is too new for TensorFlow 2.8: {_REBUILD}',
  ),
  ('protobuf', f'protobuf does not fit: {_REBUILD}'),
  ('pkg_resources', f'setuptools must be older than 81: {_REBUILD}'),
  ('_ARRAY_API', f'NumPy does not fit: {_REBUILD}'),
  ('multiarray', f'NumPy does not fit: {_REBUILD}'),
  ('libtensorflow', f'TensorFlow is missing or does not fit: {_REBUILD}'),
  ('requires TensorFlow version', f'TensorFlow does not fit: {_REBUILD}'),
  ('GLIBC', 'the system is too old: glibc 2.28 or newer is needed'),
  ('libGL', 'apt-get install libgl1 libegl1'),
  ('untested versions', _REBUILD),
  ('No module named', f'a package is missing: {_REBUILD}'),
  ('No space left', 'the disk is full: make room and try again'),
  (
    'signal SIGILL',
    'the processor lacks instructions (AVX) that the wheels use',
  ),
  ('signal SIGKILL', 'probably out of memory: 2 GB must be free'),
)


def _environment() -> dict[str, str]:
  """The environment of a probe: quiet, and with libpython to be found."""
  environment = dict(os.environ)
  environment.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  environment.setdefault('GRPC_VERBOSITY', 'ERROR')
  # A probe needs few threads, and one must not take a GPU's whole memory.
  environment.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
  # Whether stepping works must not depend on whether rendering does.
  environment.setdefault('MUJOCO_GL', 'disable')
  folder = _libpython_folder()
  if folder:
    others = environment.get('LD_LIBRARY_PATH')
    environment['LD_LIBRARY_PATH'] = (
      f'{folder}{os.pathsep}{others}' if others else folder
    )
  if importlib.util.find_spec('skills') is None:  # Not installed.
    others = environment.get('PYTHONPATH')
    environment['PYTHONPATH'] = (
      f'{_ROOT}{os.pathsep}{others}' if others else str(_ROOT)
    )
  return environment


def attempt(
  code: str, timeout: float, changes: dict[str, str] | None = None
) -> Attempt:
  """Runs code in a process of its own.

  Args:
    code: a program that calls `found(text)` at its end.
    timeout: seconds after which it counts as hanging.
    changes: environment variables to set.
  """
  process = subprocess.Popen(
    [sys.executable, '-c', _PRELUDE + code],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    errors='replace',
    env={**_environment(), **(changes or {})},
    # A group of its own, so that a hanging probe's children end with it.
    start_new_session=True,
  )
  try:
    stdout, stderr = process.communicate(timeout=timeout)
  except subprocess.TimeoutExpired:
    os.killpg(process.pid, signal.SIGKILL)
    stdout, stderr = process.communicate()
    error = f'no answer within {timeout:.0f} s'
    return Attempt(False, error, f'{stdout}\n{stderr}')
  for line in stdout.splitlines():
    if line.startswith(_MARK):
      # What happens while the interpreter exits does not matter.
      return Attempt(True, line[len(_MARK) :])
  text = f'{stdout}\n{stderr}'
  if process.returncode < 0:
    name = signal.Signals(-process.returncode).name
    error = f'crashed with signal {name}'
    return Attempt(False, error, f'{text}\n{error}')
  # The last line of a traceback that is not indented names the error. Errors
  # in destructors, at the exit, only follow from it.
  errors = [
    line
    for line in stderr.split('Exception ignored in')[0].splitlines()
    if re.match(r'[\w.]*(Error|Exception|Interrupt|Exit|Warning)\b', line)
  ]
  lines = errors or stderr.strip().splitlines() or ['ended without a word']
  return Attempt(False, lines[-1].strip(), text)


def _fix(result: Attempt) -> str:
  """What to do about a failed attempt."""
  # The error itself counts before whatever else was printed.
  causes = [
    cause
    for text in (result.found, result.text)
    for cause in _CAUSES
    if cause[0] in text
  ]
  fix = causes[0][1] if causes else _REBUILD
  if os.environ.get('PYTHONPATH'):
    fix += '; PYTHONPATH is set and can hide packages: unset it first'
  return fix


# --- Checks -------------------------------------------------------------------


def _check_python(timeout: float) -> Iterator[Finding]:
  del timeout
  version = platform.python_version()
  found = f'{platform.python_implementation()} {version}, {sys.executable}'
  if sys.version_info[:2] == (3, 10):
    yield Finding(OK, 'python', found)
  else:
    yield Finding(
      FAIL,
      'python',
      f'{found}; 3.10 is needed',
      'make setup, then .venv/bin/python -m launch.doctor',
    )


def _check_platform(timeout: float) -> Iterator[Finding]:
  del timeout
  found = f'{platform.system()} {platform.machine()}, {os.cpu_count()} cores'
  if (platform.system(), platform.machine()) == ('Linux', 'x86_64'):
    yield Finding(OK, 'platform', found)
  else:
    yield Finding(
      FAIL,
      'platform',
      found,
      'Reverb and Launchpad exist for Linux on x86_64 only: use a container',
    )


def _libpython_name() -> str:
  return 'libpython{}.{}.so.1.0'.format(*sys.version_info)


def _libpython_loaded() -> bool:
  try:
    maps = pathlib.Path('/proc/self/maps').read_text(encoding='utf-8')
  except OSError:
    return False
  return _libpython_name() in maps


def _libpython_folder() -> str:
  """The folder of libpython, or '' if it is loaded or not to be found."""
  if _libpython_loaded():
    return ''
  for folder in (
    os.path.join(sys.base_prefix, 'lib'),
    sysconfig.get_config_var('LIBDIR') or '',
    '/usr/lib/x86_64-linux-gnu',
  ):
    if os.path.exists(os.path.join(folder, _libpython_name())):
      return folder
  return ''


def _check_libpython(timeout: float) -> Iterator[Finding]:
  del timeout
  name = _libpython_name()
  if _libpython_loaded():
    yield Finding(OK, 'libpython', f'{name}, part of this Python')
  elif _libpython_folder():
    yield Finding(
      OK, 'libpython', f'{_libpython_folder()}/{name}, loaded by skills.agents'
    )
  else:
    yield Finding(FAIL, 'libpython', f'{name} is missing', _CAUSES[0][1])


def _normal(name: str) -> str:
  return re.sub(r'[-_.]+', '-', name).lower()


def tested_versions() -> dict[str, str]:
  """Distribution -> the version that the suite was tested with.

  From the lock, which knows every package, if this is a checkout; otherwise
  from what the installed project says that it requires.
  """
  pin = re.compile(r'^([A-Za-z0-9._-]+)==([^\s;]+)')
  lock = _ROOT / 'requirements.lock'
  if lock.exists():
    lines = lock.read_text(encoding='utf-8').splitlines()
  else:
    try:
      lines = metadata.requires(PROJECT) or []
    except metadata.PackageNotFoundError:
      return {}
    lines = [line for line in lines if 'extra ==' not in line]
  matches = [pin.match(line) for line in lines]
  return {_normal(m.group(1)): m.group(2) for m in matches if m}


# More wrong packages than this mean another environment.
_MOST_PACKAGES = 12

# Without these the tests or tools are missing, but nothing else.
_OPTIONAL = frozenset(
  (
    'beartype',
    'exceptiongroup',
    'grimp',
    'hypothesis',
    'import-linter',
    'iniconfig',
    'pluggy',
    'pyrefly',
    'pytest',
    'pytest-timeout',
    'ruff',
    'sortedcontainers',
    'tomli',
  )
)


def _check_versions(timeout: float) -> Iterator[Finding]:
  del timeout
  pins = tested_versions()
  if not pins:
    yield Finding(
      WARN,
      'versions',
      f'neither requirements.lock nor an installed {PROJECT}',
      'run this in a checkout, after make setup',
    )
    return
  wrong = []
  for package, wanted in sorted(pins.items()):
    status = WARN if package in _OPTIONAL else FAIL
    try:
      found = metadata.version(package)
    except metadata.PackageNotFoundError:
      found = 'not installed'
    if found != wanted:
      text = f'{found}; {wanted} was tested'
      wrong.append(Finding(status, package, text, _REBUILD))
  if not wrong:
    yield Finding(OK, 'versions', f'all {len(pins)} are the tested combination')
  elif len(wrong) <= _MOST_PACKAGES:
    yield from wrong
  else:
    names = ', '.join(finding.what for finding in wrong[:3])
    yield Finding(
      FAIL,
      'versions',
      f'{len(wrong)} of {len(pins)} packages are missing or not the tested '
      f'ones: {names}, ...',
      _REBUILD,
    )


def _library_check(name: str) -> Callable[[float], Iterator[Finding]]:
  def check(timeout: float) -> Iterator[Finding]:
    result = attempt(LIBRARIES[name], timeout)
    if not result.works:
      yield Finding(FAIL, name, result.found, _fix(result))
    elif name == 'tensorflow' and 'takes' in result.found:
      yield Finding(
        WARN,
        name,
        result.found,
        f'use tensorflow-cpu, which leaves GPUs to JAX: {_REBUILD}',
      )
    else:
      yield Finding(OK, name, result.found)

  return check


def _check_rendering(timeout: float) -> Iterator[Finding]:
  results = {
    name: attempt(_RENDER, timeout, {'MUJOCO_GL': name}) for name in _RENDERERS
  }
  working = [name for name, result in results.items() if result.works]
  for name, result in results.items():
    what = f'render {name}'
    if result.works:
      yield Finding(OK, what, 'renders a frame')
    elif working:
      yield Finding(OK, what, f'does not work; not needed beside {working[0]}')
    else:
      yield Finding(WARN, what, result.found, _RENDERERS[name])


def _check_gpu(timeout: float) -> Iterator[Finding]:
  tool = shutil.which('nvidia-smi')
  if tool is None:
    yield Finding(OK, 'gpu', 'no NVIDIA driver here; JAX uses the CPU')
    return
  names = []
  try:
    process = subprocess.run(
      [tool, '--query-gpu=name', '--format=csv,noheader'],
      capture_output=True,
      text=True,
      timeout=timeout,
      check=False,
    )
    if process.returncode == 0:
      names = process.stdout.strip().splitlines()
  except (OSError, subprocess.TimeoutExpired):
    pass  # Reported like a driver that lists nothing.
  if not names:
    yield Finding(
      WARN,
      'gpu',
      'nvidia-smi is there but fails',
      'mend the NVIDIA driver; nvidia-smi must list the GPU',
    )
    return
  result = attempt(
    'import jax\nfound(jax.default_backend())', timeout, {'JAX_PLATFORMS': ''}
  )
  if not result.works:
    yield Finding(WARN, 'gpu', result.found, 'EXTRA=cuda make setup')
  elif result.found != 'gpu':
    yield Finding(
      WARN,
      'gpu',
      f'{names[0]} is there, but JAX uses the {result.found}',
      'EXTRA=cuda make setup',
    )
  elif os.environ.get('JAX_PLATFORMS') not in (None, '', 'gpu', 'cuda'):
    yield Finding(
      WARN,
      'gpu',
      f'JAX_PLATFORMS={os.environ["JAX_PLATFORMS"]} hides {names[0]} from JAX',
      'unset JAX_PLATFORMS',
    )
  else:
    yield Finding(OK, 'gpu', f'JAX uses {len(names)} x {names[0]}')


CHECKS: dict[str, Callable[[float], Iterator[Finding]]] = {
  'python': _check_python,
  'platform': _check_platform,
  'libpython': _check_libpython,
  'versions': _check_versions,
  **{name: _library_check(name) for name in LIBRARIES},
  'rendering': _check_rendering,
  'gpu': _check_gpu,
}


def _contained(name: str, timeout: float) -> list[Finding]:
  """Runs one check; one that fails itself is a finding as well."""
  try:
    return list(CHECKS[name](timeout))
  except Exception as error:  # The report must not end here.
    return [Finding(FAIL, name, f'the check failed: {error!r}', _REBUILD)]


def examine(names: Sequence[str], timeout: float) -> Iterator[Finding]:
  """Runs the checks of these names, two at a time, and yields in order."""
  with futures.ThreadPoolExecutor(max_workers=2) as pool:
    running = [pool.submit(_contained, name, timeout) for name in names]
    for future in running:
      yield from future.result()


# --- Report -------------------------------------------------------------------


def usable(findings: Sequence[Finding]) -> bool:
  """Whether the suite can be used, if not in every detail."""
  return not any(finding.status == FAIL for finding in findings)


def _summary(findings: Sequence[Finding]) -> str:
  failures = sum(finding.status == FAIL for finding in findings)
  warnings = sum(finding.status == WARN for finding in findings)
  if failures:
    verdict = 'Not usable'
  elif warnings:
    verdict = 'Usable, with reservations'
  else:
    verdict = 'All is well'
  return f'{verdict}: {failures} to mend, {warnings} to know of.'


def _print_plain(findings: Iterator[Finding]) -> list[Finding]:
  """Prints each finding as soon as it is known."""
  done = []
  for finding in findings:
    done.append(finding)
    print(f'{finding.status:<4}  {finding.what:<14}  {finding.found}')
    if finding.fix:
      print(f'{"":<22}-> {finding.fix}')
    sys.stdout.flush()
  return done


def _print_table(findings: Iterator[Finding]) -> list[Finding]:
  """Prints a table in color; needs rich."""
  console_module = importlib.import_module('rich.console')
  markup = importlib.import_module('rich.markup')
  table_module = importlib.import_module('rich.table')
  console = console_module.Console()
  with console.status('Examining the installation ...'):
    done = list(findings)
  table = table_module.Table('', 'what', 'found', 'what to do')
  colors = {OK: 'green', WARN: 'yellow', FAIL: 'bold red'}
  for finding in done:
    table.add_row(
      f'[{colors[finding.status]}]{finding.status}[/]',
      *map(markup.escape, (finding.what, finding.found, finding.fix)),
    )
  console.print(table)
  return done


def _has_rich() -> bool:
  try:
    for name in ('rich.console', 'rich.markup', 'rich.table'):
      importlib.import_module(name)
  except Exception:  # However it is broken, there is the plain report.
    return False
  return True


def main(arguments: Sequence[str] | None = None) -> int:
  """Prints the report; returns the exit status."""
  parser = argparse.ArgumentParser(
    prog='python -m launch.doctor',
    description=textwrap.dedent(__doc__).split('\n\n')[0],
  )
  parser.add_argument(
    '--json', action='store_true', help='print the report as JSON'
  )
  parser.add_argument(
    '--only', default='', metavar='NAME,...', help=', '.join(CHECKS)
  )
  parser.add_argument(
    '--timeout',
    type=float,
    default=120.0,
    metavar='SECONDS',
    help='after which a library counts as hanging (default: %(default).0f)',
  )
  options = parser.parse_args(arguments)
  names = [name for name in options.only.split(',') if name] or list(CHECKS)
  unknown = [name for name in names if name not in CHECKS]
  if unknown:
    parser.error(
      f'--only={unknown[0]} is unknown; there are {", ".join(CHECKS)}'
    )

  findings = examine(names, options.timeout)
  if options.json:
    done = list(findings)
    report = {
      'usable': usable(done),
      'findings': [dataclasses.asdict(finding) for finding in done],
    }
    print(json.dumps(report, indent=2))
    return 0 if usable(done) else 1
  if sys.stdout.isatty() and _has_rich():
    done = _print_table(findings)
  else:
    done = _print_plain(findings)
  print(_summary(done))
  return 0 if usable(done) else 1


if __name__ == '__main__':
  sys.exit(main())
