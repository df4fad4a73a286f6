"""Environments by name, 'suite:task'.

A suite is one entry of `SUITES`. Its modules are imported only when it is used,
so that a grid world does not wait for a physics engine.
"""

from collections.abc import Callable
import inspect
from typing import Any
from typing import Literal
from typing import NamedTuple

import dm_env

from skills import checks


class Suite(NamedTuple):
  """A family of tasks.

  Attributes:
    tasks: the names of its tasks.
    make: (task, *, seed, ...) -> environment; what is keyword-only besides the
      seed is an option of the suite.
  """

  tasks: Callable[[], tuple[str, ...]]
  make: Callable[..., dm_env.Environment]

  def options(self) -> tuple[str, ...]:
    """The names of the options that `make` takes."""
    parameters = inspect.signature(self.make).parameters.values()
    return tuple(
      parameter.name
      for parameter in parameters
      if parameter.kind is parameter.KEYWORD_ONLY and parameter.name != 'seed'
    )


def _grid_tasks() -> tuple[str, ...]:
  from envs import gridworlds

  return tuple(gridworlds.MAPS)


def _make_grid(
  task: str,
  *,
  seed: int,
  observation: str = 'index',
  horizon: int | None | Literal['default'] = 'default',
  goal: int | None = None,
) -> dm_env.Environment:
  from envs import gridworlds

  return gridworlds.GridworldEnvironment(
    gridworlds.load(task, horizon=horizon, goal=goal),
    observation=observation,
    seed=seed,
  )


def _control_tasks() -> tuple[str, ...]:
  from envs import control

  return tuple(control.TASKS)


def _make_control(
  task: str,
  *,
  seed: int,
  observation: str = 'features',
  size: int = 84,
  action_repeat: int = 1,
  time_limit: float | None = None,
  control_timestep: float | None = None,
) -> dm_env.Environment:
  from envs import control

  return control.ControlEnvironment(
    task,
    seed=seed,
    observation=observation,
    size=size,
    action_repeat=action_repeat,
    time_limit=time_limit,
    control_timestep=control_timestep,
  )


def _atari_tasks() -> tuple[str, ...]:
  from envs import atari

  return atari.GAMES


def _make_atari(
  task: str,
  *,
  seed: int,
  actions: str = 'full',
  rewards: str = 'score',
  sticky: float = 0.25,
  max_frames: int = 108_000,
) -> dm_env.Environment:
  from envs import atari

  return atari.AtariEnvironment(
    task,
    seed=seed,
    actions=actions,
    rewards=rewards,
    sticky=sticky,
    max_frames=max_frames,
  )


def _random_tasks() -> tuple[str, ...]:
  from envs import random_mdps

  return tuple(random_mdps.TASKS)


def _make_random(
  task: str,
  *,
  seed: int,
  world: int = 0,
  num_states: int | Literal['default'] = 'default',
  num_actions: int | Literal['default'] = 'default',
  branching: int | Literal['default'] = 'default',
  rewarded: float | Literal['default'] = 'default',
  horizon: int | None = None,
) -> dm_env.Environment:
  from envs import random_mdps
  from envs.tabular import environment as tabular_environment

  changes: dict[str, Any] = {
    'num_states': num_states,
    'num_actions': num_actions,
    'branching': branching,
    'rewarded': rewarded,
  }
  sizes = random_mdps.TASKS[task]._replace(
    **{name: size for name, size in changes.items() if size != 'default'}
  )
  return tabular_environment.TabularEnvironment(
    random_mdps.make(sizes, world, horizon=horizon), seed=seed
  )


def _classic_tasks() -> tuple[str, ...]:
  from envs import classics

  return (*classics.TASKS, 'cartpole')


def _make_classic(
  task: str,
  *,
  seed: int,
  observation: str = 'index',
  size: int | Literal['default'] = 'default',
  world: int = 0,
) -> dm_env.Environment:
  from envs import cartpole
  from envs import classics
  from envs.tabular import environment as tabular_environment

  if task != 'deep_sea' and size != 'default':
    raise ValueError(f'size is of deep_sea alone, got {size!r} for {task}.')
  if task == 'cartpole':
    # Its state has no index, and is always shown as it is.
    checks.one_of('observation', observation, ('index',))
    return cartpole.CartPole(seed=seed)
  if task == 'catch':
    board = classics.catch()
  else:
    board = classics.deep_sea(10 if size == 'default' else size, world)
  return tabular_environment.TabularEnvironment(
    board.mdp, classics.observations(board, observation), seed=seed
  )


SUITES = {
  'grid': Suite(tasks=_grid_tasks, make=_make_grid),
  'control': Suite(tasks=_control_tasks, make=_make_control),
  'atari': Suite(tasks=_atari_tasks, make=_make_atari),
  'random': Suite(tasks=_random_tasks, make=_make_random),
  'classic': Suite(tasks=_classic_tasks, make=_make_classic),
}


def names() -> tuple[str, ...]:
  """Every name that `make` accepts."""
  return tuple(
    f'{suite}:{task}' for suite in SUITES for task in SUITES[suite].tasks()
  )


def make(name: str, *, seed: int = 0, **options: object) -> dm_env.Environment:
  """An environment by name.

  Args:
    name: 'suite:task', one of `names()`.
    seed: of all the environment's randomness, at least 0.
    **options: of the suite. 'grid' takes `observation` ('index', 'one_hot',
      'row_column' or 'pixels'), `horizon` (environment steps per episode; None
      for episodes that never end; 'default' for the map's own) and `goal`
      (a number, in maps that have goals). 'control' takes `observation`
      ('features' or 'pixels'), `size` (of pixels), `action_repeat`,
      `time_limit` (of an episode) and `control_timestep` (of an action), both
      in seconds, None for the suite's. 'atari' takes `actions` ('full' or
      'minimal'), `rewards` ('score' or 'clipped'), `sticky` (probability) and
      `max_frames` (of an episode). 'random' takes `world` (the number that
      seeds states and rewards, where `seed` is of what happens in them),
      `num_states`, `num_actions`, `branching`, `rewarded` (share of the pairs
      of state and action that pay) and `horizon`. 'classic' takes `observation`
      ('index' or 'board') and, of DeepSea, `size` and `world`, which seeds what
      its actions mean.

  Returns:
    A new environment whose rewards and discounts are float32.

  Raises:
    ValueError: if the suite, the task, an option or its value is unknown; the
      message is one line with what is allowed.
  """
  suite_name, colon, task = name.partition(':')
  if not colon:
    # A task alone is not near to its name with a suite in front of it.
    meant = {full: full for full in names()}
    meant |= {full.partition(':')[2]: full for full in names()}
    hint = checks.did_you_mean(name, meant)
    raise ValueError(
      f"environment {name!r} must be written 'suite:task'.{hint} Suites:"
      f' {", ".join(map(repr, SUITES))}.'
    )
  checks.one_of(f'environment {name!r}: suite', suite_name, SUITES)
  suite = SUITES[suite_name]
  checks.one_of(f'environment {name!r}: task', task, suite.tasks())
  for option in options:
    checks.one_of(f'environment {name!r}: option', option, suite.options())
  return suite.make(task, seed=seed, **options)
