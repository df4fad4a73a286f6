"""The pure half imports where Acme, Reverb and TensorFlow are missing."""

import json
import os
import pathlib
import subprocess
import sys

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


def pure_modules():
  """Every module of `skills` but those of `skills.agents`."""
  names = []
  for path in sorted((ROOT / 'skills').rglob('*.py')):
    parts = path.relative_to(ROOT).with_suffix('').parts
    if parts[-1] == '__init__':
      parts = parts[:-1]
    if parts[:2] != ('skills', 'agents'):
      names.append('.'.join(parts))
  return names


def import_with_infrastructure_blocked(modules, *folders):
  """Imports modules in one new process; returns those that failed, and why."""
  result = subprocess.run(
    [sys.executable, '-c', IMPORT_EACH, json.dumps((INFRASTRUCTURE, modules))],
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
  assert import_with_infrastructure_blocked(modules) == {}


def test_the_block_is_felt_by_direct_and_by_indirect_imports(tmp_path):
  (tmp_path / 'uses_tree.py').write_text('import tree\n')
  (tmp_path / 'uses_acme.py').write_text('from acme import specs\n')
  (tmp_path / 'uses_user.py').write_text('import uses_tree\n')
  (tmp_path / 'uses_nothing.py').write_text('import json\n')
  errors = import_with_infrastructure_blocked(
    ['uses_tree', 'uses_acme', 'uses_user', 'uses_nothing'], tmp_path
  )
  assert set(errors) == {'uses_tree', 'uses_acme', 'uses_user'}
