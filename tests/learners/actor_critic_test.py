"""Tests of skills/learners/actor_critic.py."""

import dataclasses
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills import config as config_lib
from skills import registry
from skills import types
from skills.learners import actor_critic
from skills.networks import heads
from skills.networks import policies
from skills.networks import torsos
from skills.objectives import base as objectives
from skills.objectives import diayn
from skills.objectives import extrinsic
from skills.objectives import vic
from tests import problems

KEY = jax.random.PRNGKey(0)
TABLES = torsos.NetworkConfig()
SMALL = torsos.NetworkConfig(hidden_sizes=(16,))
S, A = 3, 2
PROBLEM = types.ProblemSpec(
  observation_shape=(), observation_dtype='int32', num_states=S, num_actions=A
)
# Plain gradient ascent on plain advantages.
PLAIN = {
  'optimizer': 'sgd',
  'max_gradient_norm': None,
  'ppo_clip': None,
  'normalize_advantages': False,
  'entropy_weight': 0.0,
}


def follow(state, action):
  """A ring of three states: action 1 moves on, action 0 stays."""
  return (state + action) % S


def paid(state, action):
  """To come to state 2 pays 1, to stay in state 0 pays 0.3."""
  following = follow(state, action)
  return 1.0 * (following == 2 and action == 1) + 0.3 * (following == 0) * (
    1 - action
  )


def every_sequence(num_steps, starts=(0,)):
  """Each sequence of actions from each start: steps, states and rewards."""
  rows = []
  for start in starts:
    for actions in itertools.product(range(A), repeat=num_steps):
      states, rewards = [start], []
      for action in actions:
        rewards.append(paid(states[-1], action))
        states.append(follow(states[-1], action))
      rows.append((states, actions, rewards))
  return rows


def batch_of(rows, mu):
  """A trajectory of rows, as if chosen by the probabilities mu[state][action].

  Args:
    rows: as `every_sequence` gives them.
    mu: `[S, A]`.
  """
  states, actions, rewards = (np.array(x).T for x in zip(*rows))
  ones = jnp.ones(actions.shape)
  return types.Trajectory(
    observation=jnp.asarray(states, jnp.int32),
    action=jnp.asarray(actions, jnp.int32),
    reward=jnp.asarray(rewards, jnp.float32),
    discount=ones,
    skill=jnp.zeros(actions.shape, jnp.int32),
    mask=ones,
    extras={
      policies.LOG_PROB: jnp.asarray(
        np.log(mu[states[:-1], actions]), jnp.float32
      )
    },
  )


def ring_learner(*, bootstrap_at_skill_end, **settings):
  """A learner of the environment's reward, with tables, and one skill."""
  objective = registry.make_objective(extrinsic.ExtrinsicConfig(), PROBLEM, 1)
  config = actor_critic.ActorCriticConfig(**{**PLAIN, **settings})
  parts = actor_critic.make_agent_functions(
    config,
    torsos.NetworkConfig(),
    PROBLEM,
    1,
    objective._replace(bootstrap_at_skill_end=bootstrap_at_skill_end),
  )
  return parts._replace(learner=problems.compiled(parts.learner))


def with_tables(state, logits=None, values=None):
  params = state.params
  if logits is not None:
    params = params._replace(policy=problems.fill(params.policy, logits))
  if values is not None:
    params = params._replace(values=problems.fill(params.values, values))
  return state._replace(params=params)


# Probabilities of 1/4 and 3/4, so that repeated rows make a batch of exactly
# what the policy does.
PI = np.array([[0.25, 0.75], [0.5, 0.5], [0.75, 0.25]])
NUM_STEPS = 3


