"""The interface of intrinsic rewards, and their composition.

An objective is a value of three pure functions, in the manner of an Optax
transformation, composed by functions and never subclassed.

Skills are numbers 0..K-1: no objective here has continuous ones, whose q(z|o)
would be a density.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Shaped

from skills import types
from skills.ops import episodes

ObjectiveState = types.PyTree


class SelectedSteps(NamedTuple):
  """The M timesteps of each trajectory that an objective looks at.

  Attributes:
    observation: what was seen then.
    start: what was seen when the skill began, s_0.
    skill: the skill that led there.
    mask: 1 for steps that were made.
  """

  observation: Shaped[Array, 'M B *observation']
  start: Shaped[Array, 'M B *observation']
  skill: Int[Array, 'M B']
  mask: Float[Array, 'M B']


class Timesteps(NamedTuple):
  """Which timesteps of a trajectory count, and when they are rewarded.

  Attributes:
    select: trajectory -> the observations that these steps led to.
    place: values `[M, B]` of these steps, trajectory -> rewards `[T, B]`.
  """

  select: Callable[[types.Trajectory], SelectedSteps]
  place: Callable[[Float[Array, 'M B'], types.Trajectory], Float[Array, 'T B']]


def _select_final(trajectory: types.Trajectory) -> SelectedSteps:
  mask = trajectory.mask
  last = episodes.last_step(mask)
  batch = jnp.arange(mask.shape[1])
  return SelectedSteps(
    episodes.final(trajectory.observation, mask)[None],
    trajectory.observation[:1],
    trajectory.skill[last, batch][None],
    jnp.ones((1,) + mask.shape[1:]),
  )


def _select_every(trajectory: types.Trajectory) -> SelectedSteps:
  reached = trajectory.observation[1:]
  return SelectedSteps(
    reached,
    jnp.broadcast_to(trajectory.observation[:1], reached.shape),
    trajectory.skill,
    trajectory.mask,
  )


FINAL_STEP = Timesteps(
  _select_final,
  lambda values, trajectory: episodes.at_last_step(values[0], trajectory.mask),
)
"""The state in which a skill ends, paid at its last step."""

EVERY_STEP = Timesteps(
  _select_every,
  lambda values, trajectory: values * trajectory.mask,
)
"""Every state that a skill leads to, paid as it is reached."""

TIMESTEPS = {'every': EVERY_STEP, 'final': FINAL_STEP}
"""By name, for configurations."""


class Discriminator(NamedTuple):
  """The discriminators of an objective, for others that build on it.

  Attributes:
    logits: state of the objective, trajectory -> unnormalized log q_i(z|o) of
      each member and timestep, `[N, M, B, K]`.
    timesteps: those that it sees.
  """

  logits: Callable[[ObjectiveState, types.Trajectory], Float[Array, 'N M B K']]
  timesteps: Timesteps


class PolicyFeatures(NamedTuple):
  """The features phi whose means an objective compares policies by.

  Attributes:
    raw: observations `[*batch, ...]` -> the entries that count, `[*batch, D]`.
    apply: state of the objective, observations -> phi, `[*batch, D]`.
  """

  raw: Callable[[Array], Float[Array, '*batch D']]
  apply: Callable[[ObjectiveState, Array], Float[Array, '*batch D']]


class IntrinsicReward(NamedTuple):
  """A reward that the agent computes for itself.

  Attributes:
    streams: names of its R reward streams. Learners keep a value for each and
      combine them only where the policy is made.
    init: random key -> state.
    reward: state, trajectory -> rewards `[T, B, R]`, without gradient.
    weights: state -> weights of the streams in their sum, `[R]`; where each
      skill has its own, `[K, R]`. `weights_of` reads either.
    update: state, trajectory, random key -> next state and metrics.
    discriminator: of skills; None in objectives that have none.
    bootstrap_at_skill_end: whether returns go on past a skill's end, with the
      value of where it ended; if not, a skill is worth what it brings while it
      runs.
    features: of objectives that compare policies by features.
    min_value_ratio: the least value of each policy, as a part of that of policy
      0, where the objective constrains it.
    diagnose: metrics of an update and the number of updates so far -> what its
      user should be warned of, else None.
  """

  streams: tuple[str, ...]
  init: Callable[[types.PRNGKey], ObjectiveState]
  reward: Callable[[ObjectiveState, types.Trajectory], Float[Array, 'T B R']]
  weights: Callable[[ObjectiveState], Float[Array, '*skills R']]
  update: Callable[
    [ObjectiveState, types.Trajectory, types.PRNGKey],
    tuple[ObjectiveState, types.Metrics],
  ]
  discriminator: Discriminator | None = None
  bootstrap_at_skill_end: bool = False
  features: PolicyFeatures | None = None
  min_value_ratio: float | None = None
  diagnose: Callable[[Mapping[str, Any], int], str | None] | None = None


class AuxiliaryLoss(NamedTuple):
  """A loss on the agent's own networks, beside those of its learner.

  Attributes:
    weight: of the loss beside the learner's own.
    loss: parameters that learn, those that targets are made of, trajectory,
      random key -> the mean loss, not weighted, and metrics.
  """

  weight: float
  loss: Callable[
    [types.Params, types.Params, types.Trajectory, types.PRNGKey],
    tuple[Float[Array, ''], types.Metrics],
  ]


class ObjectiveContext(NamedTuple):
  """What an objective depends on besides its configuration.

  Attributes:
    problem: the environment's shapes.
    num_skills: number of skills K.
    objective: makes another objective from its configuration, for objectives
      that build on one.
  """

  problem: types.ProblemSpec
  num_skills: int
  objective: Callable[[Any], IntrinsicReward]


def scale(objective: IntrinsicReward, weight: float) -> IntrinsicReward:
  """Scales the weights of an objective's streams, not its rewards.

  Values keep their own size, so a change of weight does not need new critics.

  Args:
    objective: any.
    weight: factor on the weight of each of its streams.
  """
  return objective._replace(
    weights=lambda state: weight * objective.weights(state)
  )


def add(first: IntrinsicReward, second: IntrinsicReward) -> IntrinsicReward:
  """An objective with the streams of two.

  Args:
    first: any objective.
    second: any other; names of streams and metrics must differ.

  Returns:
    The sum. Its discriminator is the first's, else the second's; it has no
    features.

  Raises:
    ValueError: if both have a stream of the same name, or the returns of one
      alone go on past a skill's end.
  """
  shared = set(first.streams) & set(second.streams)
  if shared:
    raise ValueError(
      f'streams must have different names, both have {sorted(shared)}.'
    )

  if first.bootstrap_at_skill_end != second.bootstrap_at_skill_end:
    raise ValueError(
      "returns must go on past a skill's end for both objectives or for "
      f'neither, got {first.bootstrap_at_skill_end} for {first.streams} and '
      f'{second.bootstrap_at_skill_end} for {second.streams}.'
    )

  def init(key: types.PRNGKey) -> ObjectiveState:
    # Folding leaves the first objective as it is when alone, so that adding a
    # bonus does not change its initial parameters.
    return first.init(key), second.init(_other_key(key))

  def reward(state, trajectory):
    return jnp.concatenate(
      [
        first.reward(state[0], trajectory),
        second.reward(state[1], trajectory),
      ],
      axis=-1,
    )

  def weights(state):
    both = [first.weights(state[0]), second.weights(state[1])]
    # Weights of each skill as soon as one of the two has them.
    skills = max((part.shape[:-1] for part in both), key=len)
    return jnp.concatenate(
      [jnp.broadcast_to(part, skills + part.shape[-1:]) for part in both], -1
    )

  def update(state, trajectory, key):
    state_1, metrics_1 = first.update(state[0], trajectory, key)
    state_2, metrics_2 = second.update(state[1], trajectory, _other_key(key))
    return (state_1, state_2), metrics_1 | metrics_2

  discriminator = None
  for i, objective in enumerate((first, second)):
    if discriminator is None and objective.discriminator is not None:
      discriminator = of_part(objective.discriminator, i)
  return IntrinsicReward(
    first.streams + second.streams,
    init,
    reward,
    weights,
    update,
    discriminator,
    first.bootstrap_at_skill_end,
  )


def of_part(discriminator: Discriminator, part: int) -> Discriminator:
  """The discriminator of one of the objectives whose states make a tuple."""
  return Discriminator(
    lambda state, trajectory: discriminator.logits(state[part], trajectory),
    discriminator.timesteps,
  )


def weights_of(
  weights: Float[Array, '*skills R'], skill: Int[Array, '*batch']
) -> Float[Array, '... R']:
  """Weights of the streams for given skills.

  Args:
    weights: of all skills alike, `[R]`, or of each, `[K, R]`.
    skill: whose are wanted.

  Returns:
    `[R]` where they are of all skills, else `[*batch, R]`.
  """
  return weights if weights.ndim == 1 else weights[skill]


def _other_key(key: types.PRNGKey) -> types.PRNGKey:
  return jax.random.fold_in(key, 1)


def discriminator_of(config: Any) -> Any:
  """The configuration of an objective's discriminator.

  Args:
    config: of an objective; it has a field `discriminator`, or a field `over`
      with the configuration of another objective, or neither.

  Returns:
    The `discriminator` of the innermost objective; None if it has none.
  """
  while hasattr(config, 'over'):
    config = config.over
  return getattr(config, 'discriminator', None)


def with_discriminator(config: Any, discriminator: Any) -> Any:
  """An objective's configuration with another `discriminator_of`."""
  if hasattr(config, 'over'):
    over = with_discriminator(config.over, discriminator)
    return dataclasses.replace(config, over=over)
  return dataclasses.replace(config, discriminator=discriminator)


def skill_of_observations(
  trajectory: types.Trajectory,
) -> Int[Array, 'T_plus_1 B']:
  """The skill of each observation, that of the last one included.

  A trajectory has one skill; entries beside its padding are arbitrary.
  """
  skill = trajectory.skill
  return jnp.broadcast_to(skill[:1], (len(skill) + 1, *skill.shape[1:]))


def masked_mean(
  values: Float[Array, '*axes'], mask: Float[Array, '*axes']
) -> Float[Array, '']:
  """Mean over the entries that `mask` marks; 0 if there are none."""
  return jnp.sum(values * mask) / jnp.maximum(jnp.sum(mask), 1.0)
