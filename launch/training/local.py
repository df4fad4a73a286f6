"""Training in one process: Acme's loop, Reverb, learner and evaluator.

Actor and learner are threads on either side of a real Reverb server; its rate
limiter keeps their ratio. The main thread watches them, evaluates and shows
progress, so that it always answers to Ctrl-C.
"""

from collections.abc import Callable
import contextlib
import faulthandler
import pathlib
import sys
import threading
import time

import jax

from launch.cli import command
from launch.cli import progress as progress_lib
from launch.runs import experiment as experiment_lib
from launch.runs import run_checkpoints
from launch.runs import run_loggers
from launch.training import actors
from launch.training import divergence
from launch.training import finish
from launch.training import interruptible
from launch.training import observers
from skills.agents import acme_api
from skills.agents import builder as builder_lib
from skills.agents import evaluation
from skills.agents import learning
from skills.agents.replay import stalls
from skills.learners import base

_POLL_S = 0.1
_JOIN_S = 12.0

# How long an actor may take to end its episode when a run is over.
_EPISODE_S = 2.0


class Worker(threading.Thread):
  """A thread that keeps its exception, for the main thread to raise."""

  def __init__(self, name: str, work: Callable[[], None]):
    """Initializes the thread; `work` is its body."""
    super().__init__(name=name, daemon=True)
    self._work = work
    self.error: BaseException | None = None

  def run(self) -> None:
    """Runs the body."""
    try:
      self._work()
    except stalls.StoppedError:
      pass
    except BaseException as error:
      self.error = error


