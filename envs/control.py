"""DeepMind Control Suite tasks with one observation: a vector or a picture.

Tassa et al., "dm_control: Software and tasks for continuous control", 2020
(arXiv:2006.12983).

The vector holds the task's named observations, each flattened row by row, in
the order in which the task returns them (`observation_slices`). Actions are
rescaled to [-1, 1].

Episodes are truncated after 1000 steps (last discount 1), and tasks have no
terminal states. The two LQR tasks have terminal states (last discount 0) and no
limit.

MuJoCo is imported when an environment is made, and not with this module.
"""

import functools
import importlib
import inspect
import math
from typing import Any

import dm_env
from dm_env import specs
from jaxtyping import Float
from jaxtyping import Num
import numpy as np

from envs import base
from envs import control_ports
from envs import functional as functional_lib
from envs import rendering
from skills import checks

# By domain, as in dm_control.suite.ALL_TASKS, which takes seconds to import.
_DOMAINS = {
  'acrobot': ('swingup', 'swingup_sparse'),
  'ball_in_cup': ('catch',),
  'cartpole': (
    'balance',
    'balance_sparse',
    'swingup',
    'swingup_sparse',
    'two_poles',
    'three_poles',
  ),
  'cheetah': ('run',),
  'dog': ('stand', 'walk', 'trot', 'run', 'fetch'),
  'finger': ('spin', 'turn_easy', 'turn_hard'),
  'fish': ('upright', 'swim'),
  'hopper': ('stand', 'hop'),
  'humanoid': ('stand', 'walk', 'run', 'run_pure_state'),
  'humanoid_CMU': ('stand', 'walk', 'run'),
  'lqr': ('lqr_2_1', 'lqr_6_2'),
  'manipulator': ('bring_ball', 'bring_peg', 'insert_ball', 'insert_peg'),
  'pendulum': ('swingup',),
  'point_mass': ('easy', 'hard'),
  'quadruped': ('walk', 'run', 'escape', 'fetch'),
  'reacher': ('easy', 'hard'),
  'stacker': ('stack_2', 'stack_4'),
  'swimmer': ('swimmer6', 'swimmer15'),
  'walker': ('stand', 'walk', 'run'),
}
# Name -> domain and task.
TASKS = {
  f'{domain}_{task}': (domain, task)
  for domain, tasks in _DOMAINS.items()
  for task in tasks
}

OBSERVATIONS = ('features', 'pixels')

# Where the first camera is far away or follows a ball.
_CAMERAS = {'dog': 'y-axis', 'quadruped': 'y'}
# MuJoCo's way to say that an actuator has no limit.
_UNLIMITED = 1e10
# The largest seed of NumPy's older generator, which the suite uses.
MAX_SEED = 2**32 - 1


class NamedVector(specs.BoundedArray):
  """Spec of an unbounded vector whose entries have names."""

  def __init__(
    self,
    entry_names: tuple[str, ...],
    dtype: Any = np.float32,
    name: str | None = None,
  ):
    """Initializes the spec.

    Args:
      entry_names: one for each entry.
      dtype: of the entries.
      name: of the spec.
    """
    super().__init__((len(entry_names),), dtype, -np.inf, np.inf, name)
    self._entry_names = tuple(entry_names)

  @property
  def entry_names(self) -> tuple[str, ...]:
    """One for each entry, such as 'velocity[0]'."""
    return self._entry_names

  def __reduce__(self) -> Any:
    """How copies are made."""
    return NamedVector, (self._entry_names, self.dtype, self.name)


def _check_seconds(name: str, value: Any) -> None:
  if value is not None and not (isinstance(value, (int, float)) and value > 0):
    raise ValueError(
      f'{name} must be None or positive (seconds), got {value!r}.'
    )


def _load(
  domain: str,
  task: str,
  seed: int,
  time_limit: float | None,
  control_timestep: float | None,
) -> Any:
  """The suite's environment, with given times instead of the suite's."""
  from dm_control import suite
  from dm_control.rl import control as rl_control

  settings: dict[str, Any] = {'random': int(seed)}
  if time_limit is not None:
    settings['time_limit'] = float(time_limit)
  environment = suite.load(domain, task, task_kwargs=settings)
  if control_timestep is None:
    return environment
  # Not all functions of tasks take it as an argument.
  module = importlib.import_module(f'dm_control.suite.{domain}')
  default = inspect.signature(module.SUITE[task]).parameters['time_limit']
  return rl_control.Environment(
    environment.physics,
    environment.task,
    time_limit=settings.get('time_limit', default.default),
    control_timestep=float(control_timestep),
  )


