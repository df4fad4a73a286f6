"""Tests of skills/objectives/discrimination.py, and so of VIC and DIAYN."""

import chex
import hypothesis
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills import optimizers
from skills import registry
from skills.networks import discriminators
from skills.objectives import base
from skills.objectives import diayn
from skills.objectives import discrimination
from skills.objectives import vic
from tests import problems

K = problems.NUM_SKILLS
S = problems.TABLE.num_states
KEY = jax.random.PRNGKey(0)

skill_reward = jax.jit(discrimination.skill_reward)


def make(config, **settings):
  """VIC or DIAYN on the table problem."""
  discriminator = discriminators.DiscriminatorConfig(**settings)
  config = type(config)(
    discriminator=discriminator, clip_at_zero=config.clip_at_zero
  )
  return problems.compiled(registry.make_objective(config, problems.TABLE, K))


def with_logits(objective, logits):
  """A state whose tables are the given ones, `[N, S, K]`."""
  state = objective.init(KEY)
  return state._replace(params=problems.fill(state.params, logits))


def odds_on(state, skill):
  """Tables [1, S, K] that give `skill` the probability 1/2 in one state.

  A logit of log 3 beside three of 0 makes 3 / (3 + 3); elsewhere all are equal.
  """
  logits = np.zeros((1, S, K))
  logits[0, state, skill] = np.log(3)
  return logits


def test_reward_is_the_log_of_mean_probability_over_chance():
  # Members give skill 1 of 4 the probabilities .9 and .1: log(.5 * 4) = log 2.
  logits = jnp.log(
    jnp.array([[[0.04, 0.9, 0.03, 0.03]], [[0.3, 0.1, 0.3, 0.3]]])
  )
  np.testing.assert_allclose(
    skill_reward(logits, jnp.array([1])), [np.log(2)], rtol=1e-5
  )


def test_reward_does_not_depend_on_the_size_of_unnormalized_logits():
  logits = jnp.log(jnp.array([[[0.4, 0.6]], [[0.2, 0.8]]]))
  shifted = logits + jnp.array([[[5.0]], [[-7.0]]])
  # (.4 + .2) / 2 * 2 = .6
  np.testing.assert_allclose(
    skill_reward(shifted, jnp.array([0])), [np.log(0.6)], rtol=1e-5
  )


def test_chance_earns_nothing_and_certainty_log_k():
  logits = jnp.array([[[0.0, 0.0, 0.0], [0.0, 100.0, 0.0]]])
  np.testing.assert_allclose(
    skill_reward(logits, jnp.array([2, 1])), [0.0, np.log(3)], atol=1e-6
  )


@pytest.mark.parametrize('size', [1e3, 1e30])
def test_a_skill_held_for_impossible_by_all_costs_much_but_not_infinity(size):
  logits = jnp.array([[[size, 0.0]], [[size, 0.0]]])
  reward = skill_reward(logits, jnp.array([1]))
  np.testing.assert_allclose(reward, [np.log(2) - size], rtol=1e-5)
  grad = jax.grad(lambda x: skill_reward(x, jnp.array([1]))[0])(logits)
  chex.assert_tree_all_finite(grad)


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(
  hnp.arrays(np.float32, (3, 2, 4), elements=st.floats(-30, 30, width=32)),
  st.permutations(range(4)),
)
def test_reward_is_at_most_log_k_and_does_not_care_for_names(logits, order):
  skill = jnp.array([1, 3])
  reward = skill_reward(jnp.asarray(logits), skill)
  assert jnp.all(reward <= np.log(4) + 1e-5)
  renamed = jnp.argsort(jnp.array(order))[skill].astype(jnp.int32)
  np.testing.assert_allclose(
    skill_reward(jnp.asarray(logits[..., list(order)]), renamed),
    reward,
    rtol=1e-4,
    atol=1e-4,
  )


def test_cross_entropy_is_each_member_s_own():
  logits = jnp.log(jnp.array([[[0.5, 0.5]], [[0.25, 0.75]]]))
  np.testing.assert_allclose(
    discrimination.cross_entropy(logits, jnp.array([0])),
    [[np.log(2)], [np.log(4)]],
    rtol=1e-6,
  )


# Two skills of at most three steps: skill 2 runs through states 0, 1, 2, 3;
# skill 1 is cut short after its first step, which leads to 3; what stands
# behind (4, 5) is padding.
SHORT = problems.trajectory(
  problems.TABLE, lengths=(3, 1), num_steps=3
)._replace(
  observation=jnp.array([[0, 0], [1, 3], [2, 4], [3, 5]]),
  skill=jnp.array([[2, 1], [2, 0], [2, 0]]),
)


