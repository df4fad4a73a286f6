"""Control tasks in batches, beside dm_control's environments one by one.

Speeds are environment steps per CPU second of the process, so that other load
on the machine counts as little as it can.
"""

from collections.abc import Callable
import time

import numpy as np

from envs import batched
from envs import control
from envs import control_batch
from launch.benchmarking import timing

NUM_ENVIRONMENTS = 64

# Environment steps per CPU second that a batch is to make on a quiet core.
_GOALS = {
  'walker_walk': 6_000,
  'cheetah_run': 35_000,
  'cartpole_swingup': 30_000,
  'point_mass_easy': 70_000,
}
# And how many times as many as dm_control.
_GOAL_RATIO = 1.8

_EPISODE = 1_000
_BATCH_STEPS = 125


def rows(tries: int) -> list[timing.Row]:
  """Two rows for each task: dm_control, and a batch."""
  return [row for task in _GOALS for row in _task_rows(task, tries)]


def _task_rows(task: str, tries: int) -> list[timing.Row]:
  """Speeds of one task, of which the best of all tries count."""
  batch = control_batch.ControlBatch(
    task,
    seeds=range(NUM_ENVIRONMENTS),
    # Episodes begin evenly spread, as many as there are in so many steps.
    first_lengths=batched.staggered(NUM_ENVIRONMENTS, _EPISODE),
  )
  single = control.make(task, seed=0).suite_environment
  shape = (_BATCH_STEPS, NUM_ENVIRONMENTS, *batch.action_spec().shape)
  actions = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)

  def run_batch() -> None:
    for action in actions:
      batch.step(action)

  def run_single() -> None:  # A whole episode, and the next one's beginning.
    for i in range(_EPISODE + 1):
      single.step(actions[i % _BATCH_STEPS, 0])

  batch.reset()
  batch_speed = single_speed = 0.0
  for _ in range(tries):  # In turn, so that the same load slows both.
    single_speed = max(single_speed, _EPISODE / _cpu_seconds(run_single))
    steps = _BATCH_STEPS * NUM_ENVIRONMENTS
    batch_speed = max(batch_speed, steps / _cpu_seconds(run_batch))
  batch.close()
  return [
    timing.Row(
      f'{task}: dm_control, one by one', single_speed, 'steps/CPU-s', 'limit'
    ),
    timing.Row(
      f'{task}: a batch of {NUM_ENVIRONMENTS}',
      batch_speed,
      'steps/CPU-s',
      f'{batch_speed / single_speed:.1f} x one by one (goal {_GOAL_RATIO:g}), '
      f'{batch_speed / _GOALS[task]:.2f} of the goal ({_GOALS[task]:,})',
    ),
  ]


def _cpu_seconds(call: Callable[[], None]) -> float:
  """CPU seconds of this process during a call."""
  started = time.process_time()
  call()
  return time.process_time() - started
