"""Optimizers by name, for configurations."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import jax
import optax

from skills import checks
from skills import types

OPTIMIZERS: Mapping[str, Callable[..., optax.GradientTransformation]] = {
  'adam': optax.adam,
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
    learning_rate: its step size, or that of each update.
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


def step(
  optimizer: optax.GradientTransformation,
  loss_fn: Callable[[types.Params], tuple[Any, Any]],
  params: types.Params,
  state: optax.OptState,
) -> tuple[types.Params, optax.OptState, Any, Any]:
  """One gradient step.

  Args:
    optimizer: turns gradients into updates.
    loss_fn: parameters -> the loss and anything else.
    params: where the gradient is taken.
    state: the optimizer's.

  Returns:
    The next parameters and optimizer state, the loss and what came with it.
  """
  (loss, aux), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
  updates, state = optimizer.update(grads, state, params)
  return optax.apply_updates(params, updates), state, loss, aux
