"""DOMiNO in a known process: exact occupancies and exact advantages.

The objective, the moving averages and the multipliers are those of
`skills.objectives.domino`; quantities that an agent estimates from samples are
computed by linear algebra, so that the sampling agent can be compared with it.

Policies are tables of logits. Each logit moves by its action's advantage,
divided by the largest, and is clipped so that no action dies out.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
import optax

from envs.tabular import mdp as tabular_mdp
from skills import checks
from skills import optimizers
from skills import types
from skills.objectives import domino


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannerConfig:
  """Settings of the planner.

  Attributes:
    discount: gamma per step, in [0, 1).
    learning_rate: step of the logit with the largest advantage.
    max_logit: limit of the logits' magnitude.
    init_stddev: of the initial logits.
    num_iterations: number of policy updates.
  """

  discount: float = 0.97
  learning_rate: float = 0.05
  max_logit: float = 8.0
  init_stddev: float = 1.0
  num_iterations: int = 8000

  def __post_init__(self) -> None:
    """Checks the settings."""
    checks.in_half_open_range(self, 0, 1, 'discount')
    checks.positive(
      self, 'learning_rate', 'max_logit', 'init_stddev', 'num_iterations'
    )


class KnownMDP(NamedTuple):
  """A process as arrays.

  Attributes:
    transitions: probability of each next state.
    rewards: of each state and action.
    initial: distribution of the first state.
  """

  transitions: Float[Array, 'S A S']
  rewards: Float[Array, 'S A']
  initial: Float[Array, 'S']


def known(mdp: tabular_mdp.TabularMDP) -> KnownMDP:
  """The arrays of a process in float32."""
  return KnownMDP(
    transitions=jnp.asarray(mdp.transitions, jnp.float32),
    rewards=jnp.asarray(mdp.rewards, jnp.float32),
    initial=jnp.asarray(mdp.initial, jnp.float32),
  )


class Plan(NamedTuple):
  """A set of policies.

  Attributes:
    policies: probability of each action.
    averages: moving averages of values and features.
    multiplier: Lagrange multiplier mu of each policy.
  """

  policies: Float[Array, 'K S A']
  averages: domino.Averages
  multiplier: Float[Array, 'K']


def occupancy(
  mdp: KnownMDP, policy: Float[Array, 'S A'], discount: float
) -> Float[Array, 'S']:
  """Discounted state occupancy: (1 - g) (I - g P^T)^-1 mu."""
  chain = jnp.einsum('sa,sat->st', policy, mdp.transitions)
  system = jnp.eye(len(chain)) - discount * chain.T
  return jnp.linalg.solve(system, (1 - discount) * mdp.initial)


def advantages(
  mdp: KnownMDP,
  policy: Float[Array, 'S A'],
  rewards: Float[Array, 'S A'],
  discount: float,
) -> Float[Array, 'S A']:
  """Exact advantages A(s, a) for any rewards."""
  chain = jnp.einsum('sa,sat->st', policy, mdp.transitions)
  value = jnp.linalg.solve(
    jnp.eye(len(chain)) - discount * chain, jnp.sum(policy * rewards, axis=-1)
  )
  return rewards + discount * mdp.transitions @ value - value[:, None]


def plan(
  config: domino.DominoConfig,
  settings: PlannerConfig,
  mdp: KnownMDP,
  num_skills: int,
  key: types.PRNGKey,
) -> Plan:
  """Finds a set of policies; features are one-hot states.

  Args:
    config: of the objective.
    settings: of the planner.
    mdp: the known process.
    num_skills: number of policies K.
    key: of the initial logits.
  """
  num_states, num_actions = mdp.rewards.shape
  optimizer = optax.adam(config.multiplier_learning_rate)
  gamma = settings.discount

  def step(carry, _):
    logits, averages, multiplier, optimizer_state = carry
    policies = jax.nn.softmax(logits)
    d = jax.vmap(lambda policy: occupancy(mdp, policy, gamma))(policies)
    value = jnp.einsum('ks,ksa,sa->k', d, policies, mdp.rewards)
    present = jnp.ones((num_skills,))
    averages = domino.Averages(
      domino.ema(averages.value, value, present, config.value_decay),
      domino.ema(averages.features, d, present, config.feature_decay),
    )
    grads = jax.grad(domino.multiplier_loss)(
      multiplier, averages.value, config.alpha
    )
    multiplier, optimizer_state = optimizers.apply_gradients(
      optimizer, grads, multiplier, optimizer_state
    )
    multiplier = jnp.clip(
      multiplier, -config.max_multiplier, config.max_multiplier
    )
    weights = domino.stream_weights(config, multiplier, averages.value)
    diversity = domino.diversity_gradient(config, averages.features)
    rewards = (
      weights[:, 0, None, None] * mdp.rewards[None]
      + (weights[:, 1, None] * diversity)[..., None]
    )
    gains = jax.vmap(lambda p, r: advantages(mdp, p, r, gamma))(
      policies, rewards
    )
    largest = jnp.max(jnp.abs(gains), axis=(1, 2), keepdims=True)
    logits = logits + settings.learning_rate * gains / (largest + 1e-8)
    logits = jnp.clip(logits, -settings.max_logit, settings.max_logit)
    return (logits, averages, multiplier, optimizer_state), None

  shape = (num_skills, num_states, num_actions)
  logits = settings.init_stddev * jax.random.normal(key, shape)
  multiplier = jnp.full((num_skills,), config.initial_multiplier, jnp.float32)
  policies = jax.nn.softmax(logits)
  averages = domino.Averages(
    jnp.zeros((num_skills,)),
    jax.vmap(lambda policy: occupancy(mdp, policy, gamma))(policies),
  )
  (logits, averages, multiplier, _), _ = jax.lax.scan(
    step,
    (logits, averages, multiplier, optimizer.init(multiplier)),
    length=settings.num_iterations,
  )
  return Plan(jax.nn.softmax(logits), averages, multiplier)
