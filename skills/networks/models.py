"""Latent and tabular models, and rollouts under a policy.

A model and what goes with it has five parts, named by `Params`, so that a loss
can say which of them it trains.
"""

from collections.abc import Callable
import dataclasses
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Shaped

from skills import checks
from skills import types
from skills.networks import build
from skills.networks import torsos
from skills.ops import categorical
from skills.ops import two_hot

# States of a model: indices' distributions in tables, features in networks.
State = Array


class Params(NamedTuple):
  """Parameters by what they are for.

  Attributes:
    encoder: from what is seen to a state of the model.
    transition: from a state and an action to the next state.
    reward: what an action pays in a state.
    value: what a state is worth.
    policy: what is done in a state.
  """

  encoder: types.Params
  transition: types.Params
  reward: types.Params
  value: types.Params
  policy: types.Params


class ModelUnderPolicy(NamedTuple):
  """A model under some policy, as functions of parameters.

  Attributes:
    encode: parameters, observations `[*batch, ...]` -> states `[*batch, D]`.
    step: parameters, those of the policy that acts, states, what the step is
      drawn by -> rewards `[*batch]` and next states.
    value: parameters, states -> values `[*batch]`, in units of reward.
  """

  encode: Callable[[Params, Shaped[Array, '*observation']], State]
  step: Callable[
    [Params, Params, State, Array],
    tuple[Float[Array, '*batch'], State],
  ]
  value: Callable[[Params, State], Float[Array, '*batch']]


class Rollout(NamedTuple):
  """What was imagined from some states, of K steps.

  Attributes:
    reward: of each step.
    state: K + 1 states, the first and what each step led to.
  """

  reward: Float[Array, 'K *batch']
  state: Float[Array, 'K_plus_1 *batch D']


def unroll(
  under_policy: ModelUnderPolicy,
  params: Params,
  acting: Params,
  start: State,
  draws: Shaped[Array, 'K ...'],
) -> Rollout:
  """Follows a policy for some steps in a model.

  Args:
    under_policy: the model under the policy.
    params: of the model.
    acting: of the policy.
    start: the model's state where each rollout begins.
    draws: what each of K >= 1 steps is drawn by, such as a random key.
  """
  states = [start]
  rewards = []
  for draw in draws:
    reward, state = under_policy.step(params, acting, states[-1], draw)
    rewards.append(reward)
    states.append(state)
  return Rollout(jnp.stack(rewards), jnp.stack(states))


def table(
  num_states: int, num_actions: int, policy: Float[Array, 'S A']
) -> tuple[Params, ModelUnderPolicy]:
  """A model of tables under a fixed policy, which imagines expectations.

  A state is a distribution over the S states, and a step leads to that of the
  next one: nothing is drawn. Transitions are kept as logits.

  Args:
    num_states: S.
    num_actions: A.
    policy: probability of each action in each state.

  Returns:
    Parameters of a model that knows nothing (every transition alike, no reward,
    no value), and its functions.
  """
  params = Params(
    encoder=(),
    transition=jnp.zeros((num_states, num_actions, num_states)),
    reward=jnp.zeros((num_states, num_actions)),
    value=jnp.zeros(num_states),
    policy=(),
  )

  def step(params, acting, state, draw):
    del acting, draw
    chain = jnp.einsum('sa,sat->st', policy, jax.nn.softmax(params.transition))
    return state @ jnp.sum(policy * params.reward, axis=-1), state @ chain

  under_policy = ModelUnderPolicy(
    encode=lambda params, observation: jax.nn.one_hot(observation, num_states),
    step=step,
    value=lambda params, state: state @ params.value,
  )
  return params, under_policy


class Head(NamedTuple):
  """How a number is predicted.

  Attributes:
    size: outputs for each number, H.
    decode: outputs `[*batch, H]` -> numbers `[*batch]`.
    loss: outputs, numbers that are right -> losses `[*batch]`.
  """

  size: int
  decode: Callable[[Float[Array, '*batch H']], Float[Array, '*batch']]
  loss: Callable[
    [Float[Array, '*batch H'], Float[Array, '*batch']], Float[Array, '*batch']
  ]


