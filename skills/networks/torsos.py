"""From an observation to a vector of features."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import functools

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Shaped

from skills import checks
from skills import types
from skills.networks import factored_states

TORSOS = ('mlp', 'resnet')

# A picture is never made smaller than half of this: in a small one every pixel
# may count.
_MIN_HALVED = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class TorsoConfig:
  """How observations become features.

  Attributes:
    torso: 'mlp' for a perceptron on the flattened observation; 'resnet' for
      IMPALA's residual network on pictures, whose hidden layers come after it.
    hidden_sizes: units of each hidden layer. None makes tables, for
      environments whose observations are state indices.
    factored_states: of tables, for environments whose states are combinations,
      such as those of row and column: the sizes of a state's parts, in the
      order in which `numpy.unravel_index` splits its index. What is looked up
      is then a sum over parts, f(row) + g(column), and of pairs of states
      f(row_0, row_T) + g(column_0, column_T), so that what is learned in one
      row holds in all columns. None for one table of all states.
    input_scale: factor on what perceptrons see. They learn fastest from numbers
      of size about one, and some environments measure in tenths of meters.
    squash_inputs: whether perceptrons see sign(x) log(1 + |x|) of these numbers
      x, for environments in which some are large at times, as the speeds of a
      body that falls are.
    channels: of each section of the residual network.
    num_blocks: residual blocks in each of its sections.
  """

  torso: str = 'mlp'
  hidden_sizes: tuple[int, ...] | None = None
  factored_states: tuple[int, ...] | None = None
  input_scale: float = 1.0
  squash_inputs: bool = False
  channels: tuple[int, ...] = (16, 32, 32)
  num_blocks: int = 2

  def __post_init__(self) -> None:
    """Checks the settings."""
    checks.choice(self, TORSOS, 'torso')
    if self.torso == 'resnet' and self.hidden_sizes is None:
      raise ValueError(
        "hidden_sizes must be given for torso='resnet', for instance (256,), "
        'got None, which makes a table.'
      )
    if not self.channels or min(self.channels) < 1:
      raise ValueError(f'channels must be sizes >= 1, got {self.channels}.')
    checks.at_least(self, 0, 'num_blocks')
    checks.positive(self, 'input_scale')
    factored_states.check(self.factored_states, self.hidden_sizes)

  def check(self, problem: types.ProblemSpec) -> None:
    """Refuses what does not fit the observations.

    Raises:
      ValueError: if a table is asked for where observations are no indices, or
        the factors do not fit them, or a residual network where they are no
        pictures.
    """
    if self.hidden_sizes is None and problem.num_states is None:
      raise ValueError(
        'hidden_sizes=None asks for a table, which needs observations that are '
        f'state indices, got observations of shape '
        f'{problem.observation_shape}; give hidden_sizes, for instance '
        '(256, 256).'
      )
    factored_states.check_product(self.factored_states, problem.num_states)
    if self.torso == 'resnet' and len(problem.observation_shape) != 3:
      raise ValueError(
        "torso='resnet' needs pictures, [height, width, channels], got "
        f"observations of shape {problem.observation_shape}; use torso='mlp'."
      )

  def factors(self, problem: types.ProblemSpec) -> tuple[int, ...]:
    """Sizes of the parts of a state, whose product is S; of tables."""
    assert problem.num_states is not None
    return self.factored_states or (problem.num_states,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkConfig(TorsoConfig):
  """What an agent's networks are made of, below their heads.

  Attributes:
    lstm_size: units of a recurrent core behind the torso, which remembers an
      episode across its skills; None for a policy that sees the present alone.
    table_init_range: tables of values begin random in [0, this); with 0 all
      values begin equal.
  """

  lstm_size: int | None = None
  table_init_range: float = 1.0

  def __post_init__(self) -> None:
    """Checks the settings."""
    super().__post_init__()
    checks.at_least(self, 0, 'table_init_range')
    checks.at_least(self, 1, 'lstm_size')
    if self.hidden_sizes is None:
      checks.equal(self, None, 'lstm_size', 'for tables (hidden_sizes=None)')


def encode(
  observation: Shaped[Array, '*batch_and_observation'],
  problem: types.ProblemSpec,
  scale: float = 1.0,
  *,
  squash: bool = False,
) -> Float[Array, '*batch D']:
  """Observations as vectors of floats of size about one.

  State indices become one-hot vectors, bytes are divided by 255, other numbers
  multiplied by `scale` and, if asked for, squashed as `TorsoConfig` says, and
  all axes of an observation are flattened.
  """
  if problem.num_states is not None:
    return jax.nn.one_hot(observation, problem.num_states)
  rank = len(problem.observation_shape)
  batch_shape = observation.shape[: observation.ndim - rank]
  vector = observation.reshape(batch_shape + (-1,)).astype(jnp.float32)
  if problem.observation_dtype == 'uint8':
    return vector / 255.0
  scaled = vector if scale == 1 else scale * vector
  return jnp.sign(scaled) * jnp.log1p(jnp.abs(scaled)) if squash else scaled


class MLPTorso(hk.Module):
  """A multi-layer perceptron on flattened observations, side by side."""

  def __init__(
    self,
    problem: types.ProblemSpec,
    hidden_sizes: Sequence[int],
    scale: float = 1.0,
    squash: bool = False,
    name: str = 'torso',
  ):
    """Initializes the module.

    Args:
      problem: says how to flatten an observation.
      hidden_sizes: units of each layer; each is followed by a ReLU.
      scale: factor on numbers that are seen.
      squash: whether they are squashed.
      name: of the module.
    """
    super().__init__(name=name)
    self._hidden_sizes = tuple(hidden_sizes)
    self._encode = functools.partial(
      encode, problem=problem, scale=scale, squash=squash
    )

  def __call__(
    self, *observations: Shaped[Array, '*batch_and_observation']
  ) -> Float[Array, '*batch D']:
    """Features of each observation, or of each pair of them."""
    features = jnp.concatenate(
      [self._encode(observation) for observation in observations], axis=-1
    )
    if not self._hidden_sizes:
      return features
    return hk.nets.MLP(self._hidden_sizes, activate_final=True)(features)


class ResNetTorso(hk.Module):
  """The residual network of IMPALA, and a perceptron on what it sees.

  Espeholt et al., "IMPALA: Scalable distributed deep-RL with importance
  weighted actor-learner architectures", 2018 (arXiv:1802.01561), figure 3: each
  section is a convolution, a max-pooling that halves the picture, and residual
  blocks of two convolutions. Bytes are divided by 255.

  Departures from the paper: of these numbers 1/2 is taken off, since what all
  pictures have in common slows down to learn where they differ; and sections
  halve a picture only while both of its sides have at least 16 pixels, so that
  a small grid keeps its cells.
  """

  def __init__(self, config: TorsoConfig, name: str = 'torso'):
    """Initializes the module.

    Args:
      config: 'channels', 'num_blocks', and 'hidden_sizes' of the perceptron,
        each of whose layers is followed by a ReLU.
      name: of the module.
    """
    super().__init__(name=name)
    self._config = config

  def __call__(
    self, *pictures: Shaped[Array, '*batch H W C']
  ) -> Float[Array, '*batch D']:
    """Features of each picture, or of each pair, one behind the other."""
    picture = jnp.concatenate(pictures, axis=-1)
    batch_shape = picture.shape[:-3]
    x = picture.reshape((-1,) + picture.shape[-3:]).astype(jnp.float32)
    if picture.dtype == jnp.uint8:
      x = x / 255.0 - 0.5
    for num_channels in self._config.channels:
      x = hk.Conv2D(num_channels, 3)(x)
      if min(x.shape[1:3]) >= _MIN_HALVED:
        x = hk.max_pool(x, (1, 3, 3, 1), (1, 2, 2, 1), 'SAME')
      for _ in range(self._config.num_blocks):
        residue = hk.Conv2D(num_channels, 3)(jax.nn.relu(x))
        x = x + hk.Conv2D(num_channels, 3)(jax.nn.relu(residue))
    features = jax.nn.relu(x).reshape(batch_shape + (-1,))
    if not self._config.hidden_sizes:
      return features
    return hk.nets.MLP(self._config.hidden_sizes, activate_final=True)(features)


def make(
  config: TorsoConfig, problem: types.ProblemSpec, name: str = 'torso'
) -> Callable[..., Array]:
  """Makes the torso that a configuration asks for; call it within Haiku.

  Args:
    config: with hidden layers; of tables there is no torso.
    problem: what observations are.
    name: of the module.

  Returns:
    A module from observations `[*batch, ...]`, one or two, to features
    `[*batch, D]`.
  """
  if config.torso == 'resnet':
    return ResNetTorso(config, name)
  return MLPTorso(
    problem,
    config.hidden_sizes or (),
    config.input_scale,
    config.squash_inputs,
    name,
  )


def skill_features(
  config: NetworkConfig,
  problem: types.ProblemSpec,
  num_skills: int,
  observation: Shaped[Array, '*batch_and_observation'],
  skill: Int[Array, '*batch'],
  action: Float[Array, '*batch A'] | None = None,
) -> Float[Array, '*batch D']:
  """What a network makes of an observation and a skill, below its heads.

  Within a Haiku transformation; each call makes modules of its own. A residual
  network meets skill and action behind itself, at a hidden layer as large as
  its last.

  Args:
    config: of the network, which is no table and has no memory.
    problem: what observations are.
    num_skills: number of skills K.
    observation: any batch of observations.
    skill: the skill beside each.
    action: the continuous action beside each; None for functions of states.
  """
  assert config.hidden_sizes is not None
  sizes = config.hidden_sizes
  seen = encode(
    observation, problem, config.input_scale, squash=config.squash_inputs
  )
  if config.torso == 'resnet':
    seen, sizes = make(config, problem)(observation), sizes[-1:]
  parts = [seen, jax.nn.one_hot(skill, num_skills)]
  if action is not None:
    parts.append(action)
  features = jnp.concatenate(parts, axis=-1)
  if not sizes:
    return features
  return hk.nets.MLP(sizes, activate_final=True)(features)
