"""Pins, locks, the set-up script, and the project as a wheel."""

from email import parser
import importlib
import itertools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
import tomli

import skills

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOCKS = ('requirements.lock', 'requirements-cuda.lock')
ALL_LOCKS = (*LOCKS, 'requirements-newest.lock', 'requirements-docs.lock')

# What scripts/setup.sh needs besides a Python. A path with just these has none.
TOOLS = ('awk', 'bash', 'cat', 'cut', 'dirname', 'env', 'grep', 'mktemp')
TOOLS += ('rm', 'sha256sum', 'uname', 'sed', 'chmod', 'cp', 'mkdir')


PACKAGES = ('skills', 'envs', 'launch')


def normal(name):
  return re.sub(r'[-_.]+', '-', name).lower()


def pyproject():
  return tomli.loads((ROOT / 'pyproject.toml').read_text())


def project_requirements():
  """Every requirement of pyproject.toml, groups and extras included."""
  tables = pyproject()
  project = tables['project']
  lists = [project['dependencies']]
  lists.extend(project['optional-dependencies'].values())
  lists.extend(tables['dependency-groups'].values())
  return list(itertools.chain.from_iterable(lists))


def pins(lock):
  """Package -> (version, number of hashes)."""
  entries = re.split(r'\n(?=[A-Za-z0-9])', (ROOT / lock).read_text())
  found = {}
  for entry in entries:
    name, version = re.match(r'([\w.-]+)==([^\s;]+)', entry).groups()
    found[normal(name)] = (version, entry.count('--hash=sha256:'))
  return found


def test_every_dependency_is_pinned_exactly():
  requirements = project_requirements()
  assert len(requirements) > 25
  for requirement in requirements:
    assert re.fullmatch(r'[\w.-]+(\[\w+\])?==[\w.]+', requirement), requirement


@pytest.mark.parametrize('lock', LOCKS)
def test_the_locks_hold_the_versions_of_the_project(lock):
  locked = pins(lock)
  for requirement in project_requirements():
    if '[cuda' in requirement and 'cuda' not in lock:
      continue
    name, version = requirement.split('==')
    assert locked[normal(name.split('[')[0])][0] == version
  assert ('jax-cuda12-plugin' in locked) == ('cuda' in lock)


@pytest.mark.parametrize('lock', ALL_LOCKS)
def test_the_locks_hold_hashes_and_no_addresses(lock):
  assert all(hashes for _, hashes in pins(lock).values())
  text = (ROOT / lock).read_text()
  # No URL, folder or option; the rest of a lock has no use for a slash.
  assert not re.search(r'/|file:|--(?!hash=)', text)


def test_the_newest_lock_has_the_pure_half_s_packages_and_no_others():
  locked = pins('requirements-newest.lock')
  text = (ROOT / 'requirements-newest.in').read_text()
  for name in re.findall(r'^[a-z][\w-]*$', text, re.MULTILINE):
    assert name in locked
  for name in ('dm-acme', 'dm-reverb', 'tensorflow-cpu', 'dm-env', 'rlax'):
    assert name not in locked


def test_version_is_the_same_in_project_and_package():
  text = (ROOT / 'pyproject.toml').read_text()
  assert f'\nversion = "{skills.__version__}"\n' in text


def test_files_with_registry_addresses_are_not_tracked():
  if not (ROOT / '.git').exists() or shutil.which('git') is None:
    pytest.skip('not a git checkout')
  tracked = subprocess.run(
    ['git', 'ls-files'], cwd=ROOT, capture_output=True, text=True, check=True
  ).stdout.splitlines()
  assert 'uv.lock' not in tracked
  ignored = subprocess.run(
    ['git', 'check-ignore', 'uv.lock', '.venv', 'runs/x', '.uv/x'],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  ).stdout.splitlines()
  assert len(ignored) == 4


@pytest.fixture
def checkout(tmp_path):
  """A copy of what the set-up reads, and a PATH without any Python."""
  folder = tmp_path / 'checkout'
  folder.mkdir()
  for name in ('scripts', 'Makefile', 'pyproject.toml', *ALL_LOCKS):
    copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
    copy(ROOT / name, folder / name)
  tools = tmp_path / 'bin'
  tools.mkdir()
  for tool in TOOLS:
    (tools / tool).symlink_to(shutil.which(tool))
  return folder


