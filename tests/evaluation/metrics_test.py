"""Tests of skills/evaluation/metrics.py."""

import hypothesis
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills.evaluation import metrics

# N = 3 members, B = 4 moments, K = 5 skills: fixed, or each example compiles.
LOGITS = hnp.arrays(
  np.float32, (3, 4, 5), elements=st.floats(-30, 30, width=32)
)
SKILL = hnp.arrays(np.int32, (4,), elements=st.integers(0, 4))
COUNTS = hnp.arrays(np.int64, (3, 4), elements=st.integers(0, 50)).filter(
  lambda counts: counts.any()
)

properties = hypothesis.settings(deadline=None, max_examples=50)


def test_a_skill_named_without_doubt_every_time_counts_all_skills():
  assert metrics.skills_learned(jnp.zeros(6), 24) == pytest.approx(24)


def test_chance_is_one_skill():
  log_q = jnp.full((2, 3), -np.log(8.0), jnp.float32)
  assert metrics.skills_learned(log_q, 8) == pytest.approx(1)


def test_skills_learned_is_a_geometric_mean():
  # sqrt(1/2 * 1/8) * 8 = 2; the arithmetic mean of q would give 2.5.
  log_q = jnp.log(jnp.array([0.5, 0.125]))
  assert metrics.skills_learned(log_q, 8) == pytest.approx(2)


def test_less_than_chance_is_less_than_one_skill():
  # 1/16 * 4 = 1/4: the unclipped reward.
  log_q = jnp.log(jnp.array([1 / 16]))
  assert metrics.skills_learned(log_q, 4) == pytest.approx(0.25)


def test_skills_that_the_mask_leaves_out_do_not_count():
  log_q = jnp.array([np.log(0.5), -np.inf, 0.0], jnp.float32)
  mask = jnp.array([1.0, 0.0, 0.0])
  assert metrics.skills_learned(log_q, 4, mask) == pytest.approx(2)
  assert metrics.skills_learned(log_q, 4, jnp.zeros(3)) == pytest.approx(1)


def test_skills_learned_refuses_no_skills():
  with pytest.raises(ValueError, match='num_skills must be >= 1, got 0'):
    metrics.skills_learned(jnp.zeros(1), 0)


# Members give the skill that was run, number 0 of K = 4, the probabilities 1/2
# and 1/4: their mean is 3/8 and 3/8 * 4 = 1.5. Mean logits would give
# 4 * sqrt(3) / (sqrt(3) + 3) = 1.46.
TWO_MEMBERS = np.log(
  np.array([[[3, 1, 1, 1]], [[1, 1, 1, 1]]], np.float32)
)  # [N=2, B=1, K=4]


def test_an_ensemble_is_judged_by_its_mean_probability():
  skill = jnp.array([0])
  learned = metrics.skills_learned_from_logits(TWO_MEMBERS, skill)
  assert learned == pytest.approx(1.5)
  bound = metrics.information_bound(TWO_MEMBERS, skill)
  assert bound == pytest.approx(np.log2(1.5))


def test_information_bound_of_the_true_posterior_is_the_information():
  # Two skills lead to state 0 for sure, the other two to state 1: one bit.
  posterior = np.array([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]], np.float32)
  skill = np.arange(4)
  state = np.array([0, 0, 1, 1])
  with np.errstate(divide='ignore'):
    logits = np.log(posterior[state])[None]
  assert metrics.information_bound(logits, skill) == pytest.approx(1)
  counts = metrics.joint_counts(skill, state, 4, 2)
  assert metrics.mutual_information(counts) == pytest.approx(1)


def test_metrics_of_logits_leave_out_what_the_mask_does():
  logits = jnp.concatenate([TWO_MEMBERS, -TWO_MEMBERS], axis=1)  # B=2
  skill = jnp.zeros(2, jnp.int32)
  mask = jnp.array([1.0, 0.0])
  learned = metrics.skills_learned_from_logits(logits, skill, mask)
  assert learned == pytest.approx(1.5)
  bound = metrics.information_bound(logits, skill, mask)
  assert bound == pytest.approx(np.log2(1.5))


