"""RVIC: skills told apart by what they change, and not by where they end.

Baumli, Warde-Farley, Hansen and Mnih, "Relative variational intrinsic control",
2021 (arXiv:2012.07827): skills are to have much information about the pair of
initial and final state, and little about the final state alone,

    I(Z; s_0, s_T) - I(Z; s_T) = I(Z; s_0 | s_T).

Two classifiers learn on the same data by maximum likelihood, q_rel(z|s_0, s_T)
and q_abs(z|s_T), and a skill's last step is paid

    log q_rel(z|s_0, s_T) - log q_abs(z|s_T),

which may be negative and is not clipped. It is the reward of VIC on the pair
less that of VIC on the final state, so that log p(z) cancels. q_abs is fitted
as well as it can be; it is the policy that makes it fail.

Where all skills start in one state, s_0 says nothing and the reward is 0: let
skills follow one another without resets, or vary the start.

Departures from the paper: none known, of the objective; the learner is ours.
"""

import dataclasses
from typing import NamedTuple

import jax

from skills import types
from skills.networks import discriminators
from skills.objectives import base
from skills.objectives import discrimination


class State(NamedTuple):
  """State of the classifiers, which share no parameters.

  Attributes:
    relative: state of q_rel.
    absolute: state of q_abs.
  """

  relative: discrimination.DiscriminationState
  absolute: discrimination.DiscriminationState


@dataclasses.dataclass(frozen=True, kw_only=True)
class RvicConfig:
  """Settings of RVIC.

  Attributes:
    discriminator: how each of the classifiers looks and learns. They have it in
      common, for a q_abs that learns more slowly than q_rel, or sees through a
      smaller network, leaves a reward that is none. If it is an ensemble, each
      of them is one, and DISDAIN's bonus is the disagreement about the pair.
  """

  discriminator: discriminators.DiscriminatorConfig = (
    discriminators.DiscriminatorConfig()
  )


def make(
  config: RvicConfig, context: base.ObjectiveContext
) -> base.IntrinsicReward:
  """Pays log q_rel(z|s_0, s_T) - log q_abs(z|s_T), in nats, at the last step.

  The discriminator of the objective is q_rel.
  """

  def classifier(sees_start: bool) -> base.IntrinsicReward:
    return discrimination.from_config(
      config.discriminator,
      context,
      base.FINAL_STEP,
      clip_at_zero=False,
      sees_start=sees_start,
    )

  relative, absolute = classifier(True), classifier(False)

  def init(key: types.PRNGKey) -> State:
    relative_key, absolute_key = jax.random.split(key)
    return State(relative.init(relative_key), absolute.init(absolute_key))

  def reward(state: State, trajectory: types.Trajectory):
    return relative.reward(state.relative, trajectory) - absolute.reward(
      state.absolute, trajectory
    )

  def update(state: State, trajectory: types.Trajectory, key: types.PRNGKey):
    relative_state, of_pair = relative.update(state.relative, trajectory, key)
    absolute_state, of_end = absolute.update(state.absolute, trajectory, key)
    metrics = {
      'skill_reward': of_pair['skill_reward'] - of_end['skill_reward'],
      'relative_loss': of_pair['discriminator_loss'],
      'relative_accuracy': of_pair['discriminator_accuracy'],
      'absolute_loss': of_end['discriminator_loss'],
      'absolute_accuracy': of_end['discriminator_accuracy'],
    }
    return State(relative_state, absolute_state), metrics

  assert relative.discriminator is not None
  return base.IntrinsicReward(
    streams=relative.streams,
    init=init,
    reward=reward,
    weights=lambda state: relative.weights(state.relative),
    update=update,
    discriminator=base.of_part(relative.discriminator, 0),
  )
