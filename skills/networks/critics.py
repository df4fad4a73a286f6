"""Twin networks for the value of continuous actions, one value per stream."""

import haiku as hk
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Shaped

from skills import types
from skills.networks import build
from skills.networks import torsos


def make(
  config: torsos.NetworkConfig,
  problem: types.ProblemSpec,
  num_skills: int,
  num_streams: int,
) -> types.Network:
  """Makes two critics Q(s, a, z) that share no parameters.

  Args:
    config: of each critic.
    problem: what observations and actions are.
    num_skills: number of skills K.
    num_streams: number of reward streams R.

  Returns:
    A network from observations `[*batch, ...]`, actions `[*batch, A]` and
    skills `[*batch]` to values `[2, *batch, R]`.

  Raises:
    ValueError: if the network does not fit the observations or is a table.
  """
  config.check(problem)
  if config.hidden_sizes is None:
    raise ValueError(
      'network.hidden_sizes must be sizes of layers for critics of continuous '
      'actions, for instance (256, 256), got None, which makes a table.'
    )

  def forward(
    observation: Shaped[Array, '*batch_and_observation'],
    action: Float[Array, '*batch A'],
    skill: Int[Array, '*batch'],
  ) -> Float[Array, '2 *batch R']:
    values = []
    for _ in range(2):
      features = torsos.skill_features(
        config, problem, num_skills, observation, skill, action
      )
      values.append(hk.Linear(num_streams, name='head')(features))
    return jnp.stack(values)

  return build.pure(
    forward,
    build.example_observation(problem),
    jnp.zeros((1,) + problem.action_shape),
    jnp.zeros((1,), jnp.int32),
  )