@properties
@hypothesis.given(LOGITS, SKILL)
def test_skills_learned_is_two_to_the_bound_and_at_most_all(logits, skill):
  learned = metrics.skills_learned_from_logits(logits, skill)
  bound = metrics.information_bound(logits, skill)
  np.testing.assert_allclose(learned, 2.0**bound, rtol=1e-3)
  assert 0 <= learned <= 5 * (1 + 1e-5)
  assert bound <= np.log2(5) + 1e-5


@properties
@hypothesis.given(
  LOGITS,
  SKILL,
  st.permutations(range(3)),
  st.permutations(range(4)),
  st.permutations(range(5)),
)
def test_order_of_members_batch_and_skills_does_not_matter(
  logits, skill, members, batch, skills
):
  renamed = np.argsort(skills)[skill].astype(np.int32)
  permuted = logits[np.ix_(members, batch, skills)]
  np.testing.assert_allclose(
    metrics.skills_learned_from_logits(permuted, renamed[batch]),
    metrics.skills_learned_from_logits(logits, skill),
    rtol=1e-4,
  )


@properties
@hypothesis.given(LOGITS, SKILL)
def test_a_mask_is_the_same_as_leaving_out(logits, skill):
  mask = np.array([1, 0, 1, 0], np.float32)
  for metric in (metrics.skills_learned_from_logits, metrics.information_bound):
    np.testing.assert_allclose(
      metric(logits, skill, mask), metric(logits[:, ::2], skill[::2]), rtol=1e-5
    )


def test_each_skill_is_told_apart_as_well_as_it_is_by_hand():
  # K = 4 skills: skill 0 is given 1/2 and 1/8, skill 1 is given 1/4 once
  # (the tie counts for the first skill); skill 3 was never run.
  probabilities = jnp.array(
    [
      [1 / 2, 1 / 4, 1 / 8, 1 / 8],
      [1 / 8, 1 / 4, 1 / 8, 1 / 2],
      [1 / 4, 1 / 4, 1 / 4, 1 / 4],
      [0.0, 0.0, 1.0, 0.0],
      [1.0, 0.0, 0.0, 0.0],  # Padding.
    ]
  )
  skill = jnp.array([0, 0, 1, 2, 2])
  mask = jnp.array([1.0, 1.0, 1.0, 1.0, 0.0])
  found = metrics.discrimination(
    jnp.log(jnp.maximum(probabilities, 1e-30))[None], skill, mask
  )
  # log2(4/2) = 1 and log2(4/8) = -1; log2(4/4) = 0; log2 4 = 2.
  np.testing.assert_allclose(found.bits, [0, 0, 2, np.nan], atol=1e-5)
  np.testing.assert_allclose(found.accuracy, [0.5, 0, 1, np.nan])
  np.testing.assert_array_equal(
    found.confusion,
    [[1, 0, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]],
  )


def test_bits_of_skills_that_ran_equally_often_average_to_the_bound():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(2, 5, 6, 3)).astype(np.float32)  # [N, T, B, K]
  skill = np.broadcast_to(np.arange(6) % 3, (5, 6))
  found = metrics.discrimination(logits, skill, np.ones((5, 6)))
  np.testing.assert_allclose(
    found.bits.mean(), metrics.information_bound(logits, skill), rtol=1e-5
  )
  # Members' probabilities are averaged, not their logits.
  qbar = jax.nn.softmax(logits).mean(axis=0)
  named = np.asarray(qbar.argmax(axis=-1))
  np.testing.assert_allclose(
    found.accuracy, [np.mean(named[:, k::3] == k) for k in range(3)]
  )