@pytest.mark.parametrize('lambda_', [1.0, 0.0])
def test_the_policy_s_step_is_the_exact_gradient_of_what_it_is_paid(lambda_):
  def expected_return(logits):
    # By dynamic programming over the steps that are left.
    pi = jax.nn.softmax(logits)
    value = jnp.zeros((NUM_STEPS + 1, S))
    for left in range(1, NUM_STEPS + 1):
      value = value.at[left].set(
        jnp.stack(
          [
            sum(
              pi[s, a] * (paid(s, a) + value[left - 1, follow(s, a)])
              for a in range(A)
            )
            for s in range(S)
          ]
        )
      )
    return value[NUM_STEPS, 0]

  logits = jnp.log(jnp.asarray(PI, jnp.float32))
  expected = jax.jit(jax.grad(expected_return))(logits)
  rows = [
    row
    for row in every_sequence(NUM_STEPS)
    for _ in range(round(4**NUM_STEPS * np.prod(PI[row[0][:-1], row[1]])))
  ]
  assert len(rows) == 4**NUM_STEPS
  parts = ring_learner(
    bootstrap_at_skill_end=False,
    discount=1.0,
    lambda_=lambda_,
    policy_learning_rate=0.1,
  )
  # Any values do for whole returns; they drop out of the mean. Those of one
  # step must be right, which here only whole returns can be.
  values = np.random.default_rng(0).normal(size=(S, 1))
  before = with_tables(parts.learner.init(KEY), logits, values)
  after, _ = jax.jit(parts.learner.update)(before, batch_of(rows, PI))
  step = problems.content(after.params.policy) - logits
  if lambda_ == 1.0:
    # The loss is a mean over steps.
    np.testing.assert_allclose(step, 0.1 * expected / NUM_STEPS, atol=1e-6)
  else:
    assert np.abs(step - 0.1 * expected / NUM_STEPS).max() > 1e-3


def value_of(pi, gamma):
  """V of a policy in the environment that never ends."""
  transition, reward = np.zeros((S, S)), np.zeros(S)
  for s, a in itertools.product(range(S), range(A)):
    transition[s, follow(s, a)] += pi[s, a]
    reward[s] += pi[s, a] * paid(s, a)
  return np.linalg.solve(np.eye(S) - gamma * transition, reward)


@pytest.mark.parametrize('lambda_', [0.0, 0.8, 1.0])
@pytest.mark.parametrize('clip_rho_threshold', [np.inf, 1.0])
def test_values_of_another_policy_s_steps_are_those_of_the_learner_s(
  clip_rho_threshold, lambda_
):
  mu = np.full((S, A), 0.5)
  parts = ring_learner(
    bootstrap_at_skill_end=True,
    discount=0.8,
    lambda_=lambda_,
    clip_rho_threshold=clip_rho_threshold,
    clip_c_threshold=1.0,
    value_learning_rate=1.0,
    policy_learning_rate=1e-12,
  )
  batch = batch_of(every_sequence(NUM_STEPS, range(S)), mu)
  state = with_tables(parts.learner.init(KEY), np.log(PI), 3 * np.ones((S, 1)))
  state = jax.jit(
    lambda state: jax.lax.fori_loop(
      0, 500, lambda _, s: parts.learner.update(s, batch)[0], state
    )
  )(state)
  # Clipped ratios lead to the policy in proportion to min(clip_rho_threshold
  # mu, pi).
  between = np.minimum(clip_rho_threshold * mu, PI)
  between /= between.sum(1, keepdims=True)
  values = problems.content(state.params.values)[:, 0]
  np.testing.assert_allclose(values, value_of(between, 0.8), atol=1e-4)
  if clip_rho_threshold == np.inf:
    np.testing.assert_allclose(values, value_of(PI, 0.8), atol=1e-4)
  # Without the correction they would be those of what was done.
  assert np.abs(values - value_of(mu, 0.8)).max() > 0.1


