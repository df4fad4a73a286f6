"""From Haiku modules to pairs of pure functions."""

from collections.abc import Callable

import haiku as hk
import jax
import jax.numpy as jnp
from jaxtyping import Array

from skills import types


def pure(
  forward: Callable[..., types.PyTree], *example_inputs: types.PyTree
) -> types.Network:
  """Makes a network of a function that uses Haiku modules.

  Args:
    forward: makes modules and applies them to inputs.
    *example_inputs: inputs of the right shapes and types; values are not used.

  Returns:
    The network; `apply` takes parameters and inputs, and no random key.
  """
  transformed = hk.without_apply_rng(hk.transform(forward))

  def init(key: types.PRNGKey) -> types.Params:
    return transformed.init(key, *example_inputs)

  return types.Network(init, transformed.apply)


def recurrent(
  network: types.Network | types.RecurrentNetwork,
) -> types.RecurrentNetwork:
  """The network itself, or one without memory as one whose memory is empty."""
  if isinstance(network, types.RecurrentNetwork):
    return network

  def unroll(params: types.Params, memory, is_first, *inputs: Array):
    del is_first
    return network.apply(params, *inputs), memory

  return types.RecurrentNetwork(network.init, lambda: (), unroll)


def ensemble(network: types.Network, size: int) -> types.Network:
  """`size` members that differ by their initial parameters only.

  Args:
    network: one member.
    size: number of members N.

  Returns:
    A network whose parameters and outputs carry a leading axis N; every member
    sees the same inputs.
  """

  def init(key: types.PRNGKey) -> types.Params:
    return jax.vmap(network.init)(jax.random.split(key, size))

  def apply(params: types.Params, *inputs: Array) -> Array:
    return jax.vmap(network.apply, in_axes=(0,) + (None,) * len(inputs))(
      params, *inputs
    )

  return types.Network(init, apply)


def example_observation(problem: types.ProblemSpec) -> Array:
  """A batch of one observation, of zeros."""
  return jnp.zeros((1,) + problem.observation_shape, problem.observation_dtype)
