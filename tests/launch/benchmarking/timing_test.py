"""Tests of launch/benchmarking/timing.py."""

import time

import jax.numpy as jnp
import pytest

from launch.benchmarking import timing


def test_best_of_several_tries_counts_after_a_compiling_call():
  calls = []

  def call():
    calls.append(None)
    # The first call 'compiles'; the third try is the fastest.
    time.sleep([0.2, 0.06, 0.05, 0.01, 0.07][len(calls) - 1])

  assert 0.01 <= timing.best_seconds(call, 4) < 0.05
  assert len(calls) == 5


def test_a_long_call_is_timed_once(monkeypatch):
  monkeypatch.setattr(timing, 'LONG_S', 0.04)
  calls = []

  def call():
    calls.append(None)
    # The first call compiles; after the third there is nothing left to try.
    time.sleep([0.1, 0.01, 0.05, 0.001][len(calls) - 1])

  assert 0.01 <= timing.best_seconds(call, 3) < 0.05
  assert len(calls) == 3


def test_repeated_step_runs_the_given_number_of_times():
  assert timing.repeated(lambda x: x + 2, 7)(1) == 15


@pytest.mark.alone
def test_speed_of_products_does_not_grow_with_their_size():
  # The work of a product grows with the cube of its size, its speed does not:
  # counted by the square, it would seem eight times slower.
  small, large = (timing.products_per_second(n, 10) for n in (48, 384))
  assert 0.2 < large / small < 5


def test_count_operations_counts_multiplications_and_additions():
  def call(x):
    return x @ jnp.ones((30, 50))

  # A product and a sum for each.
  assert timing.count_operations(call, jnp.ones((20, 30))) == (
    pytest.approx(2 * 20 * 30 * 50, rel=0.1)
  )
