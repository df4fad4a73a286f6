"""Every agent has settings for every environment."""

import dataclasses

import jax
import pytest

from envs import factory
from skills import presets
from skills import registry
from skills import types
from skills.objectives import base as objectives
from tests import problems

GRIDS = ('grid:disdain_release', 'grid:four_rooms')
OBSERVATIONS = ('index', 'one_hot', 'pixels')


def problem_of(environment, observation):
  made = factory.make(environment, observation=observation)
  return types.ProblemSpec.from_specs(
    made.observation_spec(), made.action_spec()
  )


@pytest.mark.parametrize('observation', OBSERVATIONS)
@pytest.mark.parametrize('environment', GRIDS)
@pytest.mark.parametrize('name', sorted(registry.OBJECTIVES))
def test_every_agent_can_be_made_for_every_grid_and_observation(
  name, environment, observation
):
  problem = problem_of(environment, observation)
  config = presets.make(name, environment, problem)
  assert registry.name_of(config.objective) == name
  if name == 'counts' and observation != 'index':
    # In one line that says what to use instead.
    with pytest.raises(ValueError, match="state indices.* 'rnd' instead"):
      registry.make_agent(config, problem)
    return
  agent = registry.make_agent(config, problem)
  state = jax.eval_shape(agent.learner.init, jax.random.PRNGKey(0))
  # Values of every skill, action and stream.
  values = jax.eval_shape(
    problems.action_values(agent),
    state.params,
    jax.ShapeDtypeStruct(
      (7, *problem.observation_shape), problem.observation_dtype
    ),
    jax.ShapeDtypeStruct((7,), 'int32'),
  )
  assert values.shape == (7, problem.num_actions, len(agent.objective.streams))


def sections(config):
  """The configuration and everything within it."""
  yield config
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    if dataclasses.is_dataclass(value):
      yield from sections(value)


@pytest.mark.parametrize('name', sorted(registry.OBJECTIVES))
def test_tables_stand_where_states_have_indices_and_networks_elsewhere(name):
  for observation in OBSERVATIONS:
    problem = problem_of(GRIDS[0], observation)
    config = presets.make(name, GRIDS[0], problem)
    is_table = problem.num_states is not None
    assert is_table == (observation == 'index')
    parts = [
      part
      for part in sections(config)
      if hasattr(part, 'hidden_sizes') and not hasattr(part, 'embedding_size')
    ]
    # Values and discriminators, however deep these are.
    assert len(parts) == (1 if name == 'extrinsic' else 2)
    for part in parts:
      assert (part.hidden_sizes is None) == is_table


@pytest.mark.parametrize('environment', GRIDS)
def test_skills_last_an_episode_of_the_papers_grids(environment):
  problem = problem_of(environment, 'index')
  config = presets.make('disdain', environment, problem)
  horizon = factory.make(environment).mdp.horizon
  assert config.skill_length == horizon
  sizes = {'grid:disdain_release': (24, 8), 'grid:four_rooms': (128, 20)}
  assert (config.num_skills, config.skill_length) == sizes[environment]


def test_the_agents_of_an_environment_differ_in_what_they_learn_from_alone():
  problem = problem_of(GRIDS[0], 'index')
  configs = [
    presets.make(name, GRIDS[0], problem)
    for name in registry.OBJECTIVES
    if name != 'extrinsic'  # There are no skills in it.
  ]
  others = {
    dataclasses.replace(config, objective=configs[0].objective)
    for config in configs
  }
  assert len(others) == 1
  vic = presets.make('vic', GRIDS[0], problem).objective
  disdain = presets.make('disdain', GRIDS[0], problem).objective
  assert disdain.over.discriminator == dataclasses.replace(
    vic.discriminator,
    ensemble_size=disdain.over.discriminator.ensemble_size,
    learning_rate=disdain.over.discriminator.learning_rate,
  )
  assert disdain.over.discriminator.ensemble_size > 1


def test_unknown_environments_get_settings_too():
  problem = types.ProblemSpec(
    observation_shape=(3,),
    observation_dtype='float32',
    num_states=None,
    num_actions=2,
  )
  config = presets.make('disdain', 'one:of_my_own', problem)
  registry.make_agent(config, problem)


