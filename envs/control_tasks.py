"""Observations and rewards of control tasks, for many environments at once.

The functions of this module compute from arrays with a leading axis N what the
tasks of `dm_control.suite` compute from the simulation of one environment.
Names and numbers are the suite's; `envs/control_batch.py` steps the
simulations.

To add a task, write a function from the task's model to a `Task` and name it in
`TASKS`; tests/envs/control_batch_test.py compares every entry to the suite. The
task must have no terminal states.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import functools
import math
import types
from typing import Any
from typing import NamedTuple

from jaxtyping import Float
from jaxtyping import Int
import numpy as np

# Entries of rotation matrices, row by row.
_XX, _XZ, _ZX, _ZY, _ZZ = 0, 2, 6, 7, 8

Vector = Float[np.ndarray, 'N']
"""One number for each environment."""

Data = types.SimpleNamespace
"""The arrays of `mujoco.MjData` that a task reads, each with a leading axis N.

They have the names and the shapes that they have there: `data.xmat` is
`[N, bodies, 9]`.
"""


class Task(NamedTuple):
  """A task's observations and rewards.

  Attributes:
    fields: names of the arrays of `mujoco.MjData` that are read.
    observe: data -> the task's observations in the suite's order, each with a
      leading axis N.
    reward: (data, control) -> rewards `[N]`, where control `[N, A]` is what the
      actuators were given.
    drawn: names of the arrays of `mujoco.MjModel` that the task draws for each
      episode.
  """

  fields: tuple[str, ...]
  observe: Callable[[Data], Sequence[np.ndarray]]
  reward: Callable[[Data, Float[np.ndarray, 'N A']], Vector]
  drawn: tuple[str, ...] = ()


def _acrobot(model: Any, *, is_sparse: bool) -> Task:
  arms = [model.body(name).id for name in ('upper_arm', 'lower_arm')]
  target, tip = (model.site(name).id for name in ('target', 'tip'))

  def observe(data: Data) -> Sequence[np.ndarray]:
    horizontal, vertical = data.xmat[:, arms, _XZ], data.xmat[:, arms, _ZZ]
    return np.concatenate([horizontal, vertical], axis=1), data.qvel

  def reward(data: Data, control: np.ndarray) -> Vector:
    del control
    to_target = data.site_xpos[:, target] - data.site_xpos[:, tip]
    return _tolerance(
      _lengths(to_target),
      bounds=(0, model.site_size[target, 0]),
      margin=0 if is_sparse else 1,
    )

  return Task(('qvel', 'xmat', 'site_xpos'), observe, reward)


def _ball_in_cup(model: Any) -> Task:
  ball, target = model.body('ball').id, model.site('target').id
  ball_geom = model.geom('ball').id

  def reward(data: Data, control: np.ndarray) -> Vector:
    del control
    distance = np.abs(
      data.site_xpos[:, target, ::2] - data.xpos[:, ball, ::2]  # x and z.
    )
    room = model.site_size[target, [0, 2]] - model.geom_size[ball_geom, 0]
    return np.all(distance < room, axis=1).astype(float)

  fields = ('qpos', 'qvel', 'xpos', 'site_xpos')
  return Task(fields, _positions_and_velocities, reward)


def _cartpole(model: Any, *, is_sparse: bool) -> Task:
  poles = model.nbody - 2  # Without MuJoCo's fixed world and the cart.

  def observe(data: Data) -> Sequence[np.ndarray]:
    angles = data.xmat[:, 2:, [_ZZ, _XZ]].reshape(-1, 2 * poles)
    return np.concatenate([data.qpos[:, :1], angles], axis=1), data.qvel

  def sparse_reward(data: Data, control: np.ndarray) -> Vector:
    del control
    is_centered = _tolerance(data.qpos[:, 0], (-0.25, 0.25))
    is_upright = _tolerance(data.xmat[:, 2:, _ZZ], (0.995, 1))
    return is_centered * is_upright.prod(axis=1)

  def smooth_reward(data: Data, control: np.ndarray) -> Vector:
    upright = ((data.xmat[:, 2:, _ZZ] + 1) / 2).mean(axis=1)
    centered = (1 + _tolerance(data.qpos[:, 0], margin=2)) / 2
    small_velocity = _tolerance(data.qvel[:, 1:], margin=5).min(axis=1)
    small_velocity = (1 + small_velocity) / 2
    return upright * _small_control(control) * small_velocity * centered

  reward = sparse_reward if is_sparse else smooth_reward
  return Task(('qpos', 'qvel', 'xmat'), observe, reward)


def _cheetah(model: Any) -> Task:
  velocity = _sensors(model, 'torso_subtreelinvel')

  def reward(data: Data, control: np.ndarray) -> Vector:
    del control
    return _tolerance(
      data.sensordata[:, velocity[0]],
      bounds=(10, np.inf),
      margin=10,
      value_at_margin=0,
      sigmoid='linear',
    )

  fields = ('qpos', 'qvel', 'sensordata')
  return Task(fields, lambda data: (data.qpos[:, 1:], data.qvel), reward)


def _finger(model: Any, *, is_spin: bool) -> Task:
  joints = _sensors(model, 'proximal', 'distal')
  velocities = _sensors(
    model, 'proximal_velocity', 'distal_velocity', 'hinge_velocity'
  )
  touch = _sensors(model, 'touchtop', 'touchbottom')
  spinner, tip, target = (
    _sensors(model, name)[::2]  # x and z.
    for name in ('spinner', 'tip', 'target')
  )
  target_site = model.site('target').id

  def relative(data: Data, place: np.ndarray) -> np.ndarray:
    return data.sensordata[:, place] - data.sensordata[:, spinner]

  def distance(data: Data) -> Vector:
    to_target = relative(data, target) - relative(data, tip)
    return _lengths(to_target) - model.site_size[target_site, 0]

  def observe(data: Data) -> Sequence[np.ndarray]:
    common = (
      data.sensordata[:, joints],
      relative(data, tip),
      data.sensordata[:, velocities],
      np.log1p(data.sensordata[:, touch]),
    )
    position = np.concatenate(common[:2], axis=1)
    if is_spin:
      return position, *common[2:]
    return position, *common[2:], relative(data, target), distance(data)

  def reward(data: Data, control: np.ndarray) -> Vector:
    del control
    if is_spin:
      return (data.sensordata[:, velocities[2]] <= -15.0).astype(float)
    return (distance(data) <= 0).astype(float)

  drawn = () if is_spin else ('site_pos',)
  return Task(('sensordata',), observe, reward, drawn)


def _hopper(model: Any, *, is_hopping: bool) -> Task:
  torso, foot = (model.body(name).id for name in ('torso', 'foot'))
  touch = _sensors(model, 'touch_toe', 'touch_heel')
  velocity = _sensors(model, 'torso_subtreelinvel')

  def observe(data: Data) -> Sequence[np.ndarray]:
    return data.qpos[:, 1:], data.qvel, np.log1p(data.sensordata[:, touch])

  def reward(data: Data, control: np.ndarray) -> Vector:
    height = data.xipos[:, torso, 2] - data.xipos[:, foot, 2]
    standing = _tolerance(height, (0.6, 2))
    if not is_hopping:
      return standing * _small_control(control)
    return standing * _tolerance(
      data.sensordata[:, velocity[0]],
      bounds=(2, np.inf),
      margin=1,
      value_at_margin=0.5,
      sigmoid='linear',
    )

  return Task(('qpos', 'qvel', 'xipos', 'sensordata'), observe, reward)


def _humanoid(model: Any, *, speed: float, is_pure_state: bool = False) -> Task:
  torso, head = (model.body(name).id for name in ('torso', 'head'))
  limbs = [
    model.body(name).id
    for name in ('left_hand', 'left_foot', 'right_hand', 'right_foot')
  ]
  velocity = _sensors(model, 'torso_subtreelinvel')

  def observe(data: Data) -> Sequence[np.ndarray]:
    frame = data.xmat[:, torso].reshape(-1, 3, 3)
    to_limbs = data.xpos[:, limbs] - data.xpos[:, [torso]]
    return (
      data.qpos[:, 7:],  # Without the free root joint.
      data.xpos[:, head, 2],
      to_limbs @ frame,
      data.xmat[:, torso, [_ZX, _ZY, _ZZ]],
      data.sensordata[:, velocity],
      data.qvel,
    )

  def reward(data: Data, control: np.ndarray) -> Vector:
    standing = _tolerance(
      data.xpos[:, head, 2], bounds=(1.4, np.inf), margin=0.35
    )
    upright = _tolerance(
      data.xmat[:, torso, _ZZ],
      bounds=(0.9, np.inf),
      sigmoid='linear',
      margin=1.9,
      value_at_margin=0,
    )
    horizontal = data.sensordata[:, velocity[:2]]
    if speed == 0:
      movement = _tolerance(horizontal, margin=2).mean(axis=1)
    else:
      movement = _tolerance(
        _lengths(horizontal),
        bounds=(speed, np.inf),
        margin=speed,
        value_at_margin=0,
        sigmoid='linear',
      )
      movement = (5 * movement + 1) / 6
    return _small_control(control) * (standing * upright) * movement

  fields = ('qpos', 'qvel', 'xpos', 'xmat', 'sensordata')
  chosen = _positions_and_velocities if is_pure_state else observe
  return Task(fields, chosen, reward)


def _pendulum(model: Any) -> Task:
  pole = model.body('pole').id

  def observe(data: Data) -> Sequence[np.ndarray]:
    return data.xmat[:, pole, [_ZZ, _XZ]], data.qvel

  def reward(data: Data, control: np.ndarray) -> Vector:
    del control
    bound = np.cos(np.deg2rad(8))
    return _tolerance(data.xmat[:, pole, _ZZ], (bound, 1))

  return Task(('qvel', 'xmat'), observe, reward)


def _point_mass(model: Any, *, draws_gains: bool) -> Task:
  target, mass = (model.geom(name).id for name in ('target', 'pointmass'))

  def reward(data: Data, control: np.ndarray) -> Vector:
    to_target = data.geom_xpos[:, target] - data.geom_xpos[:, mass]
    size = model.geom_size[target, 0]
    near_target = _tolerance(_lengths(to_target), bounds=(0, size), margin=size)
    return near_target * _small_control(control)

  drawn = ('wrap_prm',) if draws_gains else ()
  fields = ('qpos', 'qvel', 'geom_xpos')
  return Task(fields, _positions_and_velocities, reward, drawn)


def _quadruped(model: Any, *, speed: float) -> Task:
  torso = model.body('torso').id
  velocimeter = _sensors(model, 'velocimeter')
  imu = _sensors(model, 'imu_accel', 'imu_gyro')
  toes = ('front_left', 'front_right', 'back_right', 'back_left')
  force_torque = _sensors(
    model,
    *(f'{kind}_toe_{toe}' for kind in ('force', 'torque') for toe in toes),
  )

  def observe(data: Data) -> Sequence[np.ndarray]:
    return (
      # Without the free root joint.
      np.concatenate([data.qpos[:, 7:], data.qvel[:, 6:], data.act], axis=1),
      data.sensordata[:, velocimeter],
      data.xmat[:, torso, _ZZ],
      data.sensordata[:, imu],
      np.arcsinh(data.sensordata[:, force_torque]),
    )

  def reward(data: Data, control: np.ndarray) -> Vector:
    del control
    moving = _tolerance(
      data.sensordata[:, velocimeter[0]],
      bounds=(speed, np.inf),
      margin=speed,
      value_at_margin=0.5,
      sigmoid='linear',
    )
    upright = _tolerance(
      data.xmat[:, torso, _ZZ],
      bounds=(1, np.inf),
      sigmoid='linear',
      margin=2,
      value_at_margin=0,
    )
    return upright * moving

  return Task(('qpos', 'qvel', 'act', 'xmat', 'sensordata'), observe, reward)


def _reacher(model: Any) -> Task:
  target, finger = (model.geom(name).id for name in ('target', 'finger'))

  def to_target(data: Data) -> np.ndarray:
    return data.geom_xpos[:, target, :2] - data.geom_xpos[:, finger, :2]

  def observe(data: Data) -> Sequence[np.ndarray]:
    return data.qpos, to_target(data), data.qvel

  def reward(data: Data, control: np.ndarray) -> Vector:
    del control
    distance = _lengths(to_target(data))
    radii = model.geom_size[[target, finger], 0].sum()
    return _tolerance(distance, (0, radii))

  return Task(('qpos', 'qvel', 'geom_xpos'), observe, reward, ('geom_pos',))


def _walker(model: Any, *, speed: float) -> Task:
  torso = model.body('torso').id
  velocity = _sensors(model, 'torso_subtreelinvel')

  def observe(data: Data) -> Sequence[np.ndarray]:
    orientations = data.xmat[:, 1:, [_XX, _XZ]]
    return orientations, data.xpos[:, torso, 2], data.qvel

  def reward(data: Data, control: np.ndarray) -> Vector:
    del control
    standing = _tolerance(
      data.xpos[:, torso, 2], bounds=(1.2, np.inf), margin=0.6
    )
    upright = (1 + data.xmat[:, torso, _ZZ]) / 2
    standing = (3 * standing + upright) / 4
    if speed == 0:
      return standing
    moving = _tolerance(
      data.sensordata[:, velocity[0]],
      bounds=(speed, np.inf),
      margin=speed / 2,
      value_at_margin=0.5,
      sigmoid='linear',
    )
    return standing * (5 * moving + 1) / 6

  return Task(('qvel', 'xpos', 'xmat', 'sensordata'), observe, reward)


def _tolerance(
  x: np.ndarray,
  bounds: tuple[float, float] = (0.0, 0.0),
  margin: float = 0.0,
  sigmoid: str = 'gaussian',
  value_at_margin: float = 0.1,
) -> np.ndarray:
  """Rewards of values near to bounds: `dm_control.utils.rewards.tolerance`.

  The suite's own function does the same, but takes four times as long for
  arrays as short as these.

  Args:
    x: values of any shape.
    bounds: lowest and highest value for which the reward is 1.
    margin: distance from them at which the reward is `value_at_margin`; 0 for
      no reward outside of the bounds.
    sigmoid: 'gaussian', 'linear' or 'quadratic' in the distance.
    value_at_margin: in [0, 1), and above 0 for 'gaussian'.

  Returns:
    Rewards in [0, 1].
  """
  distance = np.maximum(np.maximum(bounds[0] - x, x - bounds[1]), 0.0)
  if margin == 0:
    return np.equal(distance, 0.0).astype(float)
  distance /= margin
  if sigmoid == 'linear':
    return np.maximum(1.0 - (1.0 - value_at_margin) * distance, 0.0)
  distance *= distance
  if sigmoid == 'quadratic':
    return np.maximum(1.0 - (1.0 - value_at_margin) * distance, 0.0)
  return np.exp(math.log(value_at_margin) * distance)


def _lengths(vectors: Float[np.ndarray, 'N D']) -> Vector:
  """Euclidean lengths."""
  return np.sqrt(np.square(vectors).sum(axis=1))


def _positions_and_velocities(data: Data) -> Sequence[np.ndarray]:
  return data.qpos, data.qvel


def _sensors(model: Any, *names: str) -> Int[np.ndarray, 'entries']:
  """The entries of `sensordata` that sensors write, in the order of names."""
  ids = [model.sensor(name).id for name in names]
  return np.concatenate(
    [model.sensor_adr[i] + np.arange(model.sensor_dim[i]) for i in ids]
  )


def _small_control(control: Float[np.ndarray, 'N A']) -> Vector:
  """1 for no control at all, falling to 4/5 for the largest."""
  small = _tolerance(control, margin=1, value_at_margin=0, sigmoid='quadratic')
  return (4 + small.mean(axis=1)) / 5


_smooth_cartpole = functools.partial(_cartpole, is_sparse=False)
_sparse_cartpole = functools.partial(_cartpole, is_sparse=True)
_turning_finger = functools.partial(_finger, is_spin=False)

TASKS: Mapping[str, Callable[[Any], Task]] = {
  'acrobot_swingup': functools.partial(_acrobot, is_sparse=False),
  'acrobot_swingup_sparse': functools.partial(_acrobot, is_sparse=True),
  'ball_in_cup_catch': _ball_in_cup,
  'cartpole_balance': _smooth_cartpole,
  'cartpole_balance_sparse': _sparse_cartpole,
  'cartpole_swingup': _smooth_cartpole,
  'cartpole_swingup_sparse': _sparse_cartpole,
  'cartpole_three_poles': _smooth_cartpole,
  'cartpole_two_poles': _smooth_cartpole,
  'cheetah_run': _cheetah,
  'finger_spin': functools.partial(_finger, is_spin=True),
  'finger_turn_easy': _turning_finger,
  'finger_turn_hard': _turning_finger,
  'hopper_hop': functools.partial(_hopper, is_hopping=True),
  'hopper_stand': functools.partial(_hopper, is_hopping=False),
  'humanoid_run': functools.partial(_humanoid, speed=10),
  'humanoid_run_pure_state': functools.partial(
    _humanoid, speed=10, is_pure_state=True
  ),
  'humanoid_stand': functools.partial(_humanoid, speed=0),
  'humanoid_walk': functools.partial(_humanoid, speed=1),
  'pendulum_swingup': _pendulum,
  'point_mass_easy': functools.partial(_point_mass, draws_gains=False),
  'point_mass_hard': functools.partial(_point_mass, draws_gains=True),
  'quadruped_run': functools.partial(_quadruped, speed=5),
  'quadruped_walk': functools.partial(_quadruped, speed=0.5),
  'reacher_easy': _reacher,
  'reacher_hard': _reacher,
  'walker_run': functools.partial(_walker, speed=8),
  'walker_stand': functools.partial(_walker, speed=0),
  'walker_walk': functools.partial(_walker, speed=1),
}
"""Name in `control.TASKS` -> makes the task from its `mujoco.MjModel`."""
