"""What model and value disagree about where there were no data.

A grid of 11x11 cells of which one pays and one costs. A walk by the uniform
policy begins in the middle of the left half, and begins anew when it leaves
that half, so that no action was ever taken in the rest. Model, rewards and
value begin random, and learn from the walk alone.
"""

from collections.abc import Sequence
import dataclasses
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
import numpy as np

from envs import gridworlds
from envs.tabular import mdp as tabular_mdp
from skills import types
from skills.evaluation import metrics
from skills.networks import models
from skills.objectives import ive

DISCOUNT = 0.9
_HALF = 5  # Columns of the left half, of 11.
MEAN = 'mean'


@dataclasses.dataclass(frozen=True, kw_only=True)
class HalfGrid:
  """How tables learn from one half.

  Attributes:
    num_steps: of the walk.
    value_learning_rate: how far a value moves towards its target.
    logit_deviation: of the random transitions' logits at first.
    table_deviation: of rewards and values at first.
  """

  num_steps: int = 60_000
  value_learning_rate: float = 0.1
  logit_deviation: float = 1.0
  table_deviation: float = 0.3


def is_seen(grid: gridworlds.Gridworld) -> np.ndarray:
  """Of each cell, whether it lies in the half in which the walk is made."""
  return grid.positions[:, 1] < _HALF


def learn(
  settings: HalfGrid, grid: gridworlds.Gridworld, key: types.PRNGKey
) -> tuple[models.Params, models.ModelUnderPolicy]:
  """Walks, and learns the most likely model and a value by TD(0).

  Args:
    settings: how.
    grid: the world.
    key: of all that is drawn.

  Returns:
    A model of tables, whose steps are expectations under the uniform policy.
  """
  num_states, num_actions = grid.mdp.rewards.shape
  successors = jnp.asarray(grid.mdp.successors)
  rewards = jnp.asarray(grid.mdp.rewards, jnp.float32)
  seen = jnp.asarray(is_seen(grid))
  keys = jax.random.split(key, 4)
  policy = jnp.full((num_states, num_actions), 1 / num_actions)
  params, under_policy = models.table(num_states, num_actions, policy)
  deviations = (
    settings.logit_deviation,
    settings.table_deviation,
    settings.table_deviation,
  )
  logits, paid, value = (
    deviation * jax.random.normal(key, like.shape)
    for deviation, key, like in zip(
      deviations, keys, (params.transition, params.reward, params.value)
    )
  )

  def step(carry, action):
    state, value, is_known = carry
    following, reward = successors[state, action], rewards[state, action]
    error = reward + DISCOUNT * value[following] - value[state]
    value = value.at[state].add(settings.value_learning_rate * error)
    is_known = is_known.at[state, action].set(True)
    state = jnp.where(seen[following], following, grid.start)
    return (state, value, is_known), None

  actions = jax.random.randint(keys[3], (settings.num_steps,), 0, num_actions)
  start = (jnp.int32(grid.start), value, jnp.zeros(rewards.shape, bool))
  (_, value, is_known), _ = jax.lax.scan(step, start, actions)
  # Of a world without chance the most likely model is what happened once. A
  # logit of 60 is certain.
  certain = 60 * jax.nn.one_hot(successors, num_states)
  return params._replace(
    transition=jnp.where(is_known[..., None], certain, logits),
    reward=jnp.where(is_known, rewards, paid),
    value=value,
  ), under_policy


class Learned(NamedTuple):
  """What is known after the walk.

  Attributes:
    grid: the world.
    params: of the model of tables.
    members: each cell's n + 1 estimates.
  """

  grid: gridworlds.Gridworld
  params: models.Params
  members: Float[Array, 'n_plus_1 S']


def learned(num_steps: int, seed: int, settings: HalfGrid) -> Learned:
  """Learns from one half, and estimates what every cell is worth.

  Args:
    num_steps: of the estimates, n.
    seed: of all random numbers.
    settings: how.
  """
  grid = gridworlds.load('rewards_11')
  key = jax.random.PRNGKey(seed)
  params, under_policy = learn(settings, grid, key)
  members = ive.estimates(
    under_policy,
    params,
    under_policy.encode(params, jnp.arange(grid.mdp.num_states)),
    key,
    num_steps=num_steps,
    num_rollouts=1,
    discount=DISCOUNT,
  )
  return Learned(grid, params, members)


