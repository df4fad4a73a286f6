"""The configuration of an agent of the skill family."""

import dataclasses
from typing import Any

from skills import checks
from skills.learners import q_learning
from skills.networks import torsos
from skills.objectives import disdain


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReplayConfig:
  """Settings of replay; unused on device, but with `device.replays`.

  Attributes:
    kind: 'uniform' samples at random and keeps the newest; 'queue' hands every
      trajectory to the learner once, in order.
    capacity: trajectories that it holds.
    min_size: trajectories that it must hold before the learner starts.
    updates_per_environment_step: updates of the learner for each step that
      actors take in their environments ('uniform' only). A trajectory that an
      episode's end cuts short counts as `skill_length` steps. None sets no
      limit and leaves the ratio to the program that runs the agent, as Acme's
      local layout does.
    error_buffer: how far, in sampled trajectories, actors and learner may run
      ahead of that ratio; None for the largest of a tenth of `min_size` times
      `SkillAgentConfig.samples_per_insert`, `samples_per_insert` itself, and
      two of the learner's fetches.
    timeout_s: seconds that a learner or actor may wait for replay before the
      run ends with an error. An actor also waits while the learner compiles its
      update, which takes minutes for large networks on a busy machine.
    burn_in: steps before a skill that its trajectory brings along, by which a
      recurrent network's memory is brought up to date.
    priority_exponent: trajectories are drawn in proportion to their priority to
      this power ('uniform' only); None draws all alike. Priorities are the
      learner's newest; new trajectories have the largest of all.
    importance_exponent: how far the learner makes up for that, by weights of
      1 / probability to this power, the largest of a batch being 1.
  """

  kind: str = 'uniform'
  capacity: int = 20_000
  min_size: int = 256
  updates_per_environment_step: float | None = 0.025
  error_buffer: float | None = None
  timeout_s: float = 300.0
  burn_in: int = 0
  priority_exponent: float | None = None
  importance_exponent: float = 0.6

  def __post_init__(self) -> None:
    """Checks the settings."""
    if self.kind not in ('uniform', 'queue'):
      raise ValueError(f"kind must be 'uniform' or 'queue', got {self.kind!r}.")
    checks.positive(
      self,
      'capacity',
      'min_size',
      'updates_per_environment_step',
      'timeout_s',
    )
    checks.at_least(
      self, 0, 'burn_in', 'priority_exponent', 'importance_exponent'
    )
    if self.kind == 'queue':
      checks.equal(
        self,
        None,
        'priority_exponent',
        "for kind='queue', which hands out every trajectory once",
      )
    if self.min_size > self.capacity:
      raise ValueError(
        f'min_size must be at most capacity ({self.capacity}), got '
        f'{self.min_size}: learning would never start.'
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceConfig:
  """Settings of training on device; unused elsewhere.

  Attributes:
    environments: environments side by side, each of which runs one skill
      between updates; None for `batch_size`.
    epochs: how often each fresh batch is learned from.
    minibatches: parts, along the batch, of which each is an update of its own;
      they are drawn anew in each epoch.
    replays: whether the newest `replay.capacity` trajectories are kept, for
      off-policy learners: from `replay.min_size` of them on there are
      `replay.updates_per_environment_step` updates a step, each from
      `batch_size` of them. Else each fresh batch is learned
      from, and forgotten.
  """

  environments: int | None = None
  epochs: int = 1
  minibatches: int = 1
  replays: bool = False

  def __post_init__(self) -> None:
    """Checks the settings."""
    checks.at_least(self, 1, 'environments', 'epochs', 'minibatches')
    if self.replays and (self.epochs, self.minibatches) != (1, 1):
      raise ValueError(
        'epochs and minibatches must be 1 where replays is true, got '
        f'{self.epochs} and {self.minibatches}; set both to 1, and '
        'replay.updates_per_environment_step.'
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SkillAgentConfig:
  """Settings of an agent that discovers skills.

  Attributes:
    objective: configuration of an objective in `skills.registry.OBJECTIVES`.
    num_skills: number of skills K; 1 where there are none to tell apart.
    skill_length: environment steps of a skill, T.
    keeps_skill: whether the skill that an episode begins with is kept to its
      end, for sets of policies that are judged by whole episodes. Then
      `skill_length` is the length of trajectories alone.
    fixed_skill: the one skill that actors follow; None where they draw one.
    network: what the learner's networks are made of.
    learner: how it learns and acts; configuration of an algorithm in
      `skills.registry.LEARNERS`.
    replay: how trajectories reach the learner.
    device: how a run on device collects them and learns from them.
    batch_size: trajectories of an update, B.
    updates_per_step: updates made in one call of the learner, from as many
      batches, to spare the time between calls.
  """

  objective: Any = dataclasses.field(default_factory=disdain.DisdainConfig)
  num_skills: int = 16
  skill_length: int = 20
  keeps_skill: bool = False
  fixed_skill: int | None = None
  network: torsos.NetworkConfig = torsos.NetworkConfig()
  learner: Any = dataclasses.field(default_factory=q_learning.QLearningConfig)
  replay: ReplayConfig = ReplayConfig()
  device: DeviceConfig = DeviceConfig()
  batch_size: int = 16
  updates_per_step: int = 1

  def __post_init__(self) -> None:
    """Checks the settings."""
    checks.at_least(
      self, 1, 'num_skills', 'skill_length', 'batch_size', 'updates_per_step'
    )
    checks.in_range(self, 0, self.num_skills - 1, 'fixed_skill')
    if self.num_environments % self.device.minibatches:
      raise ValueError(
        'device.minibatches must divide the number of environments '
        f'({self.num_environments}), got {self.device.minibatches}.'
      )
    if self.replay.burn_in and self.network.lstm_size is None:
      raise ValueError(
        'replay.burn_in must be 0 for a network without a memory '
        f'(network.lstm_size=None), got {self.replay.burn_in}.'
      )
    if self.replay.kind == 'queue' and self.replay.capacity < self.fetch_size:
      raise ValueError(
        'replay.capacity must be >= batch_size * updates_per_step '
        f'({self.fetch_size}), got {self.replay.capacity}: a queue smaller '
        'than what the learner fetches at once can never move.'
      )
    self._check_error_buffer()
    self._check_device()

  def _check_device(self) -> None:
    if not self.device.replays:
      return
    rate = self.replay.updates_per_environment_step
    steps = self.num_environments * self.skill_length
    if rate is None or round(rate * steps, 6) % 1 or rate * steps < 0.5:
      raise ValueError(
        'replay.updates_per_environment_step must make a whole number of '
        f'updates for {steps} steps ({self.num_environments} environments of '
        f'{self.skill_length}) where device.replays is true, got {rate}; 1 '
        f'update would be {1 / steps:.6g}.'
      )

  def _check_error_buffer(self) -> None:
    buffer, ratio = self.replay.error_buffer, self.samples_per_insert
    if buffer is None or ratio is None:
      return
    if buffer < max(1.0, ratio):
      raise ValueError(
        f'replay.error_buffer must be >= {max(1.0, ratio)}, the larger of 1 '
        'and replay.updates_per_environment_step * batch_size * skill_length '
        f'({self.replay.updates_per_environment_step} * {self.batch_size} * '
        f'{self.skill_length}), got {buffer}: actors and learner would wait '
        'for each other for ever. Raise it, or set it to none.'
      )

  @property
  def samples_per_insert(self) -> float | None:
    """How often replay hands out each trajectory, on average.

    It makes for `replay.updates_per_environment_step` updates for each of a
    trajectory's `skill_length` steps, an update being of `batch_size`
    trajectories. None where replay sets no limit.
    """
    updates = self.replay.updates_per_environment_step
    if updates is None:
      return None
    return updates * (self.batch_size * self.skill_length)

  @property
  def skills_run(self) -> tuple[int, int]:
    """The first of the skills that actors follow, and one past the last."""
    if self.fixed_skill is None:
      return 0, self.num_skills
    return self.fixed_skill, self.fixed_skill + 1

  @property
  def updates_per_rollout(self) -> int:
    """Updates on device after each environment has run a skill."""
    if self.device.replays:
      rate = self.replay.updates_per_environment_step
      assert rate is not None  # As was checked.
      return round(rate * self.num_environments * self.skill_length)
    return self.device.epochs * self.device.minibatches

  @property
  def num_environments(self) -> int:
    """Environments side by side on device."""
    return self.device.environments or self.batch_size

  @property
  def fetch_size(self) -> int:
    """Trajectories that the learner takes from replay at once."""
    return self.batch_size * self.updates_per_step
