"""Training on device: the run of an experiment from start to summary."""

from collections.abc import Sequence
import pathlib
import time
from typing import Any
from typing import NamedTuple

import jax

from envs import capabilities
from launch.cli import command
from launch.cli import progress as progress_lib
from launch.runs import experiment as experiment_lib
from launch.runs import final as final_lib
from launch.runs import run_checkpoints
from launch.runs import run_loggers
from launch.training import device_replay
from launch.training import divergence
from launch.training import finish
from launch.training import on_device
from skills import checkpoints
from skills import config as config_lib
from skills import registry
from skills import types
from skills.evaluation import measure

# Environment steps in one call: few enough to answer to Ctrl-C within seconds,
# also where networks are large. Small rollouts make more at once.
_STEPS_PER_CALL = 2**15
_BLOCKS_PER_CALL = 10

# Updates from replay in one call.
_REPLAYED_PER_CALL = 2**8

# Enough to count which skill leads from where to where.
_COUNTED_SKILLS = 2**17


class _Built(NamedTuple):
  """The parts of an experiment on device, and the skills in an episode."""

  environment: Any
  agent: registry.Agent
  program: on_device.Program
  num_links: int | None


def build(experiment: experiment_lib.Experiment) -> _Built:
  """Makes the environment, the agent and the program.

  Raises:
    ValueError: if they cannot be compiled together, naming why.
  """
  if experiment.skills is not None:
    raise ValueError(
      f'agent {experiment.agent!r} cannot run on device; use launch.run_local.'
    )
  if experiment.num_environments > 1:
    raise ValueError(
      'num_environments is not for runs on device, got '
      f'{experiment.num_environments}; set device.environments.'
    )
  environment: Any = experiment.make_environment(experiment.seed)
  problem = experiment_lib.problem_of(environment)
  if not isinstance(environment, capabilities.HasFunctional):
    raise ValueError(
      f'environment {experiment.environment!r} is no JAX function, so it '
      'cannot run on device; use launch.run_local.'
    )
  agent = registry.make_agent(experiment.config, problem)
  functional = environment.functional()
  return _Built(
    environment,
    agent,
    on_device.make(agent, functional),
    on_device.links_of(agent, functional),
  )


def run(
  experiment: experiment_lib.Experiment, *, resume: bool = False
) -> command.Outcome:
  """Trains, and writes the complete folder of a run.

  An interrupted run continues bit for bit, wherever it was interrupted.

  Args:
    experiment: what to run.
    resume: whether to continue from the folder's newest checkpoint.

  Returns:
    How it ended.

  Raises:
    ValueError: if the experiment cannot run or cannot be continued.
  """
  with command.caught_signals() as received:
    the_run = _Run(experiment, resume)
    the_run.train(received)
    return the_run.finish(received)


