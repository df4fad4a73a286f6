"""Refusal of parameters that have diverged."""

import dataclasses
from typing import Any

import jax
import numpy as np

from skills import types


def check_finite(parameters: types.Params, learner_config: Any) -> None:
  """Ends a run whose parameters have diverged.

  Args:
    parameters: of the policy.
    learner_config: settings of the learner.

  Raises:
    FloatingPointError: if one is infinite or no number, with what to change.
  """
  if all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(parameters)):
    return
  rates = [
    f'learner.{field.name}'
    for field in dataclasses.fields(learner_config)
    if field.name.endswith('learning_rate')
  ]
  raise FloatingPointError(
    'learning diverged: parameters of the policy are no longer finite. Lower '
    f'{" or ".join(rates)}, or raise batch_size.'
  )
