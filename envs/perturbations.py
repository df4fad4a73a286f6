"""Perturbations of simulated bodies, to test how robust policies are.

    environment = perturbations.Perturbed(
      factory.make('control:walker_walk', seed=0),
      ['motor:right_hip=0', 'friction:*=0.5'],
    )

A perturbation is written `kind:target=factor`. The target is a name in the
MuJoCo model, with `*` and `?` as in file names; the factor is a number, or a
range `low..high` from which the seed draws one.

| kind | target | scales |
| --- | --- | --- |
| `motor` | actuators, by their own name or that of their joint | their force |
| `damping` | joints | how much they resist being moved |
| `friction` | geoms | sliding, torsional and rolling friction of contacts |
| `mass` | bodies | mass, and with it inertia: the same shape, but denser |
| `length` | bodies | how long a limb is, and with it its mass |

All of them edit the compiled model once, before the first episode, and hold in
every episode of that environment. What MuJoCo derives from the model (masses of
subtrees, inverse weights, lengths of tendons and such) is computed anew.

A new kind is one more entry of `KINDS`.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import fnmatch
import math
from typing import Any
from typing import NamedTuple

import dm_env
from jaxtyping import Float
import numpy as np

from envs import capabilities
from envs import wrappers
from skills import checks


class Kind(NamedTuple):
  """A kind of perturbation.

  Attributes:
    names: model -> number of each object that can be perturbed -> its names.
    scale: edits the model, given numbers of objects and the factor.
    allows_zero: whether the factor may be 0.
  """

  names: Callable[[Any], dict[int, tuple[str, ...]]]
  scale: Callable[[Any, list[int], float], None]
  allows_zero: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Perturbation:
  """One perturbation, as `parse` reads it.

  Attributes:
    kind: a key of `KINDS`.
    target: pattern of names.
    low: smallest factor.
    high: largest factor; the same as `low` for one that is not drawn.
  """

  kind: str
  target: str
  low: float
  high: float

  def __post_init__(self) -> None:
    """Refuses values that cannot work."""
    checks.one_of('kind of perturbation', self.kind, KINDS)
    if not self.target:
      raise ValueError(f"target of {self.kind!r} is empty; '*' means all.")
    if not (0 <= self.low <= self.high and math.isfinite(self.high)):
      raise ValueError(
        f'factor of {self.kind}:{self.target} must be a finite number >= 0, or '
        f'a range low..high of such, got {self.low:g}..{self.high:g}.'
      )
    if self.low == 0 and not KINDS[self.kind].allows_zero:
      raise ValueError(f'factor of {self.kind}:{self.target} must be > 0.')

  def __str__(self) -> str:
    """The form that `parse` reads."""
    factor = f'{self.low:g}'
    if self.high != self.low:
      factor += f'..{self.high:g}'
    return f'{self.kind}:{self.target}={factor}'


def parse(text: str) -> tuple[Perturbation, ...]:
  """Reads perturbations that are separated by commas.

  Args:
    text: such as 'motor:right_hip=0' or 'damping:*=3,mass:torso=0.5..2'.

  Returns:
    At least one.

  Raises:
    ValueError: if the form is wrong; in one line.
  """
  perturbations = []
  for part in text.split(','):
    head, equals, amount = part.strip().partition('=')
    kind, colon, target = head.partition(':')
    low, _, high = amount.partition('..')
    try:
      bounds = float(low), float(high or low)
    except ValueError:
      bounds = None
    if not equals or not colon or bounds is None:
      raise ValueError(
        "a perturbation is written 'kind:target=factor', such as "
        f"'damping:*=3' or 'mass:torso=0.5..2', got {part.strip()!r}."
      )
    perturbations.append(
      Perturbation(
        kind=kind.strip(), target=target.strip(), low=bounds[0], high=bounds[1]
      )
    )
  return tuple(perturbations)


class Applied(NamedTuple):
  """A perturbation that was applied.

  Attributes:
    perturbation: the one asked for.
    factor: the one drawn.
    names: of the objects that were changed; numbers of those without a name.
  """

  perturbation: Perturbation
  factor: float
  names: tuple[str, ...]


def apply(
  physics: Any, perturbations: Sequence[Perturbation], *, seed: int = 0
) -> tuple[Applied, ...]:
  """Edits the model of a simulation, one perturbation after another.

  Args:
    physics: `ControlEnvironment.physics`, before an episode. Factors of the
      same object are multiplied. Edits cannot be undone.
    perturbations: each must match at least one name.
    seed: of the factors that are drawn.

  Returns:
    One entry for each perturbation.

  Raises:
    ValueError: if no name matches, with the names that there are, or an object
      cannot be changed.
  """
  mujoco = _mujoco()

  model = physics.model.ptr
  rng = np.random.default_rng(seed)
  applied = []
  for perturbation in perturbations:
    kind = KINDS[perturbation.kind]
    names = kind.names(model)
    chosen = _matching(perturbation, names)
    factor = float(rng.uniform(perturbation.low, perturbation.high))
    kind.scale(model, chosen, factor)
    applied.append(
      Applied(
        perturbation,
        factor,
        tuple(next(iter(names[number]), str(number)) for number in chosen),
      )
    )
  # Cameras depend on the size of the scene, which must not follow the body's.
  extent, center = model.stat.extent, model.stat.center.copy()
  mujoco.mj_setConst(model, mujoco.MjData(model))
  model.stat.extent, model.stat.center[:] = extent, center
  return tuple(applied)


def _matching(
  perturbation: Perturbation, names: dict[int, tuple[str, ...]]
) -> list[int]:
  """Numbers of the objects whose names match."""
  pattern = perturbation.target
  chosen = [
    number
    for number, own in names.items()
    if pattern == '*' or any(fnmatch.fnmatchcase(name, pattern) for name in own)
  ]
  if not chosen:
    known = dict.fromkeys(name for own in names.values() for name in own)
    checks.one_of(f'{perturbation}: target', pattern, [*known, '*'])
    raise ValueError(f'{perturbation}: there is nothing of this kind here.')
  return chosen


class Perturbed(wrappers.Wrapper):
  """A control task with a perturbed body, in all of its episodes.

  Attributes:
    applied: what was changed, and by how much.
  """

  def __init__(
    self,
    environment: dm_env.Environment,
    perturbations: Sequence[str | Perturbation],
    *,
    seed: int = 0,
  ):
    """Perturbs the given environment itself, and cannot be undone.

    Args:
      environment: one with `capabilities.HasPhysics`, made for this.
      perturbations: texts that `parse` reads, or its results.
      seed: of the factors, which are drawn once.

    Raises:
      ValueError: if there is no simulation, or a perturbation does not fit it.
    """
    checks.integer('seed', seed, 0)
    super().__init__(environment)
    if not isinstance(environment, capabilities.HasPhysics):
      raise ValueError(
        'perturbations need a simulated body, as environments of the suite '
        "'control' have; this one has none."
      )
    parsed: list[Perturbation] = []
    for each in perturbations:
      parsed.extend([each] if isinstance(each, Perturbation) else parse(each))
    self.applied = apply(environment.physics, parsed, seed=seed)


def _mujoco() -> Any:
  """The MuJoCo package, imported when it is first needed."""
  import mujoco

  return mujoco


def _names_of(model: Any, what: str, count: int) -> list[str]:
  """Names of all objects of a type, '' for those without a name."""
  return [getattr(model, what)(i).name for i in range(count)]


def _as_names(
  names: Sequence[str], first: int = 0
) -> dict[int, tuple[str, ...]]:
  return {
    i: (name,) if name else ()
    for i, name in enumerate(names)
    if i >= first  # Body 0 is MuJoCo's fixed world.
  }


def _motors(model: Any) -> dict[int, tuple[str, ...]]:
  mujoco = _mujoco()

  joints = _names_of(model, 'joint', model.njnt)
  found = {}
  for i, name in enumerate(_names_of(model, 'actuator', model.nu)):
    own = [name] if name else []
    if model.actuator_trntype[i] == mujoco.mjtTrn.mjTRN_JOINT:
      own.append(joints[model.actuator_trnid[i, 0]])
    found[i] = tuple(dict.fromkeys(filter(None, own)))
  return found


def _scale_motors(model: Any, actuators: list[int], factor: float) -> None:
  """Scales the force of actuators for any control signal.

  For a plain motor this is the same as scaling the action; a servo becomes
  weaker and keeps its target.
  """
  mujoco = _mujoco()

  muscle = mujoco.mjtGain.mjGAIN_MUSCLE
  if (model.actuator_gaintype[actuators] == muscle).any():
    raise ValueError('the force of a muscle cannot be scaled.')
  model.actuator_gainprm[actuators] *= factor
  model.actuator_biasprm[actuators] *= factor


def _scale_damping(model: Any, joints: list[int], factor: float) -> None:
  """Scales the damping of all degrees of freedom of the joints.

  Undamped ones stay undamped; if all are, the perturbation is refused.
  """
  own = np.isin(model.dof_jntid, joints)
  if not (model.dof_damping[own].any() or model.dof_dampingpoly[own].any()):
    named = ', '.join(repr(model.joint(joint).name) for joint in joints)
    raise ValueError(f'damping of {named} is 0, which no factor changes.')
  model.dof_damping[own] *= factor
  model.dof_dampingpoly[own] *= factor


def _scale_friction(model: Any, geoms: list[int], factor: float) -> None:
  """Scales the friction of geoms, and of the pairs in which they are named.

  Where two geoms of equal priority touch that have no pair of their own, the
  larger of their frictions counts: `friction:*` reaches every contact, and a
  slippery floor under feet as rough as before changes nothing.
  """
  model.geom_friction[geoms] *= factor
  pairs = np.isin(model.pair_geom1, geoms) | np.isin(model.pair_geom2, geoms)
  model.pair_friction[pairs] *= factor


def _scale_mass(model: Any, bodies: list[int], factor: float) -> None:
  """Scales mass and inertia: the same shape at a different density."""
  model.body_mass[bodies] *= factor
  model.body_inertia[bodies] *= factor


def _limbs(model: Any) -> dict[int, tuple[str, ...]]:
  """The bodies that have a longest axis."""
  names = _names_of(model, 'body', model.nbody)
  return {
    body: own
    for body, own in _as_names(names, 1).items()
    if _long_axis(model, body) is not None
  }


def _geoms_of(model: Any, body: int) -> range:
  first = model.body_geomadr[body]
  return range(first, first + model.body_geomnum[body])


def _rotation(
  quaternion: Float[np.ndarray, '4'],
) -> Float[np.ndarray, '3 3']:
  mujoco = _mujoco()

  matrix = np.empty(9)
  mujoco.mju_quat2Mat(matrix, quaternion)
  return matrix.reshape(3, 3)


def _half_sizes(model: Any, geom: int) -> Float[np.ndarray, '3'] | None:
  """Half of a geom's sizes along its axes; None for planes, meshes and such."""
  mujoco = _mujoco()

  types = mujoco.mjtGeom
  radius, second, _ = model.geom_size[geom]
  match model.geom_type[geom]:
    case types.mjGEOM_SPHERE:
      return np.full(3, radius)
    case types.mjGEOM_CAPSULE:
      return np.array([radius, radius, second + radius])
    case types.mjGEOM_CYLINDER:
      return np.array([radius, radius, second])
    case types.mjGEOM_BOX | types.mjGEOM_ELLIPSOID:
      return model.geom_size[geom].copy()
  return None


