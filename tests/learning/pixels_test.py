"""The residual network learns from pictures what a table learns from states.

Both learn on device, from as many trajectories. Numbers of skills dip now and
then, so several evaluations at the end are averaged, of both alike.
"""

import dataclasses

import jax
import numpy as np
import pytest

from envs import gridworlds
from launch.runs import experiment
from launch.training import on_device
from skills import presets
from skills import registry
from skills.evaluation import measure

ROOM = """
#####
#S  #
#   #
#   #
#####
"""
NUM_SKILLS = 6  # For nine cells.
SKILL_LENGTH = 4  # Enough for the farthest corner.
UPDATES = 12_000
EVALUATIONS = 4  # One every 500 updates at the end.
SEEDS = (0, 1, 2)


def skills_learned(observation):
  """The means over the last evaluations, one for each seed."""
  grid = gridworlds.from_ascii('room', ROOM, horizon=SKILL_LENGTH)
  environment = gridworlds.GridworldEnvironment(grid, observation=observation)
  problem = experiment.problem_of(environment)
  agent = registry.make_agent(
    dataclasses.replace(
      # Not of a name with settings of its own: those for any picture.
      presets.make('disdain', 'some:room', problem),
      num_skills=NUM_SKILLS,
      skill_length=SKILL_LENGTH,
    ),
    problem,
  )
  program = on_device.make(agent, environment.functional())
  train = jax.jit(program.train, static_argnums=1)
  evaluate = jax.jit(program.evaluate, static_argnums=2)
  judge = jax.jit(measure.measure(agent.objective, problem))
  means = []
  for seed in SEEDS:
    state = jax.jit(program.init)(jax.random.PRNGKey(seed))
    state, _ = train(state, UPDATES - 500 * EVALUATIONS)
    found = []
    for i in range(EVALUATIONS):
      state, _ = train(state, 500)
      trajectory = evaluate(state, jax.random.PRNGKey(100 + i), 480)
      numbers = judge(state.learner.objective, trajectory)
      found.append(float(numbers['skills_learned']))
    means.append(np.mean(found))
  return means


@pytest.mark.slow
def test_pictures_teach_what_states_do():
  pictures = skills_learned('pixels')
  states = skills_learned('index')
  print(f'pictures {np.round(pictures, 2)}, states {np.round(states, 2)}')
  assert np.mean(states) > 5.5
  assert np.mean(pictures) >= 0.9 * np.mean(states)
