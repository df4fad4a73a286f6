"""A pure learner as an `acme.Learner`."""

from collections.abc import Iterator
from collections.abc import Sequence
import threading
from typing import Any

from acme import core
from acme.adders import reverb as adders
from acme.utils import counting
from acme.utils import loggers
import jax
import numpy as np

from skills import types
from skills.agents import replay
from skills.learners import base

POLICY = 'policy'
OBJECTIVE = 'objective'


def to_host(tree: Any) -> Any:
  """NumPy copies, which outlive the buffers that the next update reuses."""
  return jax.tree.map(lambda x: np.array(x, copy=True), jax.device_get(tree))


class SkillLearner(core.Learner):
  """Feeds a pure learner from an iterator."""

  def __init__(
    self,
    learner: base.Learner,
    iterator: Iterator[adders.base.Trajectory],
    random_key: types.PRNGKey,
    *,
    updates_per_step: int = 1,
    counter: counting.Counter | None = None,
    logger: loggers.Logger | None = None,
  ):
    """Initialises the learner.

    Args:
      learner: what to run.
      iterator: gives batches for `updates_per_step` updates at once.
      random_key: of the initial state.
      updates_per_step: updates made in one compiled call.
      counter: counts updates as 'steps'.
      logger: gets the metrics of a step's last update.
    """
    self._iterator = iterator
    self._updates_per_step = updates_per_step
    self._counter = counter or counting.Counter(prefix='learner')
    self._logger = logger or loggers.NoOpLogger()
    # Held wherever the state's buffers are read or given away.
    self._lock = threading.Lock()

    def updates(state, items):
      def one(state, item):
        return learner.update(state, replay.to_trajectory(item))

      def split(x):
        return x.reshape((updates_per_step, -1) + x.shape[1:])

      batches = jax.tree.map(split, items)
      # All but the last update drop their metrics, and do not compute them.
      state, _ = jax.lax.scan(
        lambda state, item: (one(state, item)[0], None),
        state,
        jax.tree.map(lambda x: x[:-1], batches),
      )
      state, metrics = one(state, jax.tree.map(lambda x: x[-1], batches))
      return state, variables(state), metrics

    def variables(state):
      return {POLICY: learner.variables(state), OBJECTIVE: state.objective}

    self._updates = jax.jit(updates, donate_argnums=0)
    self._state = jax.jit(learner.init)(random_key)
    # In buffers of their own: the state's are given away at the next update.
    self._make_variables = jax.jit(variables)
    self._variables = to_host(self._make_variables(self._state))

  def step(self) -> None:
    """Makes `updates_per_step` updates; waits for their batches."""
    items = next(self._iterator)
    with self._lock:
      self._state, self._variables, metrics = self._updates(self._state, items)
    counts = self._counter.increment(steps=self._updates_per_step)
    # Not read here: a logger that drops them must not wait for the device.
    self._logger.write({**metrics, **counts})

  def get_variables(self, names: Sequence[str]) -> list[Any]:
    """Copies of the newest variables.

    Args:
      names: `POLICY` for what actors need, `OBJECTIVE` for the objective's
        state, with which evaluators judge skills.
    """
    variables = self._variables
    return [to_host(variables[name]) for name in names]

  def save(self) -> base.State:
    """The state as NumPy arrays."""
    with self._lock:
      return to_host(self._state)

  def restore(self, state: base.State) -> None:
    """Continues from a saved state."""
    with self._lock:
      self._state = jax.device_put(state)
      self._variables = to_host(self._make_variables(self._state))