def test_values_per_step_are_of_the_size_of_what_a_step_pays():
  stays = np.array([[1 - 1e-6, 1e-6], [0.5, 0.5], [0.5, 0.5]])
  parts = ring_learner(
    bootstrap_at_skill_end=True,
    discount=0.9,
    value_learning_rate=1.0,
    policy_learning_rate=1e-12,
    values_per_step=True,
  )
  batch = batch_of(every_sequence(NUM_STEPS, range(S)), np.full((S, A), 0.5))
  state = with_tables(parts.learner.init(KEY), np.log(stays))
  state = jax.jit(
    lambda state: jax.lax.fori_loop(
      0, 1000, lambda _, s: parts.learner.update(s, batch)[0], state
    )
  )(state)
  values = problems.content(state.params.values)[:, 0]
  # Who stays in state 0 is paid 0.3 at every step, and the usual value is 3.
  np.testing.assert_allclose(values[0], 0.3, atol=1e-3)
  np.testing.assert_allclose(values, 0.1 * value_of(stays, 0.9), atol=1e-3)


def test_a_skill_that_is_over_is_worth_nothing_more_and_one_cut_short_is():
  # One step from state 0 to state 1, and padding.
  batch = batch_of([([0, 1, 0], (1, 0), (0.5, 9.0))], np.full((S, A), 0.5))
  batch = batch._replace(mask=jnp.array([[1.0], [0.0]]))
  for bootstrap_at_skill_end, discount, expected in (
    (False, 1.0, 0.5),
    # What an episode that was merely cut off led to counts.
    (True, 1.0, 0.5 + 0.9 * 7.0),
    (True, 0.0, 0.5),
  ):
    parts = ring_learner(
      bootstrap_at_skill_end=bootstrap_at_skill_end,
      discount=0.9,
      value_learning_rate=1.0,
      policy_learning_rate=1e-12,
    )
    state = with_tables(parts.learner.init(KEY), values=[[0.0], [7.0], [0.0]])
    after, _ = parts.learner.update(
      state, batch._replace(discount=jnp.array([[discount], [1.0]]))
    )
    # One real step, so a rate of 1 moves its value all the way.
    np.testing.assert_allclose(
      problems.content(after.params.values)[0], expected, rtol=1e-6
    )


@pytest.mark.parametrize(
  ('bootstrap_at_skill_end', 'expected'),
  [(False, [1.0, 5.0, 0.0]), (True, [1.0, 5.0, 5.0])],
)
def test_diayn_s_value_targets_differ_in_a_skill_s_last_step_alone(
  bootstrap_at_skill_end, expected
):
  # The only skill is named with probability 1, which pays log 1 + log 1 = 0, so
  # that one-step targets are gamma times the next value.
  objective = registry.make_objective(
    diayn.DiaynConfig(bootstrap_at_skill_end=bootstrap_at_skill_end), PROBLEM, 1
  )
  config = actor_critic.ActorCriticConfig(
    **PLAIN,
    discount=0.5,
    lambda_=0.0,
    # The loss is a mean over three steps: each value moves to its target.
    value_learning_rate=3.0,
  )
  parts = actor_critic.make_agent_functions(
    config, torsos.NetworkConfig(), PROBLEM, 1, objective
  )
  learner = problems.compiled(parts.learner)
  state = with_tables(learner.init(KEY), values=[[10.0], [2.0], [10.0]])
  # Once around the ring: 0, 1, 2 and back to 0, whose value is 10.
  batch = batch_of(
    [([0, 1, 2, 0], (1, 1, 1), (0.0, 0.0, 0.0))], np.full((S, A), 0.5)
  )
  after, _ = learner.update(state, batch)
  np.testing.assert_allclose(
    problems.content(after.params.values)[:, 0], expected, atol=1e-5
  )


