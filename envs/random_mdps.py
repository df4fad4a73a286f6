"""Random Markov decision processes, in which nothing is given by geometry.

Each action of each state leads to `branching` states drawn without
replacement, with probabilities uniform among all distributions over them. Some
of the pairs of state and action, chosen at random, pay a reward drawn from a
standard normal distribution; the others pay nothing. Nothing is terminal, and
episodes start anywhere.

Exact values are those of `tabular_mdp.TabularMDP`.
"""

from typing import NamedTuple

import numpy as np

from envs.tabular import mdp as tabular_mdp
from skills import checks


class Sizes(NamedTuple):
  """How large a world is and how much it pays.

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


def make(
  sizes: Sizes, world: int, *, horizon: int | None = None
) -> tabular_mdp.TabularMDP:
  """Draws a world.

  Args:
    sizes: of it.
    world: its number, which seeds all that is random in it.
    horizon: environment steps of an episode; None for no end.

  Raises:
    ValueError: if a size cannot be.
  """
  for name in ('num_states', 'num_actions'):
    checks.integer(name, getattr(sizes, name), 1)
  checks.integer('branching', sizes.branching, 1, sizes.num_states)
  rewarded = sizes.rewarded
  if not isinstance(rewarded, (int, float)) or not 0 <= rewarded <= 1:
    raise ValueError(f'rewarded must be a number in [0, 1], got {rewarded!r}.')
  checks.integer('world', world, 0)
  rng = np.random.default_rng(world)
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
