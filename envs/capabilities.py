"""What environments can do besides the interface of dm_env.

Each capability is a Protocol: an environment has it by having the attributes,
without inheriting anything, and `isinstance(environment, HasGrid)` asks for it.
A `wrappers.Wrapper` passes on the capabilities of the environment inside.

| capability | attributes | brings |
| --- | --- | --- |
| `HasTables` | `mdp`, `observations` | exact values; where skills end |
| `HasGrid` | `grid` beside these | maps of skills and of discriminators |
| `HasFunctional` | `functional()` | training by `launch.run_on_device` |
| `MayBeEndless` | `is_endless` | episodes cut by `endless.Segments` |
| `HasSavedState` | `save()`, `restore(saved)` | bit-for-bit resumed runs |
| `HasObservationSlices` | `observation_slices` | names of axes and features |
| `HasPhysics` | `physics`, `picture(...)` | MuJoCo's films; perturbations |
| `HasScreen` | `screen()` | films of the screen |
| `HasConsole` | `game`, `ram()` | places visited in annotated Atari games |

An observation spec has one of its own: `entry_names`, as in
`control.NamedVector`, names the features in `types.ProblemSpec`.
"""

from collections.abc import Mapping
from typing import Any
from typing import Protocol
from typing import runtime_checkable

from jaxtyping import Num
from jaxtyping import UInt8
import numpy as np

from envs.tabular import mdp as tabular_mdp

# From Python 3.12 on isinstance no longer finds what `__getattr__` provides, as
# that of wrappers.Wrapper does; tests/envs/capabilities_test.py would notice.


@runtime_checkable
class HasTables(Protocol):
  """A finite process `mdp`, with the observation of each state."""

  mdp: tabular_mdp.TabularMDP
  observations: Num[np.ndarray, 'S *shape']


@runtime_checkable
class HasGrid(HasTables, Protocol):
  """A gridworld: `grid` is a `gridworlds.Gridworld`."""

  grid: Any


@runtime_checkable
class HasFunctional(Protocol):
  """An environment that can run inside a compiled JAX program."""

  def functional(self) -> Any:
    """A `tabular.functional.FunctionalEnvironment`."""


@runtime_checkable
class MayBeEndless(Protocol):
  """An environment that says whether no horizon ends its episodes."""

  is_endless: bool


@runtime_checkable
class HasSavedState(Protocol):
  """An environment that a resumed run can continue bit for bit."""

  def save(self) -> dict[str, Any]:
    """The state, random generator included, as JSON can hold it."""
    ...

  def restore(self, saved: dict[str, Any]) -> None:
    """Continues from where `save` was called."""


@runtime_checkable
class HasObservationSlices(Protocol):
  """Names of parts of the observed vector -> entries; empty for pictures."""

  observation_slices: Mapping[str, slice]


@runtime_checkable
class HasPhysics(Protocol):
  """A running MuJoCo simulation, a `dm_control` physics."""

  physics: Any

  def picture(
    self, height: int, width: int, *, is_plain: bool = False
  ) -> UInt8[np.ndarray, 'H W 3']:
    """The picture of the task's camera; needs a renderer."""
    ...


@runtime_checkable
class HasScreen(Protocol):
  """An environment that draws a picture of its own."""

  def screen(self) -> UInt8[np.ndarray, 'H W 3']:
    """The picture as it is now, in color and full size."""
    ...


@runtime_checkable
class HasConsole(Protocol):
  """A game of the Atari 2600, one of `atari.TASKS`."""

  game: str

  def ram(self) -> UInt8[np.ndarray, '128']:
    """A copy of the console's memory."""
    ...


def is_endless(environment: object) -> bool:
  """Whether episodes have no horizon; False where an environment cannot say."""
  return isinstance(environment, MayBeEndless) and environment.is_endless


def observation_slices(environment: object) -> Mapping[str, slice]:
  """Name -> its entries in the observed vector; empty without such names."""
  if isinstance(environment, HasObservationSlices):
    return environment.observation_slices
  return {}


def save(environment: object) -> dict[str, Any] | None:
  """The state for `restore`; None where an environment has none to give."""
  return environment.save() if isinstance(environment, HasSavedState) else None


def restore(environment: Any, saved: dict[str, Any] | None) -> None:
  """Continues from what `save` gave for an environment of the same kind."""
  if saved is not None:
    environment.restore(saved)


def is_whole(saved: Any) -> bool:
  """Whether what `save` gave has the state of all environments inside."""
  if not isinstance(saved, Mapping):
    return False
  inside = list(saved.get('environments', ()))
  if 'environment' in saved:
    inside.append(saved['environment'])
  return all(map(is_whole, inside))


def can_film(environment: object) -> bool:
  """Whether there are pictures of what happens."""
  return isinstance(environment, HasPhysics | HasScreen)
