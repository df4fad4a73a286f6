"""What a run leaves behind: `summary.json`, pictures, exhibits, a page."""

from collections.abc import Callable
from collections.abc import Sequence
import csv
import importlib.metadata
import json
import os
import pathlib
import platform
from typing import Any
from typing import NamedTuple

from absl import logging
import dm_env
import jax
import jax.numpy as jnp
from jaxtyping import Float
from jaxtyping import Int
import numpy as np

from launch import commands
from launch import experiment as experiment_lib
from launch import run_loggers
from skills import registry
from skills import types
from skills.agents import acme_api
from skills.agents import evaluation
from skills.agents import learning
from skills.evaluation import metrics
from skills.evaluation import plots
from skills.learners import base
from skills.objectives import disdain

SUMMARY_FILE = 'summary.json'
LEARNING_CURVE = 'learning_curve.png'
SKILL_MAP = 'skill_map.png'
SKILL_ENDS = 'skill_ends.png'
REPORT_FILE = 'report.html'

_VERSIONS = ('jax', 'dm-haiku', 'optax', 'dm-acme', 'dm-reverb', 'numpy')


def versions() -> dict[str, str]:
  """Of Python and of the libraries that a result may depend on."""
  found = {'python': platform.python_version()}
  for name in _VERSIONS:
    found[name] = importlib.metadata.version(name)
  return found


def write_json(path: str | os.PathLike[str], content: Any) -> None:
  """Writes a file that is either whole or not there."""
  path = pathlib.Path(path)
  unfinished = path.with_name(f'.{path.name}.unfinished')
  unfinished.write_text(json.dumps(content, indent=2) + '\n')
  os.replace(unfinished, path)


def check_finite(parameters: types.Params) -> None:
  """Ends a run that cannot come to anything.

  Args:
    parameters: of the policy.

  Raises:
    FloatingPointError: if one is infinite or no number, with what to change.
  """
  if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(parameters)):
    raise FloatingPointError(
      'learning diverged: action values are no longer finite. Lower '
      'learner.learning_rate, or raise batch_size.'
    )


class Final(NamedTuple):
  """What a run ended with.

  Attributes:
    agent: its parts.
    variables: of the final policy.
    objective_state: what the objective learned.
    environment: the world; one with a `grid` gets a map, others with vectors of
      numbers a picture of where skills end.
    trajectory: fresh skills of the final policy.
  """

  agent: registry.Agent
  variables: base.Variables
  objective_state: Any
  environment: dm_env.Environment
  trajectory: types.Trajectory


def final_size(experiment: experiment_lib.Experiment) -> tuple[int, int]:
  """Episodes and skills of the final evaluation: to see every skill often."""
  episodes, skills = experiment.evaluation_size
  return episodes, max(skills, 20 * experiment.config.num_skills)


def finish(
  experiment: experiment_lib.Experiment,
  agent: registry.Agent,
  evaluator: evaluation.Evaluator,
  environment: dm_env.Environment,
  variable_source: acme_api.core.VariableSource,
  counts: dict[str, int],
  wall_time_s: float,
  received: Sequence[int],
) -> commands.Outcome:
  """Measures the final policy, and writes summary, pictures and exhibits.

  Args:
    experiment: what was run.
    agent: its parts.
    evaluator: of the final policy.
    environment: the world.
    variable_source: where the variables and the objective's state are.
    counts: 'environment_steps' and 'learner_steps'.
    wall_time_s: seconds since the run began.
    received: signals that interrupted the run, to which others may be added
      while this goes on.
  """
  # Whoever interrupts a run does not want to wait.
  interrupted_by = received[0] if received else None
  size = experiment.evaluation_size if received else final_size(experiment)
  trajectory, numbers = evaluator.run(*size)
  variables, objective_state = variable_source.get_variables(
    [learning.POLICY, learning.OBJECTIVE]
  )
  summary = {
    'complete': counts['environment_steps'] >= experiment.num_steps,
    **numbers,
    **counts,
    'evaluation_episodes': evaluator.num_episodes,
    'wall_time_s': wall_time_s,
  }
  final = Final(agent, variables, objective_state, environment, trajectory)
  write(experiment, final, summary, lambda: bool(received))
  return commands.Outcome(summary, interrupted_by)