def _long_axis(model: Any, body: int) -> Float[np.ndarray, '3'] | None:
  """The direction in which a body's most oblong geom is long.

  Args:
    model: the MuJoCo model.
    body: a number.

  Returns:
    A unit vector in the body's frame; None if no geom is oblong, or one is a
    plane, a mesh or such.
  """
  longest, axis = 0.0, None
  for geom in _geoms_of(model, body):
    half = _half_sizes(model, geom)
    if half is None:
      return None
    if np.ptp(half) > 0 and half.max() > longest:
      longest = half.max()
      axis = _rotation(model.geom_quat[geom])[:, half.argmax()]
  return axis


def _scale_lengths(model: Any, bodies: list[int], factor: float) -> None:
  """Stretches limbs along their longest axes, from their joints.

  The map p -> p + (factor - 1) <p - a, u> u, with the mean a of the anchors of
  the body's joints and the unit vector u along the body's most oblong geom,
  moves the center of mass, geoms, sites and whatever is attached to the limb.
  Mass and inertia are those of the stretched body at the same density, so that
  the mass is `factor` times what it was.

  Approximations: the caps of a capsule stay round, while mass and inertia are
  stretched as a whole, and a geom askew to u grows along its own axes. The limb
  does not become thicker, its motors not stronger, and an initial pose may
  reach into the floor, which then pushes the body out. Cameras, lights and
  anchors of equality constraints stay where they are.
  """
  mujoco = _mujoco()

  for body in bodies:
    _stretch_body(model, body, factor)
  # The midphase's boxes around geoms are outdated, and it only saves time.
  model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE


