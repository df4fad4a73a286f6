"""Learning curve, skill map and skill ends of a run, as PNG files."""

import pathlib
from typing import Any
from typing import NamedTuple

import dm_env
import jax
import jax.numpy as jnp
from jaxtyping import Float
from jaxtyping import Int
import numpy as np

from envs import capabilities
from launch.runs import experiment as experiment_lib
from launch.runs import final as final_lib
from launch.runs import run_files
from skills import registry
from skills import types
from skills.evaluation import metrics
from skills.evaluation.figures import plots
from skills.objectives import disdain


def draw_skills(
  experiment: experiment_lib.Experiment,
  final: final_lib.Final,
  summary: dict[str, Any],
) -> None:
  """Draws where skills end."""
  folder = pathlib.Path(experiment.output_dir)
  agent, environment = final.agent, final.environment
  trajectory = final.trajectory
  title = f'{experiment.agent} in {experiment.environment}'
  title += f', seed {experiment.seed}'
  if isinstance(environment, capabilities.HasGrid):
    draw_skill_map(
      folder / run_files.SKILL_MAP,
      title,
      agent,
      environment,
      final.objective_state,
      trajectory,
      summary['skills_learned'],
    )
  elif plane := plane_of(environment, agent.problem):
    steps = np.asarray(trajectory.mask).sum(axis=0).astype(int)
    plots.save(
      plots.draw_skill_ends(
        paths=np.asarray(trajectory.observation)[..., plane.indices],
        lengths=steps,
        skills=np.asarray(trajectory.skill)[0],
        labels=plane.labels,
        title=title,
        caption=_caption(summary, experiment.config.num_skills),
      ),
      folder / run_files.SKILL_ENDS,
    )


def _caption(summary: dict[str, Any], num_skills: int) -> str:
  text = f'{summary["skills_learned"]:.1f} of {num_skills} skills learned'
  if 'skills_learned_at_end' in summary:
    text += f'; {summary["skills_learned_at_end"]:.1f} by where they end'
  return text


class Plane(NamedTuple):
  """Two entries of an observation, to draw.

  Attributes:
    indices: which two.
    labels: what they are.
  """

  indices: list[int]
  labels: tuple[str, str]


def plane_of(
  environment: dm_env.Environment, problem: types.ProblemSpec
) -> Plane | None:
  """The first two coordinates of the position, or of whatever is seen.

  Args:
    environment: one with `observation_slices` also says their names.
    problem: its shapes.

  Returns:
    None if what is seen is not a vector of two numbers or more.
  """
  shape = problem.observation_shape
  if (
    len(shape) != 1 or shape[0] < 2 or 'float' not in problem.observation_dtype
  ):
    return None
  names = entry_names(environment, problem)
  slices = capabilities.observation_slices(environment)
  position = slices.get('position', slice(0, 2))
  first = position.start if position.stop - position.start >= 2 else 0
  return Plane([first, first + 1], (names[first], names[first + 1]))


def entry_names(
  environment: dm_env.Environment, problem: types.ProblemSpec
) -> list[str]:
  """What the entries of an observed vector are called.

  Args:
    environment: one with `observation_slices` says it.
    problem: its shapes.
  """
  names = [f'observation[{i}]' for i in range(problem.observation_shape[0])]
  slices = capabilities.observation_slices(environment)
  for name, where in slices.items():
    for i in range(where.start, where.stop):
      names[i] = f'{name}[{i - where.start}]'
  return names


def draw_learning_curve(experiment: experiment_lib.Experiment) -> None:
  """Draws the course of the run, from the evaluator's CSV file.

  The skills learned; where there are none to tell apart, what the world paid.
  """
  folder = pathlib.Path(experiment.output_dir)
  rows = run_files.read_metrics(folder / 'evaluator' / run_files.METRICS_FILE)
  if not rows:
    return
  has_skills = 'skills_learned' in rows[0]
  column = 'skills_learned' if has_skills else 'episode_return'
  if column not in rows[0]:
    return
  steps = np.array([float(row['actor_steps']) for row in rows])
  values = np.array([float(row[column]) for row in rows])
  plots.save(
    plots.draw_learning_curve(
      {experiment.agent: (steps, values)},
      xlabel='environment steps',
      ylabel=column.replace('_', ' '),
      num_skills=experiment.config.num_skills if has_skills else None,
      title=f'{experiment.environment}, seed {experiment.seed}',
    ),
    folder / run_files.LEARNING_CURVE,
  )


def draw_skill_map(
  path: pathlib.Path,
  title: str,
  agent: registry.Agent,
  environment: Any,
  objective_state: Any,
  trajectory: types.Trajectory,
  skills_learned: float,
) -> None:
  """Draws where skills end, beside what the discriminators make of each cell.

  Args:
    path: of the picture.
    title: above it.
    agent: whose objective has discriminators.
    environment: with a `grid` and a table of its `observations`.
    objective_state: what the objective learned.
    trajectory: of the final policy.
    skills_learned: for the caption.
  """
  grid = environment.grid
  logits = state_logits(
    agent, environment.observations, objective_state, grid.start
  )
  plots.save(
    plots.draw_skill_map(
      walls=grid.walls,
      positions=grid.positions,
      start=grid.start,
      posterior=np.mean(jax.nn.softmax(logits), axis=0),
      end_counts=end_counts(
        trajectory, environment.observations, agent.config.num_skills
      ),
      disagreement=(
        np.asarray(disdain.disagreement(logits)) if len(logits) > 1 else None
      ),
      title=title,
      skills_learned=skills_learned,
    ),
    path,
  )


def state_logits(
  agent: registry.Agent,
  observations: np.ndarray,
  objective_state: Any,
  start: int,
) -> Float[jax.Array, 'N S K']:
  """What the discriminators say of every state of a tabular world.

  Args:
    agent: whose objective has discriminators.
    observations: of each state.
    objective_state: what the objective learned.
    start: where skills began, for those that see it.
  """
  discriminator = agent.objective.discriminator
  if discriminator is None:
    raise ValueError(f'{agent.objective.streams} have no discriminators.')
  ends = jnp.asarray(observations)
  begun = jnp.broadcast_to(ends[start], ends.shape)
  return discriminator.logits(objective_state, types.arrival(ends, begun))[:, 0]


def end_counts(
  trajectory: types.Trajectory, observations: np.ndarray, num_skills: int
) -> Int[np.ndarray, 'K S']:
  """How often each skill ended in each state of a tabular world."""
  last = np.asarray(trajectory.mask).sum(axis=0).astype(int)
  observation = np.asarray(trajectory.observation)
  ends = states_of(observation[last, np.arange(len(last))], observations)
  skills = np.asarray(trajectory.skill)[last - 1, np.arange(len(last))]
  return metrics.joint_counts(skills, ends, num_skills, len(observations))


def states_of(
  seen: np.ndarray, observations: np.ndarray
) -> Int[np.ndarray, 'n']:
  """Which states of a tabular world were seen.

  Args:
    seen: some observations, one after another.
    observations: of each state.
  """
  state_of = {
    np.asarray(observation).tobytes(): state
    for state, observation in enumerate(observations)
  }
  return np.array(
    [state_of[np.asarray(each, observations.dtype).tobytes()] for each in seen],
    int,
  )
