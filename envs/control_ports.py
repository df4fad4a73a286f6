"""Closed-form JAX ports of dm_control's bodies without contacts.

Constants are read from the task's own MuJoCo model. A step differs from
MuJoCo's by rounding to float32 alone, at joint limits too: a limit is MuJoCo's
soft constraint, whose force has a closed form while a single one is active
(MuJoCo's documentation, "Computation", sections "Constraint model" and
"Parameters").
"""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
import numpy as np

from envs import functional

Scalar = Float[Array, '']


class Body(NamedTuple):
  """Dynamics and task of one body.

  A state is the vector of positions, then velocities.

  Attributes:
    reset: key -> state at an episode's start.
    substep: state, control -> state after one physics step.
    observe: state -> observation.
    reward: state after the step, control -> the task's reward in [0, 1].
  """

  reset: Callable[[Array | None], Float[Array, 'D']]
  substep: Callable[[Float[Array, 'D'], Float[Array, 'A']], Float[Array, 'D']]
  observe: Callable[[Float[Array, 'D']], Float[Array, 'O']]
  reward: Callable[[Float[Array, 'D'], Float[Array, 'A']], Scalar]


class JointLimit(NamedTuple):
  """The soft limit of one joint, in MuJoCo's parameters.

  Attributes:
    low: of the joint's position.
    high: of the joint's position.
    time_constant: of `solref`, seconds.
    damping_ratio: of `solref`.
    impedance: lowest and highest impedance and the width between them, of
      `solimp`, with its default midpoint and power.
    inverse_weight: of the joint's degree of freedom, `dof_invweight0`.
  """

  low: float
  high: float
  time_constant: float
  damping_ratio: float
  impedance: tuple[float, float, float]
  inverse_weight: float

  def force(
    self,
    position: Float[Array, '*joints'],
    velocity: Float[Array, '*joints'],
    acceleration: Float[Array, '*joints'],
    inverse_inertia: Float[Array, ''] | float,
  ) -> Float[Array, '*joints']:
    """Constraint force along the joint; 0 within the limits.

    Args:
      position: of the joint.
      velocity: of the joint.
      acceleration: of the joint without the constraint.
      inverse_inertia: acceleration of the joint by a unit force along it.
    """
    toward = (acceleration, inverse_inertia)
    from_low = self._one_sided(position - self.low, velocity, *toward)
    from_high = self._one_sided(
      self.high - position, -velocity, -acceleration, inverse_inertia
    )
    return from_low - from_high

  def _one_sided(self, distance, velocity, acceleration, inverse_inertia):
    lowest, highest, width = self.impedance
    x = jnp.clip(jnp.abs(distance) / width, 0.0, 1.0)
    y = jnp.where(x < 0.5, 2 * x**2, 1 - 2 * (1 - x) ** 2)
    d = lowest + y * (highest - lowest)
    stiffness = d / (highest * self.time_constant * self.damping_ratio) ** 2
    damping = 2 / (highest * self.time_constant)
    reference = -damping * velocity - stiffness * distance
    regularization = (1 - d) / d * self.inverse_weight
    force = (reference - acceleration) / (inverse_inertia + regularization)
    return jnp.where(distance < 0, jnp.maximum(force, 0.0), 0.0)


def _limit_of(model: Any, joint: int) -> JointLimit:
  low, high = model.jnt_range[joint]
  time_constant, damping_ratio = model.jnt_solref[joint]
  *impedance, midpoint, power = model.jnt_solimp[joint]
  if (midpoint, power) != (0.5, 2.0) or time_constant <= 0:
    raise ValueError(
      f'joint {joint} has solref {model.jnt_solref[joint]} and solimp '
      f'{model.jnt_solimp[joint]}, which the closed form does not cover.'
    )
  return JointLimit(
    float(low),
    float(high),
    # MuJoCo's `refsafe`: no stiffer than the physics step allows.
    max(float(time_constant), 2 * float(model.opt.timestep)),
    float(damping_ratio),
    (float(impedance[0]), float(impedance[1]), float(impedance[2])),
    float(model.dof_invweight0[model.jnt_dofadr[joint]]),
  )