ATARI = types.ProblemSpec(
  observation_shape=(84, 84, 4),
  observation_dtype='uint8',
  num_states=None,
  num_actions=18,
)


def test_replay_of_pictures_fits_in_memory():
  config = presets.make('vic', 'atari:pong', ATARI)
  item = (config.skill_length + 1) * 84 * 84 * 4
  assert 2**29 < config.replay.capacity * item <= 2**30
  # Grids are small enough for any number.
  assert presets.make('vic', 'my:grid', TINY).replay.capacity == 20_000


TINY = dataclasses.replace(ATARI, observation_shape=(8, 7, 3))


@pytest.mark.parametrize('name', ['vic', 'disdain', 'extrinsic'])
@pytest.mark.parametrize('problem', [ATARI, TINY])
def test_pictures_are_seen_by_residual_networks(name, problem):
  config = presets.make(name, 'my:task', problem)
  parts = [part for part in sections(config) if hasattr(part, 'channels')]
  assert len(parts) == (1 if name == 'extrinsic' else 2)
  for part in parts:
    assert part.torso == 'resnet'
    assert (part.channels == (16, 32, 32)) == (problem == ATARI)


def test_members_of_large_ensembles_share_what_sees_the_pictures():
  for name, size in (('vic', 1), ('disdain', 40)):
    objective = presets.make(name, 'atari:pong', ATARI).objective
    inner = getattr(objective, 'over', objective).discriminator
    assert inner.ensemble_size == size
    assert inner.is_torso_shared == (size > 1)


def continuous(environment):
  made = factory.make(environment)
  return types.ProblemSpec.from_specs(
    made.observation_spec(), made.action_spec()
  )


@pytest.mark.parametrize(
  'name', sorted(set(registry.OBJECTIVES) - {'counts', 'domino'})
)
def test_continuous_actions_get_a_learner_that_can_choose_them(name):
  problem = continuous('control:point_mass_easy')
  assert problem.num_actions is None
  assert problem.action_shape == (2,)
  made = {
    learner: presets.make(
      name, 'control:point_mass_easy', problem, learner=learner
    )
    for learner in (None, 'actor_critic', 'soft_actor_critic')
  }
  off_policy = name == 'extrinsic'
  assert registry.name_of(made[None].learner) == (
    'soft_actor_critic' if off_policy else 'actor_critic'
  )
  for learner, config in made.items():
    if learner is not None:
      assert registry.name_of(config.learner) == learner
    agent = registry.make_agent(config, problem)
    jax.eval_shape(agent.learner.init, jax.random.PRNGKey(0))


@pytest.mark.parametrize('agent', ['extrinsic', 'diayn'])
def test_soft_actor_critic_makes_one_update_for_each_step(agent):
  config = presets.make(
    agent,
    'control:walker_stand',
    continuous('control:walker_stand'),
    learner='soft_actor_critic',
  )
  assert config.replay.updates_per_environment_step == 1.0
  assert config.replay.capacity * config.skill_length >= 100_000
  assert config.learner.transitions in (None, 256)
  # The temperature is learned for tasks, whose rewards stay what they are.
  is_learned = config.learner.temperature_learning_rate is not None
  assert is_learned == (agent == 'extrinsic')


@pytest.mark.parametrize(
  ('agent', 'environment', 'updates', 'samples_per_insert'),
  [
    # An update for each skill of 8 or 20 steps, where there are tables.
    ('disdain', 'grid:disdain_release', 1 / 8, 16),
    ('vic', 'grid:four_rooms', 1 / 20, 16),
    # And of 50, of a body; where sets are found, half as many.
    ('diayn', 'control:walker_stand', 1 / 50, 16),
    ('domino', 'control:walker_stand', 1 / 100, 8),
    # An update of 32 * 8 transitions for each step.
    ('extrinsic', 'control:walker_stand', 1.0, 256),
    ('ive', 'control:point_mass_easy', 1.0, 256),
    # An update for an episode, of 9 steps; half as many for networks, where
    # skills have 20.
    ('muesli', 'classic:catch', 1 / 9, 16),
    ('muesli', 'classic:cartpole', 1 / 40, 8),
    # Batches of 64, of 64 steps each: 16 / (64 * 64).
    ('domino_linear', 'grid:top_rows', 1 / 256, 16),
    # A controller's trajectories are of 4 skills.
    ('hierarchy', 'grid:four_rooms', 1 / 4, 16),
  ],
)
def test_updates_per_environment_step_suit_the_sizes_of_a_preset(
  agent, environment, updates, samples_per_insert
):
  config = presets.make(agent, environment, continuous(environment))
  assert config.replay.updates_per_environment_step == updates
  assert config.samples_per_insert == samples_per_insert


