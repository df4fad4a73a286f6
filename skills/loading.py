"""Loads trained skills, to run, analyze and train them further.

    trained = skills.load('runs/disdain')

reads the folder that a training command left behind. It needs neither the
environment in which the skills were learned nor Acme, Reverb or TensorFlow.
"""

from collections.abc import Mapping
import dataclasses
import os
import pathlib
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Shaped

from skills import acting
from skills import checkpoints
from skills import config as config_lib
from skills import config_io
from skills import files
from skills import registry
from skills import types
from skills.learners import base as learners
from skills.objectives import base as objectives
from skills.ops import categorical

CONFIG_FILE = 'config.json'
# Format of `config.json`; a checkpoint has its own.
FORMAT_VERSION = 4

# Where a checkpoint holds the learner's state.
LEARNER = 'learner'


class Description(NamedTuple):
  """What a run's `config.json` says.

  Attributes:
    config: the agent's settings.
    problem: the environment's shapes.
    fields: all else, as JSON holds it.
  """

  config: config_lib.SkillAgentConfig
  problem: types.ProblemSpec
  fields: dict[str, Any]


def write_description(
  run_dir: str | os.PathLike[str], description: Description
) -> None:
  """Writes `config.json`; makes the folder if there is none."""
  files.write_json(
    pathlib.Path(run_dir) / CONFIG_FILE,
    {
      **description.fields,
      'problem': dataclasses.asdict(description.problem),
      'config': config_io.flatten(description.config),
    },
    FORMAT_VERSION,
  )


def read_description(run_dir: str | os.PathLike[str]) -> Description:
  """Reads `config.json`.

  Raises:
    ValueError: if there is none, or one that this version cannot read.
  """
  path = pathlib.Path(run_dir) / CONFIG_FILE
  try:
    fields = files.read_json(path, FORMAT_VERSION, 'experiment')
  except (FileNotFoundError, NotADirectoryError) as error:
    raise ValueError(
      f'there is no run in {os.fspath(run_dir)!r} ({CONFIG_FILE} is missing).'
    ) from error
  parts = {name: fields.pop(name, None) for name in ('config', 'problem')}
  for name, part in parts.items():
    if not isinstance(part, Mapping):
      raise ValueError(f'{path} is broken: it holds no {name}.')
  try:
    return Description(
      config_io.restore(config_lib.SkillAgentConfig, parts['config']),
      config_io.restore(types.ProblemSpec, parts['problem']),
      fields,
    )
  except (TypeError, ValueError) as error:
    raise ValueError(f'{path} cannot be used: {error}') from error


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TrainedSkills:
  """Skills that were learned, and what belongs to them.

  Its methods are pure functions: compile them with `jax.jit`, map them over a
  batch with `jax.vmap`, and give them other parameters than the ones here.

  Attributes:
    agent: the parts that they were learned with: `policy`, which explores,
      `evaluation_policy`, `objective`, `learner` and more.
    state: the learner's state, from which training can go on.
  """

  agent: registry.Agent
  state: learners.LearnerState

  @property
  def config(self) -> config_lib.SkillAgentConfig:
    """The agent's settings, `num_skills` and `skill_length` among them."""
    return self.agent.config

  @property
  def problem(self) -> types.ProblemSpec:
    """Shapes of the environment in which the skills were learned."""
    return self.agent.problem

  @property
  def objective(self) -> objectives.IntrinsicReward:
    """What the skills were learned from."""
    return self.agent.objective

  @property
  def variables(self) -> types.PyTree:
    """The parameters that `select_action` takes."""
    return self.agent.learner.variables(self.state)

  @property
  def objective_state(self) -> objectives.ObjectiveState:
    """The parameters that `log_q` takes, those of the discriminators."""
    return self.state.objective

  def init(
    self, key: types.PRNGKey, skill: int | Int[Array, ''] | None = None
  ) -> acting.ActorState:
    """An actor's state at the start of an episode.

    Args:
      key: of all that is random in the episode.
      skill: what to begin with; None draws one.

    Returns:
      The state. After `config.skill_length` steps the next skill is drawn;
      `acting.with_skill` chooses it instead, at any time.
    """
    state = self.agent.evaluation_policy.init(key)
    return state if skill is None else acting.with_skill(state, skill)

  def select_action(
    self,
    variables: types.PyTree,
    observation: Array,
    state: acting.ActorState,
  ) -> tuple[Array, acting.ActorState]:
    """Acts as in an evaluation.

    Args:
      variables: as `self.variables`.
      observation: one, without a batch axis.
      state: of the actor.

    Returns:
      The action and the next state.
    """
    return self.agent.evaluation_policy.select_action(
      variables, observation, state
    )

  def log_q(
    self,
    objective_state: objectives.ObjectiveState,
    trajectory: types.Trajectory,
  ) -> Float[Array, 'M B K']:
    """Log-probability of each skill, log qbar(z|o), in nats.

    Args:
      objective_state: as `self.objective_state`.
      trajectory: skills from their first step to their last.

    Returns:
      The log of the members' mean probability of each skill, at the timesteps
      that the objective looks at: a skill's last step (M = 1), or all.

    Raises:
      ValueError: if the objective has no discriminators.
    """
    discriminator = self.objective.discriminator
    if discriminator is None:
      raise ValueError(
        f'an objective of the streams {self.objective.streams} has no '
        'discriminators.'
      )
    return categorical.log_mean(
      jax.nn.log_softmax(discriminator.logits(objective_state, trajectory))
    )

  def log_q_of_end(
    self,
    objective_state: objectives.ObjectiveState,
    end: Shaped[Array, 'B *observation'],
    start: Shaped[Array, 'B *observation'] | None = None,
  ) -> Float[Array, 'B K']:
    """`log_q` of final states: log qbar(z|s_T), or log qbar(z|s_0, s_T).

    Args:
      objective_state: as `self.objective_state`.
      end: what was seen at the end.
      start: what was seen at the start, for objectives that look at it; None
        for the same as `end`.
    """
    return self.log_q(objective_state, types.arrival(end, start))[-1]


def load(run_dir: str | os.PathLike[str]) -> TrainedSkills:
  """Loads what the newest checkpoint of a run holds.

  Args:
    run_dir: what was `--output_dir` in training. It may have been moved.

  Returns:
    The skills, with parameters on JAX's default device.

  Raises:
    ValueError: if there is no run, no checkpoint of it yet, or one that is
      broken or of another version; the message says which.
  """
  description = read_description(run_dir)
  agent = registry.make_agent(description.config, description.problem)
  state, _ = checkpoints.load(
    checkpoints.latest(pathlib.Path(run_dir) / checkpoints.FOLDER),
    {LEARNER: jax.eval_shape(agent.learner.init, jax.random.PRNGKey(0))},
    allow_more=True,
  )
  return TrainedSkills(
    agent=agent, state=jax.tree.map(jnp.asarray, state[LEARNER])
  )
