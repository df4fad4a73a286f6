"""Tests of launch/training/on_device.py."""

import functools

import chex
import dm_env
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import factory
from envs.tabular import environment as tabular_environment
from envs.tabular import mdp as tabular_mdp
from launch.training import on_device
from skills import config as config_lib
from skills import registry
from skills import types
from skills.learners import actor_critic
from skills.learners import base
from skills.learners import q_learning
from skills.networks import discriminators
from skills.networks import torsos
from skills.objectives import diayn
from skills.objectives import disdain
from skills.objectives import vic
from tests import problems

KEY = jax.random.PRNGKey(0)
BLOCK = on_device.BLOCK
NUM_SEEDS = 3


def discriminator(ensemble_size):
  return vic.VicConfig(
    discriminator=discriminators.DiscriminatorConfig(
      ensemble_size=ensemble_size, learning_rate=0.4, pinned_state=0
    )
  )


DISDAIN = disdain.DisdainConfig(over=discriminator(2), bonus_weight=20.0)


def make_agent(environment, objective=DISDAIN, learner=None, **changes):
  """DISDAIN's settings for its release's grid, but for larger rates.

  `learner` holds fields of QLearningConfig.
  """
  settings = {
    'num_skills': 24,
    'skill_length': 8,
    'batch_size': 16,
    'learner': q_learning.QLearningConfig(
      **{'learning_rate': 0.4, 'epsilon': 0.001, **(learner or {})}
    ),
  }
  config = config_lib.SkillAgentConfig(
    objective=objective, **(settings | changes)
  )
  problem = types.ProblemSpec.from_specs(
    environment.observation_spec(), environment.action_spec()
  )
  return registry.make_agent(config, problem)


def release():
  return factory.make('grid:disdain_release')


def corridor(horizon=4, sure=True):
  """A corridor of five cells from which a left or a right step may go wrong.

  It starts in the middle; the right end is terminal and pays 3.
  """
  transitions = np.zeros((5, 2, 5))
  for state in range(5):
    for action, move in enumerate((-1, 1)):
      following = min(max(state + move, 0), 4)
      transitions[state, action, following] += 1.0 if sure else 0.7
      transitions[state, action, state] += 0.0 if sure else 0.3
  rewards = np.zeros((5, 2))
  rewards[3, 1] = 3.0
  mdp = tabular_mdp.TabularMDP(
    transitions=transitions,
    rewards=rewards,
    terminal=np.arange(5) == 4,
    initial=np.eye(5)[2],
    horizon=horizon,
  )
  return tabular_environment.TabularEnvironment(mdp)


def small_agent(environment, **changes):
  """DISDAIN in the corridor, which it walks at random."""
  settings = {
    'num_skills': 3,
    'skill_length': 4,
    'batch_size': 32,
    'learner': {'epsilon': 1.0, 'evaluation_epsilon': 1.0},
  }
  return make_agent(environment, **(settings | changes))


def telling(agent):
  """The agent, whose learner says what trajectories it was given."""

  def update(state, trajectory):
    state, metrics = agent.learner.update(state, trajectory)
    return state, metrics | {'trajectory': trajectory}

  return agent._replace(learner=agent.learner._replace(update=update))


@functools.cache
def small_program():
  """An initial state by seed, and training, compiled."""
  environment = corridor(horizon=2)
  agent = small_agent(environment, skill_length=2, learner={'epsilon': 0.2})
  program = on_device.make(agent, environment.functional())
  return (
    lambda seed: program.init(jax.random.PRNGKey(seed)),
    jax.jit(program.train, static_argnums=1),
    program,
  )


def test_the_same_seed_gives_the_same_run_and_another_another():
  init, train, _ = small_program()
  first, _ = train(init(0), BLOCK)
  again, _ = train(init(0), BLOCK)
  chex.assert_trees_all_equal(first, again)
  other, _ = train(init(1), BLOCK)
  for mine, theirs in zip(
    jax.tree.leaves(first.learner.params), jax.tree.leaves(other.learner.params)
  ):
    assert np.any(mine != theirs)