def test_updates_of_large_pictures_are_rare():
  config = presets.make('disdain', 'atari:pong', ATARI)
  # Each trajectory of 20 steps is sampled once, in a batch of 16.
  assert config.replay.updates_per_environment_step == 1 / 320
  assert config.samples_per_insert == 1


def test_control_on_device_sweeps_over_many_environments():
  problem = continuous('control:point_mass_easy')
  config = presets.make(
    'disdain', 'control:point_mass_easy', problem, on_device=True
  )
  assert registry.name_of(config.learner) == 'actor_critic'
  assert config.num_environments == 64
  assert config.device.epochs * config.device.minibatches == 16
  # Positions are tenths of meters.
  discriminator = config.objective.over.discriminator
  assert discriminator.input_scale == config.network.input_scale == 5.0
  assert discriminator.hidden_sizes == config.network.hidden_sizes == (64, 64)
  elsewhere = presets.make('disdain', 'control:cartpole_swingup', problem)
  assert elsewhere.num_environments == elsewhere.batch_size
  assert elsewhere.network.input_scale == 1.0


def test_a_task_on_device_moves_its_policy_slower_than_skills_do():
  name = 'control:cartpole_swingup'
  rates = [
    presets.make(
      agent, name, continuous(name), on_device=True
    ).learner.policy_learning_rate
    for agent in ('extrinsic', 'diayn')
  ]
  assert rates == [3e-4, 1e-3]


def test_soft_actor_critic_replays_on_device():
  name = 'control:cartpole_swingup'
  config = presets.make(
    'extrinsic',
    name,
    continuous(name),
    learner='soft_actor_critic',
    on_device=True,
  )
  assert config.device.replays
  # One for each of 16 environments' 8 steps.
  assert config.updates_per_rollout == 128
  config = presets.make('extrinsic', name, continuous(name))
  assert not config.device.replays


@pytest.mark.parametrize('name', ['diayn', 'vic', 'disdain', 'rvic'])
def test_skills_of_bodies_are_learned_with_small_networks(name):
  environment = 'control:point_mass_easy'
  problem = continuous(environment)
  config = presets.make(name, environment, problem)
  discriminator = objectives.discriminator_of(config.objective)
  for torso in (config.network, discriminator):
    assert torso.hidden_sizes == (64, 64)
    # Positions are tenths of meters.
    assert torso.input_scale == 5.0
  on_device = presets.make(name, environment, problem, on_device=True)
  assert on_device.network == config.network
  # Each trajectory is learned from 16 times while it is among the newest 256,
  # and what was learned is kept.
  assert config.samples_per_insert == pytest.approx(16.0)
  assert config.replay.capacity == 256
  assert config.learner.policy_decay == 8_000
  # Every state pays DIAYN, also those after a skill's last.
  agent = registry.make_agent(config, problem)
  assert agent.objective.bootstrap_at_skill_end == (name == 'diayn')


def test_tasks_and_sets_of_policies_keep_their_networks():
  environment = 'control:point_mass_easy'
  problem = continuous(environment)
  task = presets.make('extrinsic', environment, problem, learner='actor_critic')
  policies = presets.make('domino', environment, problem)
  for config in (task, policies):
    assert config.network.hidden_sizes == (256, 256)
    assert config.network.input_scale == 1.0
    assert config.learner.policy_decay is None


def test_actions_without_bounds_are_refused_in_one_line():
  with pytest.raises(ValueError, match='rescale them'):
    continuous('control:lqr_lqr_2_1')


