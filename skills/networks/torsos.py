"""From an observation to a vector of features."""

from collections.abc import Sequence
import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Shaped

from skills import types
from skills.networks import factors as factors_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkConfig:
  """What an agent's networks are made of, below their heads.

  Attributes:
    hidden_sizes: units of each hidden layer. None makes tables, for worlds
      whose observations are state indices.
    factors: of tables, the sizes of a state's parts, as in
      `discriminators.DiscriminatorConfig`; values are then a sum over parts.
    table_spread: tables of values begin random in [0, this); with 0 all values
      begin equal.
  """

  hidden_sizes: tuple[int, ...] | None = None
  factors: tuple[int, ...] | None = None
  table_spread: float = 1.0

  def __post_init__(self) -> None:
    """Refuses values that cannot work."""
    if self.table_spread < 0:
      raise ValueError(f'table_spread must be >= 0, got {self.table_spread}.')
    factors_lib.check(self.factors, self.hidden_sizes)

  def check(self, problem: types.ProblemSpec) -> None:
    """Refuses what does not fit the observations.

    Raises:
      ValueError: if a table is asked for where observations are no indices, or
        the factors do not fit them.
    """
    if self.hidden_sizes is None and problem.num_states is None:
      raise ValueError(
        'hidden_sizes=None asks for a table, which needs observations that are '
        f'state indices, got observations of shape '
        f'{problem.observation_shape}; give hidden_sizes, for instance '
        '(256, 256).'
      )
    factors_lib.check_product(self.factors, problem.num_states)


def encode(
  observation: Shaped[Array, '*batch_and_observation'],
  problem: types.ProblemSpec,
) -> Float[Array, '*batch D']:
  """Observations as vectors of floats of size about one.

  State indices become one-hot vectors, bytes are divided by 255, and all other
  axes of an observation are flattened.
  """
  if problem.num_states is not None:
    return jax.nn.one_hot(observation, problem.num_states)
  rank = len(problem.observation_shape)
  batch_shape = observation.shape[: observation.ndim - rank]
  vector = observation.reshape(batch_shape + (-1,)).astype(jnp.float32)
  if problem.observation_dtype == 'uint8':
    vector = vector / 255.0
  return vector


class MLPTorso(hk.Module):
  """A multi-layer perceptron on flattened observations, side by side."""

  def __init__(
    self,
    problem: types.ProblemSpec,
    hidden_sizes: Sequence[int],
    name: str = 'torso',
  ):
    """Initialises the module.

    Args:
      problem: says how to flatten an observation.
      hidden_sizes: units of each layer; each is followed by a ReLU.
      name: of the module.
    """
    super().__init__(name=name)
    self._problem = problem
    self._hidden_sizes = tuple(hidden_sizes)

  def __call__(
    self, *observations: Shaped[Array, '*batch_and_observation']
  ) -> Float[Array, '*batch D']:
    """Features of each observation, or of each pair of them."""
    features = jnp.concatenate(
      [encode(observation, self._problem) for observation in observations],
      axis=-1,
    )
    if not self._hidden_sizes:
      return features
    return hk.nets.MLP(self._hidden_sizes, activate_final=True)(features)
