"""CartPole: a pole on a cart that is pushed to the left or to the right.

Barto, Sutton and Anderson, "Neuronlike adaptive elements that can solve
difficult learning control problems", 1983, with the constants that have become
usual: a cart of 1 kg and a pole of 0.1 kg and 1 m, pushed by 10 N for 0.02 s at
a time, integrated by Euler's method.

Each step pays 1. An episode terminates when the pole leans by more than 12
degrees or the cart leaves its track of 4.8 m, and is truncated after 500 steps.
"""

from collections.abc import Sequence
import math
from typing import Any

import dm_env
from dm_env import specs
import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Float32
import numpy as np

from envs import base
from envs import functional as functional_lib
from skills import checks

HORIZON = 500

_GRAVITY = 9.8
_CART = 1.0
_POLE = 0.1
_HALF_LENGTH = 0.5
_FORCE = 10.0
_TIME_STEP = 0.02
_FARTHEST = 2.4
_STEEPEST = math.radians(12)
# Episodes begin with four numbers drawn uniformly from [-_SPREAD, _SPREAD].
_SPREAD = 0.05


def _derivatives(
  state: Sequence[Any], force: Any, sine: Any, cosine: Any
) -> list[Any]:
  """Time derivatives of the four state variables, for NumPy and JAX."""
  _, speed, _, turning = state
  total = _CART + _POLE
  pushed = (force + _POLE * _HALF_LENGTH * turning**2 * sine) / total
  turned = (_GRAVITY * sine - cosine * pushed) / (
    _HALF_LENGTH * (4 / 3 - _POLE * cosine**2 / total)
  )
  moved = pushed - _POLE * _HALF_LENGTH * turned * cosine / total
  return [speed, moved, turning, turned]


def advance(
  state: Float[np.ndarray, '4'], action: int
) -> Float[np.ndarray, '4']:
  """State after one step of the cart.

  Args:
    state: position in m, speed in m/s, angle from upright in rad, and its speed
      in rad/s.
    action: 1 to push to the right, 0 to the left.

  Returns:
    The state after it.
  """
  force = _FORCE if action == 1 else -_FORCE
  sine, cosine = math.sin(state[2]), math.cos(state[2])
  return state + _TIME_STEP * np.array(
    _derivatives(list(state), force, sine, cosine)
  )


def functional() -> functional_lib.FunctionalEnvironment:
  """CartPole as JAX functions, in float32; states are what is observed."""

  def reset(key: Array | None) -> Float[Array, '4']:
    assert key is not None
    return jax.random.uniform(key, (4,), minval=-_SPREAD, maxval=_SPREAD)

  def step(
    key: Array | None, state: Float[Array, '4'], action: Array
  ) -> tuple[Float[Array, '4'], Float[Array, ''], Float[Array, '']]:
    del key
    force = jnp.where(action == 1, _FORCE, -_FORCE)
    sine, cosine = jnp.sin(state[2]), jnp.cos(state[2])
    change = jnp.stack(_derivatives(list(state), force, sine, cosine))
    state = state + _TIME_STEP * change
    is_over = (jnp.abs(state[0]) > _FARTHEST) | (jnp.abs(state[2]) > _STEEPEST)
    return state, jnp.float32(1), 1 - is_over.astype(jnp.float32)

  return functional_lib.FunctionalEnvironment(
    reset, step, lambda state: state, HORIZON, is_deterministic=True
  )


class CartPole(base.DiscreteEnvironment):
  """CartPole with observations of float32.

  Action 0 pushes to the left, 1 to the right.
  """

  _num_actions = 2

  def __init__(self, *, seed: int = 0):
    """Initializes the environment; an episode begins with `reset`.

    Args:
      seed: of the first states of episodes, at least 0.

    Raises:
      ValueError: if the seed is not an integer >= 0.
    """
    checks.integer('seed', seed, 0)
    self._rng = np.random.default_rng(seed)
    self._state = np.zeros(4)
    self._num_steps = 0
    self._needs_reset = True

  def reset(self) -> dm_env.TimeStep:
    """Begins an episode near the middle, almost upright."""
    self._state = self._rng.uniform(-_SPREAD, _SPREAD, 4)
    self._num_steps = 0
    self._needs_reset = False
    return dm_env.restart(self._observation())

  def _step(self, action: int) -> dm_env.TimeStep:
    self._state = advance(self._state, action)
    self._num_steps += 1
    place, _, angle, _ = self._state
    is_over = abs(place) > _FARTHEST or abs(angle) > _STEEPEST
    self._needs_reset = is_over or self._num_steps >= HORIZON
    return dm_env.TimeStep(
      dm_env.StepType.LAST if self._needs_reset else dm_env.StepType.MID,
      np.float32(1),
      np.float32(not is_over),
      self._observation(),
    )

  def _observation(self) -> Float32[np.ndarray, '4']:
    return self._state.astype(np.float32)

  # dm_env leaves its spec methods without annotations, which reads as None.
  def observation_spec(  # pyrefly: ignore[bad-override]
    self,
  ) -> specs.BoundedArray:
    """Position, speed, angle and angular speed; see `advance`."""
    return specs.BoundedArray((4,), np.float32, -np.inf, np.inf, 'state')

  def reward_spec(self) -> specs.BoundedArray:
    """A float32 scalar, always 1."""
    return specs.BoundedArray((), np.float32, 1.0, 1.0, 'reward')

  def functional(self) -> functional_lib.FunctionalEnvironment:
    """The same environment as JAX functions."""
    return functional()

  def save(self) -> dict[str, Any]:
    """Everything that a continued run needs besides the constructor."""
    return {
      'rng': self._rng.bit_generator.state,
      'state': self._state.tolist(),
      'num_steps': self._num_steps,
      'needs_reset': self._needs_reset,
    }

  def restore(self, saved: dict[str, Any]) -> None:
    """Continues bit for bit from where `save` was called."""
    self._rng.bit_generator.state = saved['rng']
    self._state = np.array(saved['state'])
    self._num_steps = saved['num_steps']
    self._needs_reset = saved['needs_reset']
