"""Tests of skills/ops/two_hot.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills.ops import two_hot

SUPPORT = two_hot.atoms(2.0, 5)  # -2, -1, 0, 1, 2.


def test_a_number_between_two_atoms_is_shared_by_nearness():
  # .25 lies a quarter of the way from 0 to 1; -1 is an atom; 9 is cut to 2.
  np.testing.assert_allclose(
    two_hot.encode(jnp.array([0.25, -1.0, 9.0]), SUPPORT),
    [[0, 0, 0.75, 0.25, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 1]],
  )


def test_the_mean_of_the_two_is_the_number():
  x = jnp.linspace(-2.0, 2.0, 33)
  p = two_hot.encode(x, SUPPORT)
  np.testing.assert_allclose(p.sum(-1), jnp.ones(33), rtol=1e-6)
  np.testing.assert_allclose(two_hot.decode(p, SUPPORT), x, atol=1e-6)


def test_returns_are_made_small_before_they_are_shared():
  # h(3) = sqrt(4) - 1 + .003 = 1.003.
  np.testing.assert_allclose(
    two_hot.from_returns(jnp.array(3.0), SUPPORT),
    [0, 0, 0, 0.997, 0.003],
    atol=1e-6,
  )


def test_logits_that_say_half_of_two_atoms_stand_for_the_return_between_them():
  # A mean of 1.5 in the small space: (sqrt(x + 1) - 1) + x / 1000 = 1.5, whose
  # solution lies near 2.5^2 - 1 = 5.25.
  logits = jnp.log(jnp.array([1e-9, 1e-9, 1e-9, 0.5, 0.5]))
  x = two_hot.to_returns(logits, SUPPORT)
  np.testing.assert_allclose(jnp.sqrt(x + 1) - 1 + x / 1000, 1.5, rtol=1e-5)
  assert 5.2 < x < 5.25


def test_muzero_s_atoms_give_returns_back():
  support = two_hot.atoms(300.0, 601)
  x = jnp.array([0.0, 0.5, -7.0, 300.0, -5e4])
  logits = jnp.log(two_hot.from_returns(x, support) + 1e-12)
  np.testing.assert_allclose(
    two_hot.to_returns(logits, support), x, rtol=2e-3, atol=1e-3
  )


def test_a_head_trained_by_cross_entropy_learns_the_mean_in_the_small_space():
  # Targets .2 and 1.2 in the small space, equally often: their mixture has
  # mean .7, and it is what cross-entropy is least for.
  p = two_hot.encode(jnp.array([0.2, 1.2]), SUPPORT).mean(0)
  logits = jnp.zeros(5)
  for _ in range(500):
    logits -= jax.nn.softmax(logits) - p  # The gradient of the cross-entropy.
  mean = two_hot.decode(jax.nn.softmax(logits), SUPPORT)
  np.testing.assert_allclose(mean, 0.7, atol=2e-2)


def test_two_hot_is_that_of_rlax():
  rlax = pytest.importorskip('rlax')
  x = jnp.asarray(np.random.default_rng(0).uniform(-40, 40, 50), jnp.float32)
  support = two_hot.atoms(30.0, 61)
  expected = rlax.transform_to_2hot(x, -30.0, 30.0, 61)
  # rlax adds 1e-5 to the spacing.
  np.testing.assert_allclose(two_hot.encode(x, support), expected, atol=5e-5)
  np.testing.assert_allclose(
    two_hot.decode(expected, support),
    rlax.transform_from_2hot(expected, -30.0, 30.0, 61),
    atol=1e-4,
  )
