"""A pure learner as an `acme.Learner`."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import threading
from typing import Any

from acme import core
from acme.adders import reverb as adders
from acme.utils import counting
from acme.utils import loggers
import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
import numpy as np

from skills import types
from skills.agents import sharding
from skills.agents.replay import priorities
from skills.agents.replay import reader as replay_reader
from skills.agents.replay import stalls
from skills.learners import base
from skills.objectives import base as objectives

POLICY = 'policy'
OBJECTIVE = 'objective'


def to_host(tree: Any) -> Any:
  """NumPy copies: the next update reuses the buffers of the originals."""
  return jax.tree.map(lambda x: np.array(x, copy=True), jax.device_get(tree))


def parameter_age(
  item: adders.base.Trajectory, steps: Int[Array, '']
) -> Float[Array, '']:
  """Mean age, in updates, of the parameters that chose a batch's actions.

  Args:
    item: batch-major, from a `reader.SampleIterator`.
    steps: the learner's number of updates.
  """
  is_real = item.extras['skill_step'][:, :-1] > 0
  # A restored learner may have fewer updates than its actors' parameters had.
  age = jnp.maximum(steps - item.extras['learner_step'][:, :-1], 0)
  return objectives.masked_mean(
    age.astype(jnp.float32), is_real.astype(jnp.float32)
  )


def make_updates(
  learner: base.Learner,
  *,
  burn_in: int,
  importance_exponent: float,
  has_priorities: bool,
) -> Callable[[Any, Any], tuple[Any, types.Metrics, Any]]:
  """Makes the function that learns from several batches in turn.

  It maps a state and batches of items `[U, B, ...]` to the state after U
  updates, the metrics of the last one, and the priorities `[U, B]` of the
  items, `()` without priorities.
  """

  def update(state, item):
    age = parameter_age(item, state.steps)
    trajectory = replay_reader.to_trajectory(
      item, burn_in=burn_in, importance_exponent=importance_exponent
    )
    if has_priorities:
      assert learner.update_with_priorities is not None
      state, metrics, priorities = learner.update_with_priorities(
        state, trajectory
      )
    else:
      state, metrics = learner.update(state, trajectory)
      priorities = ()
    return state, {**metrics, 'parameter_age': age}, priorities

  def updates(state, batches):
    # Only the last update returns its metrics: those of the others need not
    # be computed.
    def step(state, item):
      state, _, priorities = update(state, item)
      return state, priorities

    state, first = jax.lax.scan(
      step, state, jax.tree.map(lambda x: x[:-1], batches)
    )
    state, metrics, last = update(state, jax.tree.map(lambda x: x[-1], batches))
    priorities = jax.tree.map(
      lambda x, y: jnp.concatenate([x, y[None]]), first, last
    )
    return state, metrics, priorities

  return updates


class SkillLearner(core.Learner):
  """Runs a pure learner on batches from an iterator.

  Several devices may share each batch; the results are the same. They may be
  those of several processes (`sharding.join`), each with such a learner. Then
  all processes step together, and if one must stop, all stop after the same
  number of updates.
  """

  def __init__(
    self,
    learner: base.Learner,
    iterator: Iterator[adders.base.Trajectory],
    random_key: types.PRNGKey,
    *,
    updates_per_step: int = 1,
    burn_in: int = 0,
    importance_exponent: float = 0.0,
    priority_writer: priorities.PriorityWriter | None = None,
    devices: Sequence[jax.Device] | None = None,
    counter: counting.Counter | None = None,
    logger: loggers.Logger | None = None,
  ):
    """Initializes the learner.

    Args:
      learner: the pure learner.
      iterator: gives batches for `updates_per_step` updates at once; with
        several processes, this one's part of them.
      random_key: of the initial state; the same in all processes.
      updates_per_step: updates made in one compiled call.
      burn_in: steps before each skill in the batches.
      importance_exponent: as in `ReplayConfig`.
      priority_writer: gets the priorities of each batch; None if replay has
        none.
      devices: share each batch, those of a process side by side; None for JAX's
        default device alone.
      counter: counts updates as 'steps'.
      logger: gets the metrics of a step's last update.
    """
    self._iterator = iterator
    self._updates_per_step = updates_per_step
    self._counter = counter or counting.Counter(prefix='learner')
    self._logger = logger or loggers.NoOpLogger()
    self._placement = None if devices is None else sharding.Placement(devices)
    self._priority_writer = priority_writer
    # Held wherever the state's buffers are read or donated.
    self._lock = threading.Lock()
    self._compile(
      learner,
      make_updates(
        learner,
        burn_in=burn_in,
        importance_exponent=importance_exponent,
        has_priorities=priority_writer is not None,
      ),
      random_key,
    )
    # In buffers of their own: the next update reuses those of the state.
    self._variables = to_host(self._make_variables(self._state))
    # With several processes: the newest batches and the keys of their items,
    # and of the step that learned from them the metrics and whether it was
    # the one to stop at.
    self._batches = None
    self._keys: np.ndarray | None = None
    self._last: tuple[types.Metrics, Array] | None = None

  def _compile(
    self,
    learner: base.Learner,
    updates: Callable[[Any, Any], tuple[Any, types.Metrics, Any]],
    random_key: types.PRNGKey,
  ) -> None:
    """Makes the compiled functions and the initial state."""

    def variables(state):
      return {POLICY: learner.variables(state), OBJECTIVE: state.objective}

    def step(state, batches):
      state, metrics, priorities = updates(state, batches)
      return state, variables(state), metrics, priorities

    def step_unless_stopping(state, batches, flags):
      after, metrics, priorities = updates(state, batches)
      is_stopping = jnp.any(flags)
      state = jax.tree.map(
        lambda x, y: jnp.where(is_stopping, x, y), state, after
      )
      return state, variables(state), metrics, priorities, is_stopping

    self._make_variables = jax.jit(variables)
    if self._placement is None:
      self._updates = jax.jit(
        lambda state, items: step(state, self._split(items)), donate_argnums=0
      )
      self._state = jax.jit(learner.init)(random_key)
      return
    everywhere = self._placement.everywhere
    by_batch = self._placement.by_batch
    has_priorities = self._priority_writer is not None
    out_shardings = [everywhere, everywhere, everywhere]
    out_shardings.append(by_batch if has_priorities else everywhere)
    if self._placement.is_shared:
      out_shardings.append(everywhere)
    self._updates = jax.jit(
      step_unless_stopping if self._placement.is_shared else step,
      donate_argnums=0,
      out_shardings=tuple(out_shardings),
    )
    self._state = jax.jit(learner.init, out_shardings=everywhere)(
      self._placement.copies(random_key)
    )

  def _split(self, items: adders.base.Trajectory) -> adders.base.Trajectory:
    """Reshapes the items of a step, `[U * B, ...]`, to `[U, B, ...]`."""
    return jax.tree.map(
      lambda x: x.reshape((self._updates_per_step, -1) + x.shape[1:]), items
    )

  def step(self) -> None:
    """Makes `updates_per_step` updates; waits for their batches.

    With several processes a step is counted and logged by the next one, when
    it is known that no process was stopping.

    Raises:
      StoppedError: if another process stops.
      Exception: from the iterator, once the other processes know.
    """
    if self._placement is not None and self._placement.is_shared:
      self._step_together(self._placement)
      return
    items = next(self._iterator)
    keys = items.extras.get(replay_reader.KEY)
    if self._placement is not None:
      items = self._placement.parts(self._split(items))
    with self._lock:
      self._state, self._variables, metrics, priorities = self._updates(
        self._state, items
      )
    self._send(keys, priorities)
    self._report(metrics)

  def _step_together(self, placement: sharding.Placement) -> None:
    failure = None
    try:
      items = next(self._iterator)
      self._keys = items.extras.get(replay_reader.KEY)
      self._batches = placement.parts(self._split(items))
    except Exception as error:
      # The others may already be in a step that waits for this process.
      failure = error
    is_stopping = failure is not None
    if self._last is None:
      # Without a first batch a process could not take part in a step.
      self._last = {}, placement.any(is_stopping)
    metrics, is_over = self._last
    if is_over:
      raise failure or stalls.StoppedError
    if metrics:
      self._report(metrics)
    with self._lock:
      self._state, self._variables, metrics, priorities, is_over = (
        self._updates(self._state, self._batches, placement.flags(is_stopping))
      )
    self._last = metrics, is_over
    if failure is not None:
      # A process that leaves during that step takes the others down.
      is_over.block_until_ready()
      raise failure
    self._send(self._keys, priorities)

  def _send(self, keys: Any, priorities: Any) -> None:
    if self._priority_writer is None:
      return
    parts = [priorities]
    if self._placement is not None:
      parts = self._placement.own(priorities)
    # The writer's threads read them: this one must not wait for the device.
    self._priority_writer.write(np.asarray(keys), parts)

  def close(self) -> None:
    """Stops the priority writer, if any."""
    if self._priority_writer is not None:
      self._priority_writer.close()

  def _report(self, metrics: types.Metrics) -> None:
    counts = self._counter.increment(steps=self._updates_per_step)
    # Metrics stay on the device, for which a logger that drops them need not
    # wait.
    self._logger.write({**metrics, **counts})

  def get_variables(self, names: Sequence[str]) -> list[Any]:
    """Copies of the newest variables.

    Args:
      names: `POLICY` for the variables of actors, `OBJECTIVE` for the
        objective's state, by which evaluators measure skills.
    """
    variables = self._variables
    return [to_host(variables[name]) for name in names]

  def save(self) -> base.LearnerState:
    """The state as NumPy arrays."""
    with self._lock:
      return to_host(self._state)

  def restore(self, state: base.LearnerState) -> None:
    """Continues from a saved state."""
    with self._lock:
      self._state = (
        jax.device_put(state)
        if self._placement is None
        else self._placement.copies(state)
      )
      self._variables = to_host(self._make_variables(self._state))