def scalar_head() -> Head:
  """One output, the number itself; the loss is half the squared error."""
  return Head(
    1,
    lambda outputs: outputs[..., 0],
    lambda outputs, right: 0.5 * jnp.square(outputs[..., 0] - right),
  )


def two_hot_head(support_max: float, num_atoms: int) -> Head:
  """Logits over atoms of what returns are made small to; see `ops.two_hot`.

  Args:
    support_max: the largest atom, as a return made small.
    num_atoms: number of atoms H, evenly spaced.
  """
  support = two_hot.atoms(support_max, num_atoms)

  def loss(outputs, right):
    target = jax.lax.stop_gradient(two_hot.from_returns(right, support))
    return -jnp.sum(target * jax.nn.log_softmax(outputs), axis=-1)

  return Head(
    num_atoms, lambda outputs: two_hot.to_returns(outputs, support), loss
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentConfig:
  """Sizes of a latent model.

  Attributes:
    size: of a state, D.
    hidden_sizes: units of the layers of the transition, before its last.
    num_atoms: of the heads that predict rewards and values by classifying; None
      for heads that give the number itself.
    support_max: of the outermost atoms, as a return made small.
    init_scale: of the last layers' initial weights, in the usual ones'
      deviations. With 0 a model that has learned nothing agrees with itself
      everywhere.
    normalize: whether a state's entries are shifted and scaled to mean 0 and
      deviation 1 before tanh. Without it a network's steps, which are alike for
      all that it sees, may drive every state into the same corner, where tanh
      has no gradient and nothing is told apart any more.
  """

  size: int = 64
  hidden_sizes: tuple[int, ...] = ()
  num_atoms: int | None = 61
  support_max: float = 30.0
  init_scale: float = 1.0
  normalize: bool = False

  def __post_init__(self) -> None:
    """Checks the settings."""
    checks.at_least(self, 1, 'size')
    if self.normalize and self.size < 2:
      raise ValueError(
        f'size must be >= 2 where states are normalized, got {self.size}: a '
        'single entry would always be 0.'
      )
    checks.at_least(self, 2, 'num_atoms')
    checks.positive(self, 'support_max')
    checks.at_least(self, 0, 'init_scale')


class Model(NamedTuple):
  """A latent model of an environment with A actions, for R reward streams.

  Attributes:
    init: random key -> parameters.
    encode: parameters, observations `[*batch, ...]` -> states `[*batch, D]`.
    transition: parameters, states, actions `[*batch]` -> next states.
    reward: parameters, states -> the reward head's outputs for each action and
      stream, `[*batch, A, R, H]`.
    value: parameters, states -> the value head's outputs `[*batch, R, H]`.
    policy: parameters, states -> logits `[*batch, A]`.
    head: of rewards and of values.
  """

  init: Callable[[types.PRNGKey], Params]
  encode: Callable[..., State]
  transition: Callable[[Params, State, Int[Array, '*batch']], State]
  reward: Callable[[Params, State], Float[Array, '*batch A R H']]
  value: Callable[[Params, State], Float[Array, '*batch R H']]
  policy: Callable[[Params, State], Float[Array, '*batch A']]
  head: Head


def _latent_networks(
  config: LatentConfig,
  network: torsos.NetworkConfig,
  problem: types.ProblemSpec,
  num_streams: int,
  head: Head,
) -> Params:
  """The networks of a latent model, each in the place of its parameters."""
  num_actions = problem.num_actions
  assert num_actions is not None

  def bounded(features):
    if config.normalize:
      features = hk.LayerNorm(-1, create_scale=False, create_offset=False)(
        features
      )
    return jnp.tanh(features)

  def encode(observation):
    features = torsos.make(network, problem)(observation)
    # Without hidden layers this is a table, whose rows begin at a size of about
    # one each, however many there are.
    is_table = network.hidden_sizes is None
    rows = hk.initializers.TruncatedNormal(1.0) if is_table else None
    return bounded(hk.Linear(config.size, w_init=rows)(features))

  def transition(state, action):
    features = jnp.concatenate(
      [state, jax.nn.one_hot(action, num_actions)], axis=-1
    )
    if config.hidden_sizes:
      features = hk.nets.MLP(config.hidden_sizes, activate_final=True)(features)
    return bounded(hk.Linear(config.size)(features))

  def linear(size, state):
    weights = hk.initializers.VarianceScaling(config.init_scale**2)
    return hk.Linear(size, w_init=weights)(state)

  def reward(state):
    outputs = linear(num_actions * num_streams * head.size, state)
    return outputs.reshape(
      *state.shape[:-1], num_actions, num_streams, head.size
    )

  def value(state):
    outputs = linear(num_streams * head.size, state)
    return outputs.reshape(*state.shape[:-1], num_streams, head.size)

  state = jnp.zeros((1, config.size))
  return Params(
    build.pure(encode, build.example_observation(problem)),
    build.pure(transition, state, jnp.zeros((1,), jnp.int32)),
    build.pure(reward, state),
    build.pure(value, state),
    build.pure(lambda state: linear(num_actions, state), state),
  )


def latent(
  config: LatentConfig,
  network: torsos.NetworkConfig,
  problem: types.ProblemSpec,
  num_streams: int = 1,
) -> Model:
  """Makes a model whose states are vectors in [-1, 1].

  The encoder is a torso and a layer, of indices a table; the transition, layers
  on a state and an action. Nothing ties a state to what is seen but what is
  predicted from it: reward, value and policy, each linear.

  Args:
    config: sizes of the model.
    network: of the encoder's torso.
    problem: the environment's shapes; actions are discrete.
    num_streams: of rewards, R, each with a reward and a value of its own.

  Raises:
    ValueError: if the torso does not fit the observations, or actions are
      continuous.
  """
  network.check(problem)
  if problem.num_actions is None:
    raise ValueError(
      'a latent model needs discrete actions, got vectors of shape '
      f'{problem.action_shape}.'
    )
  head = (
    scalar_head()
    if config.num_atoms is None
    else two_hot_head(config.support_max, config.num_atoms)
  )

  networks = _latent_networks(config, network, problem, num_streams, head)

  def init(key: types.PRNGKey) -> Params:
    keys = jax.random.split(key, len(networks))
    return Params(*(part.init(k) for part, k in zip(networks, keys)))

  def of(name: str) -> Callable[..., Array]:
    apply = getattr(networks, name).apply
    return lambda params, *inputs: apply(getattr(params, name), *inputs)

  return Model(
    init=init,
    encode=of('encoder'),
    transition=of('transition'),
    reward=of('reward'),
    value=of('value'),
    policy=of('policy'),
    head=head,
  )


def of_action(
  outputs: Float[Array, '*batch A R H'], action: Int[Array, '*batch']
) -> Float[Array, '*batch R H']:
  """What a reward head says of one action in each state."""
  indices = action[..., None, None, None]
  return jnp.take_along_axis(outputs, indices, axis=-3)[..., 0, :, :]


def choose_by_uniforms(
  uniform: Float[Array, '*batch'], logits: Float[Array, '*batch A']
) -> Int[Array, '*batch']:
  """Actions by the inverse transform of uniform numbers in [0, 1)."""
  return categorical.sample(jax.nn.log_softmax(logits), uniform)


def sampled(
  model: Model,
  stream: int = 0,
  choose: Callable[[Array, Array], Array] = jax.random.categorical,
) -> ModelUnderPolicy:
  """A model under its own policy, which draws one action for each step.

  Args:
    model: its functions.
    stream: whose rewards and values these are.
    choose: what a step is drawn by, logits `[*batch, A]` -> actions; takes a
      random key, or is `choose_by_uniforms`.
  """

  def step(params, acting, state, draw):
    action = choose(draw, model.policy(acting, state))
    outputs = of_action(model.reward(params, state), action)
    return (
      model.head.decode(outputs[..., stream, :]),
      model.transition(params, state, action),
    )

  return ModelUnderPolicy(
    encode=model.encode,
    step=step,
    value=lambda params, state: model.head.decode(
      model.value(params, state)[..., stream, :]
    ),
  )
