"""Policy improvement."""

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float


def cmpo(
  log_prior: Float[Array, '*batch A'],
  advantages: Float[Array, '*batch A'],
  clip: float = 1.0,
) -> Float[Array, '*batch A']:
  """Log-probabilities of the clipped MPO (CMPO) policy.

      pi(a|s) ~ prior(a|s) exp(clip(advantage(s, a), -clip, clip))

  Hessel et al., "Muesli: combining improvements in policy optimization", 2021
  (arXiv:2104.06159). However large the advantages, its total variation from
  the prior is at most tanh(clip / 2).

  Args:
    log_prior: log-probabilities of each action.
    advantages: of each action, in units of their usual size.
    clip: in nats, at least 0.
  """
  return jax.nn.log_softmax(log_prior + jnp.clip(advantages, -clip, clip))
