"""Runs as if they had been trained for no time at all, and what they hold."""

import pathlib

import jax

from launch.runs import experiment as experiment_lib
from launch.runs import final as final_lib
from launch.runs import run_loggers
from skills import checkpoints
from skills import loading
from skills import registry

ENVIRONMENT = 'grid:disdain_release'


def write_run(
  folder, *, agent, environment, settings=None, options=None, seed=3
):
  """Writes the folder of a run; its parameters are as they begin.

  Args:
    folder: where to.
    agent: its name.
    environment: its name.
    settings: changes to the agent's settings.
    options: of the environment.
    seed: of the parameters.

  Returns:
    The experiment.
  """
  experiment = experiment_lib.make(
    agent=agent,
    environment=environment,
    environment_options=options,
    settings=settings,
    num_steps=1000,
    output_dir=str(folder),
  )
  experiment_lib.save(experiment)
  made = registry.make_agent(experiment.config, experiment.problem)
  state = made.learner.init(jax.random.PRNGKey(seed))
  checkpoints.save(
    pathlib.Path(folder) / checkpoints.FOLDER, 0, {loading.LEARNER: state}, {}
  )
  return experiment


def make_experiment(folder, agent='disdain', **fields):
  return experiment_lib.make(
    agent=agent,
    environment=ENVIRONMENT,
    num_steps=1000,
    output_dir=str(folder),
    **fields,
  )


def make_agent(experiment):
  return registry.make_agent(
    experiment.config,
    experiment_lib.problem_of(experiment.make_environment(0)),
  )


def final_of(agent, environment, trajectory):
  """What a run would end with that had learned nothing."""
  state = agent.learner.init(jax.random.PRNGKey(0))
  return final_lib.Final(
    agent,
    agent.learner.variables(state),
    state.objective,
    environment,
    trajectory,
  )


def write_rows(folder, label, rows):
  logger = run_loggers.make(folder, label, every_s=0)
  for row in rows:
    logger.write(row)
  logger.close()
