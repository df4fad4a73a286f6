"""Control tasks in batches, stepped by MuJoCo's own functions.

    environments = control_batch.ControlBatch('walker_stand', seeds=range(64))

Environment i has the episodes of `control.make(task, seed=seeds[i])`, number by
number: dm_control itself begins each episode, with a random generator of the
environment's own, and a step makes the calls of dm_control in their order. What
dm_control does in Python for each environment, observations and rewards, is
computed for all of them at once by `envs/control_tasks.py`.

All environments share one model, so that a batch takes little more memory than
one environment does, and `perturbations.apply(environments.physics, ...)`
perturbs all of them alike.
"""

from collections.abc import Sequence
import itertools
from typing import Any

import dm_env
from dm_env import specs
from jaxtyping import Bool
from jaxtyping import Float
import numpy as np

from envs import batched
from envs import control
from envs import control_tasks
from skills import checks

_FIRST, _MID, _LAST = map(int, dm_env.StepType)


def supports(
  task: str, *, observation: str = 'features', **options: object
) -> bool:
  """Whether there is a batch for a task and the options of `control.make`."""
  del options
  return task in control_tasks.TASKS and observation == 'features'


def make_batch(
  task: str,
  *,
  seeds: Sequence[int],
  first_lengths: Sequence[int] | None = None,
  **options: Any,
) -> batched.BatchedEnvironment:
  """A batch for `factory.make_batch`, with the arguments of `ControlBatch`."""
  return ControlBatch(task, seeds=seeds, first_lengths=first_lengths, **options)


