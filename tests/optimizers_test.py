"""Tests of skills/optimizers.py."""

import jax.numpy as jnp
import numpy as np
import pytest

from skills import optimizers


@pytest.mark.parametrize(
  ('name', 'expected'),
  [
    # The gradient itself; its sign, as Adam's first step is; the same and
    # a ten-thousandth of the parameters.
    ('sgd', [-0.2, 0.4]),
    ('adam', [-0.1, 0.1]),
    ('adamw', [-0.1 - 0.1 * 3e-4, 0.1 + 0.1 * 5e-4]),
    # The gradient over the root of a tenth of its square.
    ('rmsprop', [-(0.1 / 0.1**0.5), 0.1 / 0.1**0.5]),
  ],
)
def test_first_step_of_each_optimizer_by_hand(name, expected):
  optimizer = optimizers.make(name, 0.1)
  params = jnp.array([3.0, -5.0])
  moved, _ = optimizers.apply_gradients(
    optimizer, jnp.array([2.0, -4.0]), params, optimizer.init(params)
  )
  np.testing.assert_allclose(moved - params, expected, rtol=2e-5)


def test_gradients_are_scaled_down_to_the_largest_norm():
  optimizer = optimizers.make('sgd', 1.0, max_gradient_norm=1.0)
  params = jnp.zeros(2)
  moved, _ = optimizers.apply_gradients(
    optimizer, jnp.array([3.0, -4.0]), params, optimizer.init(params)
  )
  np.testing.assert_allclose(moved, [-0.6, 0.8], rtol=1e-5)


def test_warm_up_is_before_a_schedule_begins():
  rate = optimizers.after_warmup(lambda count: 0.5**count, 3)
  np.testing.assert_allclose(
    [rate(count) for count in range(6)], [0, 0, 0, 1, 0.5, 0.25], rtol=1e-6
  )
  rate = optimizers.after_warmup(0.5, 1)
  np.testing.assert_allclose([rate(count) for count in range(3)], [0, 0.5, 0.5])