@pytest.mark.parametrize('warmup', [0, 2])
def test_the_policy_s_steps_begin_late_and_become_smaller(warmup):
  parts = ring_learner(
    bootstrap_at_skill_end=False,
    policy_learning_rate=0.4,
    policy_warmup=warmup,
    policy_decay=4,
    value_learning_rate=0.4,
  )
  batch = batch_of(every_sequence(2, range(S)), np.full((S, A), 0.5))
  state = with_tables(parts.learner.init(KEY), np.log(PI))
  update = jax.jit(parts.learner.update)
  moved = []
  for _ in range(warmup + 7):
    # From the same place each time, so that gradients are the same.
    after, _ = update(state, batch)
    moved.append(
      [
        problems.content(new) - problems.content(old)
        for new, old in zip(after.params, state.params, strict=True)
      ]
    )
    state = after._replace(params=state.params)
  parts = [1, 0.7625, 0.525, 0.2875, 0.05, 0.05, 0.05]
  for i, part in enumerate([0] * warmup + parts):
    np.testing.assert_allclose(
      moved[i][0], part * moved[warmup][0], rtol=1e-4, atol=1e-7
    )
    np.testing.assert_allclose(moved[i][1], moved[0][1], rtol=1e-5)
  assert np.abs(moved[warmup][0]).max() > 1e-3


def test_entropy_is_climbed_where_nothing_is_paid():
  parts = ring_learner(
    bootstrap_at_skill_end=False, entropy_weight=1.0, policy_learning_rate=1.0
  )
  batch = batch_of(every_sequence(2, range(S)), np.full((S, A), 0.5))
  batch = batch._replace(reward=jnp.zeros_like(batch.reward))
  state = with_tables(parts.learner.init(KEY), np.log(PI))
  _, before = parts.learner.update(state, batch)
  state = jax.jit(
    lambda state: jax.lax.fori_loop(
      0, 200, lambda _, s: parts.learner.update(s, batch)[0], state
    )
  )(state)
  _, after = parts.learner.update(state, batch)
  assert before['entropy'] < after['entropy']
  np.testing.assert_allclose(after['entropy'], np.log(2), atol=1e-4)


def paying(values, weights):
  """Streams that pay `values[s][r]` for coming to a state s."""
  return objectives.IntrinsicReward(
    streams=tuple(f'stream{i}' for i in range(len(weights))),
    init=lambda key: (),
    reward=lambda state, trajectory: (
      jnp.asarray(values, jnp.float32)[trajectory.observation[1:]]
      * trajectory.mask[..., None]
    ),
    weights=lambda state: jnp.asarray(weights, jnp.float32),
    update=lambda state, trajectory, key: (state, {}),
  )


def streams_learner(values, weights, **settings):
  distribution = policies.of_indices(A)
  policy, critic = (
    heads.make(torsos.NetworkConfig(), PROBLEM, 1, size)
    for size in (A, len(weights))
  )
  learner = actor_critic.make(
    actor_critic.ActorCriticConfig(**{**PLAIN, **settings}),
    policy,
    critic,
    distribution,
    paying(values, weights),
  )
  return problems.compiled(learner)


def test_streams_have_values_of_their_own_and_meet_in_the_policy_alone():
  values = np.random.default_rng(0).normal(size=(S, 2))
  batch = batch_of(every_sequence(2, range(S)), np.full((S, A), 0.5))
  after = {}
  for weights in ((1.0, 0.0), (0.0, 1.0), (2.0, 3.0)):
    learner = streams_learner(
      values, weights, policy_learning_rate=0.1, value_learning_rate=0.1
    )
    after[weights] = learner.update(learner.init(KEY), batch)[0].params
  one, other, mixed = (
    problems.content(params.policy) for params in after.values()
  )
  # Policies began at 0, so that these are their steps.
  np.testing.assert_allclose(mixed, 2 * one + 3 * other, atol=1e-6)
  assert np.abs(one - other).max() > 1e-3
  chex.assert_trees_all_equal(*(params.values for params in after.values()))
  # Each stream's values are as if it were alone.
  alone = streams_learner(values[:, 1:], (1.0,), value_learning_rate=0.1)
  params = alone.update(alone.init(KEY), batch)[0].params
  np.testing.assert_allclose(
    problems.content(mixed_values := after[2.0, 3.0].values)[:, 1:],
    problems.content(params.values),
    rtol=1e-6,
  )
  assert np.any(problems.content(mixed_values) != 0)


