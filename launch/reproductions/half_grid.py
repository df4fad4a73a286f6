"""Model and value learned from the left half of a grid.

A grid of 11x11 cells, one of which has a positive reward and one a negative
one. A walk by the uniform policy begins in the middle of the left half and is
reset when it leaves that half, so that there are no data on actions in the
rest. Model, rewards and value are initialized at random and learn from the walk
alone.
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
class Settings:
  """Settings of learning in tables from one half.

  Attributes:
    num_steps: of the walk.
    value_learning_rate: fraction by which a value moves to its target.
    logit_init_stddev: of the transitions' logits.
    table_init_stddev: of rewards and values.
  """

  num_steps: int = 60_000
  value_learning_rate: float = 0.1
  logit_init_stddev: float = 1.0
  table_init_stddev: float = 0.3


def is_seen(grid: gridworlds.Gridworld) -> np.ndarray:
  """Whether each cell lies in the half of the walk."""
  return grid.positions[:, 1] < _HALF


def learn(
  settings: Settings, grid: gridworlds.Gridworld, key: types.PRNGKey
) -> tuple[models.Params, models.ModelUnderPolicy]:
  """Learns the maximum-likelihood model, and a value by TD(0), from a walk.

  Args:
    settings: of learning.
    grid: the environment.
    key: random key.

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

  def draw(init_stddev, key, like):
    return init_stddev * jax.random.normal(key, like.shape)

  logits = draw(settings.logit_init_stddev, keys[0], params.transition)
  initial_reward = draw(settings.table_init_stddev, keys[1], params.reward)
  value = draw(settings.table_init_stddev, keys[2], params.value)

  def step(carry, action):
    state, value, is_known = carry
    next_state, reward = successors[state, action], rewards[state, action]
    error = reward + DISCOUNT * value[next_state] - value[state]
    value = value.at[state].add(settings.value_learning_rate * error)
    is_known = is_known.at[state, action].set(True)
    state = jnp.where(seen[next_state], next_state, grid.start)
    return (state, value, is_known), None

  actions = jax.random.randint(keys[3], (settings.num_steps,), 0, num_actions)
  start = (jnp.int32(grid.start), value, jnp.zeros(rewards.shape, bool))
  (_, value, is_known), _ = jax.lax.scan(step, start, actions)
  # Transitions are deterministic: one observation gives the most likely model.
  # A logit of 60 is certain.
  certain = 60 * jax.nn.one_hot(successors, num_states)
  return params._replace(
    transition=jnp.where(is_known[..., None], certain, logits),
    reward=jnp.where(is_known, rewards, initial_reward),
    value=value,
  ), under_policy


class Learned(NamedTuple):
  """Model and value estimates after the walk.

  Attributes:
    grid: the environment.
    params: of the tabular model.
    members: estimates v^0, ..., v^n of each cell's value.
  """

  grid: gridworlds.Gridworld
  params: models.Params
  members: Float[Array, 'n_plus_1 S']


def learned(num_steps: int, seed: int, settings: Settings) -> Learned:
  """Learns from one half, and estimates the value of every cell.

  Args:
    num_steps: of the estimates, n.
    seed: of all random numbers.
    settings: of learning.
  """
  grid = gridworlds.load('rewards_11')
  key = jax.random.PRNGKey(seed)
  params, under_policy = learn(settings, grid, key)
  members = ive.estimates(
    under_policy,
    params,
    under_policy.encode(params, jnp.arange(grid.mdp.num_states)),
    ive.rollout_keys(key, 1, num_steps),
    discount=DISCOUNT,
  )
  return Learned(grid, params, members)


def half_grid_runs(
  num_steps: Sequence[int], seed: int, settings: Settings = Settings()
) -> dict[str, Any]:
  """Learns from one half, and measures the estimates' spread in both halves.

  Args:
    num_steps: values of n, for each of which the spread is measured.
    seed: of all random numbers.
    settings: of learning.

  Returns:
    `value_error` of each cell, v^0 less the exact value, and `error_0`, its
    root mean square in the unseen half; and for each n its `spread`, `auroc`
    (of the spread, for unseen against seen cells), `seen` and `unseen` (the
    mean spread in each half), `error_n` and `error_mean` (root mean square
    errors of v^n and of the members' mean in the unseen half).
  """
  grid, _, members = learned(max(num_steps), seed, settings)
  shape = grid.mdp.rewards.shape
  exact = grid.mdp.state_values(np.full(shape, 1 / shape[1]), DISCOUNT)
  seen = is_seen(grid)

  def error(estimate: Float[Array, 'S'] | np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(estimate - exact)[~seen])))

  found: dict[str, Any] = {
    'error_0': error(members[0]),
    'value_error': (np.asarray(members[0]) - exact).tolist(),
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
  params: models.Params, value: Float[Array, 'S']
) -> Float[np.ndarray, 'S A']:
  """Greedy policy of one step in the model: argmax_a r(s, a) + g E v(s').

  Args:
    params: of the model of r and of transitions.
    value: v.
  """
  transitions = np.asarray(jax.nn.softmax(params.transition))
  q = np.asarray(params.reward) + DISCOUNT * transitions @ np.asarray(value)
  return np.eye(q.shape[1])[q.argmax(axis=-1)]


def lost_return(
  grid: gridworlds.Gridworld, policy: Float[np.ndarray, 'S A']
) -> Float[np.ndarray, 'S']:
  """Optimal value of each state less the policy's value."""
  optimal = grid.mdp.optimal_values(DISCOUNT)
  return optimal - grid.mdp.state_values(policy, DISCOUNT)


def time_unseen(
  grid: gridworlds.Gridworld, policy: Float[np.ndarray, 'S A']
) -> Float[np.ndarray, 'S']:
  """Discounted share of future time in the unseen half, in [0, 1].

  Args:
    grid: the environment.
    policy: whose time it is, from each state.
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
  settings: Settings = Settings(),
) -> dict[str, dict[str, Any]]:
  """Learns from one half, and plans in the whole grid.

  Args:
    num_steps: of the estimates, n.
    betas: standard deviations that are added to the estimates' mean.
    seed: of all random numbers.
    settings: of learning.

  Returns:
    For each single estimate, `v^k`, and for each `mean + beta std`: `lost`, the
    `lost_return` from each cell; `seen` and `unseen`, its means over each half;
    and `strayed`, the mean of `time_unseen` over the seen half.
  """
  grid, params, members = learned(num_steps, seed, settings)
  seen = is_seen(grid)
  values = {f'v^{k}': member for k, member in enumerate(members)}
  values |= {plan_name(beta): ive.signal(members, beta) for beta in betas}
  found = {}
  for name, value in values.items():
    policy = plan(params, value)
    lost = lost_return(grid, policy)
    found[name] = {
      'lost': lost.tolist(),
      'seen': float(lost[seen].mean()),
      'unseen': float(lost[~seen].mean()),
      'strayed': float(time_unseen(grid, policy)[seen].mean()),
    }
  return found


def plan_name(beta: float) -> str:
  """Label of a plan on mean + beta std."""
  return MEAN if beta == 0 else f'{MEAN} {beta:+g} std'
