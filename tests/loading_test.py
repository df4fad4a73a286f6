"""Trained skills come back from a run's folder, or it is said why not."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import skills
from skills import acting
from skills import checkpoints
from skills import loading
from skills import presets
from skills import registry
from skills import types
from tests import layering_test
from tests import problems

ENSEMBLE_OF_TWO = 'disdain'


def write_run(folder, agent=ENSEMBLE_OF_TWO, problem=problems.TABLE, seed=0):
  """A run's folder, of an agent that has learned from a few batches."""
  config = dataclasses.replace(
    presets.make(agent, 'some:task', problem),
    num_skills=problems.NUM_SKILLS,
    skill_length=problems.NUM_STEPS,
  )
  made = registry.make_agent(config, problem)
  state = made.learner.init(jax.random.PRNGKey(seed))
  update = jax.jit(made.learner.update)
  for i in range(3):
    state, _ = update(state, problems.trajectory(problem, seed=i))
  loading.write_description(
    folder, loading.Description(config, problem, {'agent': agent})
  )
  checkpoints.save(
    folder / checkpoints.FOLDER,
    7,
    {loading.LEARNER: state, 'environments': np.arange(3)},
    {'counts': {'actor_steps': 7}},
  )
  return made, state


def refusal(folder):
  with pytest.raises(ValueError) as error:
    skills.load(folder)
  message = str(error.value)
  assert '\n' not in message
  assert str(folder) in message
  return message


@pytest.mark.parametrize(
  ('agent', 'problem'),
  [(agent, 'TABLE') for agent in sorted(registry.OBJECTIVES)]
  + [
    pytest.param(
      agent, 'VECTOR', marks=() if agent == 'disdain' else pytest.mark.slow
    )
    for agent in sorted(registry.OBJECTIVES)
  ],
)
def test_learned_skills_are_loaded(tmp_path, agent, problem):
  if agent == 'counts' and problem == 'VECTOR':
    pytest.skip('counts states, of which there are none')
  made, state = write_run(tmp_path, agent, getattr(problems, problem))
  trained = skills.load(str(tmp_path))
  assert trained.config == made.config
  assert trained.problem == made.problem
  assert trained.objective.streams == made.objective.streams
  chex.assert_trees_all_equal(trained.state, state)
  chex.assert_trees_all_equal(trained.variables, made.learner.variables(state))


def test_a_folder_may_be_moved_and_the_newest_checkpoint_counts(tmp_path):
  made, _ = write_run(tmp_path / 'here')
  newer = made.learner.init(jax.random.PRNGKey(5))
  checkpoints.save(
    tmp_path / 'here' / checkpoints.FOLDER, 8, {loading.LEARNER: newer}, {}
  )
  os.rename(tmp_path / 'here', tmp_path / 'there')
  chex.assert_trees_all_equal(skills.load(tmp_path / 'there').state, newer)


def test_a_drawn_skill_acts_as_in_an_evaluation(tmp_path):
  made, state = write_run(tmp_path)
  trained = skills.load(tmp_path)
  variables = made.learner.variables(state)
  for seed in range(4):
    key = jax.random.PRNGKey(seed)
    expected, given = made.evaluation_policy.init(key), trained.init(key)
    for observation in jnp.array([0, 3, 1, 5, 2, 4, 4]):
      action, expected = made.evaluation_policy.select_action(
        variables, observation, expected
      )
      ours, given = trained.select_action(trained.variables, observation, given)
      assert ours == action
      chex.assert_trees_all_equal(given, expected)


def test_a_chosen_skill_takes_its_best_actions_for_its_full_length(tmp_path):
  write_run(tmp_path)
  trained = skills.load(tmp_path)
  # Nothing random, so that a table of values says what must be done.
  trained = dataclasses.replace(
    trained,
    agent=registry.make_agent(
      dataclasses.replace(
        trained.config,
        learner=dataclasses.replace(
          trained.config.learner, evaluation_epsilon=0.0
        ),
      ),
      trained.problem,
    ),
  )
  variables = trained.variables
  [table] = jax.tree.leaves(variables.params)
  values = np.asarray(table @ variables.weights).reshape(
    problems.NUM_SKILLS, problems.TABLE.num_states, -1
  )
  select_action = jax.jit(trained.select_action)
  for skill in range(problems.NUM_SKILLS):
    state = trained.init(jax.random.PRNGKey(0), skill)
    for step, observation in enumerate([5, 0, 1, 2, 3], start=1):
      action, state = select_action(variables, jnp.int32(observation), state)
      assert action == values[skill, observation].argmax()
      assert (state.skill, state.skill_step) == (skill, step)
    # The skill is over: the next one is drawn, or chosen.
    _, drawn = select_action(variables, jnp.int32(0), state)
    assert drawn.skill_step == 1
    other = (skill + 1) % problems.NUM_SKILLS
    _, chosen = select_action(
      variables, jnp.int32(0), acting.with_skill(state, other)
    )
    assert (chosen.skill, chosen.skill_step) == (other, 1)


