"""What a learner is."""

from collections.abc import Callable
from typing import NamedTuple

from skills import types

State = types.PyTree


class Learner(NamedTuple):
  """A pure update step.

  Attributes:
    init: random key -> state.
    update: state, trajectory -> next state and metrics; jit it, and donate the
      state.
    variables: state -> what actors need.
  """

  init: Callable[[types.PRNGKey], State]
  update: Callable[[State, types.Trajectory], tuple[State, types.Metrics]]
  variables: Callable[[State], types.PyTree]
