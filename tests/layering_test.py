"""Imports point down, and most modules need no Acme, Reverb or TensorFlow."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent

INFRASTRUCTURE = (
  'acme',
  'distrax',
  'dm_env',
  'gym',
  'launchpad',
  'reverb',
  'rlax',
  'tensorflow',
  'tensorflow_probability',
  'tree',
)

# What `skills.agents` alone brings; environments are there without it.
AGENTS_ONLY = (
  'acme',
  'launchpad',
  'reverb',
  'tensorflow',
  'tensorflow_probability',
)

# Modules of `launch.runs` that write through Acme's loggers and to Reverb.
WITH_AGENTS = {'launch.runs.run_checkpoints', 'launch.runs.run_loggers'}

IMPORT_EACH = """
import importlib, json, sys
blocked, modules = json.loads(sys.argv[1])
for name in blocked:
  sys.modules[name] = None
errors = {}
for name in modules:
  try:
    importlib.import_module(name)
  except ImportError as error:
    errors[name] = str(error)
print(json.dumps(errors))
"""


def modules_below(folder):
  """Names of all modules and packages in a folder of the repository."""
  names = []
  for path in sorted((ROOT / folder).rglob('*.py')):
    parts = path.relative_to(ROOT).with_suffix('').parts
    names.append('.'.join(parts[:-1] if parts[-1] == '__init__' else parts))
  return names


def pure_modules():
  """Every module of `skills` but those of `skills.agents`."""
  return [
    name
    for name in modules_below('skills')
    if name.split('.')[:2] != ['skills', 'agents']
  ]


def import_blocked(blocked, modules, *folders):
  """Imports modules in one new process; returns those that failed, and why."""
  result = subprocess.run(
    [sys.executable, '-c', IMPORT_EACH, json.dumps((blocked, modules))],
    env={
      **os.environ,
      'PYTHONPATH': os.pathsep.join(map(str, (ROOT, *folders))),
    },
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  return json.loads(result.stdout.splitlines()[-1])


def test_every_module_below_agents_imports_without_infrastructure():
  modules = pure_modules()
  assert {'skills', 'skills.types', 'skills.registry'} <= set(modules)
  assert import_blocked(INFRASTRUCTURE, modules) == {}


def test_runs_are_read_and_reported_without_acme_and_tensorflow():
  modules = [
    *modules_below('launch/cli'),
    *modules_below('launch/runs'),
    *modules_below('launch/reporting'),
    'launch.evaluate',
    'launch.report',
    'launch.doctor',
    'launch.distributed.hosts',
    'launch.training.on_device',
  ]
  modules = [name for name in modules if name not in WITH_AGENTS]
  assert {'launch.runs.experiment', 'launch.reporting.page'} <= set(modules)
  assert import_blocked(AGENTS_ONLY, modules) == {}


def test_the_block_applies_to_direct_and_indirect_imports(tmp_path):
  (tmp_path / 'uses_tree.py').write_text('import tree\n')
  (tmp_path / 'uses_acme.py').write_text('from acme import specs\n')
  (tmp_path / 'uses_user.py').write_text('import uses_tree\n')
  (tmp_path / 'uses_nothing.py').write_text('import json\n')
  modules = ['uses_tree', 'uses_acme', 'uses_user', 'uses_nothing']
  errors = import_blocked(INFRASTRUCTURE, modules, tmp_path)
  assert set(errors) == {'uses_tree', 'uses_acme', 'uses_user'}


@pytest.fixture
def copied_tree(tmp_path):
  """A copy of the sources with their contracts."""
  for package in ('skills', 'envs', 'launch'):
    shutil.copytree(
      ROOT / package,
      tmp_path / package,
      ignore=shutil.ignore_patterns('__pycache__'),
    )
  shutil.copy(ROOT / 'pyproject.toml', tmp_path)
  return tmp_path


@pytest.mark.parametrize(
  ('importer', 'imported', 'contract'),
  [
    (
      'launch.runs.final',
      'launch.training.finish',
      'Imports point down inside launch',
    ),
    (
      'skills.ops.returns',
      'tensorflow',
      'Everything below skills.agents is free of infrastructure',
    ),
    ('envs.wrappers', 'skills.types', 'Environments know nothing of skills'),
  ],
)
def test_contracts_catch_a_forbidden_import(
  copied_tree, importer, imported, contract
):
  pytest.importorskip('importlinter')
  path = copied_tree / f'{importer.replace(".", "/")}.py'
  path.write_text(f'{path.read_text()}\nimport {imported}\n')
  command = (
    'from importlinter import cli; cli.lint_imports_command(["--no-cache"])'
  )
  result = subprocess.run(
    [sys.executable, '-c', command],
    cwd=copied_tree,
    env={**os.environ, 'PYTHONPATH': str(copied_tree)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 1, result.stdout + result.stderr
  assert f'{contract} BROKEN' in result.stdout
  assert f'{importer} -> {imported}' in result.stdout
