"""Environments by name, 'suite:task'.

To add a suite, write its module and name it in `SUITES`. A module is imported
when its suite is used, so that a grid does not wait for a physics engine.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Sequence
import importlib
import inspect
from typing import Protocol
from typing import cast

import dm_env

from envs import batched
from skills import checks

SUITES = {
  'grid': 'envs.gridworlds',
  'control': 'envs.control',
  'atari': 'envs.atari',
  'random': 'envs.random_mdps',
  'classic': 'envs.classics',
}
"""Name of a suite -> its module, which is a `Suite`."""

BATCHES = {'control': 'envs.control_batch'}
"""Name of a suite -> the module that batches its tasks, which is a `Batches`.

The tasks of other suites are batched by `batched.Serial`.
"""


class Suite(Protocol):
  """What the module of a suite offers.

  Attributes:
    TASKS: the names of its tasks.
    make: (task, *, seed, ...) -> environment; keyword-only arguments besides
      the seed are the suite's options.
  """

  TASKS: Collection[str]
  make: Callable[..., dm_env.Environment]


class Batches(Protocol):
  """What a module offers that batches the tasks of a suite.

  Attributes:
    supports: (task, **options) -> whether there is a batch for them.
    make_batch: (task, *, seeds, first_lengths, **options) -> batch.
  """

  supports: Callable[..., bool]
  make_batch: Callable[..., batched.BatchedEnvironment]


def load(suite: str) -> Suite:
  """The module of a suite; imports it."""
  return cast(Suite, importlib.import_module(SUITES[suite]))


def options(suite: str) -> tuple[str, ...]:
  """Names of the options of a suite."""
  parameters = inspect.signature(load(suite).make).parameters.values()
  return tuple(
    parameter.name
    for parameter in parameters
    if parameter.kind is parameter.KEYWORD_ONLY and parameter.name != 'seed'
  )


def names() -> tuple[str, ...]:
  """Every name that `make` accepts."""
  return tuple(
    f'{suite}:{task}' for suite in SUITES for task in load(suite).TASKS
  )


def make(
  name: str, *, seed: int = 0, **chosen_options: object
) -> dm_env.Environment:
  """Makes an environment by name.

  Args:
    name: 'suite:task', one of `names()`.
    seed: of all the environment's randomness, at least 0.
    **chosen_options: options of the suite, as its module's `make` takes them.

  Returns:
    A new environment whose rewards and discounts are float32.

  Raises:
    ValueError: if the suite, the task, an option or its value is unknown; the
      message is one line with what is allowed.
  """
  suite, task = _parse(name, chosen_options)
  return load(suite).make(task, seed=seed, **chosen_options)


def _parse(name: str, chosen_options: Collection[str]) -> tuple[str, str]:
  """Suite and task of a name, which must be known, as options must."""
  suite, colon, task = name.partition(':')
  if not colon:
    # A task alone is not near to its name with a suite in front of it.
    meant = {full: full for full in names()}
    meant |= {full.partition(':')[2]: full for full in names()}
    hint = checks.did_you_mean(name, meant)
    raise ValueError(
      f"environment {name!r} must be written 'suite:task'.{hint} Suites:"
      f' {", ".join(map(repr, SUITES))}.'
    )
  checks.one_of(f'environment {name!r}: suite', suite, SUITES)
  checks.one_of(f'environment {name!r}: task', task, load(suite).TASKS)
  for option in chosen_options:
    checks.one_of(f'environment {name!r}: option', option, options(suite))
  return suite, task


def make_batch(
  name: str,
  num_environments: int,
  *,
  seeds: Sequence[int],
  first_lengths: Sequence[int] | None = None,
  **chosen_options: object,
) -> batched.BatchedEnvironment:
  """Makes N environments of a name, which are stepped together.

  Environment i has the episodes of `make(name, seed=seeds[i], ...)`.

  Args:
    name: 'suite:task', one of `names()`.
    num_environments: N, at least 1.
    seeds: of all the randomness of each environment, N integers >= 0.
    first_lengths: steps after which the first episode of each environment is
      truncated, as in `batched.Serial`.
    **chosen_options: options of the suite, as its module's `make` takes them.

  Returns:
    The suite's own batch where it has one for this task and these options, else
    the environments of `make`, one after another.

  Raises:
    ValueError: as `make` does, or if there are not N seeds.
  """
  checks.integer('num_environments', num_environments, 1)
  if len(seeds) != num_environments:
    raise ValueError(
      f'seeds must be one for each of {num_environments} environments, got'
      f' {len(seeds)}.'
    )
  suite, task = _parse(name, chosen_options)
  if suite in BATCHES:
    module = cast(Batches, importlib.import_module(BATCHES[suite]))
    if module.supports(task, **chosen_options):
      return module.make_batch(
        task, seeds=seeds, first_lengths=first_lengths, **chosen_options
      )
  return batched.Serial(
    [make(name, seed=seed, **chosen_options) for seed in seeds],
    first_lengths=first_lengths,
  )