def test_discriminators_say_what_their_tables_hold(tmp_path):
  write_run(tmp_path)
  trained = skills.load(tmp_path)
  # The mean of two probabilities, worked out from the tables themselves.
  [logits] = [
    x for x in jax.tree.leaves(trained.objective_state) if x.ndim == 3
  ]
  assert logits.shape == (2, 6, problems.NUM_SKILLS)
  q = np.exp(np.asarray(logits, np.float64))
  expected = np.log(np.mean(q / q.sum(axis=-1, keepdims=True), axis=0))
  log_q = trained.log_q_of_end(trained.objective_state, jnp.arange(6))
  np.testing.assert_allclose(log_q, expected, rtol=1e-5)
  np.testing.assert_allclose(np.exp(log_q).sum(axis=-1), 1, rtol=1e-5)
  # The last real state of trajectories counts, cut short or not.
  batch = problems.trajectory(problems.TABLE, seed=1, padding_seed=2)
  ends = np.asarray(batch.observation)[
    list(problems.LENGTHS), np.arange(len(problems.LENGTHS))
  ]
  np.testing.assert_allclose(
    trained.log_q(trained.objective_state, batch), expected[None, ends], 1e-5
  )


def test_an_objective_without_discriminators_says_so(tmp_path):
  write_run(tmp_path)
  trained = skills.load(tmp_path)
  without = dataclasses.replace(
    trained,
    agent=trained.agent._replace(
      objective=trained.objective._replace(discriminator=None)
    ),
  )
  with pytest.raises(ValueError, match='has no discriminators'):
    without.log_q_of_end(trained.objective_state, jnp.arange(6))


def test_unusable_runs_are_refused_with_the_reason(tmp_path):
  assert 'there is no run in' in refusal(tmp_path / 'nowhere')
  assert 'there is no run in' in refusal(tmp_path)

  write_run(tmp_path)
  path = tmp_path / loading.CONFIG_FILE
  content = json.loads(path.read_text())

  for version in (1, 2, 3):
    path.write_text(json.dumps({**content, 'format_version': version}))
    assert (
      f'format version {version}; this program reads 4: run again, or use the '
      'release that wrote it.'
    ) in refusal(tmp_path)
  for part in ('config', 'problem'):
    without = {name: content[name] for name in content if name != part}
    path.write_text(json.dumps(without))
    assert f'it holds no {part}' in refusal(tmp_path)
  odd = {**content['problem'], 'num_actions': 'many'}
  path.write_text(json.dumps({**content, 'problem': odd}))
  assert 'num_actions must be a whole number' in refusal(tmp_path)
  odd = {**content['config'], 'old_field': 1}
  path.write_text(json.dumps({**content, 'config': odd}))
  assert 'old_field is no setting' in refusal(tmp_path)
  path.write_text(json.dumps(content)[:100])
  assert 'is broken' in refusal(tmp_path)
  for other in ('[]', '"text"', '{}'):
    path.write_text(other)
    refusal(tmp_path)

  # A checkpoint of more skills than the configuration has.
  odd = {**content['config'], 'num_skills': problems.NUM_SKILLS + 1}
  path.write_text(json.dumps({**content, 'config': odd}))
  assert 'but this configuration needs' in refusal(tmp_path)
  path.write_text(json.dumps(content))

  checkpoint = checkpoints.latest(tmp_path / checkpoints.FOLDER)
  (checkpoint / 'state.npz').write_bytes(b'')
  assert 'is broken' in refusal(tmp_path)
  meta = json.loads((checkpoint / 'meta.json').read_text())
  (checkpoint / 'meta.json').write_text(
    json.dumps({**meta, 'format_version': 99})
  )
  assert 'format version 99' in refusal(tmp_path)
  os.rename(checkpoint, f'{checkpoint}.unfinished')
  assert 'there is no checkpoint in' in refusal(tmp_path)


LOAD = """
import importlib, json, sys
for name in json.loads(sys.argv[1]):
  sys.modules[name] = None
import skills
assert 'jax' not in sys.modules, 'importing skills alone must be quick'
trained = skills.load(sys.argv[2])
import jax
_, state = trained.select_action(
  trained.variables, jax.numpy.int32(3), trained.init(jax.random.PRNGKey(0), 2)
)
log_q = trained.log_q_of_end(trained.objective_state, jax.numpy.arange(6))
print(int(state.skill), log_q.shape)
"""


def test_nothing_but_jax_is_needed(tmp_path):
  write_run(tmp_path)
  result = subprocess.run(
    [
      sys.executable,
      '-c',
      LOAD,
      json.dumps([*layering_test.INFRASTRUCTURE, 'envs', 'launch']),
      str(tmp_path),
    ],
    cwd=pathlib.Path(__file__).resolve().parent.parent,
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  assert result.stdout.split(maxsplit=1) == ['2', '(6, 4)\n']


def test_skills_of_one_step_end_where_they_are_said_to():
  trajectory = types.arrival(jnp.array([3, 4]), jnp.array([0, 1]))
  assert trajectory.observation.tolist() == [[0, 1], [3, 4]]
  assert trajectory.mask.tolist() == [[1.0, 1.0]]
  assert types.arrival(jnp.array([3])).observation.tolist() == [[3], [3]]
