"""The end of a run: final evaluation, summary, figures and page."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import os
import pathlib
from typing import Any
from typing import NamedTuple

from absl import logging
import dm_env

from launch.cli import command
from launch.reporting import report_pages
from launch.reporting import run_figures
from launch.reporting import run_folder
from launch.runs import experiment as experiment_lib
from launch.runs import final as final_lib
from launch.runs import run_files
from launch.runs import run_record
from skills import files
from skills import registry
from skills.agents import acme_api
from skills.agents import evaluation
from skills.agents import learning


class Ending(NamedTuple):
  """How far a run came, and what ended it.

  Attributes:
    counts: 'actor_steps' and 'learner_steps'.
    is_complete: whether it made all of its steps.
    wall_time_s: seconds since it began.
    interrupted_by: the signal that ended it early; None if none did.
  """

  counts: Mapping[str, int]
  is_complete: bool
  wall_time_s: float
  interrupted_by: int | None

  def outcome(
    self, numbers: Mapping[str, float], num_episodes: int
  ) -> command.Outcome:
    """The outcome, with the numbers of the final evaluation.

    Args:
      numbers: of the final policy.
      num_episodes: in which they were measured.
    """
    summary = {
      'complete': self.is_complete,
      **numbers,
      'environment_steps': self.counts['actor_steps'],
      'learner_steps': self.counts['learner_steps'],
      'evaluation_episodes': num_episodes,
      'wall_time_s': self.wall_time_s,
    }
    return command.Outcome(summary, self.interrupted_by)


def finish(
  experiment: experiment_lib.Experiment,
  agent: registry.Agent,
  evaluator: evaluation.Evaluator,
  environment: dm_env.Environment,
  variable_source: acme_api.core.VariableSource,
  counts: Mapping[str, int],
  wall_time_s: float,
  received: Sequence[int],
) -> command.Outcome:
  """Evaluates the final policy, and writes summary, pictures and figures.

  Args:
    experiment: what was run.
    agent: its parts.
    evaluator: of the final policy.
    environment: the environment.
    variable_source: where the variables and the objective's state are.
    counts: 'actor_steps' and 'learner_steps'.
    wall_time_s: seconds since the run began.
    received: signals that interrupted the run, to which others may be added
      while this goes on.
  """
  ending = Ending(
    counts,
    counts['actor_steps'] >= experiment.num_steps,
    wall_time_s,
    received[0] if received else None,
  )
  # After an interruption nothing should take long.
  size = (
    experiment.evaluation_size if received else final_lib.final_size(experiment)
  )
  trajectory, numbers = evaluator.run(*size)
  outcome = ending.outcome(numbers, evaluator.num_episodes)
  variables, objective_state = variable_source.get_variables(
    [learning.POLICY, learning.OBJECTIVE]
  )
  final = final_lib.Final(
    agent, variables, objective_state, environment, trajectory
  )
  write(experiment, final, outcome.summary, lambda: bool(received))
  return outcome


def write(
  experiment: experiment_lib.Experiment,
  final: final_lib.Final,
  summary: dict[str, Any],
  is_stopped: Callable[[], bool],
) -> None:
  """Writes the summary, pictures, figures and the page that shows them.

  Args:
    experiment: what was run.
    final: what it ended with.
    summary: final numbers.
    is_stopped: whether it was interrupted; then what takes long is left out.
  """
  folder = pathlib.Path(experiment.output_dir)
  summary = {
    'agent': experiment.agent,
    'environment': experiment.environment,
    'seed': experiment.seed,
    'num_skills': experiment.config.num_skills,
    **summary,
    'versions': run_record.versions(),
  }
  files.write_json(folder / run_files.SUMMARY_FILE, summary)
  run_figures.write(experiment, final, summary, is_stopped)
  write_page(folder)


def write_page(folder: str | os.PathLike[str]) -> None:
  """Writes the page of a run that has just ended, into its folder.

  An error is only a warning here: it must not spoil the run.
  """
  try:
    text = report_pages.run_page(run_folder.read(folder))
    files.write_text(pathlib.Path(folder) / run_files.REPORT_FILE, text)
  except Exception as error:
    logging.warning(
      'The page of the run could not be made (%s: %s). To try again: python '
      '-m launch.report %s',
      type(error).__name__,
      error,
      os.fspath(folder),
    )