class ControlEnvironment(base.Environment):
  """A task of the suite with one observation, in float32.

  A seed gives the same episodes as in `dm_control.suite.load`.
  """

  def __init__(
    self,
    name: str,
    *,
    seed: int = 0,
    observation: str = 'features',
    size: int = 84,
    action_repeat: int = 1,
    time_limit: float | None = None,
    control_timestep: float | None = None,
  ):
    """Loads the task; an episode begins with `reset`.

    Args:
      name: a key of `TASKS`.
      seed: of all this environment's randomness, below 2**32.
      observation: 'features' for the vector described above, float32; 'pixels'
        for the picture of a camera, `[size, size, 3]`, uint8.
      size: height and width of pictures.
      action_repeat: control steps for which each action is held, at least 1;
        their rewards are summed, up to the end of the episode.
      time_limit: of an episode, in simulated seconds, after which it is
        truncated; None for the suite's own.
      control_timestep: simulated seconds for which an action is held and
        rewarded once, a multiple of the task's physics steps; None for the
        suite's own. A longer one costs little more, where `action_repeat` costs
        every control step.

    Raises:
      ValueError: if an argument is unknown or out of range, or if pictures are
        wanted where nothing can draw them.
    """
    checks.one_of('control task', name, TASKS)
    checks.integer('seed', seed, 0, MAX_SEED)
    checks.one_of('observation', observation, OBSERVATIONS)
    checks.integer('size', size, 1)
    checks.integer('action_repeat', action_repeat, 1)
    _check_seconds('time_limit', time_limit)
    _check_seconds('control_timestep', control_timestep)
    rendering.choose_renderer()
    if observation == 'pixels' and not rendering.is_possible():
      raise ValueError(
        "observation 'pixels' needs a renderer, but MUJOCO_GL is 'disable';"
        ' unset it (and install libegl1 if there is no renderer yet) or use'
        " observation 'features'."
      )
    domain, task = TASKS[name]
    self._name = name
    self._environment = _load(domain, task, seed, time_limit, control_timestep)
    self._domain = domain
    self._observation = observation
    self._size = size
    self._action_repeat = int(action_repeat)
    self._needs_reset = True

    self._slices = {}
    end = 0
    for key, spec in self._environment.observation_spec().items():
      start, end = end, end + int(np.prod(spec.shape))
      self._slices[key] = slice(start, end)
    self._num_features = end

    bounds = self._environment.action_spec()
    minimum = np.broadcast_to(bounds.minimum, bounds.shape)
    maximum = np.broadcast_to(bounds.maximum, bounds.shape)
    is_limited = (minimum > -_UNLIMITED) & (maximum < _UNLIMITED)
    # In this form actions that are in [-1, 1] already are passed on exactly.
    self._center = np.where(is_limited, (minimum + maximum) / 2, 0.0)
    self._scale = np.where(is_limited, (maximum - minimum) / 2, 1.0)
    self._minimum = np.where(is_limited, -1.0, minimum).astype(np.float32)
    self._maximum = np.where(is_limited, 1.0, maximum).astype(np.float32)

  @property
  def physics(self) -> Any:
    """The running simulation, a `dm_control` physics.

    It is the same object in all episodes. Changes to `physics.model` last,
    except to what the task itself draws for each episode.
    """
    return self._environment.physics

  @property
  def suite_environment(self) -> Any:
    """The environment of dm_control inside."""
    return self._environment

  @property
  def action_repeat(self) -> int:
    """Control steps for which each action is held."""
    return self._action_repeat

  @property
  def step_limit(self) -> float:
    """Control steps of an episode; infinite without a time limit."""
    # dm_control tells its limit nowhere else.
    limit = self._environment._step_limit
    return math.ceil(limit) if math.isfinite(limit) else math.inf

  @property
  def observation_slices(self) -> dict[str, slice]:
    """Name of each of the task's observations -> its part of the vector.

    Empty for pictures.
    """
    return dict(self._slices) if self._observation == 'features' else {}

  def picture(
    self, height: int, width: int, *, is_plain: bool = False
  ) -> Num[np.ndarray, 'H W 3']:
    """The picture of the task's camera now, uint8; needs a renderer.

    Args:
      height: in pixels.
      width: in pixels.
      is_plain: whether to leave out shadows and reflections, which without a
        GPU take three quarters of the time.
    """
    return self.physics.render(
      height=height,
      width=width,
      camera_id=_CAMERAS.get(self._domain, 0),
      render_flag_overrides=(
        {'shadow': False, 'reflection': False} if is_plain else None
      ),
    )

  def reset(self) -> dm_env.TimeStep:
    """Begins an episode."""
    self._needs_reset = False
    timestep = self._environment.reset()
    return timestep._replace(observation=self._observe(timestep.observation))

  def step(self, action: Float[np.ndarray, 'A']) -> dm_env.TimeStep:
    """Holds an action, or begins an episode if none is under way.

    Args:
      action: finite, clipped to the bounds; ignored where an episode begins.

    Returns:
      The time step, with a float32 reward and discount.

    Raises:
      ValueError: if the action's shape is wrong or it is not finite.
    """
    if self._needs_reset:
      return self.reset()
    control = self._control(action)
    reward = 0.0
    for _ in range(self._action_repeat):
      timestep = self._environment.step(control)
      reward += timestep.reward
      if timestep.last():
        self._needs_reset = True
        break
    return dm_env.TimeStep(
      timestep.step_type,
      np.float32(reward),
      np.float32(timestep.discount),
      self._observe(timestep.observation),
    )

  def _control(self, action: Float[np.ndarray, 'A']) -> np.ndarray:
    action = np.asarray(action)
    if action.shape != self._minimum.shape:
      raise ValueError(
        f'action must have shape {self._minimum.shape}, got {action.shape}.'
      )
    # MuJoCo would only warn, and go on from a state that is no longer one.
    if not np.isfinite(action).all():
      raise ValueError(f'action must be finite, got {action}.')
    return self.rescaled(action)

  def rescaled(
    self, action: Float[np.ndarray, '*batch A']
  ) -> Float[np.ndarray, '*batch A']:
    """What the actuators are given for actions, after clipping; float64."""
    clipped = np.clip(action, self._minimum, self._maximum)
    return self._center + self._scale * clipped.astype(np.float64)

  def _observe(self, observation: dict[str, Any]) -> Num[np.ndarray, '...']:
    if self._observation == 'pixels':
      return self.picture(self._size, self._size)
    features = np.empty(self._num_features, np.float32)
    for key, where in self._slices.items():
      features[where] = np.ravel(observation[key])
    return features

  # dm_env leaves its spec methods without annotations, which reads as None.
  def observation_spec(  # pyrefly: ignore[bad-override]
    self,
  ) -> specs.BoundedArray:
    """An unbounded vector, or a picture."""
    if self._observation == 'pixels':
      shape = (self._size, self._size, 3)
      return specs.BoundedArray(shape, np.uint8, 0, 255, 'pixels')
    names = [
      f'{key}[{i}]'
      for key, where in self._slices.items()
      for i in range(where.stop - where.start)
    ]
    return NamedVector(tuple(names), name='features')

  def action_spec(  # pyrefly: ignore[bad-override]
    self,
  ) -> specs.BoundedArray:
    """In [-1, 1], float32; the suite's own bounds without limits."""
    return specs.BoundedArray(
      self._minimum.shape, np.float32, self._minimum, self._maximum, 'action'
    )

  def reward_spec(self) -> specs.BoundedArray:
    """A float32 scalar in [0, action_repeat]; unbounded for LQR."""
    low, high = 0.0, float(self._action_repeat)
    if self._domain == 'lqr':
      low, high = -np.inf, np.inf
    return specs.BoundedArray((), np.float32, low, high, 'reward')

  def close(self) -> None:
    """Frees the simulation and its renderer."""
    self._environment.close()


class PortedControlEnvironment(ControlEnvironment):
  """A task that is also there as JAX functions; see `control_ports`."""

  def functional(self) -> functional_lib.FunctionalEnvironment:
    """The task as JAX functions, with this environment's options."""
    timestep = self.physics.timestep()
    horizon = None
    if math.isfinite(self.step_limit):
      horizon, rest = divmod(int(self.step_limit), self._action_repeat)
      if rest:
        raise ValueError(
          'action_repeat must divide the control steps of an episode '
          f'({self.step_limit}) on device, got {self._action_repeat}.'
        )
    return control_ports.make(
      control_ports.PORTS[self._name](self.physics.model.ptr),
      num_substeps=round(self._environment.control_timestep() / timestep),
      action_repeat=self._action_repeat,
      horizon=horizon,
    )


@functools.wraps(ControlEnvironment)
def make(name: str, **options: Any) -> ControlEnvironment:
  """A task, with JAX functions where it has a port and is no picture."""
  is_picture = options.get('observation') == 'pixels'
  is_ported = name in control_ports.PORTS and not is_picture
  kind = PortedControlEnvironment if is_ported else ControlEnvironment
  return kind(name, **options)