def test_metrics_of_discriminators_compile_to_the_same():
  skill = jnp.array([2])
  for metric in (metrics.skills_learned_from_logits, metrics.information_bound):
    np.testing.assert_allclose(
      jax.jit(metric)(TWO_MEMBERS, skill), metric(TWO_MEMBERS, skill), rtol=1e-6
    )


def test_coverage_counts_each_state_once():
  assert metrics.coverage(np.array([[0, 2], [2, 2]]), 8) == 2 / 8
  assert metrics.coverage(jnp.arange(3), 3) == 1
  assert metrics.coverage(np.zeros((0,), np.int32), 3) == 0


def test_coverage_leaves_out_what_is_masked_and_compiles():
  states, mask = jnp.array([0, 1, 1, 4]), jnp.array([1.0, 0.0, 1.0, 0.0])
  assert metrics.coverage(states, 8, mask) == 2 / 8
  compiled = jax.jit(metrics.coverage, static_argnums=1)
  assert compiled(states, 8, mask) == 2 / 8


@pytest.mark.parametrize('state', [-1, 3])
def test_coverage_refuses_states_that_do_not_exist(state):
  with pytest.raises(ValueError, match=r'states must lie in \[0, 3\)'):
    metrics.coverage(np.array([0, state]), 3)


def test_effective_states_by_hand():
  assert metrics.effective_states(np.array([7, 0, 0])) == 1
  assert metrics.effective_states(np.array([5, 5, 0, 5, 5])) == pytest.approx(4)
  # H(1/2, 1/4, 1/4) = 3/2 bits.
  assert metrics.effective_states(np.array([2, 1, 1])) == pytest.approx(2**1.5)


@properties
@hypothesis.given(
  hnp.arrays(np.int64, (6,), elements=st.integers(0, 1000)).filter(np.any),
  st.permutations(range(6)),
  st.integers(1, 9),
)
def test_effective_states_see_neither_order_nor_number(counts, order, times):
  effective = metrics.effective_states(counts)
  assert 1 - 1e-9 <= effective <= np.count_nonzero(counts) + 1e-9
  assert metrics.effective_states(counts[order] * times) == pytest.approx(
    effective
  )


@pytest.mark.parametrize(
  'counts', [[0, 0], [1, -1], [3, -1], [np.inf, 1], [np.nan, 1]]
)
def test_invalid_counts_are_refused(counts):
  with pytest.raises(ValueError, match='counts must be'):
    metrics.effective_states(np.array(counts, np.float64))
  with pytest.raises(ValueError, match='counts must be'):
    metrics.mutual_information(np.array([counts], np.float64))


def test_mutual_information_by_hand():
  assert metrics.mutual_information(3 * np.eye(8)) == pytest.approx(3)
  assert metrics.mutual_information(np.outer([1, 2], [3, 4, 5])) < 1e-12
  # Y is a noisy copy of a fair bit, wrong in 1 of 4: 1 - H(1/4)
  # = 1 - (2 - 3/4 log2 3) = 0.18872 bits.
  noisy = metrics.mutual_information(np.array([[3, 1], [1, 3]]))
  assert noisy == pytest.approx(0.75 * np.log2(3) - 1)


@properties
@hypothesis.given(COUNTS)
def test_mutual_information_is_symmetric_and_bounded(counts):
  information = metrics.mutual_information(counts)
  assert 0 <= information <= np.log2(3) + 1e-9
  assert metrics.mutual_information(counts.T) == pytest.approx(
    information, abs=1e-9
  )
  # What y says beyond x cannot be told from a y that is merged.
  merged = np.stack([counts[:, :2].sum(1), counts[:, 2:].sum(1)], axis=1)
  assert metrics.mutual_information(merged) <= information + 1e-9


