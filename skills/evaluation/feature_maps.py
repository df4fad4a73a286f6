"""Expected features psi, by which policies are compared.

A feature map turns observations into features phi; psi is their mean over all
the states that a policy visits. Distances between policies are in its units, so
sets of policies are comparable only by the same one.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float
from jaxtyping import Shaped
import numpy as np

from skills.objectives import base


class FeatureMap(NamedTuple):
  """A map from observations to features.

  Attributes:
    what: the features in words.
    names: of each feature.
    apply: observations of one episode or more, one after another -> phi.
  """

  what: str
  names: tuple[str, ...]
  apply: Callable[[Shaped[np.ndarray, 'n *shape']], Float[np.ndarray, 'n D']]


def occupancy(state_of: Callable[[Any], Any], num_states: int) -> FeatureMap:
  """State occupancy: psi is the share of steps spent in each state.

  Args:
    state_of: observations -> indices of states.
    num_states: number of states S.
  """

  def apply(observation):
    phi = np.zeros((len(observation), num_states), np.float32)
    phi[np.arange(len(observation)), state_of(observation)] = 1.0
    return phi

  return FeatureMap(
    'occupancy of states', tuple(f'state {i}' for i in range(num_states)), apply
  )


def learned_with(
  objective: base.IntrinsicReward,
  state: base.ObjectiveState,
  names: Sequence[str],
) -> FeatureMap | None:
  """The features by which an objective itself compares policies.

  Args:
    objective: any; observations are vectors.
    state: its state, which has the moments that features are normalized by.
    names: of the observation's entries.

  Returns:
    None if the objective has no such features.
  """
  features = objective.features
  if features is None:
    return None
  # They are some of the entries; their positions show which.
  entries = features.raw(jnp.arange(float(len(names))))
  apply = jax.jit(features.apply)
  return FeatureMap(
    'the features that the first run was trained with',
    tuple(names[int(i)] for i in np.asarray(entries)),
    lambda seen: np.asarray(apply(state, jnp.asarray(seen))),
  )


def normalized(
  observations: Sequence[Shaped[np.ndarray, 'n D']], names: Sequence[str]
) -> FeatureMap:
  """Entries of observations, shifted and scaled to mean 0 and deviation 1.

  Args:
    observations: of every policy that will be compared. Entries that never
      change are 0.
    names: of the entries.
  """
  count = sum(map(len, observations))
  mean = sum(part.sum(axis=0, dtype=np.float64) for part in observations)
  mean = mean / count
  square = sum(np.square(part - mean).sum(axis=0) for part in observations)
  deviation = np.sqrt(square / count)
  # Rounding makes traces of differences where there are none.
  changes = deviation > 1e-6 * np.maximum(np.abs(mean), 1.0)
  scale = np.where(changes, 1.0 / np.where(changes, deviation, 1.0), 0.0)
  return FeatureMap(
    'observations, normalized over all runs',
    tuple(names),
    lambda observation: (observation - mean) * scale,
  )


def expected(
  feature_map: FeatureMap,
  observations: Sequence[Shaped[np.ndarray, 'n *shape']],
) -> Float[np.ndarray, 'D']:
  """Mean features psi of a policy.

  Args:
    feature_map: the features.
    observations: of each episode, those to which the policy's steps led. Every
      step counts the same, so that long episodes count more.
  """
  totals = [
    feature_map.apply(part).sum(axis=0, dtype=np.float64)
    for part in observations
  ]
  return np.sum(totals, axis=0) / sum(map(len, observations))