def half_grid_runs(
  num_steps: Sequence[int], seed: int, settings: HalfGrid = HalfGrid()
) -> dict[str, Any]:
  """Learns from one half, and compares both.

  Args:
    num_steps: for each of which the estimates' spread is measured, n.
    seed: of all random numbers.
    settings: how.

  Returns:
    `value_error` of each cell, v^0 less the exact value; and for each n its
    `spread`, `auroc`, how well the spread tells a cell without data from one
    with; `seen` and `unseen`, the mean spread in both; `error_0`, `error_n` and
    `error_mean`, the root mean square of the errors of v^0, of v^n and of the
    members' mean where there were no data.
  """
  grid, _, members = learned(max(num_steps), seed, settings)
  shape = grid.mdp.rewards.shape
  right = grid.mdp.state_values(np.full(shape, 1 / shape[1]), DISCOUNT)
  seen = is_seen(grid)

  def error(estimate: Float[Array, 'S'] | np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(estimate - right)[~seen])))

  found: dict[str, Any] = {
    'error_0': error(members[0]),
    'value_error': (np.asarray(members[0]) - right).tolist(),
  }
  for n in num_steps:
    some = members[: n + 1]
    spread = np.asarray(ive.spread(some))
    found[str(n)] = {
      'spread': spread.tolist(),
      'auroc': metrics.auroc(spread[~seen], spread[seen]),
      'seen': float(spread[seen].mean()),
      'unseen': float(spread[~seen].mean()),
      'error_n': error(members[n]),
      'error_mean': error(ive.mean(some)),
    }
  return found


def plan(
  params: models.Params, worth: Float[Array, 'S']
) -> Float[np.ndarray, 'S A']:
  """The policy that does in each state what r(s, a) + g E v(s') is largest for.

  Args:
    params: of the model that says r and where an action leads.
    worth: v, of each state.
  """
  transitions = np.asarray(jax.nn.softmax(params.transition))
  q = np.asarray(params.reward) + DISCOUNT * transitions @ np.asarray(worth)
  return np.eye(q.shape[1])[q.argmax(axis=-1)]


def lost(
  grid: gridworlds.Gridworld, policy: Float[np.ndarray, 'S A']
) -> Float[np.ndarray, 'S']:
  """The largest possible return from each state less a policy's, discounted."""
  best = grid.mdp.optimal_values(DISCOUNT)
  return best - grid.mdp.state_values(policy, DISCOUNT)


def time_unseen(
  grid: gridworlds.Gridworld, policy: Float[np.ndarray, 'S A']
) -> Float[np.ndarray, 'S']:
  """Of the time to come, the discounted share for which it leads out of sight.

  Args:
    grid: the world.
    policy: of it.

  Returns:
    For each state that one may start in, in 0..1.
  """
  counted = tabular_mdp.TabularMDP(
    successors=grid.mdp.successors,
    rewards=1.0 - is_seen(grid)[grid.mdp.successors],
    terminal=grid.mdp.terminal,
    initial=grid.mdp.initial,
  )
  return (1 - DISCOUNT) * counted.state_values(policy, DISCOUNT)


def half_grid_plans(
  num_steps: int,
  betas: Sequence[float],
  seed: int,
  settings: HalfGrid = HalfGrid(),
) -> dict[str, dict[str, Any]]:
  """Learns from one half, and acts everywhere by what was learned.

  Args:
    num_steps: of the estimates, n.
    betas: deviations that are added to the estimates' mean.
    seed: of all random numbers.
    settings: how.

  Returns:
    For each single estimate, `v^k`, and for each `mean + beta std`: `lost` from
    each cell, its means `seen` and `unseen` over those that the walk was in and
    over the others, and `strayed`, the mean of `time_unseen` over the former.
  """
  grid, params, members = learned(num_steps, seed, settings)
  seen = is_seen(grid)
  worths = {f'v^{k}': member for k, member in enumerate(members)}
  worths |= {plan_name(beta): ive.signal(members, beta) for beta in betas}
  found = {}
  for name, worth in worths.items():
    policy = plan(params, worth)
    own = lost(grid, policy)
    found[name] = {
      'lost': own.tolist(),
      'seen': float(own[seen].mean()),
      'unseen': float(own[~seen].mean()),
      'strayed': float(time_unseen(grid, policy)[seen].mean()),
    }
  return found


def plan_name(beta: float) -> str:
  """What acting by mean and deviation is called."""
  return MEAN if beta == 0 else f'{MEAN} {beta:+g} std'