@properties
@hypothesis.given(LOGITS, SKILL)
def test_no_discriminator_beats_the_information_there_is(logits, skill):
  # Every moment has its own observation, so I(Z; O) = H(Z) <= log2 K holds for
  # the sample only with the sample's own prior: add what that prior tells.
  counts = metrics.joint_counts(skill, np.arange(4), 5, 4)
  prior = np.log2(5) - np.log2(metrics.effective_states(counts.sum(axis=1)))
  bound = metrics.information_bound(logits, skill)
  assert bound <= metrics.mutual_information(counts) + prior + 1e-4


def test_joint_counts_place_each_pair():
  counts = metrics.joint_counts(
    np.array([[0, 1], [1, 1]]), np.array([[2, 0], [0, 1]]), 2, 3
  )
  np.testing.assert_array_equal(counts, [[0, 0, 1], [2, 1, 0]])


def test_joint_counts_refuse_an_index_out_of_range():
  with pytest.raises(ValueError, match=r'y must lie in \[0, 2\)'):
    metrics.joint_counts(np.array([0]), np.array([2]), 2, 2)


def test_confusion_matrix_has_a_row_for_each_skill_that_was_run():
  # Skill 0 was named 0 and 1, skill 2 was named 1.
  matrix = metrics.confusion_matrix(
    jnp.array([0, 1, 1]), jnp.array([0, 0, 2]), 3
  )
  np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 0, 0], [0, 1, 0]])
  with pytest.raises(ValueError, match=r'predicted must lie in \[0, 3\)'):
    metrics.confusion_matrix(np.array([3]), np.array([0]), 3)


# A row of three cells.
LINE = np.arange(3)[:, None]


def information(rows, positions=LINE):
  """Information of (skill, start, end)."""
  return metrics.skill_information(*np.array(rows).T, positions)


def test_skills_that_go_to_places_of_their_own_are_known_by_their_ends():
  # Wherever they begin, skill 0 ends in 0 and skill 1 in 2.
  found = information([(z, s, 2 * z) for z in range(2) for s in range(3)])
  assert found.final == pytest.approx(1)
  assert found.pair == pytest.approx(1)
  assert found.relative == pytest.approx(0)
  # Displacements are 0, -1, -2 and 2, 1, 0: only 0 tells nothing, one in three.
  assert found.displacement == pytest.approx(2 / 3)


def test_skills_that_move_relatively_are_known_by_pair_and_displacement():
  # On a ring of three cells skill 0 steps forth and skill 1 back: each end is
  # as likely by either, and the start settles it.
  rows = [
    (z, s, (s + (1 if z == 0 else -1)) % 3) for z in range(2) for s in range(3)
  ]
  found = information(rows)
  assert found.final == pytest.approx(0)
  assert found.pair == pytest.approx(1)
  assert found.relative == pytest.approx(1)
  # +1, +1, -2 against -1, -1, +2.
  assert found.displacement == pytest.approx(1)


def test_displacement_is_that_of_positions_and_not_of_indices():
  # Two rows of two cells; skill 0 goes from 1 to 2, skill 1 from 0 to 1: both
  # one index on, but left and down against right.
  square = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
  found = information([(0, 1, 2), (1, 0, 1)], square)
  assert found.displacement == pytest.approx(1)
  alike = information([(0, 0, 2), (1, 1, 3)], square)
  assert alike.displacement == pytest.approx(0)
  assert alike.final == pytest.approx(1)


def test_relative_information_is_that_of_its_definition():
  rng = np.random.default_rng(0)
  skill, start, end = rng.integers(0, 3, (3, 200))
  found = metrics.skill_information(skill, start, end, LINE)
  # I(Z; s_0 | s_T): mean over ends of what the start tells there.
  expected = sum(
    np.mean(end == s)
    * metrics.mutual_information(
      metrics.joint_counts(skill[end == s], start[end == s], 3, 3)
    )
    for s in range(3)
  )
  assert found.relative == pytest.approx(expected)


def test_states_out_of_range_are_refused():
  with pytest.raises(ValueError, match='end must lie in .0, 3., got'):
    information([(0, 1, 3)])


