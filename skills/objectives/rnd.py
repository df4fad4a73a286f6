"""RND: a bonus for errors in predicting a random network's output.

Burda, Edwards, Storkey and Klimov, "Exploration by random network
distillation", 2018 (arXiv:1810.12894), section 2.2 to 2.4: the predictor is
trained on the squared distance to a fixed random target network; observations
are whitened and clipped to [-5, 5]; the error is divided by a running measure
of its size.

Departures from the paper: that measure is the root mean square of the errors,
not the standard deviation of their discounted sums, since a skill's bonus may
be paid once, at its end, and since errors that are all alike have no deviation
to divide by; the bonus is at most 10, for while all skills end in one state the
whitened input and with it every error is 0; and the predictor learns from every
timestep of a batch, not from a random quarter.
"""

import dataclasses
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
import optax

from skills import checks
from skills import optimizers
from skills import types
from skills.networks import build
from skills.networks import torsos
from skills.objectives import base
from skills.objectives import bonus as bonus_lib
from skills.ops import moments as moments_lib

STREAM = 'rnd'
_MAX_WHITENED = 5.0
_MAX_BONUS = 10.0


class RndState(NamedTuple):
  """State of the distillation.

  Attributes:
    target: parameters of the fixed random network.
    predictor: parameters of the one that learns.
    optimizer: the predictor's optimizer state.
    inputs: moments of each feature of the observations.
    errors: moments of the prediction errors.
  """

  target: types.Params
  predictor: types.Params
  optimizer: optax.OptState
  inputs: moments_lib.Moments
  errors: moments_lib.Moments


def prediction_error(
  prediction: Float[Array, '*batch D'], target: Float[Array, '*batch D']
) -> Float[Array, '*batch']:
  """Mean squared distance between the networks' outputs."""
  return jnp.mean(jnp.square(prediction - target), axis=-1)


def bonus(
  network: types.Network,
  optimizer: optax.GradientTransformation,
  timesteps: base.Timesteps,
  problem: types.ProblemSpec,
) -> base.IntrinsicReward:
  """Makes the bonus.

  Args:
    network: vectors `[*batch, D]` -> embeddings `[*batch, E]`; target and
      predictor are two draws of its parameters.
    optimizer: of the predictor.
    timesteps: those that are learned from and rewarded.
    problem: says how observations become vectors.

  Returns:
    An objective of the one stream 'rnd'; its reward is about 1 on average.
  """

  def whiten(state: RndState, observation: Array) -> Float[Array, '*batch D']:
    vector = torsos.encode(observation, problem)
    return moments_lib.whiten(state.inputs, vector, _MAX_WHITENED)

  def error(state: RndState, predictor: types.Params, inputs: Array):
    target = jax.lax.stop_gradient(network.apply(state.target, inputs))
    return prediction_error(network.apply(predictor, inputs), target)

  def init(key: types.PRNGKey) -> RndState:
    target_key, predictor_key = jax.random.split(key)
    predictor = network.init(predictor_key)
    size = torsos.encode(build.example_observation(problem), problem).shape[-1]
    return RndState(
      network.init(target_key),
      predictor,
      optimizer.init(predictor),
      moments_lib.init((size,)),
      moments_lib.init(),
    )

  def reward(state: RndState, trajectory: types.Trajectory):
    inputs = whiten(state, timesteps.select(trajectory).observation)
    errors = error(state, state.predictor, inputs)
    size = jnp.sqrt(state.errors.variance + jnp.square(state.errors.mean))
    values = jnp.minimum(errors / (size + 1e-8), _MAX_BONUS)
    return jax.lax.stop_gradient(timesteps.place(values, trajectory))[..., None]

  def update(state: RndState, trajectory: types.Trajectory, key: types.PRNGKey):
    del key
    selected = timesteps.select(trajectory)
    state = state._replace(
      inputs=moments_lib.update(
        state.inputs,
        torsos.encode(selected.observation, problem),
        selected.mask,
      )
    )
    inputs = whiten(state, selected.observation)

    def loss_fn(predictor: types.Params):
      errors = error(state, predictor, inputs)
      return base.masked_mean(errors, selected.mask), errors

    predictor, optimizer_state, errors = optimizers.gradient_step(
      optimizer, loss_fn, state.predictor, state.optimizer
    )
    return state._replace(
      predictor=predictor,
      optimizer=optimizer_state,
      errors=moments_lib.update(state.errors, errors, selected.mask),
    ), {'rnd_error': base.masked_mean(errors, selected.mask)}

  return base.IntrinsicReward(
    streams=(STREAM,),
    init=init,
    reward=reward,
    weights=lambda state: jnp.ones((1,)),
    update=update,
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RndConfig(bonus_lib.BonusConfig):
  """Settings of a skill reward with an RND bonus.

  Attributes:
    hidden_sizes: units of each hidden layer of both networks.
    embedding_size: size of their output.
    learning_rate: step size of the predictor's optimizer.
    optimizer: its name.
  """

  hidden_sizes: tuple[int, ...] = (64,)
  embedding_size: int = 32
  learning_rate: float = 1e-4
  optimizer: str = 'adam'

  def __post_init__(self) -> None:
    """Checks the settings."""
    super().__post_init__()
    checks.positive(self, 'learning_rate')
    checks.choice(self, optimizers.OPTIMIZERS, 'optimizer')


def make(
  config: RndConfig, context: base.ObjectiveContext
) -> base.IntrinsicReward:
  """The skill reward and, as a second stream, the RND bonus."""

  def forward(vector: Float[Array, '*batch D']) -> Float[Array, '*batch E']:
    return hk.nets.MLP(config.hidden_sizes + (config.embedding_size,))(vector)

  example = torsos.encode(
    build.example_observation(context.problem), context.problem
  )
  exploration = bonus(
    build.pure(forward, example),
    optimizers.make(config.optimizer, config.learning_rate),
    base.TIMESTEPS[config.timesteps],
    context.problem,
  )
  return bonus_lib.add(config, context, exploration)