@pytest.mark.parametrize('more', [BLOCK, 3])
def test_a_run_in_parts_is_the_whole_run(more):
  init, train, _ = small_program()
  whole, whole_metrics = train(init(0), BLOCK + more)
  parts, _ = train(init(0), BLOCK)
  parts, metrics = train(parts, more)
  chex.assert_trees_all_equal(parts, whole)
  chex.assert_trees_all_close(metrics, whole_metrics, rtol=1e-5)
  assert whole.learner.steps == BLOCK + more


def test_seeds_side_by_side_give_the_same_runs_as_alone():
  init, train, program = small_program()
  seeds = [init(0), init(1)]
  together, _ = jax.jit(jax.vmap(lambda state: program.train(state, BLOCK)))(
    jax.tree.map(lambda *leaves: jnp.stack(leaves), *seeds)
  )
  for i, seed in enumerate(seeds):
    chex.assert_trees_all_close(
      jax.tree.map(lambda x, i=i: x[i], together),
      train(seed, BLOCK)[0],
      rtol=1e-4,
      atol=1e-5,
    )


def replay(environment, trajectory, b):
  """Takes a skill's real steps in the dm_env environment, and compares."""
  timestep = environment.reset()
  length = int(np.sum(trajectory.mask[:, b]))
  for t in range(length):
    assert timestep.observation == trajectory.observation[t, b]
    assert timestep.step_type != dm_env.StepType.LAST
    timestep = environment.step(int(trajectory.action[t, b]))
    assert timestep.reward == trajectory.reward[t, b]
    assert timestep.discount == trajectory.discount[t, b]
  assert timestep.observation == trajectory.observation[length, b]
  return timestep, length


def test_transitions_are_those_of_the_dm_env_environment():
  environment = release()
  agent = make_agent(environment, learner={'evaluation_epsilon': 1.0})
  program = on_device.make(agent, environment.functional())
  state = program.init(KEY)
  trajectory = jax.jit(program.evaluate, static_argnums=2)(state, KEY, 64)
  chex.assert_shape(trajectory.mask, (8, 64))
  for b in range(64):
    timestep, length = replay(environment, trajectory, b)
    assert timestep.step_type == dm_env.StepType.LAST
    assert length == 8
    assert len(np.unique(trajectory.skill[:, b])) == 1
  assert len(np.unique(trajectory.observation)) > 6
  assert len(np.unique(trajectory.skill)) > 12
  assert set(np.unique(trajectory.action)) == set(range(5))


def test_steps_after_the_end_of_an_episode_are_masked():
  environment = corridor()
  program = on_device.make(small_agent(environment), environment.functional())
  trajectory = program.evaluate(program.init(KEY), KEY, 32)
  lengths = set()
  for b in range(32):
    timestep, length = replay(environment, trajectory, b)
    assert timestep.step_type == dm_env.StepType.LAST
    # The mask is a prefix.
    np.testing.assert_array_equal(trajectory.mask[:, b], np.arange(4) < length)
    lengths.add((length, float(timestep.discount)))
  # Two steps to the right, or four to there, or time was up.
  assert lengths == {(2, 0.0), (4, 0.0), (4, 1.0)}


def test_transitions_follow_their_probabilities():
  environment = corridor(sure=False)
  program = on_device.make(small_agent(environment), environment.functional())
  trajectory = program.evaluate(program.init(KEY), KEY, 500)
  trajectory = jax.tree.map(np.asarray, trajectory)
  real = trajectory.mask > 0
  before, after = trajectory.observation[:-1], trajectory.observation[1:]
  counts = np.zeros((5, 2, 5))
  np.add.at(counts, (before[real], trajectory.action[real], after[real]), 1)
  transitions = environment.mdp.transitions
  assert np.all(transitions[counts > 0] > 0)
  # Both actions in each of the three inner cells; some 1800 steps in all.
  for state in (1, 2, 3):
    for action in (0, 1):
      size = counts[state, action].sum()
      assert size > 50
      deviation = np.sqrt(0.3 * 0.7 / size)
      stayed = counts[state, action, state] / size
      assert abs(stayed - 0.3) < 5 * deviation