def set_up(checkout, *arguments, **environment):
  return subprocess.run(
    [checkout / 'scripts' / 'setup.sh', *arguments],
    cwd='/',
    env={
      'PATH': str(checkout.parent / 'bin'),
      'HOME': str(checkout.parent),
      # Nothing is to be downloaded, were something to try.
      'PIP_CONFIG_FILE': os.devnull,
      'PIP_NO_INDEX': '1',
      'UV_OFFLINE': '1',
      **environment,
    },
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )


def add_command(checkout, name, script):
  path = checkout.parent / 'bin' / name
  path.unlink(missing_ok=True)
  path.write_text(script)
  path.chmod(0o755)


# Enough of a Python for the script: it says what it is, makes an environment
# and installs. What it was asked goes to $LOG; pip fails while $BREAK exists.
IMITATION = """#!/bin/bash
here="{here}"
case "$*" in
  -) cat >/dev/null; echo "$here/bin/python3.10" ;;
  '-m venv '*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"
               echo venv >>$here/log ;;
  *) [[ ! -e "$here/break" ]] || exit 1; echo "${{*: -1}}" >>$here/log ;;
esac
"""


@pytest.fixture
def imitation(checkout):
  add_command(checkout, 'python3.10', IMITATION.format(here=checkout.parent))
  log = checkout.parent / 'log'

  def what_was_done():
    lines = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return [line for line in lines if not line.startswith('/')]

  return what_was_done


def test_without_any_python_the_set_up_says_what_to_do(checkout):
  add_command(
    checkout, 'python3.10', '#!/bin/bash\necho no such command\nexit 127'
  )
  result = set_up(checkout, PYTHON='/nowhere/python')
  assert result.returncode == 1
  assert 'no usable Python 3.10 was found' in result.stderr
  assert 'python3.10 no such command' in result.stderr
  for remedy in ('uv python install 3.10', 'pyenv install', 'PYTHON=/path/to'):
    assert remedy in result.stderr
  assert not (checkout / '.venv').exists()


@pytest.mark.parametrize('machine', ['Darwin arm64', 'Linux aarch64'])
def test_other_machines_are_refused(checkout, machine):
  system, processor = machine.split()
  script = f'#!/bin/bash\n[[ $1 == -s ]] && echo {system} || echo {processor}\n'
  add_command(checkout, 'uname', script)
  result = set_up(checkout)
  assert result.returncode == 1
  assert f"this machine is '{machine}'" in result.stderr
  assert 'container' in result.stderr


def test_an_unknown_extra_is_refused(checkout):
  result = set_up(checkout, EXTRA='cuda13')
  assert result.returncode == 1
  assert 'EXTRA=cuda13 is unknown' in result.stderr


def test_a_second_set_up_has_nothing_to_do_and_says_nothing(
  checkout, imitation
):
  first = set_up(checkout)
  assert first.returncode == 0, first.stderr
  assert imitation() == ['venv', 'requirements.lock', '.']
  second = set_up(checkout)
  assert (second.returncode, second.stdout, second.stderr) == (0, '', '')
  assert imitation() == []


def test_an_interrupted_set_up_is_repeated_from_the_start(checkout, imitation):
  (checkout.parent / 'break').touch()
  failed = set_up(checkout)
  assert failed.returncode == 1
  assert 'installing from requirements.lock failed' in failed.stderr
  (checkout / '.venv' / 'left_over').touch()
  imitation()

  (checkout.parent / 'break').unlink()
  assert set_up(checkout).returncode == 0
  assert imitation() == ['venv', 'requirements.lock', '.']
  assert not (checkout / '.venv' / 'left_over').exists()


def test_a_changed_project_is_installed_and_a_changed_lock_builds_anew(
  checkout, imitation
):
  set_up(checkout)
  imitation()
  with open(checkout / 'pyproject.toml', 'a') as file:
    file.write('# changed\n')
  assert set_up(checkout).returncode == 0
  assert imitation() == ['.']
  with open(checkout / 'requirements.lock', 'a') as file:
    file.write('# changed\n')
  assert set_up(checkout).returncode == 0
  assert imitation() == ['venv', 'requirements.lock', '.']
  assert set_up(checkout, EXTRA='cuda').returncode == 0
  assert imitation() == ['venv', 'requirements-cuda.lock', '.']