def _gaussian(distance: Scalar, margin: float) -> Scalar:
  """dm_control's tolerance outside of its bounds: .1 at the margin."""
  return jnp.exp(jnp.log(0.1) * jnp.square(distance / margin))


def _small_control(control: Float[Array, 'A']) -> Scalar:
  """dm_control's quadratic tolerance of the control, mean over actuators."""
  small = jnp.maximum(1.0 - jnp.square(control), 0.0)
  return (4.0 + jnp.mean(small)) / 5.0


def _cartpole(model: Any, *, swing_up: bool, is_sparse: bool) -> Body:
  timestep = float(model.opt.timestep)
  gravity = -float(model.opt.gravity[2])
  pole = model.body('pole_1')
  mass, length = float(pole.mass[0]), float(pole.ipos[2])
  inertia = float(pole.inertia[1]) + mass * length**2 + model.dof_armature[1]
  total = float(model.body('cart').mass[0]) + mass + model.dof_armature[0]
  damping = np.asarray(model.dof_damping, np.float32)
  gear = float(model.actuator_gear[0, 0])
  limit = _limit_of(model, 0)

  def acceleration(state, control):
    _, angle, cart_speed, pole_speed = state
    coupling = mass * length * jnp.cos(angle)
    sine = mass * length * jnp.sin(angle)
    on_cart = gear * control[0] - damping[0] * cart_speed + sine * pole_speed**2
    on_pole = gravity * sine - damping[1] * pole_speed
    determinant = total * inertia - coupling**2
    inverse = jnp.array([inertia, -coupling]) / determinant
    free = jnp.stack(
      [
        inverse[0] * on_cart + inverse[1] * on_pole,
        inverse[1] * on_cart + total / determinant * on_pole,
      ]
    )
    force = limit.force(state[0], cart_speed, free[0], inverse[0])
    return free + inverse * force

  def substep(state, control):
    """Runge-Kutta of fourth order, as the task's model asks for."""

    def slope(state):
      return jnp.concatenate([state[2:], acceleration(state, control)])

    k1 = slope(state)
    k2 = slope(state + timestep / 2 * k1)
    k3 = slope(state + timestep / 2 * k2)
    k4 = slope(state + timestep * k3)
    return state + timestep / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

  def reset(key):
    position_key, velocity_key = jax.random.split(key)
    if swing_up:
      position = 0.01 * jax.random.normal(position_key, (2,))
      position = position + jnp.array([0.0, jnp.pi])
    else:
      position = jnp.array([0.1, 0.034]) * jax.random.uniform(
        position_key, (2,), minval=-1.0
      )
    velocity = 0.01 * jax.random.normal(velocity_key, (2,))
    return jnp.concatenate([position, velocity])

  def observe(state):
    cart, angle, *speeds = state
    return jnp.stack([cart, jnp.cos(angle), jnp.sin(angle), *speeds])

  def reward(state, control):
    cart, angle, _, pole_speed = state
    upright = jnp.cos(angle)
    if is_sparse:
      holds = (jnp.abs(cart) <= 0.25) & (upright >= 0.995)
      return holds.astype(jnp.float32)
    centered = (1 + _gaussian(cart, 2.0)) / 2
    slow = (1 + _gaussian(pole_speed, 5.0)) / 2
    return (upright + 1) / 2 * _small_control(control) * slow * centered

  return Body(reset, substep, observe, reward)