def test_an_update_is_the_learner_s_own_on_the_same_trajectories():
  environment = corridor()
  agent = small_agent(environment)
  program = on_device.make(telling(agent), environment.functional())
  train = jax.jit(program.train, static_argnums=1)
  # The second one: the first has left the environments where its skills ended.
  before, earlier = train(program.init(KEY), 1)
  assert np.any(before.environments != 2)
  after, metrics = train(before, 1)
  trajectory = metrics.pop('trajectory')
  for b in range(32):
    replay(environment, trajectory, b)
  # New random numbers for it, too.
  for name in ('skill', 'action'):
    assert np.any(
      getattr(earlier['trajectory'], name) != getattr(trajectory, name)
    )
  expected, expected_metrics = jax.jit(agent.learner.update)(
    before.learner, trajectory
  )
  chex.assert_trees_all_close(after.learner, expected, rtol=1e-5, atol=1e-6)
  chex.assert_trees_all_close(metrics, expected_metrics, rtol=1e-4, atol=1e-6)


def test_actions_are_the_greedy_ones_of_what_was_learned():
  environment = release()
  agent = make_agent(environment, learner={'evaluation_epsilon': 0.0})
  program = on_device.make(agent, environment.functional())
  state = program.init(KEY)
  trajectory = program.evaluate(state, KEY, 64)
  values = problems.action_values(agent)(
    state.learner.params, trajectory.observation[:-1], trajectory.skill
  )
  mixed = values[..., 0] + 20.0 * values[..., 1]
  np.testing.assert_array_equal(trajectory.action, jnp.argmax(mixed, axis=-1))


def test_environment_without_horizon_goes_on_where_the_last_skill_ended():
  environment = factory.make('grid:disdain_release', horizon=None)
  agent = telling(make_agent(environment, learner={'epsilon': 1.0}))
  program = on_device.make(agent, environment.functional())
  state = program.init(KEY)
  train = jax.jit(program.train, static_argnums=1)
  np.testing.assert_array_equal(state.environments, 0)
  for _ in range(2):
    start = np.asarray(state.environments)
    state, metrics = train(state, 1)
    observation = metrics['trajectory'].observation
    np.testing.assert_array_equal(observation[0], start)
    np.testing.assert_array_equal(observation[-1], state.environments)
    assert len(np.unique(observation[-1])) > 1


def test_evaluation_without_horizon_starts_where_training_is():
  environment = factory.make('grid:disdain_release', horizon=None)
  agent = make_agent(
    environment, learner={'epsilon': 1.0, 'evaluation_epsilon': 1.0}
  )
  program = on_device.make(agent, environment.functional())
  train = jax.jit(program.train, static_argnums=1)
  state, _ = train(program.init(KEY), 2)
  size = 3 * 16 + 5
  trajectory = jax.jit(program.evaluate, static_argnums=2)(state, KEY, size)
  chex.assert_shape(trajectory.mask, (8, size))
  first, last = np.asarray(trajectory.observation)[[0, -1]]
  np.testing.assert_array_equal(first[:16], state.environments)
  # Each of the 16 chains goes on where it was.
  np.testing.assert_array_equal(first[16:], last[:-16])
  assert len(np.unique(first)) > 6
  assert len(np.unique(trajectory.skill[0])) > 12
  # Links have random numbers of their own.
  assert not np.array_equal(
    trajectory.action[:, :16], trajectory.action[:, 16:32]
  )


def test_skills_that_do_not_fill_an_episode_are_refused():
  environment = release()
  agent = make_agent(environment, skill_length=5)
  with pytest.raises(ValueError, match=r'skill_length.*\(8\).*got 5'):
    on_device.make(agent, environment.functional())


def test_a_run_without_updates_is_refused():
  _, _, program = small_program()
  with pytest.raises(ValueError, match='num_rollouts must be >= 1, got 0'):
    program.train(program.init(KEY), 0)