def test_vic_pays_at_the_last_real_step_for_the_state_it_led_to():
  objective = make(vic.VicConfig(clip_at_zero=False))
  # In state 3 skill 2 is named with 1/2: log(4/2). Skill 1 gets half of what
  # is left, (1 - 1/2) / 3: log(4/6).
  state = with_logits(objective, odds_on(state=3, skill=2))
  np.testing.assert_allclose(
    objective.reward(state, SHORT)[..., 0],
    [[0, np.log(2 / 3)], [0, 0], [np.log(2), 0]],
    atol=1e-6,
  )


@pytest.mark.parametrize('paid_state', [0, 1, 2, 4, 5])
def test_vic_looks_at_no_other_state(paid_state):
  objective = make(vic.VicConfig(clip_at_zero=False))
  state = with_logits(objective, odds_on(paid_state, skill=2))
  np.testing.assert_allclose(objective.reward(state, SHORT), 0.0, atol=1e-6)
  trained, _ = objective.update(state, SHORT, KEY)
  np.testing.assert_array_equal(
    problems.content(trained.params)[:, paid_state],
    problems.content(state.params)[:, paid_state],
  )


def test_diayn_pays_every_step_for_the_state_it_leads_to():
  objective = make(diayn.DiaynConfig())
  # State 1 is entered by the first step of the first skill, and by none else;
  # state 3 by that skill's last step and by the other one's only one.
  for where, expected in (
    (1, [[np.log(2), 0], [0, 0], [0, 0]]),
    (3, [[0, np.log(2 / 3)], [0, 0], [np.log(2), 0]]),
    # The first state is no outcome, and neither are states in padding.
    (0, np.zeros((3, 2))),
    (4, np.zeros((3, 2))),
  ):
    state = with_logits(objective, odds_on(where, skill=2))
    np.testing.assert_allclose(
      objective.reward(state, SHORT)[..., 0], expected, atol=1e-6
    )


@pytest.mark.parametrize('config_class', [vic.VicConfig, diayn.DiaynConfig])
def test_rewards_are_clipped_at_zero_only_where_asked(config_class):
  paid = {}
  for clip in (False, True):
    objective = make(config_class(clip_at_zero=clip))
    state = with_logits(objective, odds_on(state=3, skill=2))
    paid[clip] = np.asarray(objective.reward(state, SHORT))
  assert paid[False].min() < -0.1
  np.testing.assert_array_equal(paid[True], np.maximum(paid[False], 0))


def test_vic_clips_by_default_and_diayn_does_not():
  assert vic.VicConfig().clip_at_zero
  assert not diayn.DiaynConfig().clip_at_zero


def test_the_reported_reward_is_never_clipped():
  # Skill 1 in state 3: log(2/3) < 0, as above.
  objective = make(vic.VicConfig(clip_at_zero=True))
  state = with_logits(objective, odds_on(state=3, skill=2))
  batch = problems.ending_in(problems.TABLE, skills=[1], states=[3])
  _, metrics = objective.update(state, batch, KEY)
  np.testing.assert_allclose(metrics['skill_reward'], np.log(2 / 3), rtol=1e-5)
  # -log(1/6); skill 2 would be named.
  np.testing.assert_allclose(
    metrics['discriminator_loss'], np.log(6), rtol=1e-5
  )
  assert metrics['discriminator_accuracy'] == 0


def test_metrics_weigh_every_real_timestep_alike():
  # DIAYN sees the four moments of SHORT: skill 2 in states 1, 2 and 3 and
  # skill 1 in state 3; only in state 3 is anything known.
  objective = make(diayn.DiaynConfig())
  state = with_logits(objective, odds_on(state=3, skill=2))
  _, metrics = objective.update(state, SHORT, KEY)
  expected = (0 + 0 + np.log(2) + np.log(2 / 3)) / 4
  np.testing.assert_allclose(metrics['skill_reward'], expected, rtol=1e-5)
  np.testing.assert_allclose(
    metrics['discriminator_loss'], np.log(4) - expected, rtol=1e-5
  )
  # Among equal probabilities the first skill counts as named: right once.
  np.testing.assert_allclose(metrics['discriminator_accuracy'], 0.25)