class Run:
  """A run: actor, learner, replay server and evaluator."""

  def __init__(
    self,
    experiment: experiment_lib.Experiment,
    begin: Callable[[base.LearnerState], base.LearnerState] | None = None,
  ):
    """Makes the parts, replay server included; `close` them.

    Continues from the newest checkpoint, if the experiment's folder has one.

    Args:
      experiment: what to run.
      begin: fresh state of the learner -> the one to begin with, if there is no
        checkpoint; None to begin with the fresh one.
    """
    self.experiment = experiment
    self.folder = pathlib.Path(experiment.output_dir)
    self.stop = threading.Event()
    self.save_asked = threading.Event()
    self.is_abandoned = threading.Event()
    checkpoint = run_checkpoints.newest(self.folder)
    counts = run_checkpoints.counts(self.folder)
    # What cannot be saved begins anew, but not with the seed of the beginning.
    self._started_at = counts['actor_steps']
    self.environment = self._make_environments(
      'environment', experiment.num_environments
    )
    spec = interruptible.spec(self.environment)
    self.agent = builder_lib.make_agent(experiment.config, spec)
    self.loggers = {
      label: run_loggers.make(
        self.folder,
        label,
        every_s=every_s,
        diagnose=diagnose,
        wandb=experiment.wandb,
      )
      # Evaluations are few, and none is left out.
      for label, every_s, diagnose in (
        ('actor', run_loggers.EVERY_S, None),
        ('learner', run_loggers.EVERY_S, self.agent.objective.diagnose),
        ('evaluator', 0.0, None),
      )
    }
    self.counter = acme_api.counting.Counter()
    builder = builder_lib.SkillBuilder(
      experiment.config,
      logger_fn=lambda: self.loggers['learner'],
      should_stop=self.stop.is_set,
    )
    self._make_learner(builder, builder.make_replay_tables(spec))
    self._make_actor(builder)
    self._make_evaluator(builder)
    self.counter.increment(**counts)
    self.wall_time = run_checkpoints.WallTime()
    if checkpoint is not None:
      self._restore(checkpoint)
    elif begin is not None:
      self.learner.restore(begin(self.learner.save()))
    self.workers = [
      Worker('actor', self._act),
      Worker('learner', self._learn),
    ]

  # The parts.

  def _seed_for(self, part: str) -> int:
    return self.experiment.seed_for(part, 0, self._started_at)

  def _seeds_for(self, part: str, number: int) -> list[int]:
    return self.experiment.seeds_for(part, number, 0, self._started_at)

  def _make_environments(
    self, part: str, number: int
  ) -> interruptible.Environment:
    return interruptible.wrap(
      self.experiment.make_environments(self._seeds_for(part, number)),
      self.is_abandoned.is_set,
    )

  def _counter_for(self, part: str) -> acme_api.counting.Counter:
    return acme_api.counting.Counter(self.counter, part, time_delta=0.0)

  def _make_learner(
    self,
    builder: builder_lib.SkillBuilder,
    tables: list[acme_api.reverb.Table],
  ) -> None:
    self.server = run_checkpoints.make_replay_server(self.folder, 0, tables)
    self.client = acme_api.reverb.Client(f'localhost:{self.server.port}')
    self.iterator = builder.make_dataset_iterator(self.client)
    self.learner = builder.make_learner(
      jax.random.PRNGKey(self.experiment.seed_for('learner')),
      self.agent,
      self.iterator,
      self.client,
      counter=self._counter_for('learner'),
    )

  def _make_actor(self, builder: builder_lib.SkillBuilder) -> None:
    self.actor = actors.make(
      self.environment,
      builder,
      builder.make_policy(self.agent),
      self._seeds_for('actor', self.experiment.num_environments),
      self.client,
      self.learner,
      self._counter_for('actor'),
      self.stop.is_set,
    )

  def _make_evaluator(self, builder: builder_lib.SkillBuilder) -> None:
    environment = self.experiment.make_environments(
      self._seeds_for('evaluator environment', self.experiment.num_evaluated)
    )
    self.evaluator = evaluation.Evaluator(
      self.agent,
      builder,
      environment,
      self.learner,
      jax.random.PRNGKey(self._seed_for('evaluator')),
      observers.make(environment),
    )

  def start(self) -> None:
    """Starts to act and to learn."""
    for worker in self.workers:
      worker.start()

  # The bodies of the threads.

  def _act(self) -> None:
    num_steps = self.experiment.num_steps
    with contextlib.suppress(stalls.StoppedError):
      while not self.stop.is_set():
        if self.save_asked.is_set():
          self.actor.flush()
          self.save()
          self.save_asked.clear()
        if self.counts()['actor_steps'] >= num_steps:
          break
        for result in self.actor.act():
          self.loggers['actor'].write(result)
    # The last checkpoint should have what is on its way.
    self.actor.flush()

  def _learn(self) -> None:
    while not self.stop.is_set():
      self.learner.step()

  def counts(self) -> dict[str, int]:
    """'actor_steps' of the environment, 'learner_steps' and more."""
    return {name: int(n) for name, n in self.counter.get_counts().items()}

  # Checkpoints.

  def save(self) -> None:
    """Writes a checkpoint; the actor must not be at work."""
    run_checkpoints.save(
      self.folder,
      self.learner.save(),  # The learner goes on meanwhile.
      self.counts(),
      self.wall_time.seconds(),
      [self.client],
      self.actor.save(),
    )

  def _restore(self, checkpoint: pathlib.Path) -> None:
    state, meta = run_checkpoints.load(checkpoint, self.learner.save())
    self.learner.restore(state)
    self.wall_time = run_checkpoints.WallTime(meta['wall_time_s'])
    # A distributed run has several actors, which begin anew.
    if meta['actor'] is not None:
      self.actor.restore(meta['actor'])

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
      counts = self.counts()
      display.update(counts['actor_steps'], counts['learner_steps'], numbers)
    return numbers

  def evaluate(self) -> dict[str, float]:
    """Metrics of fresh episodes, which are also logged."""
    counts = self.counts()
    _, numbers = self.evaluator.run(*self.experiment.evaluation_size)
    self.loggers['evaluator'].write({**numbers, **counts})
    divergence.check_finite(
      self.learner.get_variables([learning.POLICY]),
      self.experiment.config.learner,
    )
    return numbers

  def halt(self) -> None:
    """Asks the threads to stop, and gives them time to."""
    self.stop.set()
    if self.workers[0].is_alive():
      self.workers[0].join(_EPISODE_S)
    self.is_abandoned.set()
    for worker in self.workers:
      if worker.is_alive():
        worker.join(_JOIN_S)

  def close(self) -> None:
    """Stops and releases everything; safe to call at any time."""
    self.halt()
    for worker in self.workers:
      if worker.is_alive():
        print(f'the {worker.name} did not stop; threads:', file=sys.stderr)
        faulthandler.dump_traceback(all_threads=True)
    self.iterator.close()
    self.learner.close()
    self.actor.close()
    self.server.stop()
    for logger in self.loggers.values():
      logger.close()
    run_checkpoints.remove_leftovers(self.folder)


def run(
  experiment: experiment_lib.Experiment,
  begin: Callable[[base.LearnerState], base.LearnerState] | None = None,
) -> command.Outcome:
  """Trains, and writes the complete folder of a run.

  Ctrl-C and SIGTERM end the run early; what was learned is saved all the same.
  If the folder has a checkpoint, the run continues from it.

  Args:
    experiment: what to run.
    begin: as `Run` takes it.

  Returns:
    How it ended.

  Raises:
    ValueError: if the experiment cannot run or cannot be continued.
    Exception: whatever the actor or learner raised.
  """
  check(experiment)
  run_checkpoints.check_shards(pathlib.Path(experiment.output_dir), 1)
  with command.caught_signals() as received:
    the_run = Run(experiment, begin)
    try:
      the_run.watch(lambda: bool(received))
      the_run.save()
      return finish.finish(
        experiment,
        the_run.agent,
        the_run.evaluator,
        experiment.make_environment(0),
        the_run.learner,
        the_run.counts(),
        the_run.wall_time.seconds(),
        received,
      )
    finally:
      the_run.close()


def check(experiment: experiment_lib.Experiment) -> None:
  """Refuses a run that would start but never learn.

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
