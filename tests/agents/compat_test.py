"""dm-acme 0.4.0 runs on this JAX, whatever was imported before.

A process that imports the whole stack takes seconds: few of them, with many
assertions in each. Tests that need no stack load the module on its own.
"""

import importlib.util
import os
import pathlib
import subprocess
import sys
import sysconfig
import textwrap

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPAT = ROOT / 'skills' / 'agents' / '_compat.py'

# What acme 0.4.0 gets wrong on today's packages, and what we use of it.
USE_ACME = """
import acme.jax.networks
from acme.adders import reverb as adders
from acme.agents.jax import dqn, r2d2, sac
from acme.jax.layouts import distributed_layout, local_layout
import distrax, jax, jax.numpy as jnp, rlax
assert jax.tree_map(lambda x: x + 1, {'a': 1}) == {'a': 2}
assert jnp.DeviceArray is jax.Array
assert float(distrax.Categorical(logits=jnp.zeros(2)).entropy()) > 0.69
print('works')
"""


def run(program, *arguments, **environment):
  return subprocess.run(
    [sys.executable, *arguments, '-c', textwrap.dedent(program)],
    # Without what the tests themselves set, as in a user's shell.
    env={
      **{k: v for k, v in os.environ.items() if not k.startswith('TF_')},
      'PYTHONPATH': str(ROOT),
      **environment,
    },
    capture_output=True,
    text=True,
    timeout=240,
    check=False,
  )


@pytest.fixture
def compat():
  """The module as a file: no `skills.agents`, no TensorFlow."""
  spec = importlib.util.spec_from_file_location('compat_alone', COMPAT)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.mark.integration
def test_importing_first_is_silent_idempotent_and_reaches_children():
  result = run(
    """
    import logging, subprocess, sys, warnings
    import skills.agents
    from skills.agents import _compat, acme_api
    import cloudpickle, jax, tensorflow, tensorflow_probability

    def seen():
      return [dict(vars(m)) for m in (jax, jax.numpy, tensorflow_probability)]

    before, tf, filters = seen(), sys.modules['tensorflow'], warnings.filters[:]
    _compat.install()
    _compat._installed = False  # The second time in earnest.
    _compat.install()
    assert seen() == before
    assert sys.modules['tensorflow'] is tf and hasattr(tf, 'function')
    assert warnings.filters == filters

    # As Launchpad starts its nodes: the hook is unpickled before they are.
    hook = cloudpickle.dumps(_compat.install)
    child = '''
    import sys, tensorflow, cloudpickle
    cloudpickle.loads(bytes.fromhex(sys.argv[1]))()
    import acme.jax.networks
    '''
    subprocess.run(
      [sys.executable, '-c', '\\n'.join(map(str.strip, child.splitlines())),
       hook.hex()], check=True)
    """
    + textwrap.indent(USE_ACME, ' ' * 4),
  )
  assert (result.returncode, result.stdout) == (0, 'works\n'), result.stderr
  assert result.stderr == ''


@pytest.mark.integration
@pytest.mark.parametrize(
  'before',
  [
    'import tensorflow, reverb, launchpad, jax',
    'import gym, dm_control.suite, acme, acme.specs, acme.wrappers, '
    'acme.datasets, acme.adders.reverb',
    # What TensorFlow Probability leaves behind must not be reused.
    """
try:
  import tensorflow, rlax
except ImportError:
  pass
""",
  ],
  ids=['tensorflow', 'acme', 'failed_probability'],
)
def test_importing_after_others_works(before):
  result = run(before + '\nimport skills.agents\n' + USE_ACME)
  assert result.stdout.endswith('works\n'), result.stderr


@pytest.mark.integration
@pytest.mark.launchpad
def test_the_hook_prepares_launchpad_processes_whose_nodes_import_acme_first(
  tmp_path,
):
  # The node is a function of `__main__`, pickled by value; its argument makes
  # unpickling import TensorFlow and acme.jax, before any code of ours.
  program = tmp_path / 'program.py'
  program.write_text(
    textwrap.dedent("""
    import sys
    from absl import app
    from skills.agents import _compat
    from skills.agents import acme_api
    import cloudpickle
    import launchpad as lp
    from launchpad.nodes.python import local_multi_processing as local
    from acme.jax import utils

    def node(path, function):
      with open(path, 'w') as f:
        f.write(function.__module__)
      lp.stop()

    def main(_):
      folder = sys.argv[1]
      with open(f'{folder}/hook', 'wb') as f:
        cloudpickle.dump(_compat.install, f)
      program = lp.Program('p')
      with program.group('node'):
        program.add_node(lp.PyNode(node, f'{folder}/out', utils.add_batch_dim))
      lp.launch(
        program, launch_type='local_mp', terminal='output_to_files',
        local_resources={'node': local.PythonProcess(
          args={'init_file': f'{folder}/hook'})})

    if __name__ == '__main__':
      app.run(main)
    """)
  )
  result = subprocess.run(
    [sys.executable, program, tmp_path],
    env={
      **os.environ,
      'PYTHONPATH': str(ROOT),
      'LAUNCHPAD_LOGGING_DIR': str(tmp_path / 'logs'),
    },
    stdin=subprocess.DEVNULL,
    capture_output=True,
    text=True,
    timeout=240,
    check=False,
  )
  logs = [p.read_text() for p in (tmp_path / 'logs').rglob('*') if p.is_file()]
  assert (tmp_path / 'out').exists(), (result.stderr, logs)
  assert (tmp_path / 'out').read_text() == 'acme.jax.utils'
  assert result.returncode == 0, (result.stderr, logs)


