"""Tests of skills/acting.py."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from skills import acting
from skills.learners import actor_critic
from skills.learners import q_learning
from skills.networks import heads
from skills.networks import policies
from skills.networks import q_networks
from skills.networks import torsos
from tests import problems

K = problems.NUM_SKILLS
LENGTH = 3
NETWORK = q_networks.make(torsos.NetworkConfig(), problems.TABLE, K, 2)
VARIABLES = q_learning.Variables(
  NETWORK.init(jax.random.PRNGKey(0)), jnp.array([1.0, 2.0]), jnp.int32(7)
)


def make(epsilon=0.0):
  return acting.make(q_learning.acting_policy(NETWORK, epsilon), K, LENGTH)


def keys(size, seed=0):
  return jax.random.split(jax.random.PRNGKey(seed), size)


def run(core, key, num_steps, observation=None):
  """Actions, extras and observations of an actor in its own environment."""
  if observation is None:
    observation = jnp.arange(num_steps) % problems.TABLE.num_states

  def step(state, seen):
    action, state = core.select_action(VARIABLES, seen, state)
    return state, (action, core.get_extras(state))

  _, (action, extras) = jax.lax.scan(step, core.init(key), observation)
  return action, extras, observation


def test_skills_are_drawn_uniformly_and_apart_from_the_action():
  action, extras, _ = jax.jit(jax.vmap(lambda key: run(make(1.0), key, 1)))(
    keys(4000)
  )
  joint = np.zeros((K, 3))
  np.add.at(joint, (extras['skill'][:, 0], action[:, 0]), 1)
  # 1000 of each skill, 333 with each action: five standard deviations are
  # 5 sqrt(4000 * 1/4 * 3/4) = 137 and 5 sqrt(4000 * 1/12 * 11/12) = 87.
  assert np.all(np.abs(joint.sum(1) - 1000) < 137)
  assert np.all(np.abs(joint - 4000 / 12) < 87)


def test_a_skill_is_kept_for_its_length_and_then_drawn_anew():
  # 1000 actors, three skills and the first step of a fourth.
  _, extras, _ = jax.jit(
    jax.vmap(lambda key: run(make(), key, 3 * LENGTH + 1))
  )(keys(1000))
  expected = np.array([1, 2, 3, 1, 2, 3, 1, 2, 3, 1])
  np.testing.assert_array_equal(
    extras['skill_step'], np.tile(expected, (1000, 1))
  )
  skill = np.asarray(extras['skill'])
  changes = skill[:, 1:] != skill[:, :-1]
  ends = expected[:-1] == LENGTH
  assert not np.any(changes[:, ~ends])
  # 3/4 of 1000 draws differ from the one before: 750, deviation 13.7.
  assert np.all(np.abs(changes[:, ends].sum(0) - 750) < 69)
  # Each new draw is uniform: 250 each, deviation 13.7.
  for t in range(0, skill.shape[1], LENGTH):
    assert np.all(np.abs(np.bincount(skill[:, t]) - 250) < 69)


def test_a_skill_that_is_kept_lasts_for_the_whole_episode():
  core = acting.make(
    q_learning.acting_policy(NETWORK, 0.0), K, LENGTH, keeps_skill=True
  )
  _, extras, _ = jax.jit(jax.vmap(lambda key: run(core, key, 3 * LENGTH + 1)))(
    keys(1000)
  )
  np.testing.assert_array_equal(
    extras['skill_step'], np.tile([1, 2, 3, 1, 2, 3, 1, 2, 3, 1], (1000, 1))
  )
  skill = np.asarray(extras['skill'])
  np.testing.assert_array_equal(skill, skill[:, :1] + 0 * skill)
  # Uniform: 250 each, deviation 13.7.
  assert np.all(np.abs(np.bincount(skill[:, 0]) - 250) < 69)


def test_greedy_actions_are_those_of_the_skill_s_mixed_values():
  action, extras, observation = jax.jit(lambda key: run(make(), key, 30))(
    jax.random.PRNGKey(0)
  )
  table = problems.content(VARIABLES.params).reshape(K, 6, 3, 2)
  values = table[np.asarray(extras['skill']), np.asarray(observation)]
  mixed = values[..., 0] + 2 * values[..., 1]
  np.testing.assert_array_equal(action, mixed.argmax(-1))
  # Neither stream alone would have chosen so.
  assert np.any(action != values[..., 0].argmax(-1))
  assert np.any(action != values[..., 1].argmax(-1))


def test_an_actor_explores_as_often_as_it_is_told():
  # Half of 3000 choices are random, and a third of those greedy by chance:
  # 1000 differ, deviation sqrt(3000 * 1/3 * 2/3) = 26.
  def differs(key):
    observation = jnp.zeros((LENGTH,), jnp.int32)
    explored, extras, _ = run(make(0.5), key, LENGTH, observation)
    greedy, same, _ = run(make(0.0), key, LENGTH, observation)
    return explored != greedy, extras['skill'] == same['skill']

  differ, same_skill = jax.jit(jax.vmap(differs))(keys(1000))
  assert np.all(same_skill)
  assert abs(np.sum(differ) - 1000) < 130
  # No step explores more than another: 333, deviation 15.
  assert np.all(np.abs(np.sum(differ, 0) - 333) < 75)


def test_extras_name_the_skill_the_step_and_the_age_of_the_variables():
  core = make()
  state = core.init(jax.random.PRNGKey(0))
  assert core.get_extras(state)['learner_step'] == 0
  _, state = core.select_action(VARIABLES, jnp.int32(3), state)
  extras = core.get_extras(state)
  assert set(extras) == {'skill', 'skill_step', 'learner_step'}
  assert (extras['skill'], extras['skill_step']) == (state.skill, 1)
  assert extras['learner_step'] == VARIABLES.steps
  assert {x.dtype for x in extras.values()} == {jnp.dtype(jnp.int32)}


def test_compiled_and_mapped_actors_are_the_plain_ones():
  core = make(0.5)
  observation = jnp.array([1, 4])
  state = jax.vmap(core.init)(keys(2))
  expected = [
    core.select_action(
      VARIABLES, observation[i], jax.tree.map(lambda x, i=i: x[i], state)
    )
    for i in range(2)
  ]
  expected = jax.tree.map(lambda *x: jnp.stack(x), *expected)
  mapped = jax.vmap(core.select_action, in_axes=(None, 0, 0))
  chex.assert_trees_all_equal(mapped(VARIABLES, observation, state), expected)
  chex.assert_trees_all_equal(
    jax.jit(mapped)(VARIABLES, observation, state), expected
  )


def test_an_actor_with_one_skill_follows_no_other():
  core = acting.make(
    q_learning.acting_policy(NETWORK, 0.0), K, LENGTH, fixed_skill=2
  )
  _, extras, _ = jax.jit(jax.vmap(lambda key: run(core, key, 2 * LENGTH + 1)))(
    keys(50)
  )
  assert np.all(extras['skill'] == 2)
  # Its steps are counted as those of any other.
  np.testing.assert_array_equal(extras['skill_step'][0], [1, 2, 3, 1, 2, 3, 1])


def test_extras_of_the_acting_policy_are_recorded_beside_the_skill():
  distribution = policies.of_indices(3)
  network = heads.make(torsos.NetworkConfig(), problems.TABLE, K, 3)
  policy, _ = actor_critic.acting_policies(network, distribution)
  core = acting.make(policy, K, LENGTH)
  variables = actor_critic.Variables(
    problems.fill(
      network.init(jax.random.PRNGKey(0)),
      np.random.default_rng(0).normal(size=(K * 6, 3)),
    ),
    jnp.int32(7),
  )
  state = core.init(jax.random.PRNGKey(1))
  action, state = core.select_action(variables, jnp.int32(4), state)
  extras = core.get_extras(state)
  logits = problems.content(variables.params).reshape(K, 6, 3)
  logits = logits[int(extras['skill']), 4]
  np.testing.assert_allclose(
    acting.learner_extras(extras)[policies.LOG_PROB],
    logits[int(action)] - np.log(np.exp(logits).sum()),
    rtol=1e-5,
  )


def test_actors_of_a_batch_do_what_each_would_do_alone():
  core = make(0.5)
  batch = acting.batch(core)
  states = problems.TABLE.num_states
  observation = np.arange(14).reshape(7, 2) % states
  begins = np.zeros((7, 2), bool)
  begins[0] = True
  begins[4, 1] = True  # In the middle of a skill.
  state = batch.init(keys(2))
  output = []
  for t in range(7):
    result, state = batch.select_action(
      VARIABLES, (jnp.asarray(observation[t]), jnp.asarray(begins[t])), state
    )
    output.append(result)
  for i, key in enumerate(keys(2)):
    starts = [*np.flatnonzero(begins[:, i]), 7]
    for start, end in zip(starts[:-1], starts[1:], strict=True):
      key, episode_key = jax.random.split(key)
      action, extras, _ = run(
        core, episode_key, end - start, jnp.asarray(observation[start:end, i])
      )
      found, its_extras = jax.tree.map(
        lambda *x, i=i: np.stack(x)[:, i], *output[start:end]
      )
      np.testing.assert_array_equal(found, action)
      chex.assert_trees_all_equal(its_extras, extras)
