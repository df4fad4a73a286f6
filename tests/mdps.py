"""Small Markov decision processes whose answers are known."""

import numpy as np

from envs.tabular import mdp as tabular_mdp

NUM_STATES = 6
NUM_ACTIONS = 3


def two_states(**changes) -> tabular_mdp.TabularMDP:
  """Action 1 goes from state 0 to 1 for reward 2, 1 back for 0; 0 stays.

  Staying pays 0 in state 0 and 1 in state 1.
  """
  fields = {
    'transitions': [[[1, 0], [0, 1]], [[0, 1], [1, 0]]],
    'rewards': [[0, 2], [1, 0]],
    'terminal': np.array([False, False]),
    'initial': [1, 0],
  }
  return tabular_mdp.TabularMDP(**{**fields, **changes})


def corridor(**changes) -> tabular_mdp.TabularMDP:
  """States 0 -> 1 -> 2 by action 1, action 0 stays; 2 is terminal.

  The last move pays 3. What the terminal rows say must not matter.
  """
  transitions = np.zeros((3, 2, 3))
  transitions[[0, 1], 0, [0, 1]] = 1
  transitions[[0, 1], 1, [1, 2]] = 1
  transitions[2, :, 0] = 1
  fields = {
    'transitions': transitions,
    'rewards': [[0, 0], [0, 3], [7, 7]],
    'terminal': np.array([False, False, True]),
    'initial': [1, 0, 0],
  }
  return tabular_mdp.TabularMDP(**{**fields, **changes})


def random_mdp(
  terminal=(False,) * NUM_STATES, horizon=None, seed=0
) -> tabular_mdp.TabularMDP:
  """A stochastic MDP with impossible transitions and a random first state."""
  rng = np.random.default_rng(seed)
  transitions = rng.dirichlet(
    np.full(NUM_STATES, 0.5), size=(NUM_STATES, NUM_ACTIONS)
  )
  transitions *= rng.random(transitions.shape) < 0.7
  transitions[..., 1] += 1e-3
  transitions /= transitions.sum(axis=-1, keepdims=True)
  initial = rng.dirichlet(np.ones(NUM_STATES)) * ~np.array(terminal)
  return tabular_mdp.TabularMDP(
    transitions=transitions,
    rewards=rng.normal(size=(NUM_STATES, NUM_ACTIONS)),
    terminal=np.array(terminal),
    initial=initial / initial.sum(),
    horizon=horizon,
  )


def with_terminals(horizon=None) -> tabular_mdp.TabularMDP:
  return random_mdp((False, False, False, True, False, True), horizon)


def random_policy(mdp, seed=1):
  rng = np.random.default_rng(seed)
  return rng.dirichlet(np.ones(mdp.num_actions), size=mdp.num_states)