def skills_learned(objective, num_updates):
  """exp of the mean reward of fresh skills, for each of several seeds."""
  environment = release()
  agent = make_agent(environment, objective)
  program = on_device.make(agent, environment.functional())

  def run(key):
    state, _ = program.train(program.init(key), num_updates)
    trajectory = program.evaluate(state, key, 512)
    # This metric is never clipped.
    _, metrics = agent.objective.update(
      state.learner.objective, trajectory, key
    )
    return jnp.exp(metrics['skill_reward'])

  keys = jax.random.split(KEY, NUM_SEEDS)
  return np.asarray(jax.jit(jax.vmap(run))(keys))


@pytest.mark.slow
def test_disdain_learns_more_skills_than_vic_alone():
  # Six seeds gave 17.0 to 21.2 and 10.1 to 13.2.
  with_bonus = skills_learned(DISDAIN, 12_000)
  without = skills_learned(discriminator(1), 12_000)
  assert np.mean(with_bonus) >= 15, with_bonus
  assert np.mean(without) <= 14, without
  assert np.all(with_bonus > without), (with_bonus, without)


def test_skills_cannot_last_as_long_as_an_episode_that_never_ends():
  environment = corridor(horizon=None)
  with pytest.raises(ValueError, match='keeps_skill must be false'):
    on_device.make(
      small_agent(environment, keeps_skill=True), environment.functional()
    )
  # One that ends does so where its skill does.
  environment = corridor()
  on_device.make(
    small_agent(environment, keeps_skill=True), environment.functional()
  )


# Several skills in an episode, vector actions, sweeps.


def chained(horizon=12, **changes):
  """Random walks in the release's grid, three skills of four steps each."""
  environment = factory.make('grid:disdain_release', horizon=horizon)
  agent = make_agent(
    environment,
    learner={'epsilon': 1.0, 'evaluation_epsilon': 1.0},
    skill_length=4,
    batch_size=6,
    **changes,
  )
  return environment, agent


def test_skills_of_an_episode_follow_each_other_until_its_horizon():
  environment, agent = chained()
  program = on_device.make(telling(agent), environment.functional())
  train = jax.jit(program.train, static_argnums=1)
  state = program.init(KEY)
  # Staggered: a third of the environments is reset after each rollout.
  np.testing.assert_array_equal(state.age, [0, 4, 8, 0, 4, 8])
  for _ in range(4):
    start, age = np.asarray(state.environments), np.asarray(state.age)
    state, metrics = train(state, 1)
    trajectory = metrics['trajectory']
    np.testing.assert_array_equal(trajectory.observation[0], start)
    ends = age == 8
    assert ends.sum() == 2
    np.testing.assert_array_equal(
      state.environments, np.where(ends, 0, trajectory.observation[-1])
    )
    np.testing.assert_array_equal(state.age, np.where(ends, 0, age + 4))
    # Truncation is no termination: values bootstrap from the last state.
    np.testing.assert_array_equal(trajectory.discount, 1.0)


def test_a_kept_skill_changes_only_with_the_episode():
  environment, agent = chained(keeps_skill=True)
  program = on_device.make(telling(agent), environment.functional())
  train = jax.jit(program.train, static_argnums=1)
  state = program.init(KEY)
  changes = 0
  for _ in range(6):
    age, before = np.asarray(state.age), np.asarray(state.skill)
    state, metrics = train(state, 1)
    skill = np.asarray(metrics['trajectory'].skill)[0]
    np.testing.assert_array_equal(skill[age > 0], before[age > 0])
    changes += np.sum(skill[age == 0] != before[age == 0])
  assert changes > 6
  trajectory = program.evaluate(state, KEY, 9)
  np.testing.assert_array_equal(
    trajectory.skill[0, :3], trajectory.skill[0, 3:6]
  )


def test_evaluation_of_chained_skills_is_of_whole_episodes():
  environment, agent = chained()
  program = on_device.make(agent, environment.functional())
  trajectory = program.evaluate(program.init(KEY), KEY, 7)
  # Three episodes of three skills are the fewest that hold seven.
  chex.assert_shape(trajectory.mask, (4, 9))
  first, last = np.asarray(trajectory.observation)[[0, -1]]
  np.testing.assert_array_equal(first[:3], 0)
  np.testing.assert_array_equal(first[3:], last[:-3])


