"""One experiment in one process: Acme's loop, Reverb, learner and evaluator.

Actor and learner are threads on either side of a real Reverb server; its rate
limiter keeps their ratio. The main thread watches them, evaluates and shows
progress, so that it always answers to Ctrl-C.
"""

from collections.abc import Callable
import faulthandler
import os
import pathlib
import shutil
import sys
import threading
import time
from typing import Any

import jax
import jax.numpy as jnp

from launch import commands
from launch import experiment as experiment_lib
from launch import progress as progress_lib
from launch import results
from launch import run_loggers
from skills import checkpoints
from skills.agents import acme_api
from skills.agents import builder as builder_lib
from skills.agents import evaluation
from skills.agents import learning
from skills.agents import replay

# Reverb's own checkpoints, within the run's folder while the server writes
# them, and within a checkpoint's folder for good.
_REPLAY = 'replay'
_LIVE_REPLAY = '.replay'

_POLL_S = 0.1
_JOIN_S = 12.0
_LEARNER_JOIN_S = 3.0


class Worker(threading.Thread):
  """A thread that keeps its exception for whoever watches it."""

  def __init__(self, name: str, work: Callable[[], None]):
    """Initialises the thread; `work` is its body."""
    super().__init__(name=name, daemon=True)
    self._work = work
    self.error: BaseException | None = None

  def run(self) -> None:
    """Runs the body."""
    try:
      self._work()
    except replay.StoppedError:
      pass
    except BaseException as error:
      self.error = error


