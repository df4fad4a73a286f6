"""Random Markov decision processes (Garnet-like), without any geometry.

Each action of each state leads to `branching` states drawn without
replacement, with probabilities uniform among all distributions over them. Some
of the pairs of state and action, chosen at random, pay a reward drawn from a
standard normal distribution; the others pay nothing. Nothing is terminal, and
episodes start anywhere.

Exact values are those of `tabular_mdp.TabularMDP`.
"""

from typing import Any
from typing import Literal
from typing import NamedTuple

import numpy as np

from envs import base
from envs.tabular import environment as tabular_environment
from envs.tabular import mdp as tabular_mdp
from skills import checks


class Sizes(NamedTuple):
  """Size of a process, and how often it pays.

  Attributes:
    num_states: S.
    num_actions: A.
    branching: number of states that an action may lead to, at most S.
    rewarded: probability that a pair of state and action pays, in [0, 1].
  """

  num_states: int
  num_actions: int
  branching: int
  rewarded: float


TASKS = {
  'dense': Sizes(20, 4, 4, 1.0),
  'sparse': Sizes(30, 4, 3, 0.2),
}


def draw(
  sizes: Sizes, instance: int, *, horizon: int | None = None
) -> tabular_mdp.TabularMDP:
  """Draws a process.

  Args:
    sizes: of the process.
    instance: its number, which seeds transitions and rewards.
    horizon: environment steps of an episode; None for no end.

  Raises:
    ValueError: if a size cannot be.
  """
  for name in ('num_states', 'num_actions'):
    checks.integer(name, getattr(sizes, name), 1)
  checks.integer('branching', sizes.branching, 1, sizes.num_states)
  base.check_probability('rewarded', sizes.rewarded)
  checks.integer('instance', instance, 0)
  rng = np.random.default_rng(instance)
  pairs = (sizes.num_states, sizes.num_actions)
  # The first few of a shuffled list are a draw without replacement.
  everywhere = np.broadcast_to(
    np.arange(sizes.num_states), (*pairs, sizes.num_states)
  )
  following = rng.permuted(everywhere, axis=-1)[..., : sizes.branching]
  transitions = np.zeros((*pairs, sizes.num_states))
  np.put_along_axis(
    transitions,
    following,
    rng.dirichlet(np.ones(sizes.branching), size=pairs),
    axis=-1,
  )
  pays = rng.random(pairs) < sizes.rewarded
  return tabular_mdp.TabularMDP(
    transitions=transitions,
    rewards=rng.standard_normal(pairs) * pays,
    terminal=np.zeros(sizes.num_states, bool),
    initial=np.full(sizes.num_states, 1 / sizes.num_states),
    horizon=horizon,
  )


def make(
  task: str,
  *,
  seed: int,
  instance: int = 0,
  num_states: int | Literal['default'] = 'default',
  num_actions: int | Literal['default'] = 'default',
  branching: int | Literal['default'] = 'default',
  rewarded: float | Literal['default'] = 'default',
  horizon: int | None = None,
) -> tabular_environment.TabularEnvironment:
  """A random process as an environment.

  Args:
    task: a key of `TASKS`.
    seed: of what happens in the process.
    instance: seed of the process itself; see `draw`.
    num_states: see `Sizes`, as the next three; 'default' for the task's own.
    num_actions: A.
    branching: number of states that an action may lead to.
    rewarded: share of the pairs of state and action that pay.
    horizon: environment steps of an episode; None for no end.
  """
  changes: dict[str, Any] = {
    'num_states': num_states,
    'num_actions': num_actions,
    'branching': branching,
    'rewarded': rewarded,
  }
  sizes = TASKS[task]._replace(
    **{name: size for name, size in changes.items() if size != 'default'}
  )
  return tabular_environment.TabularEnvironment(
    draw(sizes, instance, horizon=horizon), seed=seed
  )