class ControlBatch:
  """Environments of a control task with a vector as observation."""

  def __init__(
    self,
    task: str,
    *,
    seeds: Sequence[int],
    first_lengths: Sequence[int] | None = None,
    **options: Any,
  ):
    """Loads the task; episodes begin with `reset`.

    Args:
      task: a key of `control_tasks.TASKS`.
      seeds: of all the randomness of each environment, as `control.make` has
        them.
      first_lengths: steps after which first episodes are truncated; see
        `batched.Serial`.
      **options: of `control.make`, but for pixels.

    Raises:
      ValueError: if an argument is unknown or out of range.
    """
    checks.one_of('control task in batches', task, control_tasks.TASKS)
    checks.integer('number of environments', len(seeds), 1)
    # Begins the episodes of all environments.
    self._starter = starter = control.make(task, seed=seeds[0], **options)
    if not starter.observation_slices:
      raise ValueError(
        "batches have observation 'features'; pixels need an environment each,"
        ' as in batched.Serial.'
      )
    for seed in seeds:
      checks.integer('seed', seed, 0, control.MAX_SEED)
    self._action_shape = starter.action_spec().shape
    self._random_states = [
      np.random.RandomState(seed).get_state() for seed in seeds
    ]
    self._first_lengths = batched.check_first_lengths(first_lengths, len(seeds))
    self._steps_left = self._first_lengths.copy()
    self._needs_reset = np.ones(len(seeds), bool)
    self._num_steps = np.zeros(len(seeds), int)
    self._simulations = _Simulations(starter, task, len(seeds))

  @property
  def num_environments(self) -> int:
    """N."""
    return len(self._random_states)

  @property
  def physics(self) -> Any:
    """The simulation that begins episodes, a `dm_control` physics.

    Its model is that of all environments: changes to `physics.model` last,
    except to what the task itself draws for each episode.
    """
    return self._starter.physics

  def observation_spec(self) -> specs.BoundedArray:
    """An unbounded vector."""
    return self._starter.observation_spec()

  def action_spec(self) -> specs.BoundedArray:
    """In [-1, 1], float32."""
    return self._starter.action_spec()

  def reward_spec(self) -> specs.BoundedArray:
    """A float32 scalar in [0, action_repeat]."""
    return self._starter.reward_spec()

  def discount_spec(self) -> specs.BoundedArray:
    """A float32 scalar in [0, 1]."""
    return self._starter.discount_spec()

  def reset(self) -> dm_env.TimeStep:
    """Begins an episode in every environment."""
    self._steps_left = self._first_lengths.copy()
    self._needs_reset[:] = True
    return self._step(np.zeros((self.num_environments, *self._action_shape)))

  def step(self, action: Float[np.ndarray, 'N A']) -> dm_env.TimeStep:
    """Holds actions, or begins an episode where none is under way.

    Args:
      action: finite, clipped to the bounds; ignored where an episode begins.

    Returns:
      The time steps; see `batched.BatchedEnvironment`.

    Raises:
      ValueError: if the actions' shape is wrong or one is not finite.
    """
    action = np.asarray(action)
    batched.check_count(action, self.num_environments)
    if action.shape[1:] != self._action_shape:
      raise ValueError(
        f'environment 0: action must have shape {self._action_shape}, got'
        f' {action.shape[1:]}.'
      )
    # MuJoCo would only warn, and go on from a state that is no longer one.
    if not np.isfinite(action).all():
      is_wrong = ~np.isfinite(action).all(axis=1) & ~self._needs_reset
      if is_wrong.any():
        i = is_wrong.argmax()
        raise ValueError(
          f'environment {i}: action must be finite, got {action[i]}.'
        )
    self._steps_left -= 1
    return self._step(action)

  def _step(self, action: Float[np.ndarray, 'N A']) -> dm_env.TimeStep:
    """Steps the environments, without checks."""
    begins = self._needs_reset
    self._num_steps[begins] = 0
    control_ = self._starter.rescaled(action)
    reward = np.zeros(self.num_environments)
    is_active = ~begins
    limit = self._starter.step_limit
    for _ in range(self._starter.action_repeat):
      if not is_active.any():
        break
      reward += self._simulations.step(control_, is_active)
      self._num_steps += is_active
      is_active = is_active & (self._num_steps < limit)
    observation = self._simulations.observe()
    for i in np.flatnonzero(begins):
      observation[i] = self._begin(i)
    is_last = ~begins & (self._num_steps >= limit)
    is_last |= self._steps_left == 0
    self._steps_left[is_last] = -1
    self._needs_reset = is_last
    return dm_env.TimeStep(
      np.where(begins, _FIRST, np.where(is_last, _LAST, _MID)).astype(np.int32),
      reward.astype(np.float32),
      np.ones(self.num_environments, np.float32),
      observation,
    )

  def _begin(self, i: int) -> Float[np.ndarray, 'D']:
    """Begins an episode of environment i, and returns its observation."""
    random = self._starter.suite_environment.task.random
    random.set_state(self._random_states[i])
    observation = self._starter.reset().observation
    self._random_states[i] = random.get_state()
    self._simulations.begin(i)
    return observation

  def close(self) -> None:
    """Frees the simulations."""
    self._starter.close()


def _mujoco() -> Any:
  """The MuJoCo package, imported when an environment is made."""
  import mujoco

  return mujoco


