"""Sharding of batches over devices of one or several processes."""

from collections.abc import Sequence
import functools
import signal
import socket
import threading
from typing import Any

import jax
from jax._src.lib import xla_client
import jax.numpy as jnp
from jaxtyping import Array
from jaxtyping import Bool
import numpy as np


class Placement:
  """Shardings of arrays over the devices that share batches.

  Attributes:
    everywhere: a copy on each device.
    is_shared: whether some devices belong to other processes.
  """

  def __init__(self, devices: Sequence[jax.Device]):
    """Initializes the placement; each process's devices side by side."""
    mesh = jax.sharding.Mesh(np.array(devices), ('batch',))
    spec = jax.sharding.PartitionSpec
    self.everywhere = jax.sharding.NamedSharding(mesh, spec())
    self._by_device = jax.sharding.NamedSharding(mesh, spec('batch'))
    self._by_batch = jax.sharding.NamedSharding(mesh, spec(None, 'batch'))
    self._num_local = len(mesh.local_devices)
    self._any = jax.jit(jnp.any, out_shardings=self.everywhere)
    self.is_shared = self._num_local < len(devices)

  def copies(self, tree: Any) -> Any:
    """Arrays that are the same in all processes, on every device."""
    return self._put(self.everywhere, tree)

  def parts(self, batches: Any) -> Any:
    """Batches `[U, B, ...]` cut along B; a process gives its devices' part."""
    return self._put(self._by_batch, batches)

  def own(self, batches: Array) -> list[Array]:
    """This process's part of `[U, B]`, cut along B, in order of its devices."""
    return [
      shard.data
      for shard in sorted(
        batches.addressable_shards, key=lambda shard: shard.index[1].start or 0
      )
    ]

  @property
  def by_batch(self) -> jax.sharding.NamedSharding:
    """The sharding of batches `[U, B, ...]` along B."""
    return self._by_batch

  def flags(self, is_set: bool) -> Bool[Array, 'D']:
    """A flag of each device; a process sets its own ones."""
    return self._put(self._by_device, np.full(self._num_local, is_set))

  def any(self, is_set: bool) -> Bool[Array, '']:
    """Whether any process sets its flag; all of them must ask."""
    return self._any(self.flags(is_set))

  def _put(self, sharding: jax.sharding.Sharding, tree: Any) -> Any:
    return jax.tree.map(
      lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)),
      tree,
    )


def join(
  coordinator_address: str, num_processes: int, process_id: int, host: str
) -> None:
  """Joins processes; `jax.devices()` has the devices of all afterwards.

  Call it before anything is computed. On CPU, processes communicate by gloo,
  which would announce the address to which this machine resolves its own name.
  Often that is 127.0.0.1 or 127.0.1.1, which others cannot reach, so gloo is
  given `host`. GPUs have collectives of their own.

  Args:
    coordinator_address: 'host:port' at which process 0 listens.
    num_processes: number of processes.
    process_id: index of this one, from 0.
    host: name or address at which the others reach this process.
  """
  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  xla_client._xla.make_gloo_tcp_collectives = functools.partial(
    xla_client._xla.make_gloo_tcp_collectives,
    hostname=socket.gethostbyname(host),
  )
  on_sigterm = signal.getsignal(signal.SIGTERM)
  # JAX would otherwise detect clusters from environment variables.
  jax.distributed.initialize(
    coordinator_address,
    num_processes,
    process_id,
    cluster_detection_method='deactivate',
  )
  # JAX installs a handler of SIGTERM that does not end the process.
  if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGTERM, on_sigterm)
  # Gloo's first connection fails if a process is half a minute behind the
  # others, as when it waits for its first batch; later ones have no such limit.
  Placement(jax.devices()).any(False).block_until_ready()
