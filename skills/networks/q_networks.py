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
from skills.networks import torsos


class TableQ(hk.Module):
  """Values looked up by skill and state; initially uniform in [0, 1)."""

  def __init__(self, shape: tuple[int, int, int, int], name: str = 'table_q'):
    """Initialises the module.

    Args:
      shape: number of skills, states, actions and streams: K, S, A, R.
      name: of the module.
    """
    super().__init__(name=name)
    self._shape = shape

  def __call__(
    self, state: Int[Array, '*batch'], skill: Int[Array, '*batch']
  ) -> Float[Array, '*batch A R']:
    """Q of every action and stream."""
    num_skills, num_states, num_actions, num_streams = self._shape
    # Stored by row, since a gather along one axis costs half of one along two.
    table = hk.get_parameter(
      'values',
      (num_skills * num_states, num_actions, num_streams),
      init=hk.initializers.RandomUniform(0.0, 1.0),
    )
    return table[skill * num_states + state]


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
    num_actions = self._problem.num_actions
    assert num_actions is not None
    size = num_actions * self._num_streams
    values = hk.nets.MLP(self._hidden_sizes + (size,))(features)
    return values.reshape(values.shape[:-1] + (num_actions, self._num_streams))


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
    ValueError: if a table is asked for where observations are no indices.
  """
  config.check(problem)

  def forward(
    observation: Shaped[Array, '*batch_and_observation'],
    skill: Int[Array, '*batch'],
  ) -> Float[Array, '*batch A R']:
    if config.hidden_sizes is None:
      shape = (num_skills, problem.num_states, problem.num_actions, num_streams)
      return TableQ(shape)(observation, skill)
    return MLPQ(problem, num_skills, num_streams, config.hidden_sizes)(
      observation, skill
    )

  return build.pure(
    forward, build.example_observation(problem), jnp.zeros((1,), jnp.int32)
  )
