"""Environments as pure JAX functions of a single state."""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

from jaxtyping import Array
from jaxtyping import Float

State = Any


class FunctionalEnvironment(NamedTuple):
  """One environment as pure functions; `jax.vmap` gives many side by side.

  The functions do not count steps: the caller ends an episode after `horizon`
  of them, which is truncation, so the discount stays 1.

  Attributes:
    reset: key -> state at an episode's start, any pytree of arrays.
    step: (key, state, action) -> (next state, reward, discount), the latter two
      float32 scalars. The discount is 0 where the next state is terminal.
    observe: state -> observation.
    horizon: environment steps per episode, None for no limit.
    is_deterministic: whether `step` ignores its key, so that callers may pass
      None instead of splitting keys.
  """

  reset: Callable[[Array | None], State]
  step: Callable[
    [Array | None, State, Array],
    tuple[State, Float[Array, ''], Float[Array, '']],
  ]
  observe: Callable[[State], Array]
  horizon: int | None
  is_deterministic: bool