def test_each_epoch_learns_once_from_every_trajectory():
  def update(state, trajectory):
    part = trajectory.skill[0]
    counts = state['counts'].at[part].add(1)
    sizes = jnp.asarray(part.shape[0])
    return {'counts': counts, 'last': part}, {'size': sizes}

  learner = base.Learner(
    init=lambda key: (), update=update, variables=lambda state: ()
  )
  trajectory = problems.ending_in(problems.TABLE, range(6), [0] * 6)
  state = {'counts': jnp.zeros(6, jnp.int32), 'last': jnp.zeros(2, jnp.int32)}
  orders = []
  for seed in range(3):
    after, metrics = on_device.sweep(
      learner,
      state,
      trajectory,
      jax.random.PRNGKey(seed),
      epochs=5,
      minibatches=3,
    )
    np.testing.assert_array_equal(after['counts'], 5)
    assert metrics['size'] == 2
    orders.append(tuple(np.asarray(after['last']).tolist()))
  assert len(set(orders)) > 1


def test_one_sweep_of_the_whole_batch_is_the_learner_s_update():
  environment, agent = chained()
  _, swept = chained(
    device=config_lib.DeviceConfig(environments=6, epochs=1, minibatches=1)
  )
  states = [
    jax.jit(
      on_device.make(each, environment.functional()).train, static_argnums=1
    )(on_device.make(each, environment.functional()).init(KEY), 3)[0]
    for each in (agent, swept)
  ]
  chex.assert_trees_all_equal(*states)


def test_vector_actions_move_a_body():
  environment = factory.make('control:point_mass_easy', time_limit=0.4)
  config = config_lib.SkillAgentConfig(
    objective=diayn.DiaynConfig(
      discriminator=discriminators.DiscriminatorConfig(hidden_sizes=(8,))
    ),
    num_skills=3,
    skill_length=10,
    batch_size=4,
    network=torsos.NetworkConfig(hidden_sizes=(8,)),
    learner=actor_critic.ActorCriticConfig(),
    device=config_lib.DeviceConfig(epochs=2, minibatches=2),
  )
  problem = types.ProblemSpec.from_specs(
    environment.observation_spec(), environment.action_spec()
  )
  agent = telling(registry.make_agent(config, problem))
  program = on_device.make(agent, environment.functional())
  state, metrics = jax.jit(program.train, static_argnums=1)(
    program.init(KEY), 2
  )
  assert int(state.learner.steps) == 8
  chex.assert_shape(metrics['trajectory'].action, (10, 2, 2))
  chex.assert_shape(metrics['trajectory'].skill, (10, 2))
  np.testing.assert_array_equal(state.age, [0, 10, 0, 10])
  assert np.all(np.isfinite(state.environments))


def test_parts_of_a_batch_must_be_equal():
  with pytest.raises(ValueError, match=r'minibatches must divide.*\(6\).*4'):
    chained(device=config_lib.DeviceConfig(minibatches=4))


def test_episode_returns_end_where_the_environment_does():
  # Two chains of two links of two steps: trajectory i + 2 follows i.
  reward = jnp.array([[1.0, 10.0, 100.0, 1000.0], [2.0, 20.0, 200.0, 2000.0]])
  # The second chain ends with its first step, and its second link begins anew.
  discount = jnp.ones((2, 4)).at[0, 1].set(0.0)
  ones = jnp.ones((2, 4))
  trajectory = types.Trajectory(
    observation=jnp.zeros((3, 4), jnp.int32),
    action=jnp.zeros((2, 4), jnp.int32),
    reward=reward,
    discount=discount,
    skill=jnp.zeros((2, 4), jnp.int32),
    mask=ones.at[1, 1].set(0.0),
  )
  returns = on_device.episode_returns(trajectory, 2)
  np.testing.assert_array_equal(returns, [303.0, 10.0])
  whole = on_device.episode_returns(
    trajectory._replace(discount=ones, mask=ones), 2
  )
  np.testing.assert_array_equal(whole, [303.0, 3030.0])
