"""Set-up of every test; also runs where only JAX and the pure half exist."""

import gc
import os
import pathlib

_ROOT = pathlib.Path(__file__).resolve().parent.parent

# Read when JAX and NumPy are imported: must be set before that. On few cores a
# thread pool per library costs more than it gains. XLA's own cap, NPROC, stays
# unset: with several devices a pool of one thread deadlocks.
for _name, _value in {
  'JAX_PLATFORMS': 'cpu',
  'MKL_NUM_THREADS': '1',
  'OMP_NUM_THREADS': '1',
  'OPENBLAS_NUM_THREADS': '1',
  'TF_NUM_INTEROP_THREADS': '1',
  'TF_NUM_INTRAOP_THREADS': '1',
}.items():
  os.environ.setdefault(_name, _value)

# Most of the tests' time is XLA's, which compiles much here and runs little of
# it: it optimises less, in the tests and in the programs that they start, but
# for slow ones and those that watch a clock. The same is compiled in test after
# test: all of them keep it in one folder. Programs that start at the same time
# may find a file there that is being written; they compile it themselves.
for _name, _value in {
  'JAX_COMPILATION_CACHE_DIR': str(_ROOT / '.pytest_cache' / 'jax'),
  'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
  'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
  'PYTHONWARNINGS': 'ignore:Error reading persistent compilation cache entry',
}.items():
  os.environ.setdefault(_name, _value)

# What is imported stays: a fifth of the time would go to looking for garbage.
gc.disable()

import importlib  # noqa: E402 (after the environment)
import importlib.util  # noqa: E402

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import pytest  # noqa: E402

# Where shapes stand in signatures, and hold while the tests run.
CHECKED_PACKAGES = (
  'skills.ops',
  'skills.objectives',
  'skills.networks',
  'skills.learners',
  'skills.acting',
  'skills.evaluation.metrics',
)

if importlib.util.find_spec('beartype') is not None:
  # The hook takes a name and looks it up in a package that must have it.
  importlib.import_module('tests.typechecker')
  jaxtyping.install_import_hook(CHECKED_PACKAGES, 'tests.typechecker.check')

# A shape that is extended in silence is this field's most common mistake. A
# test that calls code which relies on it: `jax.numpy_rank_promotion('allow')`.
jax.config.update('jax_numpy_rank_promotion', 'raise')


def pytest_collection_finish():
  """Collects garbage from now on: seldom, and not among what was imported."""
  gc.freeze()
  gc.set_threshold(20_000)
  gc.enable()


@pytest.fixture(autouse=True)
def compile_as_users_do(request, monkeypatch):
  """What runs for long, or is timed: there XLA optimises all that it can."""
  if not any(request.node.get_closest_marker(m) for m in ('slow', 'alone')):
    yield
    return
  name = 'jax_disable_most_optimizations'
  before = jax.config.read(name)
  monkeypatch.setenv(name.upper(), '0')
  jax.config.update(name, False)
  yield
  jax.config.update(name, before)
