"""An experiment: one value that says what is run, whatever runs it."""

from collections.abc import Mapping
import dataclasses
import pathlib
from typing import Any

import dm_env
import numpy as np

from envs import choices
from envs import factory
from launch import overrides
from skills import config as config_lib
from skills import loading
from skills import presets
from skills import registry
from skills import types


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
  """What is run.

  Attributes:
    agent: name of the agent, which is that of its objective.
    environment: name of the world, 'suite:task'.
    environment_options: the suite's options.
    seed: of all random numbers.
    num_steps: environment steps of training.
    config: the agent's settings.
    problem: the world's shapes.
    evaluation_episodes: episodes of an evaluation.
    evaluation_every: environment steps between evaluations; None for 30 of
      them in all.
    checkpoint_every_s: seconds between checkpoints.
    output_dir: the run's folder.
  """

  agent: str
  environment: str
  environment_options: Mapping[str, Any] = dataclasses.field(
    default_factory=dict
  )
  seed: int = 0
  num_steps: int
  config: config_lib.SkillAgentConfig
  problem: types.ProblemSpec
  evaluation_episodes: int = 128
  evaluation_every: int | None = None
  checkpoint_every_s: float = 60.0
  output_dir: str

  def __post_init__(self) -> None:
    """Refuses what cannot run."""
    for name in ('num_steps', 'evaluation_episodes', 'evaluation_every'):
      value = getattr(self, name)
      if value is not None and value < 1:
        raise ValueError(f'{name} must be >= 1, got {value}.')
    if not 0 <= self.seed < 2**32:
      raise ValueError(f'seed must be in [0, 2**32), got {self.seed}.')
    if self.checkpoint_every_s <= 0:
      raise ValueError(
        f'checkpoint_every_s must be positive, got {self.checkpoint_every_s}.'
      )

  @property
  def steps_per_evaluation(self) -> int:
    """Environment steps between evaluations."""
    return self.evaluation_every or max(self.num_steps // 30, 1)

  def seed_for(self, part: str, index: int = 0, started_at: int = 0) -> int:
    """A seed of its own for each part of the run.

    Args:
      part: 'learner', 'actor', 'evaluator' or 'environment'.
      index: which of several.
      started_at: actor steps of the run when the part was started, so that one
        that is started again does not repeat itself.

    Returns:
      A number in [0, 2**32).
    """
    sequence = np.random.SeedSequence(
      [self.seed, index, started_at, *part.encode()]
    )
    return int(sequence.generate_state(1)[0])

  def make_environment(self, seed: int) -> dm_env.Environment:
    """A new environment of this experiment."""
    return factory.make(self.environment, seed=seed, **self.environment_options)


def problem_of(environment: dm_env.Environment) -> types.ProblemSpec:
  """The environment's shapes."""
  return types.ProblemSpec.from_specs(
    environment.observation_spec(), environment.action_spec()
  )


def make(
  *,
  agent: str,
  environment: str,
  environment_options: Mapping[str, Any] | None = None,
  settings: Mapping[str, Any] | None = None,
  **fields: Any,
) -> Experiment:
  """Makes an experiment from names, and refuses one that cannot run.

  Args:
    agent: name of the agent.
    environment: name of the world.
    environment_options: the suite's options.
    settings: changes to the agent's settings for this world.
    **fields: the other fields of `Experiment`.

  Raises:
    ValueError: naming what is wrong, what is allowed and the nearest match.
  """
  choices.check('agent', agent, registry.OBJECTIVES)
  options = dict(environment_options or {})
  problem = problem_of(factory.make(environment, **options))
  config = presets.make(agent, environment, problem)
  config = overrides.apply(config, settings or {})
  # Whatever the parts would refuse is refused now.
  registry.make_agent(config, problem)
  return Experiment(
    agent=agent,
    environment=environment,
    environment_options=options,
    config=config,
    problem=problem,
    **fields,
  )


# What `config.json` holds in a form of its own, and where it lies.
_ELSEWHERE = ('config', 'problem', 'output_dir')


def save(experiment: Experiment) -> None:
  """Writes the experiment into its folder."""
  fields = {
    field.name: getattr(experiment, field.name)
    for field in dataclasses.fields(experiment)
    if field.name not in _ELSEWHERE
  }
  loading.write_description(
    experiment.output_dir,
    loading.Description(experiment.config, experiment.problem, fields),
  )


def load(output_dir: str) -> Experiment:
  """Reads the experiment of a run.

  Raises:
    ValueError: if there is none, or one that this version cannot read.
  """
  config, problem, fields = loading.read_description(output_dir)
  path = pathlib.Path(output_dir) / loading.CONFIG_FILE
  known = {field.name for field in dataclasses.fields(Experiment)}
  needed = {'agent', 'environment', 'num_steps'}
  if not needed <= set(fields) <= known - set(_ELSEWHERE):
    raise ValueError(f'{path} is broken: it holds no experiment.')
  choices.check('agent', fields['agent'], registry.OBJECTIVES)
  experiment = Experiment(
    config=config, problem=problem, output_dir=output_dir, **fields
  )
  if problem_of(experiment.make_environment(0)) != problem:
    raise ValueError(
      f'{path} is of a world {experiment.environment!r} with other '
      'observations or actions than it has now.'
    )
  registry.make_agent(config, problem)
  return experiment
