"""From a network's outputs to actions: categorical and squashed Gaussian.

A plain Gaussian, whose samples an environment clips, is not offered: beyond the
bounds it is rewarded for what it did not do.
"""

from collections.abc import Callable
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Shaped
import numpy as np

from skills import types
from skills.ops import categorical
from skills.ops import gaussian

LOG_PROB = 'log_prob'
LATENT = 'latent'

# Deviations of latents are at least so large, or densities have no bounds.
_SMALLEST_DEVIATION = 0.01

Extras = Mapping[str, Array]


class ActionDistribution(NamedTuple):
  """How actions are drawn, and how likely they were.

  Attributes:
    size: outputs that it takes for each action, D.
    chooses: of each output, 1 if it says which action, 0 if how surely, `[D]`.
    num_uniforms: random numbers of a draw, U.
    extras_spec: what is noted of no action at all, without batch axes: the
      shapes.
    sample: outputs, random numbers in [0, 1) -> actions, and what must be known
      of each draw to tell later how likely it is: its log-probability
      `LOG_PROB` then, and more.
    mode: outputs -> the most likely actions; of the latents where there are.
    log_prob: outputs, actions and their extras -> log-probability now, which
      may be compared to the noted one alone.
    entropy: outputs -> in nats.
  """

  size: int
  chooses: Float[np.ndarray, 'D']
  num_uniforms: int
  extras_spec: Callable[[], Extras]
  sample: Callable[
    [Float[Array, '*batch D'], Float[Array, '*batch U']],
    tuple[Shaped[Array, '*batch_and_action'], Extras],
  ]
  mode: Callable[[Float[Array, '*batch D']], Shaped[Array, '*batch_and_action']]
  log_prob: Callable[
    [Float[Array, '*batch D'], Shaped[Array, '*batch_and_action'], Extras],
    Float[Array, '*batch'],
  ]
  entropy: Callable[[Float[Array, '*batch D']], Float[Array, '*batch']]


def make(problem: types.ProblemSpec, init_stddev: float) -> ActionDistribution:
  """The distribution that suits a problem's actions.

  Args:
    problem: the environment's shapes.
    init_stddev: of the latents of continuous actions where outputs are 0.
  """
  if problem.num_actions is not None:
    return of_indices(problem.num_actions)
  return of_vectors(problem.action_shape[0], init_stddev)


def of_indices(num_actions: int) -> ActionDistribution:
  """Categorical; outputs are logits."""

  def sample(outputs, uniform):
    log_p = jax.nn.log_softmax(outputs)
    action = categorical.sample(log_p, uniform[..., 0])
    return action, {LOG_PROB: categorical.log_prob(log_p, action)}

  def log_prob(outputs, action, extras):
    del extras
    return categorical.log_prob(jax.nn.log_softmax(outputs), action)

  return ActionDistribution(
    size=num_actions,
    chooses=np.ones(num_actions, np.float32),
    num_uniforms=1,
    extras_spec=lambda: {LOG_PROB: jnp.zeros(())},
    sample=sample,
    mode=lambda outputs: jnp.argmax(outputs, axis=-1).astype(jnp.int32),
    log_prob=log_prob,
    entropy=lambda outputs: categorical.entropy(jax.nn.softmax(outputs)),
  )


def of_vectors(size: int, init_stddev: float) -> ActionDistribution:
  """Squashed Gaussians; outputs are means and raw deviations of the latents.

  Args:
    size: entries of an action, A.
    init_stddev: where outputs are 0.
  """
  # softplus(offset) is the initial deviation above the smallest one.
  offset = float(jnp.log(jnp.expm1(init_stddev - _SMALLEST_DEVIATION)))

  def parameters(outputs):
    mean, raw = jnp.split(outputs, 2, axis=-1)
    return mean, _SMALLEST_DEVIATION + jax.nn.softplus(raw + offset)

  def sample(outputs, uniform):
    mean, deviation = parameters(outputs)
    latent = gaussian.sample(mean, deviation, uniform)
    extras = {
      LOG_PROB: gaussian.log_prob(mean, deviation, latent),
      LATENT: latent,
    }
    return jnp.tanh(latent), extras

  def log_prob(outputs, action, extras):
    del action
    return gaussian.log_prob(*parameters(outputs), extras[LATENT])

  return ActionDistribution(
    size=2 * size,
    chooses=np.repeat(np.array([1, 0], np.float32), size),
    num_uniforms=size,
    extras_spec=lambda: {LOG_PROB: jnp.zeros(()), LATENT: jnp.zeros((size,))},
    sample=sample,
    mode=lambda outputs: jnp.tanh(parameters(outputs)[0]),
    log_prob=log_prob,
    entropy=lambda outputs: gaussian.tanh_entropy(*parameters(outputs)),
  )