def _stretch_body(model: Any, body: int, factor: float) -> None:
  """Stretches one limb; see `_scale_lengths`."""
  u = _long_axis(model, body)
  assert u is not None  # Else it is no limb.
  stretch = np.eye(3) + (factor - 1.0) * np.outer(u, u)
  joints = slice(
    model.body_jntadr[body], model.body_jntadr[body] + model.body_jntnum[body]
  )
  has_joints = model.body_jntnum[body] > 0
  anchor = model.jnt_pos[joints].mean(axis=0) if has_joints else np.zeros(3)

  def moved(points: np.ndarray) -> np.ndarray:
    return anchor + (points - anchor) @ stretch

  _stretch_inertia(model, body, stretch, factor)
  model.body_ipos[body] = moved(model.body_ipos[body])
  model.body_sameframe[body] = 0
  for geom in _geoms_of(model, body):
    _stretch_geom(model, geom, stretch)
    model.geom_pos[geom] = moved(model.geom_pos[geom])
    model.geom_sameframe[geom] = 0
  if has_joints:
    model.jnt_pos[joints] = moved(model.jnt_pos[joints])
  sites = model.site_bodyid == body
  model.site_pos[sites] = moved(model.site_pos[sites])
  model.site_sameframe[sites] = 0
  children = (model.body_parentid == body) & (np.arange(model.nbody) > 0)
  model.body_pos[children] = moved(model.body_pos[children])