def test_a_neighbour_is_the_nearest_other_policy():
  # 0 and 1 are 3 apart, 2 is 4 from 0 and 5 from 1.
  features = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
  np.testing.assert_allclose(metrics.neighbour_distances(features), [3, 3, 4])
  assert metrics.diversity_score(features) == pytest.approx(10 / 3)


def test_policies_that_do_the_same_have_no_diversity():
  assert metrics.diversity_score(np.ones((4, 3))) == 0


def test_a_single_policy_has_no_neighbour():
  with pytest.raises(ValueError, match='two policies'):
    metrics.diversity_score(np.ones((1, 3)))


def test_distances_are_those_of_a_triangle():
  features = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
  np.testing.assert_allclose(
    metrics.distance_matrix(features), [[0, 3, 4], [3, 0, 5], [4, 5, 0]]
  )


def test_only_policies_that_are_good_enough_count_as_diverse():
  features = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0], [1.0, 0.0]])
  values = np.array([10.0, 9.0, 9.5, 0.0])
  # The last is near the first, and worth nothing: 3, 3 and 4 remain.
  assert metrics.near_optimal_diversity(features, values, 0.9) == pytest.approx(
    10 / 3
  )
  assert metrics.near_optimal_diversity(features, values, 0.95) == 4
  assert metrics.near_optimal_diversity(features, values, 1.0) == 0
  assert metrics.near_optimal_diversity(features, values, 0.0) == pytest.approx(
    (1 + 2 + 4 + 1) / 4
  )
  with pytest.raises(ValueError, match='must be positive'):
    metrics.near_optimal_diversity(features, -values, 0.9)
  with pytest.raises(ValueError, match='alpha must be in'):
    metrics.near_optimal_diversity(features, values, 1.1)


def test_the_best_by_mean_is_chosen_and_the_first_of_equal_ones():
  trials = np.array([[4.0, 4.0], [9.0, 5.0], [6.0, 6.0]])
  assert metrics.k_shot_choice(trials) == 1  # 7 against 4 and 6.
  assert metrics.k_shot_choice(trials[:, :1]) == 1
  assert metrics.k_shot_choice(trials[:, 1:]) == 2
  assert metrics.k_shot_choice(np.array([[1.0], [3.0], [3.0]])) == 1


def test_means_have_the_error_that_their_spread_gives_them():
  # Deviations -3, -1, 1, 3: a variance of 20 / 3, and sqrt(20 / 3 / 4).
  mean, error = metrics.mean_and_error(np.array([1.0, 3.0, 5.0, 7.0]))
  assert mean == 4
  assert error == pytest.approx(np.sqrt(5 / 3))
  assert metrics.mean_and_error(np.array([2.0])) == (2.0, None)


def test_value_ratios_are_to_policy_0():
  np.testing.assert_allclose(
    metrics.value_ratios(np.array([4.0, 3.0, 5.0])), [1.0, 0.75, 1.25]
  )
  with pytest.raises(ValueError, match='must be positive'):
    metrics.value_ratios(np.array([-1.0, 3.0]))


def test_area_under_the_curve_by_hand():
  # Among 2 x 3 pairs 3 > 1, 3 > 2 and 2 > 1 are right, 2 = 2 is half, and 3 = 3
  # too: 4 of 6.
  found = metrics.auroc(np.array([3.0, 2.0]), np.array([1.0, 2.0, 3.0]))
  np.testing.assert_allclose(found, 4 / 6)
  low, high = np.arange(5.0), np.arange(5.0, 9.0)
  assert metrics.auroc(high, low) == 1
  assert metrics.auroc(low, high) == 0
  assert metrics.auroc(np.ones(3), np.ones(7)) == 0.5
  with pytest.raises(ValueError, match='got 0 and 1'):
    metrics.auroc(np.zeros(0), np.ones(1))