class Run:
  """The parts of a run, and what they do together."""

  def __init__(
    self, experiment: experiment_lib.Experiment, *, resume: bool = False
  ):
    """Makes the parts, replay server included; `close` them.

    Args:
      experiment: what to run.
      resume: whether to continue from the folder's newest checkpoint.
    """
    self.experiment = experiment
    self.folder = pathlib.Path(experiment.output_dir)
    self.stop = threading.Event()
    self.save_asked = threading.Event()
    config = experiment.config
    keys = jax.random.split(jax.random.PRNGKey(experiment.seed), 3)
    learner_key, actor_key, evaluator_key = keys
    self.environment = experiment.make_environment(experiment.seed)
    spec = acme_api.specs.make_environment_spec(self.environment)
    self.agent = builder_lib.make_agent(config, spec)

    checkpoint = None
    if resume:
      checkpoint = checkpoints.latest(self.folder / commands.CHECKPOINTS)
    self.loggers = [
      run_loggers.make(self.folder, 'actor'),
      run_loggers.make(self.folder, 'learner'),
      run_loggers.make(self.folder, 'evaluator', every_s=0),
    ]
    builder = builder_lib.SkillBuilder(
      config,
      logger_fn=lambda: self.loggers[1],
      should_stop=self.stop.is_set,
    )
    self.server = self._make_server(builder, spec, checkpoint)
    self.client = acme_api.reverb.Client(f'localhost:{self.server.port}')
    self.counter = acme_api.counting.Counter()
    self.learner = builder.make_learner(
      learner_key,
      self.agent,
      builder.make_dataset_iterator(self.client),
      counter=acme_api.counting.Counter(
        self.counter, 'learner', time_delta=0.0
      ),
    )
    self.adder = builder.make_adder(self.client)
    self.actor = builder.make_actor(
      actor_key,
      builder.make_policy(self.agent),
      self.adder,
      self.learner,
    )
    self.loop = acme_api.environment_loop.EnvironmentLoop(
      self.environment,
      self.actor,
      counter=acme_api.counting.Counter(self.counter, 'actor', time_delta=0.0),
      logger=self.loggers[0],
    )
    self.evaluator = evaluation.Evaluator(
      self.agent,
      builder,
      experiment.make_environment(experiment.seed + 1),
      self.learner,
      evaluator_key,
    )
    # All of them from the start: a CSV file's first row decides its columns.
    self.counter.increment(actor_episodes=0, actor_steps=0, learner_steps=0)
    self.earlier_s = 0.0
    if checkpoint is not None:
      self._restore(checkpoint)
    self.started = time.monotonic()
    self.workers = [
      Worker('actor', self._act),
      Worker('learner', self._learn),
    ]

  def start(self) -> None:
    """Starts to act and to learn."""
    for worker in self.workers:
      worker.start()

  # What the threads do.

  def _act(self) -> None:
    while not self.stop.is_set():
      if self.save_asked.is_set():
        # Between episodes nothing of the actor's is on its way to replay.
        self.save()
        self.save_asked.clear()
      if self.counts()['actor_steps'] >= self.experiment.num_steps:
        return
      self.loggers[0].write(self.loop.run_episode())

  def _learn(self) -> None:
    while not self.stop.is_set():
      self.learner.step()

  def counts(self) -> dict[str, int]:
    """'actor_steps' of the environment, 'learner_steps' and more."""
    return {name: int(n) for name, n in self.counter.get_counts().items()}

  def wall_time_s(self) -> float:
    """Seconds since the start, those before an interruption included."""
    return self.earlier_s + time.monotonic() - self.started

  # Checkpoints.

  def _make_server(self, builder, spec, checkpoint):
    live = self.folder / _LIVE_REPLAY
    shutil.rmtree(live, ignore_errors=True)
    live.mkdir(parents=True)
    saved = None
    if checkpoint is not None:
      [saved] = (checkpoint / _REPLAY).iterdir()
    return acme_api.reverb.Server(
      builder.make_replay_tables(spec),
      port=None,
      checkpointer=acme_api.checkpointers.DefaultCheckpointer(
        str(live), fallback_checkpoint_path=str(saved) if saved else None
      ),
    )

  def _state(self) -> dict[str, Any]:
    return {
      'learner': self.learner.save(),
      'actor_key': self.actor.save(),
    }

  def save(self) -> None:
    """Writes a checkpoint; the actor must be between episodes."""

    def with_replay(folder: pathlib.Path) -> None:
      target = folder / _REPLAY
      target.mkdir()
      written = pathlib.Path(self.client.checkpoint())
      os.rename(written, target / written.name)

    state = self._state()
    # The learner goes on meanwhile.
    counts = self.counts() | {'learner_steps': int(state['learner'].steps)}
    meta = {
      'counts': counts,
      'wall_time_s': self.wall_time_s(),
      'environment': save_environment(self.environment),
    }
    checkpoints.save(
      self.folder / commands.CHECKPOINTS,
      counts['actor_steps'],
      state,
      meta,
      extra=with_replay,
    )

  def _restore(self, checkpoint: pathlib.Path) -> None:
    state, meta = checkpoints.load(checkpoint, self._state())
    self.learner.restore(state['learner'])
    self.actor.restore(jnp.asarray(state['actor_key']))
    self.counter.restore({'counts': dict(meta['counts']), 'cache': {}})
    self.earlier_s = meta['wall_time_s']
    restore_environment(self.environment, meta['environment'])

  # The main thread.

  def watch(self, interrupted: Callable[[], bool]) -> dict[str, float]:
    """Evaluates and shows progress until the run is complete or stopped.

    Returns:
      The numbers of the last evaluation.
    """
    experiment = self.experiment
    self.start()
    done = self.counts()['actor_steps']
    numbers = {}
    next_evaluation = done
    last_save = time.monotonic()
    with progress_lib.Progress(experiment.num_steps, done) as display:
      while not interrupted():
        counts = self.counts()
        display.update(counts['actor_steps'], counts['learner_steps'], numbers)
        for worker in self.workers:
          if worker.error is not None:
            raise worker.error
        if not self.workers[0].is_alive():
          break
        if counts['actor_steps'] >= next_evaluation:
          next_evaluation = (
            counts['actor_steps'] + experiment.steps_per_evaluation
          )
          numbers = self.evaluate()
        if time.monotonic() - last_save > experiment.checkpoint_every_s:
          self.save_asked.set()
          last_save = time.monotonic()
        time.sleep(_POLL_S)
      self.halt()
      display.update(**self.final_counts(), numbers=numbers)
    return numbers

  def evaluate(self) -> dict[str, float]:
    """Numbers of fresh episodes, which are also logged."""
    counts = self.counts()
    _, numbers = self.evaluator.run(self.experiment.evaluation_episodes)
    self.loggers[2].write({**numbers, **counts})
    results.check_finite(self.learner.get_variables([learning.POLICY]))
    return numbers

  def final_counts(self) -> dict[str, int]:
    """The counts under the names that a summary gives them."""
    counts = self.counts()
    return {
      'environment_steps': counts['actor_steps'],
      'learner_steps': counts['learner_steps'],
    }

  def halt(self) -> None:
    """Asks the threads to stop, and gives them time to."""
    self.stop.set()
    actor, learner = self.workers
    if actor.is_alive():
      actor.join(_JOIN_S)
    if learner.is_alive():
      # Now and then a sampler that Reverb closes waits for its table to move,
      # which it will not do any more. All that the learner did is complete, so
      # the run can be saved; the server's end frees the thread.
      learner.join(_LEARNER_JOIN_S)

  def close(self) -> None:
    """Lets go of everything; safe to call at any time."""
    self.halt()
    self.adder.close()
    self.server.stop()
    for worker in self.workers:
      if worker.is_alive():
        worker.join(_JOIN_S)
      if worker.is_alive():
        print(f'the {worker.name} did not stop; threads:', file=sys.stderr)
        faulthandler.dump_traceback(all_threads=True)
    for logger in self.loggers:
      logger.close()
    shutil.rmtree(self.folder / _LIVE_REPLAY, ignore_errors=True)


