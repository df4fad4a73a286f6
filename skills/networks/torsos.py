"""From an observation to a vector of features."""

from collections.abc import Sequence
import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
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
    input_scale: factor on what networks see. They learn fastest from numbers of
      size about one, and some worlds measure in tenths of metres.
  """

  hidden_sizes: tuple[int, ...] | None = None
  factors: tuple[int, ...] | None = None
  table_spread: float = 1.0
  input_scale: float = 1.0

  def __post_init__(self) -> None:
    """Refuses values that cannot work."""
    if self.table_spread < 0:
      raise ValueError(f'table_spread must be >= 0, got {self.table_spread}.')
    if self.input_scale <= 0:
      raise ValueError(f'input_scale must be positive, got {self.input_scale}.')
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
  scale: float = 1.0,
) -> Float[Array, '*batch D']:
  """Observations as vectors of floats of size about one.

  State indices become one-hot vectors, bytes are divided by 255, other numbers
  multiplied by `scale`, and all axes of an observation are flattened.
  """
  if problem.num_states is not None:
    return jax.nn.one_hot(observation, problem.num_states)
  rank = len(problem.observation_shape)
  batch_shape = observation.shape[: observation.ndim - rank]
  vector = observation.reshape(batch_shape + (-1,)).astype(jnp.float32)
  if problem.observation_dtype == 'uint8':
    return vector / 255.0
  return vector if scale == 1 else scale * vector


class MLPTorso(hk.Module):
  """A multi-layer perceptron on flattened observations, side by side."""

  def __init__(
    self,
    problem: types.ProblemSpec,
    hidden_sizes: Sequence[int],
    scale: float = 1.0,
    name: str = 'torso',
  ):
    """Initialises the module.

    Args:
      problem: says how to flatten an observation.
      hidden_sizes: units of each layer; each is followed by a ReLU.
      scale: factor on numbers that are seen.
      name: of the module.
    """
    super().__init__(name=name)
    self._problem = problem
    self._hidden_sizes = tuple(hidden_sizes)
    self._scale = scale

  def __call__(
    self, *observations: Shaped[Array, '*batch_and_observation']
  ) -> Float[Array, '*batch D']:
    """Features of each observation, or of each pair of them."""
    features = jnp.concatenate(
      [
        encode(observation, self._problem, self._scale)
        for observation in observations
      ],
      axis=-1,
    )
    if not self._hidden_sizes:
      return features
    return hk.nets.MLP(self._hidden_sizes, activate_final=True)(features)


def skill_features(
  config: NetworkConfig,
  problem: types.ProblemSpec,
  num_skills: int,
  observation: Shaped[Array, '*batch_and_observation'],
  skill: Int[Array, '*batch'],
) -> Float[Array, '*batch D']:
  """What a network makes of an observation and a skill, below its heads.

  Within a Haiku transformation; each call makes modules of its own.

  Args:
    config: of the network, which is no table.
    problem: what observations are.
    num_skills: number of skills K.
    observation: any batch of observations.
    skill: the skill beside each.
  """
  features = jnp.concatenate(
    [
      encode(observation, problem, config.input_scale),
      jax.nn.one_hot(skill, num_skills),
    ],
    axis=-1,
  )
  assert config.hidden_sizes is not None
  if not config.hidden_sizes:
    return features
  return hk.nets.MLP(config.hidden_sizes, activate_final=True)(features)