def _stretch_inertia(
  model: Any, body: int, stretch: Float[np.ndarray, '3 3'], factor: float
) -> None:
  """Mass and inertia of the body after a linear map, at the same density.

  A linear map A turns the second moments S = integral r r^T dm of the body into
  factor A S A^T; the inertia is tr(S) 1 - S.
  """
  mujoco = _mujoco()

  frame = _rotation(model.body_iquat[body])
  inertia = model.body_inertia[body]
  moments = frame @ np.diag(inertia.sum() / 2 - inertia) @ frame.T
  moments = factor * stretch @ moments @ stretch.T
  # In the old principal axes, which often are still principal.
  turned = frame.T @ (np.trace(moments) * np.eye(3) - moments) @ frame
  model.body_mass[body] *= factor
  aside = turned - np.diag(np.diag(turned))
  if np.abs(aside).max() > 1e-9 * np.abs(turned).max():
    values, vectors = np.linalg.eigh(turned)
    vectors[:, 2] *= np.sign(np.linalg.det(vectors))
    mujoco.mju_mat2Quat(model.body_iquat[body], (frame @ vectors).ravel())
    model.body_inertia[body] = values
  else:
    model.body_inertia[body] = np.diag(turned)


def _stretch_geom(
  model: Any, geom: int, stretch: Float[np.ndarray, '3 3']
) -> None:
  """Stretches a geom along its own axes, with its bounding volumes."""
  mujoco = _mujoco()

  types = mujoco.mjtGeom
  ratio = np.linalg.norm(stretch @ _rotation(model.geom_quat[geom]), axis=0)
  match model.geom_type[geom]:
    case types.mjGEOM_CAPSULE | types.mjGEOM_CYLINDER:
      model.geom_size[geom, 1] *= ratio[2]
    case types.mjGEOM_BOX | types.mjGEOM_ELLIPSOID:
      model.geom_size[geom] *= ratio
  half = _half_sizes(model, geom)
  assert half is not None  # Other geoms make a body no limb.
  model.geom_aabb[geom, 3:] = half
  match model.geom_type[geom]:
    case types.mjGEOM_BOX:
      model.geom_rbound[geom] = np.linalg.norm(half)
    case types.mjGEOM_CYLINDER:
      model.geom_rbound[geom] = np.hypot(half[0], half[2])
    case _:
      model.geom_rbound[geom] = half.max()


KINDS: dict[str, Kind] = {
  'motor': Kind(names=_motors, scale=_scale_motors),
  'damping': Kind(
    names=lambda model: _as_names(_names_of(model, 'joint', model.njnt)),
    scale=_scale_damping,
  ),
  'friction': Kind(
    names=lambda model: _as_names(_names_of(model, 'geom', model.ngeom)),
    scale=_scale_friction,
  ),
  'mass': Kind(
    names=lambda model: _as_names(_names_of(model, 'body', model.nbody), 1),
    scale=_scale_mass,
    allows_zero=False,
  ),
  'length': Kind(names=_limbs, scale=_scale_lengths, allows_zero=False),
}
"""Name -> kind of perturbation."""