def test_normalized_advantages_do_not_know_the_size_of_what_is_paid():
  values = np.random.default_rng(0).normal(size=(S, 1))
  batch = batch_of(every_sequence(2, range(S)), np.full((S, A), 0.5))
  steps = []
  for scale in (1.0, 50.0):
    learner = streams_learner(
      scale * values,
      (1.0,),
      policy_learning_rate=0.1,
      normalize_advantages=True,
    )
    state, _ = learner.update(learner.init(KEY), batch)
    steps.append(problems.content(state.params.policy))
  np.testing.assert_allclose(*steps, rtol=1e-4)


def test_normalized_streams_are_heard_alike_whatever_they_pay():
  values = np.random.default_rng(0).normal(size=(S, 2))
  batch = batch_of(every_sequence(2, range(S)), np.full((S, A), 0.5))
  steps = {}
  for normalize in (False, True):
    for scale in (1.0, 1000.0):
      learner = streams_learner(
        values * np.array([1.0, scale]),
        (1.0, 1.0),
        policy_learning_rate=0.1,
        normalize_streams=normalize,
      )
      state, _ = learner.update(learner.init(KEY), batch)
      steps[normalize, scale] = problems.content(state.params.policy)
  np.testing.assert_allclose(steps[True, 1.0], steps[True, 1000.0], rtol=1e-3)
  # Without it the second stream alone decides.
  ratio = steps[False, 1000.0] / steps[False, 1.0]
  assert np.median(np.abs(ratio)) > 100
  # And weights are of what was normalised: one of 0 still silences a stream.
  alone = [
    streams_learner(
      values * np.array([1.0, scale]),
      (1.0, 0.0),
      policy_learning_rate=0.1,
      normalize_streams=True,
    )
    for scale in (1.0, -5.0)
  ]
  alone = [one.update(one.init(KEY), batch)[0].params.policy for one in alone]
  chex.assert_trees_all_equal(*alone)


def test_normalized_values_have_mean_zero_and_deviation_one_without_padding():
  values = jnp.array([[1.0, 4.0], [3.0, 100.0]])
  mask = jnp.array([[1.0, 1.0], [1.0, 0.0]])
  # Mean 8/3, variance ((5/3)^2 + (4/3)^2 + (1/3)^2) / 3 = 14/9.
  expected = (np.array([1, 4, 3]) - 8 / 3) / np.sqrt(14 / 9)
  actual = actor_critic.normalized(values, mask)
  np.testing.assert_allclose(
    actual[jnp.array([0, 0, 1]), jnp.array([0, 1, 0])], expected, rtol=1e-5
  )


@pytest.mark.parametrize(
  ('chosen_by', 'paid', 'moves'),
  [
    # Ratios of 1, of 2 and of 2/3, of the only action that pays or costs.
    (0.5, 1.0, True),
    (0.5, -1.0, True),
    (0.25, 1.0, False),
    (0.25, -1.0, True),
    (0.75, 1.0, True),
    (0.75, -1.0, False),
  ],
)
def test_a_policy_that_has_moved_far_enough_goes_no_further(
  chosen_by, paid, moves
):
  batch = batch_of([([0, 1], (1,), (paid,))], np.full((S, A), chosen_by))
  for ppo_clip, goes in ((0.2, moves), (None, True)):
    parts = ring_learner(
      bootstrap_at_skill_end=False, ppo_clip=ppo_clip, policy_learning_rate=0.1
    )
    state, _ = parts.learner.update(parts.learner.init(KEY), batch)
    step = problems.content(state.params.policy)[0]
    assert (np.sign(step[1]) == np.sign(paid)) == goes
    assert np.any(step != 0) == goes