def _pendulum(model: Any) -> Body:
  timestep = float(model.opt.timestep)
  gravity = -float(model.opt.gravity[2])
  pole = model.body('pole')
  mass, length = float(pole.mass[0]), float(pole.ipos[2])
  inertia = float(pole.inertia[1]) + mass * length**2 + model.dof_armature[0]
  damping, gear = float(model.dof_damping[0]), float(model.actuator_gear[0, 0])
  lowest_cosine = float(np.cos(np.deg2rad(8)))

  def substep(state, control):
    """Semi-implicit Euler, with implicit joint damping."""
    angle, speed = state
    torque = (
      gear * control[0]
      - damping * speed
      + mass * gravity * length * jnp.sin(angle)
    )
    speed = speed + timestep * torque / (inertia + timestep * damping)
    return jnp.stack([angle + timestep * speed, speed])

  def reset(key):
    angle = jax.random.uniform(key, minval=-jnp.pi, maxval=jnp.pi)
    return jnp.stack([angle, jnp.zeros(())])

  def observe(state):
    return jnp.stack([jnp.cos(state[0]), jnp.sin(state[0]), state[1]])

  def reward(state, control):
    del control
    return (jnp.cos(state[0]) >= lowest_cosine).astype(jnp.float32)

  return Body(reset, substep, observe, reward)


def _point_mass(model: Any) -> Body:
  timestep = float(model.opt.timestep)
  mass = float(model.body('pointmass').mass[0])
  damping = float(model.dof_damping[0])
  gear = float(model.actuator_gear[0, 0])
  tendons = np.asarray(model.wrap_prm, np.float32).reshape(2, 2)
  limit = _limit_of(model, 0)
  target = float(model.geom('target').size[0])

  def substep(state, control):
    """Semi-implicit Euler, with implicit joint damping."""
    position, velocity = state[:2], state[2:]
    force = gear * (control @ tendons) - damping * velocity
    force = force + limit.force(position, velocity, force / mass, 1 / mass)
    velocity = velocity + timestep * force / (mass + timestep * damping)
    return jnp.concatenate([position + timestep * velocity, velocity])

  def reset(key):
    position = jax.random.uniform(
      key, (2,), minval=limit.low, maxval=limit.high
    )
    return jnp.concatenate([position, jnp.zeros(2)])

  def reward(state, control):
    distance = jnp.linalg.norm(state[:2])
    near = _gaussian(jnp.maximum(distance - target, 0.0), target)
    return near * _small_control(control)

  return Body(reset, substep, lambda state: state, reward)


PORTS: Mapping[str, Callable[[Any], Body]] = {
  'cartpole_balance': lambda model: _cartpole(
    model, swing_up=False, is_sparse=False
  ),
  'cartpole_balance_sparse': lambda model: _cartpole(
    model, swing_up=False, is_sparse=True
  ),
  'cartpole_swingup': lambda model: _cartpole(
    model, swing_up=True, is_sparse=False
  ),
  'cartpole_swingup_sparse': lambda model: _cartpole(
    model, swing_up=True, is_sparse=True
  ),
  'pendulum_swingup': _pendulum,
  'point_mass_easy': _point_mass,
}
"""MuJoCo model of the task -> its port, by the names of `control.TASKS`."""


def make(
  body: Body, *, num_substeps: int, action_repeat: int, horizon: int | None
) -> functional.FunctionalEnvironment:
  """A port as a functional environment.

  Args:
    body: the port.
    num_substeps: physics steps in a control step.
    action_repeat: control steps for which an action is held; their rewards are
      summed.
    horizon: environment steps of an episode; None for no limit.
  """

  def control_step(state, control):
    state = jax.lax.fori_loop(
      0, num_substeps, lambda _, state: body.substep(state, control), state
    )
    return state, body.reward(state, control)

  def step(key, state, action):
    del key
    control = jnp.clip(action, -1.0, 1.0)

    def repeat(_, carry):
      state, total = carry
      state, reward = control_step(state, control)
      return state, total + reward

    state, reward = jax.lax.fori_loop(
      0, action_repeat, repeat, (state, jnp.zeros(()))
    )
    return state, reward, jnp.ones(())

  return functional.FunctionalEnvironment(
    reset=body.reset,
    step=step,
    observe=body.observe,
    horizon=horizon,
    is_deterministic=True,
  )
