"""Patches dm-acme 0.4.0, written for JAX 0.2, for JAX 0.6 and TensorFlow 2.8.

Importing `skills.agents` calls `install()`. It is idempotent, and may be called
after TensorFlow, Reverb, Launchpad, JAX or Acme were imported.
Each patch is a function below:

| patch | without it |
| --- | --- |
| `quieten_native_logs` | pages of TensorFlow, XLA and gRPC messages |
| `quieten_backend_search` | JAX tells on a CPU machine that it has no TPU |
| `quieten_gym` | gym advertises, and switches everyone's deprecations on |
| `choose_renderer` | dm_control wants a window where there is no screen |
| `load_libpython` | a static Python cannot load Reverb and Launchpad |
| `load_tensorflow_probability` | it refuses to load beside TensorFlow 2.8 |
| `provide_experimental_probability` | Acme misses `tfp.experimental` |
| `restore_tree_names` | Acme misses `jax.tree_map` and its siblings |
| `restore_array_names` | Acme misses `jnp.DeviceArray` and its siblings |
| `tolerate_cancelled_calls` | an answer to a cancelled call aborts Launchpad |

One case is beyond repair: a program that imports TensorFlow and then rlax,
distrax or `acme.jax` *before* this package fails in its own import.

Processes that Launchpad starts need nothing if the first class they unpickle
lives in `skills.agents`. For programs of Acme's own layouts give them
`install` as Launchpad's `init_file`:

    cloudpickle.dump(_compat.install, file)
    launchpad.PythonProcess(args={'init_file': file.name})
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
import contextlib
import ctypes
import importlib
from importlib import metadata
import logging
import os
import sys
import sysconfig
import types
import warnings

from envs import rendering

# The versions that the patches were written for and tested with. What is not
# listed here may change without breaking a patch; `launch.doctor` checks it.
TESTED_VERSIONS = {
  'dm-acme': ('0.4.0',),
  'dm-launchpad': ('0.5.2',),
  'dm-reverb': ('0.7.3',),
  'jax': ('0.6.2',),
  'jaxlib': ('0.6.2',),
  'tensorflow-probability': ('0.25.0',),
}

# Set to 1 to try other versions at your own risk.
ALLOW_UNTESTED = 'SKILLS_ALLOW_UNTESTED_VERSIONS'

_DOCTOR = 'Run `python -m launch.doctor` for what to do.'

# Imported by `install()`, so that a broken package is reported once and clearly
# and not from the middle of a training script.
_STACK = ('tensorflow', 'reverb', 'launchpad', 'acme', 'acme.jax.networks')

# Read by native code when it is loaded: must be set before that.
_QUIET_ENVIRONMENT = {
  'TF_CPP_MIN_LOG_LEVEL': '3',  # TensorFlow and XLA: fatal errors only.
  'TF_ENABLE_ONEDNN_OPTS': '0',  # Else it announces its rounding errors.
  'GRPC_VERBOSITY': 'ERROR',
}

_installed = False


class StackError(ImportError):
  """The installed packages cannot work together; says which and what to do."""


def quieten_native_logs() -> None:
  """Keeps TensorFlow, XLA and gRPC from printing at start-up."""
  for name, value in _QUIET_ENVIRONMENT.items():
    os.environ.setdefault(name, value)


def quieten_backend_search() -> None:
  """Keeps JAX from reporting each accelerator that the machine lacks.

  Warnings stay: that a GPU is there but unused is worth knowing.
  """
  logging.getLogger('jax._src.xla_bridge').setLevel(logging.WARNING)


def quieten_gym() -> None:
  """Imports gym, which acme.wrappers needs, without its side effects.

  Its logger sets a global filter that shows every library's deprecations.
  """
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    try:
      notices = importlib.import_module('gym_notices.notices')
      notices.notices.clear()
      gym = importlib.import_module('gym')
    except ImportError:
      return  # Importing acme.wrappers will report it.
    gym.logger.set_level(gym.logger.ERROR)


def load_libpython() -> None:
  """Loads libpython for the libraries of Reverb and Launchpad.

  They are linked against it, and a statically linked Python (uv's, conda's,
  Debian's) does not have it loaded. For child processes, which load Launchpad
  before this module, the folder goes into LD_LIBRARY_PATH.
  """
  name = 'libpython{}.{}.so.1.0'.format(*sys.version_info)
  with open('/proc/self/maps', encoding='utf-8') as maps:
    if name in maps.read():
      return
  folders = (
    os.path.join(sys.base_prefix, 'lib'),
    sysconfig.get_config_var('LIBDIR') or '',
  )
  for folder in folders:
    path = os.path.join(folder, name)
    if os.path.exists(path):
      ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
      others = os.environ.get('LD_LIBRARY_PATH')
      os.environ['LD_LIBRARY_PATH'] = (
        f'{folder}{os.pathsep}{others}' if others else folder
      )
      return
  try:  # In a system folder children find it as well.
    ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
  except OSError:
    pass  # Loading Reverb will fail, and its error is reported below.


def load_tensorflow_probability() -> None:
  """Loads TensorFlow Probability's JAX half beside a TensorFlow it refuses.

  It looks for TensorFlow in `sys.modules` alone, and only once.
  """
  name = 'tensorflow_probability'
  if f'{name}.substrates' in sys.modules:
    return
  # An earlier attempt that failed leaves halves behind that would be reused.
  for module in [m for m in sys.modules if m.split('.')[0] == name]:
    del sys.modules[module]
  real = sys.modules.get('tensorflow')
  if real is not None:
    sys.modules['tensorflow'] = types.ModuleType('tensorflow')
  try:
    importlib.import_module(f'{name}.substrates')
    importlib.import_module(f'{name}.substrates.jax')
  finally:
    if real is not None:
      sys.modules['tensorflow'] = real


def _auto_composite_tensor(cls=None, **unused_options):
  return cls if cls is not None else lambda decorated: decorated


def provide_experimental_probability() -> None:
  """Gives TensorFlow Probability the one experimental name that Acme uses.

  The real module is part of the TensorFlow half. What Acme wants of it makes
  classes known to TensorFlow and does nothing for JAX's.
  """
  probability = importlib.import_module('tensorflow_probability')
  # In place of a lazy module, which refuses TensorFlow as soon as it is used.
  vars(probability)['experimental'] = types.SimpleNamespace(
    auto_composite_tensor=_auto_composite_tensor,
    substrates=probability.substrates,
  )


def restore_tree_names() -> None:
  """Puts `jax.tree_map` and its siblings back, by their present functions."""
  jax = importlib.import_module('jax')
  for old, new in {
    'tree_flatten': 'tree_flatten',
    'tree_leaves': 'tree_leaves',
    'tree_map': 'tree_map',
    'tree_multimap': 'tree_map',
    'tree_structure': 'tree_structure',
    'tree_unflatten': 'tree_unflatten',
  }.items():
    vars(jax).setdefault(old, getattr(jax.tree_util, new))


def restore_array_names() -> None:
  """Puts the old names of arrays and devices back; Acme only annotates them."""
  jax = importlib.import_module('jax')
  names = vars(jax)
  names.setdefault(
    'xla', types.SimpleNamespace(Device=jax.Device, DeviceArray=jax.Array)
  )
  names.setdefault('pxla', types.SimpleNamespace(ShardedDeviceArray=jax.Array))
  vars(jax.numpy).setdefault('DeviceArray', jax.Array)


class _Answer(futures.Future):
  """A future that may be given a result after it was cancelled."""

  def set_result(self, result: object) -> None:
    """Sets the result unless the future was cancelled."""
    with contextlib.suppress(futures.InvalidStateError):
      super().set_result(result)


def tolerate_cancelled_calls() -> None:
  """Drops answers to cancelled Courier calls.

  Courier's C++ code sets the result of the Python future, and ends the process
  if that raises.
  """
  client = importlib.import_module('courier.python.client')
  vars(client)['futures'] = types.SimpleNamespace(
    Future=_Answer, InvalidStateError=futures.InvalidStateError
  )


PATCHES: tuple[Callable[[], None], ...] = (
  quieten_native_logs,
  quieten_backend_search,
  quieten_gym,
  rendering.choose_renderer,
  load_libpython,
  load_tensorflow_probability,
  provide_experimental_probability,
  restore_tree_names,
  restore_array_names,
)

# Applied once the stack is imported.
LATE_PATCHES: tuple[Callable[[], None], ...] = (tolerate_cancelled_calls,)


def check_versions() -> None:
  """Refuses combinations of packages that the patches do not know.

  Raises:
    StackError: naming each package, what was found and what is wanted.
  """
  wrong = []
  for package, tested in TESTED_VERSIONS.items():
    wanted = ' or '.join(tested)
    try:
      found = metadata.version(package)
    except metadata.PackageNotFoundError:
      wrong.append(f'{package} {wanted} is not installed')
      continue
    if found not in tested:
      wrong.append(f'{package} is {found}, wanted {wanted}')
  if not wrong:
    return
  message = f'untested versions: {"; ".join(wrong)}. {_DOCTOR}'
  if os.environ.get(ALLOW_UNTESTED) == '1':
    warnings.warn(message, stacklevel=2)
    return
  raise StackError(message)


def _attempt(what: str, function: Callable[..., object], *args: str) -> None:
  """Calls a function; if it fails, says what that means and what to do."""
  try:
    function(*args)
  except Exception as error:  # protobuf's mismatches are TypeErrors.
    line = (str(error).strip() or repr(error)).splitlines()[0]
    raise StackError(f'{what} failed: {line} {_DOCTOR}') from error


def install() -> None:
  """Checks the versions, applies every patch and imports the stack.

  Safe to call any number of times. Can be pickled, for Launchpad's children.

  Raises:
    StackError: if the installed packages cannot work together.
  """
  global _installed
  if _installed:
    return
  check_versions()
  with warnings.catch_warnings():
    # Deprecations inside packages that will not change any more.
    warnings.simplefilter('ignore', DeprecationWarning)
    for patch in PATCHES:
      _attempt(f'patch {patch.__name__}', patch)
    for name in _STACK:
      _attempt(f'importing {name}', importlib.import_module, name)
    for patch in LATE_PATCHES:
      _attempt(f'patch {patch.__name__}', patch)
  _installed = True