def agent(problem, network=TABLES, objective=None, **settings):
  made = registry.make_agent(
    config_lib.SkillAgentConfig(
      objective=objective or vic.VicConfig(),
      num_skills=problems.NUM_SKILLS,
      skill_length=problems.NUM_STEPS,
      network=network,
      learner=actor_critic.ActorCriticConfig(**settings),
    ),
    problem,
  )
  return problems.compiled_agent(made)


VECTORS = dataclasses.replace(
  problems.VECTOR, num_actions=None, action_shape=(2,)
)


def recorded(agent, trajectory):
  """The trajectory, with what its policy noted and did in place of noise."""
  variables = agent.learner.variables(agent.learner.init(KEY))
  acting_policy = agent.acting_policy
  shape = trajectory.mask.shape
  action, memory = acting_policy.select_action(
    variables,
    trajectory.observation[:-1],
    trajectory.skill,
    (),
    jax.random.uniform(KEY, (*shape, acting_policy.num_uniforms)),
  )
  return trajectory._replace(
    action=action, extras=acting_policy.get_extras(memory)
  )


def continuous_agent():
  return agent(VECTORS, SMALL, problems.with_networks(vic.VicConfig()))


@pytest.mark.parametrize('kind', ['table', 'vectors'])
def test_padding_changes_nothing(kind):
  the_agent = agent(problems.TABLE) if kind == 'table' else continuous_agent()
  problem = problems.TABLE if kind == 'table' else problems.VECTOR
  update = problems.jit_once(the_agent.learner.update)
  state = the_agent.learner.init(KEY)
  batches = [problems.trajectory(problem, 1, padding_seed=s) for s in (2, 3)]
  noted = recorded(the_agent, batches[0])
  outside = batches[0].mask == 0

  def other(x):
    marks = outside.reshape(outside.shape + (1,) * (x.ndim - 2))
    return jnp.where(marks, jnp.zeros_like(x), x)

  after = [
    update(state, noted)[0],
    update(
      state,
      batches[1]._replace(
        action=other(noted.action), extras=jax.tree.map(other, noted.extras)
      ),
    )[0],
  ]
  chex.assert_trees_all_close(*after, rtol=1e-6, atol=1e-7)


def test_actors_note_what_the_learner_needs_and_evaluators_take_the_mode():
  for the_agent, problem in (
    (agent(problems.TABLE), problems.TABLE),
    (continuous_agent(), VECTORS),
  ):
    variables = the_agent.learner.variables(the_agent.learner.init(KEY))
    observation = jnp.zeros(
      problem.observation_shape, problem.observation_dtype
    )
    state = the_agent.policy.init(KEY)
    action, state = the_agent.policy.select_action(
      variables, observation, state
    )
    assert action.shape == problem.action_shape
    extras = the_agent.policy.get_extras(state)
    own = {policies.LOG_PROB}
    if problem.num_actions is None:
      own |= {policies.LATENT}
      np.testing.assert_allclose(
        action, np.tanh(extras[policies.LATENT]), rtol=1e-6
      )
    else:
      # At first every action is as likely as another.
      np.testing.assert_allclose(
        extras[policies.LOG_PROB], -np.log(problem.num_actions), rtol=1e-6
      )
    assert set(extras) == {'skill', 'skill_step', 'learner_step'} | own
    chosen = {
      np.asarray(
        the_agent.evaluation_policy.select_action(
          variables,
          observation,
          the_agent.evaluation_policy.init(jax.random.PRNGKey(seed))._replace(
            skill=jnp.int32(1), skill_step=jnp.int32(0)
          ),
        )[0]
      ).tobytes()
      for seed in range(5)
    }
    assert len(chosen) == 1


def test_q_learning_names_the_learner_of_continuous_actions():
  with pytest.raises(ValueError, match='--set learner=actor_critic'):
    registry.make_agent(
      config_lib.SkillAgentConfig(
        objective=problems.with_networks(vic.VicConfig()), network=SMALL
      ),
      VECTORS,
    )