def test_a_step_of_each_member_is_the_rate_over_n_and_b_times_its_error():
  # The loss is a mean over N = 2 members and B = 3 skills, so that member i
  # moves its row by lr / (N B) * (onehot(z) - q_i).
  objective = make(vic.VicConfig(), ensemble_size=2, learning_rate=0.6)
  before = objective.init(KEY)
  batch = problems.ending_in(problems.TABLE, skills=[3, 0, 1], states=[1, 4, 5])
  after, _ = objective.update(before, batch, KEY)
  logits = problems.content(before.params)
  expected = logits.copy()
  for skill, state in ((3, 1), (0, 4), (1, 5)):
    q = np.exp(logits[:, state])
    q /= q.sum(-1, keepdims=True)
    expected[:, state] += 0.6 / (2 * 3) * (np.eye(K)[skill] - q)
  np.testing.assert_allclose(
    problems.content(after.params), expected, rtol=1e-5
  )


def test_the_pinned_state_is_always_chance_and_never_learned_of():
  objective = make(
    vic.VicConfig(clip_at_zero=False), ensemble_size=2, pinned_state=3
  )
  before = objective.init(KEY)
  batch = problems.ending_in(
    problems.TABLE, skills=[2, 1, 2, 0], states=[3, 3, 3, 4]
  )
  after = before
  for _ in range(3):
    after, _ = objective.update(after, batch, KEY)
  for state in (before, after):
    logits = objective.discriminator.logits(state, batch)
    np.testing.assert_array_equal(logits[:, 0, :3], 0.0)
    assert np.all(logits[:, 0, 3] != 0)
    np.testing.assert_allclose(
      objective.reward(state, batch)[0, :3, 0], 0.0, atol=1e-6
    )
  changed = problems.content(before.params) != problems.content(after.params)
  np.testing.assert_array_equal(np.unique(np.argwhere(changed)[:, 1]), [4])


# How often each skill ended in each state, [K, S]: a joint distribution of
# which no state is sure and the skills are not equally frequent.
JOINT = np.array(
  [
    [4, 1, 2, 1, 1, 2],
    [1, 4, 2, 1, 3, 1],
    [1, 1, 2, 4, 1, 1],
    [2, 1, 2, 2, 1, 2],
  ]
)
POSTERIOR = (JOINT / JOINT.sum(0)).T


@pytest.mark.parametrize('kind', ['table', 'mlp'])
def test_a_trained_discriminator_is_the_bayes_posterior(kind):
  pairs = [pair for pair in np.ndindex(K, S) for _ in range(int(JOINT[pair]))]
  skills, states = np.array(pairs).T
  batch = problems.ending_in(problems.TABLE, skills, states)
  if kind == 'table':
    settings = {'learning_rate': 10.0}
  else:
    settings = {
      'hidden_sizes': (32,),
      'learning_rate': 0.01,
      'optimizer': 'adam',
    }
  objective = make(vic.VicConfig(), ensemble_size=2, **settings)

  def train(state):
    return jax.lax.fori_loop(
      0, 400, lambda _, s: objective.update(s, batch, KEY)[0], state
    )

  state = jax.jit(train)(objective.init(KEY))
  everywhere = problems.ending_in(problems.TABLE, np.zeros(S), np.arange(S))
  logits = objective.discriminator.logits(state, everywhere)[:, 0]
  np.testing.assert_allclose(
    jax.nn.softmax(logits), np.stack([POSTERIOR] * 2), atol=0.01
  )


def test_members_differ_at_first_and_share_their_data():
  objective = make(diayn.DiaynConfig(), ensemble_size=3)
  before = objective.init(KEY)
  after, _ = objective.update(
    before, problems.ending_in(problems.TABLE, [1], [2]), KEY
  )
  logits = problems.content(before.params)
  for i, j in ((0, 1), (0, 2), (1, 2)):
    assert np.all(logits[i] != logits[j])
  # Each of them learned of state 2, and of nothing else.
  np.testing.assert_array_equal(
    np.any(problems.content(after.params) != logits, axis=-1),
    np.tile(np.arange(S) == 2, (3, 1)),
  )


def test_the_update_trains_with_the_optimizer_it_is_given():
  # Adam's first step is the learning rate, whatever the gradient's size.
  objective = discrimination.make(
    base.FINAL_STEP,
    discriminators.make(
      discriminators.DiscriminatorConfig(), problems.TABLE, K
    ),
    optimizers.make('adam', 0.01),
    clip_at_zero=False,
  )
  before = objective.init(KEY)
  after, _ = objective.update(
    before, problems.ending_in(problems.TABLE, [1], [2]), KEY
  )
  np.testing.assert_allclose(
    problems.content(after.params)[0, 2]
    - problems.content(before.params)[0, 2],
    0.01 * np.array([-1, 1, -1, -1]),
    rtol=1e-3,
  )
