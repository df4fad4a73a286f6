"""Networks for the value of actions, one value per reward stream."""

import functools
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Bool
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Shaped

from skills import types
from skills.networks import build
from skills.networks import factored_states
from skills.networks import torsos


class MLPQ(hk.Module):
  """Values from a perceptron on the observation and the one-hot skill."""

  def __init__(
    self,
    problem: types.ProblemSpec,
    num_skills: int,
    num_streams: int,
    hidden_sizes: tuple[int, ...],
    scale: float = 1.0,
    squash: bool = False,
    name: str = 'mlp_q',
  ):
    """Initializes the module.

    Args:
      problem: what observations and actions are.
      num_skills: number of skills K.
      num_streams: number of reward streams R.
      hidden_sizes: units of each hidden layer.
      scale: factor on numbers that are seen.
      squash: whether they are squashed.
      name: of the module.
    """
    super().__init__(name=name)
    self._problem = problem
    self._num_skills = num_skills
    self._num_streams = num_streams
    self._hidden_sizes = hidden_sizes
    self._encode = functools.partial(
      torsos.encode, problem=problem, scale=scale, squash=squash
    )

  def __call__(
    self,
    observation: Shaped[Array, '*batch_and_observation'],
    skill: Int[Array, '*batch'],
  ) -> Float[Array, '*batch A R']:
    """Q of every action and stream."""
    features = jnp.concatenate(
      [
        self._encode(observation),
        jax.nn.one_hot(skill, self._num_skills),
      ],
      axis=-1,
    )
    num_actions = self._problem.num_actions
    assert num_actions is not None
    size = num_actions * self._num_streams
    values = hk.nets.MLP(self._hidden_sizes + (size,))(features)
    return values.reshape(values.shape[:-1] + (num_actions, self._num_streams))


class TorsoQ(hk.Module):
  """Values from a torso's features, or a core's, and the one-hot skill.

  The skill joins behind the torso, where it weighs as much as what is seen; a
  memory is of the episode and not of the skill. Every action has an output of
  its own. Hansen et al., "Entropic Desired Dynamics for Intrinsic Control",
  2021, feed the action to the head instead, by a linear embedding like that of
  the skill, and ask it once for each action: of use where actions are alike,
  and A times the work.
  """

  def __init__(
    self,
    config: torsos.NetworkConfig,
    problem: types.ProblemSpec,
    num_skills: int,
    num_streams: int,
    name: str = 'torso_q',
  ):
    """Initializes the module.

    Args:
      config: of torso and core. The head has one hidden layer, as large as the
        last of the torso.
      problem: what observations and actions are.
      num_skills: number of skills K.
      num_streams: number of reward streams R.
      name: of the module.
    """
    super().__init__(name=name)
    self._torso = torsos.make(config, problem)
    self._core = None
    if config.lstm_size is not None:
      self._core = hk.ResetCore(hk.LSTM(config.lstm_size))
    self._head_sizes = (config.hidden_sizes or ())[-1:]
    self._shape = (problem.num_actions or 0, num_streams)
    self._num_skills = num_skills

  def __call__(
    self,
    observation: Shaped[Array, '*batch_and_observation'],
    skill: Int[Array, '*batch'],
  ) -> Float[Array, '*batch A R']:
    """Q of every action and stream, of a network without memory."""
    return self._head(self._torso(observation), skill)

  def unroll(
    self,
    memory: types.PyTree,
    is_first: Bool[Array, 'T B'],
    observation: Shaped[Array, 'T B *observation'],
    skill: Int[Array, 'T B'],
  ) -> tuple[Float[Array, 'T B A R'], types.PyTree]:
    """Q of every action and stream, and the memory after the last step."""
    inputs = self._torso(observation), is_first
    unrolled: Any = hk.dynamic_unroll(self._core, inputs, memory)
    features, memory = unrolled
    return self._head(features, skill), memory

  def _head(
    self, features: Float[Array, '*batch D'], skill: Int[Array, '*batch']
  ) -> Float[Array, '*batch A R']:
    inputs = jnp.concatenate(
      [features, jax.nn.one_hot(skill, self._num_skills)], axis=-1
    )
    size = self._shape[0] * self._shape[1]
    values = hk.nets.MLP(self._head_sizes + (size,), name='head')(inputs)
    return values.reshape(values.shape[:-1] + self._shape)


def make(
  config: torsos.NetworkConfig,
  problem: types.ProblemSpec,
  num_skills: int,
  num_streams: int,
) -> types.Network | types.RecurrentNetwork:
  """Makes the action values.

  Args:
    config: of the network.
    problem: what observations and actions are.
    num_skills: number of skills K.
    num_streams: number of reward streams R.

  Returns:
    A network from observations `[*batch, ...]` and skills `[*batch]` to values
    `[*batch, A, R]`; with a `lstm_size`, a recurrent one.

  Raises:
    ValueError: if the network does not fit the observations.
  """
  config.check(problem)
  observation = build.example_observation(problem)
  skill = jnp.zeros((1,), jnp.int32)

  def forward(
    observation: Shaped[Array, '*batch_and_observation'],
    skill: Int[Array, '*batch'],
  ) -> Float[Array, '*batch A R']:
    if config.hidden_sizes is None:
      assert problem.num_actions is not None
      factors = config.factors(problem)
      # Sums begin in [0, table_init_range), uniformly if there is one part.
      highest = config.table_init_range / len(factors)
      return factored_states.sum_of_tables(
        'values',
        factors,
        (problem.num_actions, num_streams),
        hk.initializers.RandomUniform(0.0, highest),
        observation,
        skill=skill,
        num_skills=num_skills,
      )
    if config.torso == 'mlp':
      return MLPQ(
        problem,
        num_skills,
        num_streams,
        config.hidden_sizes,
        config.input_scale,
        config.squash_inputs,
      )(observation, skill)
    return TorsoQ(config, problem, num_skills, num_streams)(observation, skill)

  if config.lstm_size is None:
    return build.pure(forward, observation, skill)

  size = config.lstm_size

  def memory() -> hk.LSTMState:
    return hk.LSTMState(jnp.zeros((size,)), jnp.zeros((size,)))

  def unroll(memory, is_first, observation, skill):
    network = TorsoQ(config, problem, num_skills, num_streams)
    return network.unroll(memory, is_first, observation, skill)

  network = build.pure(
    unroll,
    jax.tree.map(lambda x: x[None], memory()),
    jnp.zeros((1, 1), bool),
    observation[None],
    skill[None],
  )
  apply: Any = network.apply
  return types.RecurrentNetwork(network.init, memory, apply)
