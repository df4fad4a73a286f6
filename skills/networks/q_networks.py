"""Networks for the value of actions, one value per reward stream."""

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Shaped

from skills import types
from skills.networks import build
from skills.networks import factors as factors_lib
from skills.networks import torsos


class TableQ(hk.Module):
  """Values looked up by skill and state.

  A sum of one table for each part of a state. Sums are initially random in
  [0, spread), uniformly if there is one part.
  """

  def __init__(
    self,
    factors: tuple[int, ...],
    shape: tuple[int, int, int],
    spread: float = 1.0,
    name: str = 'table_q',
  ):
    """Initialises the module.

    Args:
      factors: sizes of the parts of a state; their product is S.
      shape: number of skills, actions and streams: K, A, R.
      spread: of the initial values.
      name: of the module.
    """
    super().__init__(name=name)
    self._factors = factors
    self._shape = shape
    self._spread = spread

  def __call__(
    self, state: Int[Array, '*batch'], skill: Int[Array, '*batch']
  ) -> Float[Array, '*batch A R']:
    """Q of every action and stream."""
    num_skills, num_actions, num_streams = self._shape
    highest = self._spread / len(self._factors)
    values = jnp.zeros(())
    parts = factors_lib.split(state, self._factors)
    for i, (part, size) in enumerate(zip(parts, self._factors)):
      # Stored by row: a gather along one axis costs half of one along two.
      table = hk.get_parameter(
        'values' if len(parts) == 1 else f'values_{i}',
        (num_skills * size, num_actions, num_streams),
        init=hk.initializers.RandomUniform(0.0, highest),
      )
      values = values + table[skill * size + part]
    return values


class MLPQ(hk.Module):
  """Values from a perceptron on the observation and the one-hot skill."""

  def __init__(
    self,
    problem: types.ProblemSpec,
    num_skills: int,
    num_streams: int,
    hidden_sizes: tuple[int, ...],
    name: str = 'mlp_q',
  ):
    """Initialises the module.

    Args:
      problem: what observations and actions are.
      num_skills: number of skills K.
      num_streams: number of reward streams R.
      hidden_sizes: units of each hidden layer.
      name: of the module.
    """
    super().__init__(name=name)
    self._problem = problem
    self._num_skills = num_skills
    self._num_streams = num_streams
    self._hidden_sizes = hidden_sizes

  def __call__(
    self,
    observation: Shaped[Array, '*batch_and_observation'],
    skill: Int[Array, '*batch'],
  ) -> Float[Array, '*batch A R']:
    """Q of every action and stream."""
    features = jnp.concatenate(
      [
        torsos.encode(observation, self._problem),
        jax.nn.one_hot(skill, self._num_skills),
      ],
      axis=-1,
    )
    size = self._problem.num_actions * self._num_streams
    values = hk.nets.MLP(self._hidden_sizes + (size,))(features)
    return values.reshape(
      values.shape[:-1] + (self._problem.num_actions, self._num_streams)
    )


def make(
  config: torsos.NetworkConfig,
  problem: types.ProblemSpec,
  num_skills: int,
  num_streams: int,
) -> types.Network:
  """Makes the action values.

  Args:
    config: of the network.
    problem: what observations and actions are.
    num_skills: number of skills K.
    num_streams: number of reward streams R.

  Returns:
    A network from observations `[*batch, ...]` and skills `[*batch]` to values
    `[*batch, A, R]`.

  Raises:
    ValueError: if a table is asked for where observations are no indices, or
      the factors do not fit them.
  """
  config.check(problem)

  def forward(
    observation: Shaped[Array, '*batch_and_observation'],
    skill: Int[Array, '*batch'],
  ) -> Float[Array, '*batch A R']:
    if config.hidden_sizes is None:
      return TableQ(
        config.factors or (problem.num_states,),
        (num_skills, problem.num_actions, num_streams),
        config.table_spread,
      )(observation, skill)
    return MLPQ(problem, num_skills, num_streams, config.hidden_sizes)(
      observation, skill
    )

  return build.pure(
    forward, build.example_observation(problem), jnp.zeros((1,), jnp.int32)
  )