def test_make_alone_explains_itself():
  if shutil.which('make') is None:
    pytest.skip('no make')
  result = subprocess.run(
    ['make', '--no-print-directory'],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  for target in ('setup', 'demo', 'test', 'test-slow', 'lint', 'clean'):
    assert re.search(rf'^  {target} +\S', result.stdout, re.MULTILINE)


# The wheel.


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  """The project's wheel, built offline with the tools of this environment."""
  folder = tmp_path_factory.mktemp('wheel')
  # A copy, since builds leave files beside what they build.
  source = folder / 'source'
  source.mkdir()
  for name in ('pyproject.toml', 'README.md', 'LICENSE'):
    shutil.copy(ROOT / name, source / name)
  for name in PACKAGES:
    shutil.copytree(
      ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__')
    )
  pip('wheel', '--no-build-isolation', f'--wheel-dir={folder}', str(source))
  [path] = folder.glob('*.whl')
  return path


def pip(*arguments):
  result = subprocess.run(
    [sys.executable, '-m', 'pip', '--quiet', *arguments]
    + ['--no-deps', '--no-index'],
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr


def test_wheel_holds_every_file_of_the_packages(wheel):
  with zipfile.ZipFile(wheel) as file:
    held = {name for name in file.namelist() if '.dist-info/' not in name}
  files = {
    str(path.relative_to(ROOT))
    for package in PACKAGES
    for path in (ROOT / package).rglob('*')
    if path.is_file() and path.suffix != '.pyc'
  }
  assert held == files


def test_matplotlib_is_a_plain_dependency(wheel):
  # Every training command imports it.
  importlib.import_module('launch.run_local')
  assert 'matplotlib' in sys.modules
  with zipfile.ZipFile(wheel) as file:
    [name] = [n for n in file.namelist() if n.endswith('.dist-info/METADATA')]
    metadata = parser.Parser().parsestr(file.read(name).decode())
  requires = metadata.get_all('Requires-Dist')
  [matplotlib] = [line for line in requires if line.startswith('matplotlib')]
  assert 'extra' not in matplotlib


def test_every_command_has_a_console_script():
  commands = {
    path.stem for path in (ROOT / 'launch').glob('*.py') if path.stem[0] != '_'
  }
  scripts = pyproject()['project']['scripts']
  assert set(scripts) == {
    f'skills-{name.replace("_", "-")}' for name in commands
  }
  for script, entry in scripts.items():
    module, name = entry.split(':')
    function = getattr(importlib.import_module(module), name)
    assert function.args == (script.removeprefix('skills-').replace('-', '_'),)


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
  """Runs a console script of the installed wheel, in an empty folder."""
  environment = tmp_path_factory.mktemp('installed') / 'venv'
  subprocess.run(
    [sys.executable, '-m', 'venv', '--without-pip', environment], check=True
  )
  pip(f'--python={environment / "bin" / "python"}', 'install', str(wheel))
  # The dependencies are those of this environment. Its own installation of the
  # project is not among them: that is a .pth file, which counts there alone.
  [site] = environment.glob('lib/python*/site-packages')
  dependencies = pathlib.Path(tomli.__file__).parent.parent
  (site / 'dependencies.pth').write_text(f'{dependencies}\n')

  def call(script, *arguments, cwd):
    environment_variables = dict(os.environ)
    environment_variables.pop('PYTHONPATH', None)
    return subprocess.run(
      [environment / 'bin' / script, *arguments],
      cwd=cwd,
      env=environment_variables,
      capture_output=True,
      text=True,
      timeout=280,
      check=False,
    )

  return call


@pytest.mark.slow
def test_installed_wheel_explains_its_flags(installed, tmp_path):
  result = installed('skills-run-on-device', '--help', cwd=tmp_path)
  text = result.stdout + result.stderr
  assert 'python -m launch.run_on_device --agent=disdain' in text
  assert '--num_steps:' in text
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_installed_wheel_runs_from_another_folder(installed, tmp_path):
  result = installed('skills-run-on-device', '--num_steps=12800', cwd=tmp_path)
  assert result.returncode == 0, result.stderr
  [folder] = (tmp_path / 'runs').iterdir()
  assert (folder / 'summary.json').exists()
  assert '<style>' in (folder / 'report.html').read_text()


@pytest.mark.slow
def test_installed_doctor_finds_the_project(installed, tmp_path):
  result = installed(
    'skills-doctor', '--only=python,platform,acme', cwd=tmp_path
  )
  assert result.returncode == 0, result.stdout + result.stderr
