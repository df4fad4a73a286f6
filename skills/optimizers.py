"""Optimizers by name, and the gradient step.

They stand below learners and objectives, since both learn by gradients.
"""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import jax
import optax

from skills import checks
from skills import types

OPTIMIZERS: Mapping[str, Callable[..., optax.GradientTransformation]] = {
  'adam': optax.adam,
  'adamw': optax.adamw,
  'rmsprop': optax.rmsprop,
  'sgd': optax.sgd,
}


def make(
  name: str,
  learning_rate: float | optax.Schedule,
  max_gradient_norm: float | None = None,
) -> optax.GradientTransformation:
  """Makes an optimizer.

  Args:
    name: key of `OPTIMIZERS`.
    learning_rate: step size, or a schedule of step sizes.
    max_gradient_norm: gradients are scaled down to this global norm; None for
      no limit.

  Returns:
    The Optax transformation.

  Raises:
    ValueError: if there is no optimizer of this name.
  """
  checks.one_of('optimizer', name, OPTIMIZERS)
  optimizer = OPTIMIZERS[name](learning_rate)
  if max_gradient_norm is None:
    return optimizer
  return optax.chain(optax.clip_by_global_norm(max_gradient_norm), optimizer)


def after_warmup(
  learning_rate: float | optax.Schedule, warmup: int
) -> float | optax.Schedule:
  """A step size that is 0 for the first `warmup` updates.

  Args:
    learning_rate: step size after them; a schedule begins there.
    warmup: number of updates; with 0 the step size is as it was given.
  """
  if warmup == 0:
    return learning_rate
  if not callable(learning_rate):
    learning_rate = optax.constant_schedule(learning_rate)
  return optax.join_schedules(
    [optax.constant_schedule(0.0), learning_rate], [warmup]
  )


def apply_gradients(
  optimizer: optax.GradientTransformation,
  grads: types.Params,
  params: types.Params,
  optimizer_state: optax.OptState,
) -> tuple[Any, optax.OptState]:
  """One optimizer update: the next parameters and optimizer state."""
  updates, optimizer_state = optimizer.update(grads, optimizer_state, params)
  return optax.apply_updates(params, updates), optimizer_state


def gradient_step(
  optimizer: optax.GradientTransformation,
  loss: Callable[..., tuple[jax.Array, types.PyTree]],
  params: types.Params,
  optimizer_state: optax.OptState,
  *args: types.PyTree,
) -> tuple[Any, optax.OptState, Any]:
  """One step down the gradient of a loss.

  Args:
    optimizer: the Optax transformation.
    loss: parameters, `*args` -> loss and auxiliary output.
    params: parameters to change.
    optimizer_state: state of the optimizer.
    *args: further arguments of the loss, which have no gradient.

  Returns:
    The next parameters, the next optimizer state and the auxiliary output of
    the loss before the step.
  """
  grads, aux = jax.grad(loss, has_aux=True)(params, *args)
  params, optimizer_state = apply_gradients(
    optimizer, grads, params, optimizer_state
  )
  return params, optimizer_state, aux
