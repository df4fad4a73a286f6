"""Skills that were trained act elsewhere as they did where they were trained.

Train, load in a fresh process where neither Acme nor Reverb nor TensorFlow can
be imported, and run each skill: the same actions for the same keys.
"""

import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import factory
from launch.runs import experiment as experiment_lib
from launch.runs import run_checkpoints
from launch.training import local
from launch.training import on_device_run
from skills import acting
from skills import checkpoints
from skills import types
from tests import layering_test

pytestmark = [
  pytest.mark.integration,
  pytest.mark.usefixtures('without_page'),
]

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = 'grid:disdain_release'
# The presets' policy hardly ever explores, and so would hide the keys.
EPSILON = 0.3

FRESH = """
import json, sys
for name in json.loads(sys.argv[1]):
  sys.modules[name] = None
import jax, jax.numpy as jnp
import skills

trained = skills.load(sys.argv[2])
select_action = jax.jit(trained.select_action)
actions = []
for key, skill, observations in json.load(open(sys.argv[3])):
  state = trained.init(jnp.asarray(key, jnp.uint32), skill)
  actions.append([])
  for observation in observations:
    action, state = select_action(
      trained.variables, jnp.int32(observation), state
    )
    assert int(state.skill) == skill
    actions[-1].append(int(action))
table = trained.log_q_of_end(trained.objective_state, jnp.arange(24))
print(json.dumps([actions, table.tolist()]))
"""


def make(folder, **fields):
  experiment = experiment_lib.make(
    agent='disdain',
    environment=ENVIRONMENT,
    settings={'learner.evaluation_epsilon': EPSILON, 'replay.min_size': 64},
    evaluation_episodes=16,
    output_dir=str(folder),
    **fields,
  )
  experiment_lib.save(experiment)
  return experiment


def run_each_skill(agent, variables):
  """The evaluation policy's skills, keys, observations and actions."""
  environment = factory.make(ENVIRONMENT)
  select_action = jax.jit(agent.evaluation_policy.select_action)
  runs, actions = [], []
  for skill in range(agent.config.num_skills):
    key = jax.random.PRNGKey(100 + skill)
    state = acting.with_skill(agent.evaluation_policy.init(key), skill)
    timestep = environment.reset()
    runs.append((np.asarray(key).tolist(), skill, []))
    actions.append([])
    while not timestep.last():
      runs[-1][-1].append(int(timestep.observation))
      action, state = select_action(
        variables, jnp.asarray(timestep.observation), state
      )
      actions[-1].append(int(action))
      timestep = environment.step(int(action))
  return runs, actions


def in_a_fresh_process(folder, runs):
  (folder / 'runs.json').write_text(json.dumps(runs))
  result = subprocess.run(
    [
      sys.executable,
      '-c',
      FRESH,
      json.dumps([*layering_test.INFRASTRUCTURE, 'envs', 'launch']),
      str(folder),
      str(folder / 'runs.json'),
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  return json.loads(result.stdout)


@pytest.mark.slow
def test_the_same_actions_after_a_run_through_acme(tmp_path):
  experiment = make(tmp_path, num_steps=6000)
  local.run(experiment)
  the_run = local.Run(experiment)  # As it continues from its checkpoint.
  try:
    [policy] = the_run.learner.get_variables(['policy'])
    agent = the_run.agent
    runs, actions = run_each_skill(agent, policy)
    again, log_q = in_a_fresh_process(tmp_path, runs)
    assert again == actions
    logits = agent.objective.discriminator.logits(
      the_run.learner.save().objective,
      types.arrival(jnp.arange(24)),
    )
    np.testing.assert_allclose(
      log_q,
      np.log(np.mean(jax.nn.softmax(logits), axis=0))[0],
      rtol=1e-5,
    )
  finally:
    the_run.close()
  # Something was learned and the keys matter, or nothing would be shown.
  assert len({tuple(row) for row in actions}) > 5
  other = [((0, 7), skill, seen) for _, skill, seen in runs]
  assert in_a_fresh_process(tmp_path, other)[0] != actions


def test_the_same_actions_after_a_run_on_device(tmp_path):
  experiment = make(tmp_path, num_steps=16 * 8 * 500)
  on_device_run.run(experiment)
  _, agent, program, _ = on_device_run.build(experiment)
  like = jax.eval_shape(program.init, jax.random.PRNGKey(0))
  state, _ = checkpoints.load(run_checkpoints.newest(tmp_path), like._asdict())
  variables = agent.learner.variables(jax.device_put(state['learner']))
  runs, actions = run_each_skill(agent, variables)
  assert in_a_fresh_process(tmp_path, runs)[0] == actions