def write(
  experiment: experiment_lib.Experiment,
  final: Final,
  summary: dict[str, Any],
  is_stopped: Callable[[], bool],
) -> None:
  """Writes the summary, pictures, exhibits and the page that shows them.

  Args:
    experiment: what was run.
    final: what it ended with.
    summary: final numbers.
    is_stopped: whether it was interrupted, so that nobody wants to wait.
  """
  # Imported here: exhibits are made with what this module knows of runs.
  from launch import run_exhibits

  folder = pathlib.Path(experiment.output_dir)
  summary = {
    'agent': experiment.agent,
    'environment': experiment.environment,
    'seed': experiment.seed,
    'num_skills': experiment.config.num_skills,
    **summary,
    'versions': versions(),
  }
  write_json(folder / SUMMARY_FILE, summary)
  draw_learning_curve(experiment)
  if final.agent.objective.discriminator is not None:
    _draw_skills(experiment, final, summary)
  run_exhibits.leave(experiment, final, is_stopped)
  write_page(folder)


def write_page(folder: str | os.PathLike[str]) -> None:
  """Writes the page of a run that has just ended, into its folder.

  Nothing that goes wrong here may spoil the run: it ends in a warning.
  """
  try:
    # Imported here: it reads what this module writes, and not everybody who
    # trains has what it draws with.
    from launch import page
    from launch import report_pages
    from launch import run_folder

    text = report_pages.of_run(run_folder.read(folder))
    page.write(pathlib.Path(folder) / REPORT_FILE, text)
  except Exception as error:
    logging.warning(
      'The page of the run could not be made (%s: %s). To try again: python '
      '-m launch.report %s',
      type(error).__name__,
      error,
      os.fspath(folder),
    )


def _draw_skills(
  experiment: experiment_lib.Experiment, final: Final, summary: dict[str, Any]
) -> None:
  """Draws where skills end."""
  folder = pathlib.Path(experiment.output_dir)
  agent, environment = final.agent, final.environment
  trajectory = final.trajectory
  title = f'{experiment.agent} in {experiment.environment}'
  title += f', seed {experiment.seed}'
  if hasattr(environment, 'grid'):
    draw_skill_map(
      folder / SKILL_MAP,
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
      folder / SKILL_ENDS,
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
  slices = getattr(environment, 'observation_slices', {})
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
  slices = getattr(environment, 'observation_slices', {})
  for name, where in slices.items():
    for i in range(where.start, where.stop):
      names[i] = f'{name}[{i - where.start}]'
  return names


def draw_learning_curve(experiment: experiment_lib.Experiment) -> None:
  """Draws the course of the run, from the evaluator's CSV file.

  The skills learned; where there are none to tell apart, what the world paid.
  """
  folder = pathlib.Path(experiment.output_dir)
  rows = read_metrics(folder / 'evaluator' / run_loggers.METRICS_FILE)
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
    folder / LEARNING_CURVE,
  )


class Metrics(NamedTuple):
  """What a metrics file holds.

  Attributes:
    rows: without those that a resumed run made again.
    num_unreadable: rows that were left out because they are cut short.
  """

  rows: list[dict[str, str]]
  num_unreadable: int


def metrics_of(path: str | os.PathLike[str]) -> Metrics:
  """Reads a metrics file, however much of it there is.

  Raises:
    ValueError: if it is no such file.
  """
  try:
    with open(path, newline='') as file:
      text = file.read()
    # What does not end in the end of a line is still being written.
    whole, end, rest = text.rpartition('\n')
    rows = list(csv.DictReader((whole + end).splitlines()))
  except (FileNotFoundError, NotADirectoryError):
    return Metrics([], 0)
  except (OSError, UnicodeDecodeError, csv.Error) as error:
    raise ValueError(f'{path} is broken: {error}.') from error
  num_unreadable = int(bool(rest))
  kept: list[dict[str, str]] = []
  for row in rows:
    try:
      # Too few entries leave None in some place, too many in that of None.
      if None in row or None in row.values():
        raise ValueError(row)
      steps = float(row['actor_steps'])
    except (KeyError, ValueError):
      num_unreadable += 1
      continue
    while kept and float(kept[-1]['actor_steps']) >= steps:
      kept.pop()
    kept.append(row)
  return Metrics(kept, num_unreadable)


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, str]]:
  """Rows of a metrics file; see `metrics_of`."""
  return metrics_of(path).rows


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