def save_environment(environment: Any) -> dict[str, Any] | None:
  """The environment's random state, where it has one to give."""
  return environment.save() if hasattr(environment, 'save') else None


def restore_environment(environment: Any, state: dict[str, Any] | None) -> None:
  """Continues from what `save_environment` gave."""
  if state is not None:
    environment.restore(state)


def run(
  experiment: experiment_lib.Experiment, *, resume: bool = False
) -> commands.Outcome:
  """Trains, and leaves a complete run's folder behind.

  Ctrl-C and SIGTERM end the run early; what was learned is saved all the same.

  Args:
    experiment: what to run.
    resume: whether to continue from the folder's newest checkpoint.

  Returns:
    How it ended.

  Raises:
    ValueError: if the experiment cannot run or cannot be continued.
    Exception: whatever the actor or learner raised.
  """
  check(experiment)
  with commands.caught_signals() as received:
    the_run = Run(experiment, resume=resume)
    try:
      the_run.watch(lambda: bool(received))
      the_run.save()
      return _finish(the_run, received[0] if received else None)
    finally:
      the_run.close()


def check(experiment: experiment_lib.Experiment) -> None:
  """Refuses what would start but never learn.

  Raises:
    ValueError: naming the setting.
  """
  config = experiment.config
  trajectories = experiment.num_steps // config.skill_length
  needed = max(config.replay.min_size, config.fetch_size)
  if config.replay.kind == 'queue':
    needed = config.fetch_size
  if trajectories < needed:
    raise ValueError(
      f'num_steps must be at least {needed * config.skill_length} for learning '
      f'to start (replay.min_size or batch_size * updates_per_step, {needed} '
      f'trajectories of {config.skill_length} steps), got '
      f'{experiment.num_steps}.'
    )


def _finish(the_run: Run, number: int | None) -> commands.Outcome:
  """Measures the final policy, and writes summary and pictures."""
  experiment = the_run.experiment
  episodes = results.final_episodes(experiment)
  if number is not None:
    # Whoever interrupts a run does not want to wait.
    episodes = experiment.evaluation_episodes
  wall_time_s = the_run.wall_time_s()
  trajectory, numbers = the_run.evaluator.run(episodes)
  [objective_state] = the_run.learner.get_variables([learning.OBJECTIVE])
  counts = the_run.final_counts()
  summary = {
    'complete': counts['environment_steps'] >= experiment.num_steps,
    **numbers,
    **counts,
    'evaluation_episodes': episodes,
    'wall_time_s': wall_time_s,
  }
  results.write(
    experiment,
    the_run.agent,
    the_run.environment,
    objective_state,
    trajectory,
    summary,
  )
  return commands.Outcome(summary, number)
