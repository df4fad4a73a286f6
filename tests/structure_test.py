"""The size of functions, and where imports stand."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ('skills', 'envs', 'launch', 'examples', 'scripts')
MAX_LINES = 80

# Packages that are heavy and that not every user needs: imported by the
# function that needs them.
OPTIONAL = (
  'PIL',
  'ale_py',
  'dm_control',
  'launchpad.nodes.python.xm_docker',
  'mujoco',
  'setproctitle',
  'wandb',
  'xmanager',
)


# Where one of the suite's own modules is that: TensorFlow and Acme for what may
# do without, and JAX for a name of the package.
OPTIONAL_HERE = {
  'launch/distributed/node_process.py': {'skills.agents'},
  'launch/runs/experiment.py': {'skills.agents.hierarchy'},
  'skills/__init__.py': {'skills.loading'},
}


def sources():
  return sorted(
    path for package in PACKAGES for path in (ROOT / package).rglob('*.py')
  )


def functions(tree):
  return (
    node
    for node in ast.walk(tree)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
  )


def imported_names(function):
  for node in ast.walk(function):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


def is_optional(name):
  return any(name == each or name.startswith(f'{each}.') for each in OPTIONAL)


def name_of(path):
  return str(path.relative_to(ROOT))


@pytest.mark.parametrize('path', sources(), ids=name_of)
def test_functions_are_at_most_80_lines_long(path):
  lengths = {
    function.name: function.end_lineno - function.lineno + 1
    for function in functions(ast.parse(path.read_text()))
  }
  assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


@pytest.mark.parametrize('path', sources(), ids=name_of)
def test_functions_import_only_heavy_optional_packages(path):
  inside = {
    name
    for function in functions(ast.parse(path.read_text()))
    for name in imported_names(function)
  }
  inside -= OPTIONAL_HERE.get(name_of(path), set())
  assert sorted(name for name in inside if not is_optional(name)) == []