def test_an_unknown_version_is_refused_in_one_line(compat, monkeypatch):
  found = {
    package: known[0] for package, known in compat.TESTED_VERSIONS.items()
  }
  monkeypatch.setattr(compat.metadata, 'version', found.__getitem__)
  compat.check_versions()

  found['jax'] = '9.9.9'
  found['dm-acme'] = '0.2.4'
  with pytest.raises(compat.StackError) as error:
    compat.check_versions()
  message = str(error.value)
  assert 'jax is 9.9.9, wanted 0.6.2' in message
  assert 'dm-acme is 0.2.4, wanted 0.4.0' in message
  assert 'python -m launch.doctor' in message
  assert '\n' not in message

  monkeypatch.setenv(compat.ALLOW_UNTESTED, '1')
  with pytest.warns(UserWarning, match='jax is 9.9.9'):
    compat.check_versions()


def test_a_missing_package_is_refused_by_name(compat, monkeypatch):
  def version(package):
    if package == 'dm-reverb':
      raise compat.metadata.PackageNotFoundError(package)
    return compat.TESTED_VERSIONS[package][0]

  monkeypatch.setattr(compat.metadata, 'version', version)
  with pytest.raises(
    compat.StackError, match='dm-reverb 0.7.3 is not installed'
  ):
    compat.check_versions()


@pytest.mark.parametrize(
  'error',
  [
    "ImportError('libpython3.10.so.1.0: cannot open shared object file')",
    "TypeError('Descriptors cannot be created directly.')",
  ],
)
def test_a_broken_library_points_to_the_doctor(tmp_path, error):
  (tmp_path / 'tensorflow.py').write_text(f'raise {error}\n')
  result = run(
    'import skills.agents', PYTHONPATH=f'{tmp_path}{os.pathsep}{ROOT}'
  )
  assert result.returncode == 1
  last = result.stderr.splitlines()[-1]
  assert 'StackError' in last
  assert error.split("'")[1] in last
  assert 'python -m launch.doctor' in last


def test_a_static_python_gets_libpython_and_passes_it_on(tmp_path):
  name = 'libpython{}.{}.so.1.0'.format(*sys.version_info)
  folders = [pathlib.Path(sys.base_prefix, 'lib')]
  folders.append(pathlib.Path(sysconfig.get_config_var('LIBDIR') or '/'))
  library = next((f / name for f in folders if (f / name).exists()), None)
  if library is None:
    pytest.skip(f'no {name} beside this Python')
  (tmp_path / 'lib').mkdir()
  (tmp_path / 'lib' / name).symlink_to(library)
  # In a process of its own, since what is loaded stays loaded.
  result = run(
    f"""
    import builtins, importlib.util, io, os, sys
    spec = importlib.util.spec_from_file_location('alone', {str(COMPAT)!r})
    compat = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(compat)
    builtins.open = lambda *_, **__: io.StringIO('nothing is loaded')
    sys.base_prefix = {str(tmp_path)!r}
    compat.load_libpython()
    print(os.environ['LD_LIBRARY_PATH'])
    """,
    LD_LIBRARY_PATH='/before',
  )
  assert result.stdout == f'{tmp_path}/lib:/before\n', result.stderr


def test_every_patch_is_explained(compat):
  for patch in compat.PATCHES + compat.LATE_PATCHES:
    assert patch.__doc__
    assert f'| `{patch.__name__}` |' in compat.__doc__


def test_answers_to_cancelled_calls_do_not_end_the_process():
  result = run(
    """
    import time
    from skills.agents import acme_api
    courier = acme_api.courier
    server = courier.Server()
    server.Bind('work', lambda x: time.sleep(1e-3) or x)
    server.Start()
    client = courier.Client(f'localhost:{server.port}')
    assert client.work(1) == 1
    for i in range(500):
      future = client.futures.work(i)
      time.sleep(1e-4 * (i % 30))
      future.cancel()
    time.sleep(0.2)
    print('alive')
    """
  )
  assert result.stdout.endswith('alive\n'), result.stderr
