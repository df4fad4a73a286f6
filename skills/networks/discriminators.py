"""Networks that name the skill behind an observation: log q(z|o).

Or behind a pair of them, where a skill began and where it got: log q(z|s_0, o).
They have a torso of their own. The agents of Hansen et al., "Entropic Desired
Dynamics for Intrinsic Control", 2021, share it with the values, and let the
gradients of both into it; here an objective is a thing apart from its learner,
which may then be any. The price is a second torso, of little weight where it
sees a skill's last observation only.
"""

import dataclasses

import haiku as hk
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Shaped

from skills import checks
from skills import optimizers
from skills import types
from skills.networks import build
from skills.networks import factored_states
from skills.networks import torsos


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig(torsos.TorsoConfig):
  """How one discriminator looks, and how it learns.

  Without hidden layers it is a table with a row of logits for each state.

  Attributes:
    ensemble_size: number of members N; they share batches and differ by their
      initial parameters.
    is_torso_shared: whether members share all but their last layer. That is how
      many of them are affordable on pictures; else they have nothing in common.
    learning_rate: step size of `optimizer`. The loss is a mean over members, so
      with SGD each moves by `learning_rate / N` times its own gradient.
    optimizer: 'sgd', 'adam', 'adamw' or 'rmsprop'.
    pinned_state: of a table, the state that is always predicted uniformly and
      never learned of (the start, in DISDAIN's release); None for none. Of a
      pair it is the state that the skill got to.
    entries: of a perceptron, which entries of an observed vector it sees, so
      that skills differ in those: positions, say, and not speeds. None for all.
  """

  ensemble_size: int = 1
  is_torso_shared: bool = False
  learning_rate: float = 0.1
  optimizer: str = 'sgd'
  pinned_state: int | None = None
  entries: tuple[int, ...] | None = None

  def __post_init__(self) -> None:
    """Checks the settings."""
    super().__post_init__()
    checks.at_least(self, 1, 'ensemble_size')
    checks.positive(self, 'learning_rate')
    checks.choice(self, optimizers.OPTIMIZERS, 'optimizer')
    if self.hidden_sizes is None:
      checks.equal(
        self, False, 'is_torso_shared', 'for tables (hidden_sizes=None)'
      )
      checks.equal(self, None, 'entries', 'for tables (hidden_sizes=None)')
    else:
      checks.equal(
        self, None, 'pinned_state', 'for a network (hidden_sizes given)'
      )
    if self.entries is not None and (
      not self.entries
      or min(self.entries) < 0
      or len(set(self.entries)) < len(self.entries)
    ):
      raise ValueError(
        'entries must be different numbers >= 0 or None for a network, got '
        f'{self.entries}.'
      )


def _table(
  factors: tuple[int, ...],
  num_skills: int,
  pinned_state: int | None,
  *states: Int[Array, '*batch'],
) -> Float[Array, '*batch K']:
  """Unnormalized log q(z|s), or log q(z|s_0, s), looked up in tables.

  Logits are initially random in [0, 1), uniformly if a state has one part.

  Args:
    factors: sizes of the parts of a state; their product is S.
    num_skills: number of skills K.
    pinned_state: outcome whose logits are 0; None for none.
    *states: s, or s_0 and s.
  """
  logits = factored_states.sum_of_tables(
    'logits',
    factors,
    (num_skills,),
    hk.initializers.RandomUniform(0.0, 1.0 / len(factors)),
    *states,
  )
  if pinned_state is None:
    return logits
  # Also stops the gradient to the pinned row.
  return logits * (states[-1] != pinned_state)[..., None]


def make(
  config: DiscriminatorConfig,
  problem: types.ProblemSpec,
  num_skills: int,
  *,
  sees_start: bool = False,
) -> types.Network:
  """Makes an ensemble of discriminators.

  Args:
    config: of the ensemble.
    problem: what the observations are.
    num_skills: number of skills K.
    sees_start: whether they take two observations, where the skill began and
      where it got.

  Returns:
    A network from observations `[*batch, ...]`, one or two, to logits
    `[N, *batch, K]`.

  Raises:
    ValueError: if a table is asked for where observations are no indices, or
      the pinned state, the factors or the entries do not fit them.
  """
  config.check(problem)
  pinned, num_states = config.pinned_state, problem.num_states or 0
  if pinned is not None and not 0 <= pinned < num_states:
    raise ValueError(
      f'pinned_state must be None or in 0..{num_states - 1}, got {pinned}.'
    )

  seen = problem
  if config.entries is not None:
    shape = problem.observation_shape
    if len(shape) != 1 or max(config.entries) >= shape[0]:
      raise ValueError(
        'entries must be those of an observed vector, got '
        f'{config.entries} of observations of shape {shape}.'
      )
    seen = dataclasses.replace(
      problem, observation_shape=(len(config.entries),)
    )

  def features_of(
    *observations: Shaped[Array, '*batch_and_observation'],
  ) -> Float[Array, '*batch D']:
    if config.entries is not None:
      chosen = jnp.array(config.entries)
      observations = tuple(x[..., chosen] for x in observations)
    return torsos.make(config, seen)(*observations)

  def forward(
    *observations: Shaped[Array, '*batch_and_observation'],
  ) -> Float[Array, '*batch K']:
    if config.hidden_sizes is None:
      factors = config.factors(problem)
      return _table(factors, num_skills, config.pinned_state, *observations)
    return hk.Linear(num_skills, name='logits')(features_of(*observations))

  def forward_together(
    *observations: Shaped[Array, '*batch_and_observation'],
  ) -> Float[Array, 'N *batch K']:
    features = features_of(*observations)
    size = config.ensemble_size
    logits = hk.Linear(size * num_skills, name='logits')(features)
    logits = logits.reshape(features.shape[:-1] + (size, num_skills))
    return jnp.moveaxis(logits, -2, 0)

  examples = [build.example_observation(problem)] * (2 if sees_start else 1)
  if config.is_torso_shared:
    return build.pure(forward_together, *examples)
  return build.ensemble(build.pure(forward, *examples), config.ensemble_size)