def rollouts_per_call(config: config_lib.SkillAgentConfig) -> int:
  """Rollouts in one compiled call; the same for the same settings."""
  if on_device.is_quick(config):
    return _BLOCKS_PER_CALL * on_device.BLOCK
  if config.device.replays:
    return max(_REPLAYED_PER_CALL // config.updates_per_rollout, 1)
  steps_per_rollout = config.num_environments * config.skill_length
  return max(_STEPS_PER_CALL // steps_per_rollout, 1)


class _Run:
  """A run: its compiled functions, its state and its loggers."""

  def __init__(self, experiment: experiment_lib.Experiment, resume: bool):
    self.experiment = experiment
    self.folder = pathlib.Path(experiment.output_dir)
    self.environment, self.agent, program, self.num_links = build(experiment)
    key, self.evaluation_key = jax.random.split(
      jax.random.PRNGKey(experiment.seed)
    )
    self.state = jax.jit(program.init)(key)
    self._train = jax.jit(program.train, static_argnums=1, donate_argnums=0)
    self._evaluate = jax.jit(program.evaluate, static_argnums=2)
    self._returns = jax.jit(on_device.episode_returns, static_argnums=1)
    self._measure = jax.jit(
      measure.measure(self.agent.objective, self.agent.problem)
    )
    config = experiment.config
    self.steps_per_rollout = config.num_environments * config.skill_length
    self.updates_per_rollout = config.updates_per_rollout
    self.num_rollouts = max(experiment.num_steps // self.steps_per_rollout, 1)
    self.rollouts_per_call = rollouts_per_call(config)
    self.loggers = {
      label: run_loggers.make(
        self.folder,
        label,
        every_s=0,
        diagnose=diagnose,
        wandb=experiment.wandb,
      )
      for label, diagnose in (
        ('learner', self.agent.objective.diagnose),
        ('evaluator', None),
      )
    }
    self.wall_time = run_checkpoints.WallTime()
    if resume:
      newest = checkpoints.latest(self.folder / checkpoints.FOLDER)
      state, meta = checkpoints.load(newest, self.state._asdict())
      self.state = jax.device_put(on_device.OnDeviceState(**state))
      self.wall_time = run_checkpoints.WallTime(meta['wall_time_s'])

  @property
  def updates(self) -> int:
    return int(self.state.learner.steps)

  @property
  def rollouts(self) -> int:
    replay = self.state.replay
    # Its first trajectories are not learned from.
    if isinstance(replay, device_replay.Replay):
      return int(replay.num_added) // self.experiment.config.num_environments
    return self.updates // self.updates_per_rollout

  def counts(self) -> dict[str, int]:
    return {
      'actor_steps': self.rollouts * self.steps_per_rollout,
      'learner_steps': self.updates,
    }

  def save(self) -> None:
    checkpoints.save(
      self.folder / checkpoints.FOLDER,
      self.counts()['actor_steps'],
      self.state._asdict(),
      {'counts': self.counts(), 'wall_time_s': self.wall_time.seconds()},
    )

  def train(self, received: list[int]) -> None:
    """Trains until the run is complete or a signal was received."""
    experiment = self.experiment
    every = experiment.steps_per_evaluation
    next_evaluation = self.counts()['actor_steps'] + every
    numbers: dict[str, float] = {}
    last_save = time.monotonic()
    with progress_lib.Progress(
      experiment.num_steps, self.counts()['actor_steps']
    ) as display:
      while self.rollouts < self.num_rollouts and not received:
        # Cut at the same places in every run, so that it can be continued.
        size = min(
          self.rollouts_per_call - self.rollouts % self.rollouts_per_call,
          self.num_rollouts - self.rollouts,
        )
        self.state, learner_metrics = self._train(self.state, size)
        counts = self.counts()
        if counts['actor_steps'] >= next_evaluation:
          next_evaluation = counts['actor_steps'] + every
          _, numbers = self.evaluate(max(experiment.evaluation_size))
          self.loggers['learner'].write({**learner_metrics, **counts})
          self.loggers['evaluator'].write({**numbers, **counts})
        display.update(counts['actor_steps'], counts['learner_steps'], numbers)
        if time.monotonic() - last_save > experiment.checkpoint_every_s:
          self.save()
          last_save = time.monotonic()
    self.save()

  def evaluate(
    self, episodes: int
  ) -> tuple[types.Trajectory, dict[str, float]]:
    # The state stays as it is: evaluating does not change the run.
    key = jax.random.fold_in(self.evaluation_key, self.updates)
    trajectory = self._evaluate(self.state, key, episodes)
    divergence.check_finite(
      self.state.learner.params, self.experiment.config.learner
    )
    numbers = self._measure(self.state.learner.objective, trajectory)
    if self.num_links is not None:
      returns = self._returns(trajectory, self.num_links)
      numbers |= {'episode_return': returns.mean()}
    return trajectory, {name: float(value) for name, value in numbers.items()}

  def information(self) -> dict[str, float]:
    """Information of states about skills, where a grid has no horizon."""
    if (
      not capabilities.is_endless(self.environment)
      or not isinstance(self.environment, capabilities.HasGrid)
      or self.agent.problem.num_states is None
    ):
      return {}
    key = jax.random.fold_in(self.evaluation_key, self.updates)
    trajectory = self._evaluate(self.state, key, _COUNTED_SKILLS)
    return measure.information(trajectory, self.environment.grid.positions)

  def finish(self, received: Sequence[int]) -> command.Outcome:
    """Evaluates the final policy, and writes summary, pictures and figures."""
    experiment = self.experiment
    ending = finish.Ending(
      self.counts(),
      self.rollouts >= self.num_rollouts,
      self.wall_time.seconds(),
      received[0] if received else None,
    )
    num_skills = max(final_lib.final_size(experiment))
    trajectory, numbers = self.evaluate(num_skills)
    episodes = trajectory.mask.shape[1] // (self.num_links or 1)
    outcome = ending.outcome(numbers | self.information(), episodes)
    for logger in self.loggers.values():
      logger.close()
    learner = self.state.learner
    final = final_lib.Final(
      self.agent,
      self.agent.learner.variables(learner),
      learner.objective,
      self.environment,
      trajectory,
    )
    finish.write(experiment, final, outcome.summary, lambda: bool(received))
    return outcome
