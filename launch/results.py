"""What a run leaves behind: `summary.json` and pictures."""

import csv
import importlib.metadata
import json
import os
import pathlib
import platform
from typing import Any

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
from skills.objectives import disdain

SUMMARY_FILE = 'summary.json'
LEARNING_CURVE = 'learning_curve.png'
SKILL_MAP = 'skill_map.png'

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


def final_skills(experiment: experiment_lib.Experiment) -> int:
  """Skills of the final evaluation: enough to see each of them often."""
  return 20 * experiment.config.num_skills


def finish(
  experiment: experiment_lib.Experiment,
  agent: registry.Agent,
  evaluator: evaluation.Evaluator,
  environment: dm_env.Environment,
  variable_source: acme_api.core.VariableSource,
  counts: dict[str, int],
  wall_time_s: float,
  received: int | None,
) -> commands.Outcome:
  """Measures the final policy, and writes summary and pictures.

  Args:
    experiment: what was run.
    agent: its parts.
    evaluator: of the final policy.
    environment: the world, as `write` takes it.
    variable_source: where the objective's state is.
    counts: 'environment_steps' and 'learner_steps'.
    wall_time_s: seconds since the run began.
    received: the signal that interrupted the run, if one did.
  """
  trajectory, numbers = evaluator.run(
    experiment.evaluation_episodes,
    # Whoever interrupts a run does not want to wait.
    final_skills(experiment) if received is None else 0,
  )
  [objective_state] = variable_source.get_variables([learning.OBJECTIVE])
  summary = {
    'complete': counts['environment_steps'] >= experiment.num_steps,
    **numbers,
    **counts,
    'evaluation_episodes': evaluator.num_episodes,
    'wall_time_s': wall_time_s,
  }
  write(
    experiment,
    agent,
    environment,
    objective_state,
    trajectory,
    summary,
  )
  return commands.Outcome(summary, received)


def write(
  experiment: experiment_lib.Experiment,
  agent: registry.Agent,
  environment: dm_env.Environment,
  objective_state: Any,
  trajectory: types.Trajectory,
  summary: dict[str, Any],
) -> None:
  """Writes the summary and draws the pictures.

  Args:
    experiment: what was run.
    agent: its parts.
    environment: the world; one with a `grid` gets a map.
    objective_state: what the objective learned.
    trajectory: of the final policy.
    summary: final numbers.
  """
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
  if hasattr(environment, 'grid') and agent.objective.discriminator:
    draw_skill_map(
      folder / SKILL_MAP,
      f'{experiment.agent} in {experiment.environment}, seed {experiment.seed}',
      agent,
      environment,
      objective_state,
      trajectory,
      summary['skills_learned'],
    )


def draw_learning_curve(experiment: experiment_lib.Experiment) -> None:
  """Draws the skills learned over the run, from the evaluator's CSV file."""
  folder = pathlib.Path(experiment.output_dir)
  rows = read_metrics(folder / 'evaluator' / run_loggers.METRICS_FILE)
  if not rows or 'skills_learned' not in rows[0]:
    return
  steps = np.array([float(row['actor_steps']) for row in rows])
  values = np.array([float(row['skills_learned']) for row in rows])
  plots.learning_curve(
    folder / LEARNING_CURVE,
    {experiment.agent: (steps, values)},
    xlabel='environment steps',
    ylabel='skills learned',
    num_skills=experiment.config.num_skills,
    title=f'{experiment.environment}, seed {experiment.seed}',
  )


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, str]]:
  """Rows of a metrics file, without those that a resumed run made again."""
  try:
    with open(path, newline='') as file:
      rows = list(csv.DictReader(file))
  except FileNotFoundError:
    return []
  kept: list[dict[str, str]] = []
  for row in rows:
    while kept and float(kept[-1]['actor_steps']) >= float(row['actor_steps']):
      kept.pop()
    kept.append(row)
  return kept


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
  logits = state_logits(agent, environment.observations, objective_state)
  grid = environment.grid
  plots.skill_map(
    path,
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
  )


def state_logits(
  agent: registry.Agent, observations: np.ndarray, objective_state: Any
) -> Float[jax.Array, 'N S K']:
  """What the discriminators say of every state of a tabular world."""
  discriminator = agent.objective.discriminator
  if discriminator is None:
    raise ValueError(f'{agent.objective.streams} have no discriminators.')
  return discriminator.logits(
    objective_state, types.arrival(jnp.asarray(observations))
  )[:, 0]


def end_counts(
  trajectory: types.Trajectory, observations: np.ndarray, num_skills: int
) -> Int[np.ndarray, 'K S']:
  """How often each skill ended in each state of a tabular world."""
  state_of = {
    np.asarray(observation).tobytes(): state
    for state, observation in enumerate(observations)
  }
  last = np.asarray(trajectory.mask).sum(axis=0).astype(int)
  ends = [
    state_of[np.asarray(observation, observations.dtype).tobytes()]
    for observation in np.asarray(trajectory.observation)[
      last, np.arange(len(last))
    ]
  ]
  skills = np.asarray(trajectory.skill)[last - 1, np.arange(len(last))]
  return metrics.joint_counts(
    skills, np.array(ends), num_skills, len(observations)
  )