def test_agents_of_atari_remember():
  for name in ('diayn', 'extrinsic'):
    config = presets.make(name, 'atari:pong', ATARI)
    assert config.network.lstm_size == 256
    assert config.replay.burn_in == config.skill_length // 2
    assert config.replay.priority_exponent == 0.9
    assert config.learner.rescale_values == (name == 'extrinsic')
  assert presets.make('diayn', 'my:pictures', ATARI).network.lstm_size is None


@pytest.mark.parametrize(
  ('agent', 'constraint', 'coeff'),
  [
    ('domino', 'multiplier', 0.0),
    ('domino_vdw', 'multiplier', 0.5),
    ('domino_no_diversity', 'none', 0.0),
    ('domino_linear', 'linear', 0.0),
    ('domino_smerl', 'smerl', 0.0),
    ('domino_reverse_smerl', 'reverse_smerl', 0.0),
  ],
)
def test_baselines_of_domino_differ_in_their_objective_alone(
  agent, constraint, coeff
):
  assert agent in presets.AGENTS
  environment = 'control:cartpole_balance'
  problem = continuous(environment)
  config = presets.make(agent, environment, problem)
  assert config.objective.constraint == constraint
  assert config.objective.attractive_coeff == coeff
  plain = presets.make('domino', environment, problem)
  assert dataclasses.replace(config, objective=plain.objective) == plain
  assert config.num_skills == 10
  assert config.keeps_skill


def test_policies_of_domino_last_for_episodes_where_these_end():
  for environment, keeps in (('grid:top_rows', True), ('grid:open_11', False)):
    problem = problem_of(environment, 'index')
    config = presets.make('domino', environment, problem)
    assert config.keeps_skill == keeps
    registry.make_agent(config, problem)


@pytest.mark.parametrize(
  ('environment', 'observation'),
  [
    ('classic:deep_sea', 'index'),
    ('classic:catch', 'board'),
    ('grid:four_rooms', 'pixels'),
  ],
)
def test_agents_with_a_model_differ_in_what_they_do_with_it(
  environment, observation
):
  problem = problem_of(environment, observation)
  made = {}
  for name in ('muesli', 'ive'):
    assert name in presets.AGENTS
    config = made[name] = presets.make(name, environment, problem)
    assert registry.name_of(config.objective) == 'extrinsic'
    assert registry.name_of(config.learner) == 'model_value'
    agent = registry.make_agent(config, problem)
    jax.eval_shape(agent.learner.init, jax.random.PRNGKey(0))
  assert not made['muesli'].learner.ive.is_used
  assert made['ive'].learner.ive.bonus_weight > 0
  assert made['muesli'] == dataclasses.replace(
    made['ive'], learner=made['muesli'].learner
  )
  if environment in ('classic:deep_sea', 'classic:catch'):
    # As it must be on device.
    horizon = factory.make(environment).mdp.horizon
    assert made['ive'].skill_length == horizon


@pytest.mark.parametrize('agent', ['muesli', 'ive'])
def test_models_learn_of_vectors_from_what_was_done_of_late(agent):
  problem = problem_of('classic:catch', 'board')
  without = presets.make('extrinsic', 'classic:catch', problem)
  config = presets.make(agent, 'classic:catch', problem)
  # What the learner fetches at once, and as much again.
  assert config.replay.capacity == 2 * config.fetch_size
  assert config.replay.capacity < without.replay.capacity
  # As many pictures as memory holds.
  config = presets.make(agent, 'atari:pong', ATARI)
  without = presets.make('extrinsic', 'atari:pong', ATARI)
  assert config.replay.capacity == without.replay.capacity > 512


def test_models_have_no_memory_of_atari():
  config = presets.make('muesli', 'atari:pong', ATARI)
  assert config.network.lstm_size is None
  assert config.replay.burn_in == 0
  assert config.replay.priority_exponent is None
  registry.make_agent(config, ATARI)


def test_skills_of_bodies_begin_with_skill_biases_and_tasks_do_not():
  environment = 'control:walker_stand'
  problem = continuous(environment)
  for agent, has in (('diayn', True), ('extrinsic', False), ('domino', False)):
    config = presets.make(agent, environment, problem)
    assert (config.learner.skill_bias_std > 0) == has
    assert config.network.squash_inputs
