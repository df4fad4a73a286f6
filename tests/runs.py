"""Folders of runs, as if they had been trained for no time at all."""

import pathlib

import jax

from launch.runs import experiment as experiment_lib
from skills import checkpoints
from skills import loading
from skills import registry


def write_run(
  folder, *, agent, environment, settings=None, options=None, seed=3
):
  """Writes the folder of a run; its parameters are as they begin.

  Args:
    folder: where to.
    agent: its name.
    environment: the world's name.
    settings: changes to the agent's settings.
    options: of the world.
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
