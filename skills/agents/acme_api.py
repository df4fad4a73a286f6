"""The names of Acme, Reverb and Launchpad that programs use.

Imported from here, Acme has been patched by `skills.agents`. An alias that
repeats its name marks a deliberate re-export.
"""

from acme import core as core
from acme import environment_loop as environment_loop
from acme import specs as specs
from acme import wrappers as wrappers
from acme.agents.jax import actor_core as actor_core
from acme.jax import variable_utils as variable_utils
from acme.jax.layouts import distributed_layout as distributed_layout
from acme.jax.layouts import local_layout as local_layout
from acme.utils import counting as counting
from acme.utils import loggers as loggers
from acme.utils.loggers import tf_summary as tf_summary
from acme.utils.observers import EnvLoopObserver as EnvLoopObserver
import courier as courier
import launchpad as launchpad
import reverb as reverb
from reverb.platform.default import checkpointers as checkpointers