class _Simulations:
  """The simulations of N environments that share a model.

  MuJoCo writes into memory of its own for each environment. What a task reads
  is copied from there into arrays with a leading axis N, through views that are
  made once.
  """

  def __init__(self, starter: control.ControlEnvironment, task: str, num: int):
    """Makes N simulations, in which nothing has begun yet.

    Args:
      starter: an environment of the task, whose model they use.
      task: a key of `control_tasks.TASKS`.
      num: N.
    """
    self._mujoco = mujoco = _mujoco()
    self._physics = starter.physics
    self._model = model = starter.physics.model.ptr
    seconds = starter.suite_environment.control_timestep()
    self._num_substeps = round(seconds / model.opt.timestep)
    self._task = control_tasks.TASKS[task](model)
    self._datas = datas = [mujoco.MjData(model) for _ in range(num)]
    self._fields = control_tasks.Data()
    # For each environment pairs of arrays, (to, from): what is copied before
    # a step, after it, and when an episode begins.
    before = [[] for _ in datas]
    after = [[] for _ in datas]
    self._begin = [[] for _ in datas]
    self._control = np.zeros((num, model.nu))
    for pairs, row, data in zip(before, self._control, datas, strict=True):
      pairs.append((data.ctrl, row))
    for name in self._task.drawn:
      own = getattr(model, name)
      for i, row in enumerate(np.repeat(own[None], num, axis=0)):
        before[i].append((own, row))
        self._begin[i].append((row, own))
    for name in self._task.fields:
      views = [getattr(data, name) for data in datas]
      stacked = np.stack(views)
      setattr(self._fields, name, stacked)
      for pairs, row, view in zip(after, stacked, views, strict=True):
        pairs.append((row, view))
    counts = [data.warning.number for data in datas]
    self._warnings = np.stack(counts)
    for pairs, row, view in zip(after, self._warnings, counts, strict=True):
      pairs.append((row, view))
    self._known_warnings = self._warnings.copy()
    self._steps = list(zip(datas, before, after, strict=True))

  def begin(self, i: int) -> None:
    """Begins an episode of environment i where the starter is."""
    data = self._datas[i]
    self._mujoco.mj_copyData(data, self._model, self._physics.data.ptr)
    self._known_warnings[i] = data.warning.number
    for to, of in self._begin[i]:
      to[...] = of

  def step(
    self, control: Float[np.ndarray, 'N A'], is_active: Bool[np.ndarray, 'N']
  ) -> Float[np.ndarray, 'N']:
    """One control step.

    Args:
      control: of the actuators.
      is_active: which environments take it.

    Returns:
      Rewards; 0 where no step was taken.

    Raises:
      PhysicsError: of dm_control, if MuJoCo warns, as dm_control does.
    """
    self._control[...] = control
    steps = self._steps
    if not is_active.all():
      steps = [steps[i] for i in np.flatnonzero(is_active)]
    self._advance(steps)
    if self._warnings.any():
      self._refuse_warnings(is_active)
    reward = self._task.reward(self._fields, self._control)
    return np.where(is_active, reward, 0.0)

  def _advance(self, steps: list[Any]) -> None:
    """Copies, steps and copies back; all that is done for each environment."""
    mujoco, model = self._mujoco, self._model
    step, step1, step2 = mujoco.mj_step, mujoco.mj_step1, mujoco.mj_step2
    is_rk4 = model.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4.value
    num_whole = self._num_substeps - (0 if is_rk4 else 1)
    for data, before, after in steps:
      for to, of in before:
        to[...] = of
      # What follows from positions and velocities has been computed by the
      # step before, and RK4 alone computes it anew.
      if not is_rk4:
        step2(model, data)
      if num_whole:
        step(model, data, num_whole)
      step1(model, data)
      for to, of in after:
        to[...] = of

  def _refuse_warnings(self, is_active: Bool[np.ndarray, 'N']) -> None:
    """Refuses states of which MuJoCo warned in this step."""
    from dm_control.rl import control as rl_control

    is_new = (self._warnings > self._known_warnings) & is_active[:, None]
    self._known_warnings[is_active] = self._warnings[is_active]
    for i, kinds in enumerate(is_new):
      if kinds.any():
        names = ', '.join(
          itertools.compress(self._mujoco.mjtWarning.__members__, kinds)
        )
        raise rl_control.PhysicsError(
          f'environment {i}: physics state is invalid, MuJoCo warned: {names}.'
        )

  def observe(self) -> Float[np.ndarray, 'N D']:
    """Observations after the last step, float32."""
    parts = self._task.observe(self._fields)
    num = len(self._datas)
    return np.concatenate(
      [part.reshape(num, -1) for part in parts], axis=1, dtype=np.float32
    )
