"""An experiment: agent, environment, settings and length of a run."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import os
import pathlib
from typing import Any

import dm_env
import numpy as np

from envs import batched
from envs import capabilities
from envs import endless
from envs import factory
from skills import checks
from skills import config as config_lib
from skills import config_io
from skills import loading
from skills import presets
from skills import registry
from skills import types

# Size of an evaluation without a number of episodes, whichever is less.
_EVALUATION_SKILLS = 128
_EVALUATION_STEPS = 4_000
# Environments of such an evaluation, each of which runs whole episodes: four
# episodes of control hold 4000 steps, and what more environments do is lost.
_EVALUATED = 4
# Acme's loops run whole episodes. An environment without a horizon is cut into
# episodes of so many skills, and goes on after each.
_SKILLS_PER_EPISODE = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
  """The description of a run.

  Attributes:
    agent: name of the agent, one of `presets.AGENTS`.
    environment: its name, 'suite:task'.
    environment_options: the suite's options.
    skills: folder of the run whose skills the agent 'hierarchy' chooses among;
      None for every other agent.
    skills_discount: discount per step while they run.
    on_device: whether it is trained on device, which has presets of its own.
    seed: seed of all random numbers.
    num_steps: environment steps of training; with `skills`, choices.
    num_environments: environments in which an actor acts at once.
    config: the agent's settings.
    problem: the environment's shapes.
    evaluation_episodes: episodes of an evaluation; None for as many as hold 128
      skills or 4000 steps.
    evaluation_every: environment steps between evaluations; None for 30 of
      them in all.
    checkpoint_every_s: seconds between checkpoints.
    output_dir: the run's folder.
    wandb: whether metrics go to Weights & Biases too; not kept in
      `config.json`.
  """

  agent: str
  environment: str
  environment_options: Mapping[str, Any] = dataclasses.field(
    default_factory=dict
  )
  skills: str | None = None
  skills_discount: float = 0.99
  on_device: bool = False
  seed: int = 0
  num_steps: int
  num_environments: int = 1
  config: config_lib.SkillAgentConfig
  problem: types.ProblemSpec
  evaluation_episodes: int | None = None
  evaluation_every: int | None = None
  checkpoint_every_s: float = 60.0
  output_dir: str
  wandb: bool = False

  def __post_init__(self) -> None:
    """Checks the settings."""
    checks.at_least(
      self,
      1,
      'num_steps',
      'num_environments',
      'evaluation_episodes',
      'evaluation_every',
    )
    checks.in_range(self, 0, 1, 'skills_discount')
    checks.positive(self, 'checkpoint_every_s')
    if not 0 <= self.seed < 2**32:
      raise ValueError(f'seed must be in [0, 2**32), got {self.seed}.')

  @property
  def steps_per_evaluation(self) -> int:
    """Environment steps between evaluations."""
    return self.evaluation_every or max(self.num_steps // 30, 1)

  @property
  def evaluation_size(self) -> tuple[int, int]:
    """Episodes and skills that an evaluation has at least."""
    if self.evaluation_episodes is None:
      skills = _EVALUATION_STEPS // self.config.skill_length
      return 1, min(max(skills, 1), _EVALUATION_SKILLS)
    return self.evaluation_episodes, 1

  def seed_for(self, part: str, index: int = 0, started_at: int = 0) -> int:
    """The seed of one part of the run.

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

  def seeds_for(
    self, part: str, number: int, index: int = 0, started_at: int = 0
  ) -> list[int]:
    """Seeds of the `number` environments of one part; see `seed_for`."""
    return [
      self.seed_for(part, index * number + i, started_at) for i in range(number)
    ]

  @property
  def num_evaluated(self) -> int:
    """Environments in which an evaluator acts at once."""
    return min(self.num_environments, self.evaluation_episodes or _EVALUATED)

  def make_environments(
    self, seeds: Sequence[int]
  ) -> dm_env.Environment | batched.BatchedEnvironment:
    """An environment by itself for one seed, else a batch of them."""
    if len(seeds) == 1:
      return self.make_environment(seeds[0])
    return self.make_batch(seeds)

  def make_batch(self, seeds: Sequence[int]) -> batched.BatchedEnvironment:
    """Environments of `make_environment` with these seeds, side by side."""
    first = self.make_environment(seeds[0])
    if self.skills is None and not isinstance(first, endless.Segments):
      first.close()
      return factory.make_batch(
        self.environment,
        len(seeds),
        seeds=seeds,
        **self.environment_options,
      )
    return batched.Serial(
      [first, *(self.make_environment(seed) for seed in seeds[1:])]
    )

  def make_environment(self, seed: int) -> dm_env.Environment:
    """A new environment of this experiment, whose episodes end.

    Without a horizon the next episode goes on where the last one was.
    """
    environment = factory.make(
      self.environment, seed=seed, **self.environment_options
    )
    if capabilities.is_endless(environment):
      environment = endless.Segments(
        environment, _SKILLS_PER_EPISODE * self.config.skill_length
      )
    return _with_skills(environment, self.skills, self.skills_discount, seed)


