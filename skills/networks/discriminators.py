"""Networks that name the skill behind an observation: log q(z|o).

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

from skills import optimizers
from skills import types
from skills.networks import build
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
    optimizer: 'sgd', 'adam' or 'rmsprop'.
    pinned_state: of a table, the state that is always predicted uniformly and
      never learned of (the start, in DISDAIN's release); None for none.
  """

  ensemble_size: int = 1
  is_torso_shared: bool = False
  learning_rate: float = 0.1
  optimizer: str = 'sgd'
  pinned_state: int | None = None

  def __post_init__(self) -> None:
    """Refuses values that cannot work."""
    super().__post_init__()
    if self.is_torso_shared and self.hidden_sizes is None:
      raise ValueError(
        'is_torso_shared must be False for tables (hidden_sizes=None), which '
        'have nothing to share, got True.'
      )
    if self.ensemble_size < 1:
      raise ValueError(f'ensemble_size must be >= 1, got {self.ensemble_size}.')
    if self.learning_rate <= 0:
      raise ValueError(
        f'learning_rate must be positive, got {self.learning_rate}.'
      )
    optimizers.check(self.optimizer)
    if self.pinned_state is not None and self.hidden_sizes is not None:
      raise ValueError(
        f'pinned_state must be None for a network (hidden_sizes='
        f'{self.hidden_sizes}), got {self.pinned_state}.'
      )


class TableDiscriminator(hk.Module):
  """Logits looked up by state; initially uniform in [0, 1)."""

  def __init__(
    self,
    num_states: int,
    num_skills: int,
    pinned_state: int | None,
    name: str = 'table_discriminator',
  ):
    """Initialises the module.

    Args:
      num_states: rows of the table, S.
      num_skills: columns, K.
      pinned_state: row that counts as zero; None for none.
      name: of the module.
    """
    super().__init__(name=name)
    self._shape = (num_states, num_skills)
    self._pinned_state = pinned_state

  def __call__(self, state: Int[Array, '*batch']) -> Float[Array, '*batch K']:
    """Unnormalised log q(z|s)."""
    table = hk.get_parameter(
      'logits', self._shape, init=hk.initializers.RandomUniform(0.0, 1.0)
    )
    logits = table[state]
    if self._pinned_state is None:
      return logits
    # Also stops the gradient to the pinned row.
    return logits * (state != self._pinned_state)[..., None]


def make(
  config: DiscriminatorConfig, problem: types.ProblemSpec, num_skills: int
) -> types.Network:
  """Makes an ensemble of discriminators.

  Args:
    config: of the ensemble.
    problem: what the observations are.
    num_skills: number of skills K.

  Returns:
    A network from observations `[*batch, ...]` to logits `[N, *batch, K]`.

  Raises:
    ValueError: if a table is asked for where observations are no indices, or
      the pinned state is none of them.
  """
  config.check(problem)
  pinned = config.pinned_state
  if pinned is not None and not 0 <= pinned < problem.num_states:
    raise ValueError(
      f'pinned_state must be None or in 0..{problem.num_states - 1}, got '
      f'{pinned}.'
    )

  def forward(
    observation: Shaped[Array, '*batch_and_observation'],
  ) -> Float[Array, '*batch K']:
    if config.hidden_sizes is None:
      return TableDiscriminator(
        problem.num_states, num_skills, config.pinned_state
      )(observation)
    features = torsos.make(config, problem)(observation)
    return hk.Linear(num_skills, name='logits')(features)

  def forward_together(
    observation: Shaped[Array, '*batch_and_observation'],
  ) -> Float[Array, 'N *batch K']:
    features = torsos.make(config, problem)(observation)
    size = config.ensemble_size
    logits = hk.Linear(size * num_skills, name='logits')(features)
    logits = logits.reshape(features.shape[:-1] + (size, num_skills))
    return jnp.moveaxis(logits, -2, 0)

  example = build.example_observation(problem)
  if config.is_torso_shared:
    return build.pure(forward_together, example)
  return build.ensemble(build.pure(forward, example), config.ensemble_size)
