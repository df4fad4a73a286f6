"""Networks with one vector for each observation and skill.

Policies and state values are such.
"""

import haiku as hk
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Shaped
import numpy as np

from skills import types
from skills.networks import build
from skills.networks import factored_states
from skills.networks import torsos


def make(
  config: torsos.NetworkConfig,
  problem: types.ProblemSpec,
  num_skills: int,
  size: int,
  init_scale: float = 0.01,
  table_init_stddev: float = 0.0,
  skill_bias_std: Float[np.ndarray, 'D'] | None = None,
) -> types.Network:
  """Makes a network whose outputs are nearly 0 at first, or as wide as wanted.

  Args:
    config: of the network.
    problem: what observations are.
    num_skills: number of skills K.
    size: of the vector, D.
    init_scale: of the last layer's initial weights, in the usual ones'
      deviations.
    table_init_stddev: deviation of what a table holds at first.
    skill_bias_std: deviation, at first, of what each skill by itself adds to
      each of a perceptron's outputs; None for nothing.

  Returns:
    A network from observations `[*batch, ...]` and skills `[*batch]` to vectors
    `[*batch, D]`.

  Raises:
    ValueError: if the network does not fit the observations.
  """
  config.check(problem)

  def forward(
    observation: Shaped[Array, '*batch_and_observation'],
    skill: Int[Array, '*batch'],
  ) -> Float[Array, '*batch D']:
    if config.hidden_sizes is None:
      initial = hk.initializers.RandomNormal(table_init_stddev)
      return factored_states.sum_of_tables(
        'table',
        config.factors(problem),
        (size,),
        initial if table_init_stddev else jnp.zeros,
        observation,
        skill=skill,
        num_skills=num_skills,
      )
    features = torsos.skill_features(
      config, problem, num_skills, observation, skill
    )
    weights = hk.initializers.VarianceScaling(init_scale**2)
    outputs = hk.Linear(size, w_init=weights, name='head')(features)
    if skill_bias_std is None:
      return outputs
    initial = hk.initializers.RandomNormal()
    table = hk.get_parameter(
      'skill_bias',
      (num_skills, size),
      init=lambda shape, dtype: (
        initial(shape, dtype) * np.broadcast_to(skill_bias_std, shape)
      ),
    )
    return outputs + table[skill]

  return build.pure(
    forward, build.example_observation(problem), jnp.zeros((1,), jnp.int32)
  )