@pytest.mark.parametrize(
  ('field', 'value'),
  [
    ('discount', 1.5),
    ('lambda_', -0.1),
    ('clip_rho_threshold', 0.0),
    ('clip_c_threshold', 2.0),
    ('policy_learning_rate', 0.0),
    ('policy_decay', 0),
    ('policy_warmup', -1),
    ('value_learning_rate', -1.0),
    ('optimizer', 'magic'),
    ('max_gradient_norm', 0.0),
    ('ppo_clip', 0.0),
    ('entropy_weight', -0.1),
    ('init_stddev', 0.0),
    ('policy_init_scale', 0.0),
    ('skill_bias_std', -1.0),
  ],
)
def test_values_that_cannot_work_are_refused(field, value):
  with pytest.raises(ValueError, match=field):
    actor_critic.ActorCriticConfig(**{field: value})


def test_values_per_step_of_an_undiscounted_task_are_refused():
  with pytest.raises(ValueError, match='discount must be below 1'):
    actor_critic.ActorCriticConfig(discount=1.0, values_per_step=True)


# A point on a line that must come to a place which it sees, within 8 steps of
# at most 0.25: at best it stands there for the last half of them.
REACH = types.ProblemSpec(
  observation_shape=(2,),
  observation_dtype='float32',
  num_states=None,
  num_actions=None,
  action_shape=(1,),
)


def reach(the_agent, variables, key, batch, acting_policy):
  """Skills in that environment, `[8, batch]`."""
  start_key, key = jax.random.split(key)
  places = jax.random.uniform(start_key, (2, batch), minval=-1.0)
  skill = jnp.zeros((batch,), jnp.int32)

  def step(place, key):
    seen = jnp.stack([place, places[1]], -1)
    uniform = jax.random.uniform(key, (batch, acting_policy.num_uniforms))
    action, memory = acting_policy.select_action(
      variables, seen, skill, (), uniform
    )
    following = place + 0.25 * action[:, 0]
    reward = -jnp.abs(following - places[1])
    return following, (seen, action, reward, acting_policy.get_extras(memory))

  end, (seen, action, reward, record) = jax.lax.scan(
    step, places[0], jax.random.split(key, 8)
  )
  last = jnp.stack([end, places[1]], -1)[None]
  return types.Trajectory(
    observation=jnp.concatenate([seen, last]),
    action=action,
    reward=reward,
    discount=jnp.ones_like(reward),
    skill=jnp.zeros(reward.shape, jnp.int32),
    mask=jnp.ones_like(reward),
    extras=record,
  )


def test_it_learns_to_come_where_it_is_told_with_continuous_actions():
  the_agent = registry.make_agent(
    config_lib.SkillAgentConfig(
      objective=extrinsic.ExtrinsicConfig(),
      num_skills=1,
      skill_length=8,
      network=torsos.NetworkConfig(hidden_sizes=(32, 32)),
      learner=actor_critic.ActorCriticConfig(
        discount=0.9, policy_learning_rate=3e-3, value_learning_rate=3e-3
      ),
    ),
    REACH,
  )
  learner = the_agent.learner

  def train(state, key):
    batch = reach(
      the_agent, learner.variables(state), key, 32, the_agent.acting_policy
    )
    # Twice from the same steps, as from replay.
    for _ in range(2):
      state, _ = learner.update(state, batch)
    return state, None

  def mean_distance(state):
    batch = reach(
      the_agent,
      learner.variables(state),
      jax.random.PRNGKey(7),
      256,
      the_agent.evaluation_acting_policy,
    )
    return -jnp.mean(batch.reward[-1])

  mean_distance = jax.jit(mean_distance)
  state = learner.init(KEY)
  before = mean_distance(state)
  state, _ = jax.jit(
    lambda s: jax.lax.scan(train, s, jax.random.split(KEY, 400))
  )(state)
  after = mean_distance(state)
  # Two uniform places are 2/3 apart; without a move they stay so far away.
  assert before > 0.6
  assert after < 0.1