def _with_skills(
  environment: dm_env.Environment,
  trained: str | None,
  discount: float,
  seed: int = 0,
) -> dm_env.Environment:
  if trained is None:
    return environment
  # Imported here: it takes seconds, for which most experiments need not wait.
  from skills.agents import hierarchy

  return hierarchy.HierarchicalEnvironment(
    environment, loading.load(trained), discount=discount, seed=seed
  )


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
  skills: str | None = None,
  skills_discount: float = Experiment.skills_discount,
  on_device: bool = False,
  **fields: Any,
) -> Experiment:
  """Makes an experiment from names, and refuses one that cannot run.

  Args:
    agent: name of the agent.
    environment: its name, 'suite:task'.
    environment_options: the suite's options.
    settings: changes to the agent's settings for this environment.
    skills: folder of a run whose skills the agent chooses among.
    skills_discount: gamma per step while they run.
    on_device: whether it is to be trained on device.
    **fields: the other fields of `Experiment`.

  Raises:
    ValueError: naming what is wrong, what is allowed and the nearest match.
  """
  checks.one_of('agent', agent, presets.AGENTS)
  _check_skills(agent, skills)
  options = dict(environment_options or {})
  if skills is not None:
    skills = os.path.abspath(skills)  # Valid from any folder.
  problem = problem_of(
    _with_skills(factory.make(environment, **options), skills, skills_discount)
  )
  config = presets.make(
    agent,
    environment,
    problem,
    learner=(settings or {}).get('learner'),
    on_device=on_device,
  )
  config = config_io.apply_changes(config, settings or {})
  # Refuses now what the parts would refuse.
  _check_agent(agent, config, problem)
  return Experiment(
    agent=agent,
    environment=environment,
    environment_options=options,
    skills=skills,
    skills_discount=skills_discount,
    on_device=on_device,
    config=config,
    problem=problem,
    **fields,
  )


def changed(
  experiment: Experiment, *, settings: Mapping[str, Any], **fields: Any
) -> Experiment:
  """Another experiment, with changes to the agent's settings and to fields.

  Args:
    experiment: to start from.
    settings: changes to the agent's settings, by their paths.
    **fields: other values of fields of `Experiment`.

  Raises:
    ValueError: if that cannot run.
  """
  config = config_io.apply_changes(experiment.config, settings)
  _check_agent(experiment.agent, config, experiment.problem)
  return dataclasses.replace(experiment, config=config, **fields)


def _check_skills(agent: str, trained: str | None) -> None:
  if agent == presets.HIERARCHY and trained is None:
    raise ValueError(
      f'agent {agent!r} needs skills: the folder of a run that trained some, '
      'got None.'
    )
  if agent != presets.HIERARCHY and trained is not None:
    raise ValueError(
      f'agent {agent!r} does not choose among trained skills: skills must be '
      f'None, got {trained!r}. The one that does is {presets.HIERARCHY!r}.'
    )


def _check_agent(
  agent: str, config: config_lib.SkillAgentConfig, problem: types.ProblemSpec
) -> None:
  registry.make_agent(config, problem)
  if agent == presets.HIERARCHY and config.learner.discount != 1:
    raise ValueError(
      f'learner.discount must be 1 for agent {agent!r}, got '
      f'{config.learner.discount}: its environment discounts already, by '
      'skills_discount.'
    )


# Fields that `config.json` holds in a form of its own, or not at all.
_ELSEWHERE = ('config', 'problem', 'output_dir', 'wandb')


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
  checks.one_of('agent', fields['agent'], presets.AGENTS)
  _check_skills(fields['agent'], fields.get('skills'))
  experiment = Experiment(
    config=config, problem=problem, output_dir=output_dir, **fields
  )
  if problem_of(experiment.make_environment(0)) != problem:
    raise ValueError(
      f'{path} is of an environment {experiment.environment!r} with other '
      'observations or actions than it has now.'
    )
  _check_agent(experiment.agent, config, problem)
  return experiment
