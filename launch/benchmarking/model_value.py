"""Updates of the learner with a model, on whatever device JAX has."""

from typing import Any

import jax

from launch.benchmarking import timing
from launch.runs import experiment as experiment_lib
from skills import registry

# Environments, their options and how many updates are timed at once: of
# perceptrons, and of a residual network.
ENVIRONMENTS: tuple[tuple[str, dict[str, Any], int], ...] = (
  ('classic:catch', {'observation': 'board'}, 100),
  ('classic:cartpole', {}, 20),
  ('atari:pong', {}, 1),
)
# Sides of the matrices whose product shows what a device can do.
_PRODUCT_SIZES = {'cpu': 1024, 'gpu': 8192}
# Floating-point operations per second, by JAX's name of the device: data
# sheets' dense TF32, which is what JAX multiplies float32 with there.
_PEAKS = {
  'NVIDIA A100-SXM4-40GB': 156e12,
  'NVIDIA A100-SXM4-80GB': 156e12,
  'NVIDIA H100 80GB HBM3': 495e12,
  'NVIDIA H200': 495e12,
}


def rows(tries: int) -> list[timing.Row]:
  """Updates with perceptrons and with a residual network."""
  device = jax.devices()[0]
  size = _PRODUCT_SIZES.get(device.platform, max(_PRODUCT_SIZES.values()))
  products = timing.products_per_second(size, tries)
  peak = _PEAKS.get(device.device_kind)
  found = [
    timing.Row(
      f'products of {size}x{size} on {device.device_kind}',
      products / 1e9,
      'GFLOP/s',
      'limit' if peak is None else f'{products / peak:.2f} of the data sheet',
    )
  ]
  for environment, options, num_updates in ENVIRONMENTS:
    experiment = experiment_lib.make(
      agent='muesli',
      environment=environment,
      environment_options=options,
      num_steps=1,
      output_dir='unused',
    )
    config = experiment.config
    agent = registry.make_agent(config, experiment.problem)
    state = agent.learner.init(jax.random.PRNGKey(0))
    trajectory = timing.random_batch(agent, state)
    operations = timing.count_operations(
      agent.learner.update, state, trajectory
    )
    updates = timing.updates_per_second(
      agent,
      state,
      trajectory,
      tries,
      num_calls=1,
      updates_per_call=num_updates,
    )
    speed = operations * updates
    share = f'{speed / products:.2f} of the products'
    if peak is not None:
      share += f', {speed / peak:.3f} of the data sheet'
    found += [
      timing.Row(
        f'{environment}, {config.batch_size} x {config.skill_length} steps',
        updates,
        'updates/s',
        f'{1e3 / updates:.3g} ms, {operations / 1e6:,.0f} MFLOP an update',
      ),
      timing.Row('  its operations', speed / 1e9, 'GFLOP/s', share),
    ]
  return found
