"""Tests of envs/perturbations.py."""

import re

import numpy as np
import pytest

from envs import control
from envs import factory
from envs import perturbations
from envs import rendering

# dm_control reads it when it is imported.
rendering.choose_renderer()

import mujoco  # noqa: E402

STEPS = 20


def walker(*texts, seed=0, name='walker_walk'):
  return perturbations.Perturbed(
    control.ControlEnvironment(name, seed=3), texts, seed=seed
  )


def model_of(environment):
  return environment.physics.model.ptr


def unchanged(name='walker_walk'):
  return control.ControlEnvironment(name, seed=3)


def numbers(model):
  """Every array of a model, by its name."""
  return {
    name: getattr(model, name).copy()
    for name in dir(model)
    if not name.startswith('_')
    and isinstance(getattr(model, name), np.ndarray)
    and getattr(model, name).dtype.kind in 'fiub'
  }


def differing(model, other):
  ours, theirs = numbers(model), numbers(other)
  return {name for name in ours if (ours[name] != theirs[name]).any()}


def play(environment, num_steps=STEPS):
  rng = np.random.default_rng(0)
  shape = environment.action_spec().shape
  timesteps = [environment.reset()]
  for action in rng.uniform(-1, 1, (num_steps, *shape)):
    timesteps.append(environment.step(action.astype(np.float32)))
  return np.stack([timestep.observation for timestep in timesteps])


def test_texts_are_parsed():
  one, other = perturbations.parse('motor:right_hip=0, mass:tor*=0.5..2')
  assert one == perturbations.Perturbation(
    kind='motor', target='right_hip', low=0.0, high=0.0
  )
  assert other == perturbations.Perturbation(
    kind='mass', target='tor*', low=0.5, high=2.0
  )
  assert str(one) == 'motor:right_hip=0'
  assert str(other) == 'mass:tor*=0.5..2'


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('right_hip', "is written 'kind:target=factor'"),
    ('motor:right_hip', "is written 'kind:target=factor'"),
    ('motor=0', "is written 'kind:target=factor'"),
    ('motor:right_hip=none', "is written 'kind:target=factor'"),
    ('', "is written 'kind:target=factor'"),
    ('motr:right_hip=0', "Did you mean 'motor'?"),
    ('motor:=0', 'target of'),
    ('motor:*=-1', 'must be a finite number >= 0'),
    ('motor:*=nan', 'must be a finite number >= 0'),
    ('motor:*=2..1', 'must be a finite number >= 0'),
    ('motor:*=inf', 'must be a finite number >= 0'),
    ('mass:torso=0', 'must be > 0'),
    ('length:torso=0..2', 'must be > 0'),
  ],
)
def test_invalid_perturbations_are_refused_in_one_line(text, message):
  with pytest.raises(ValueError, match=re.escape(message)) as info:
    perturbations.parse(text)
  assert '\n' not in str(info.value)


@pytest.mark.parametrize(
  ('text', 'parts'),
  [
    ('motor:right_hpi=0', ["Did you mean 'right_hip'?", "'left_ankle'"]),
    ('length:right_shin=2', ["'right_leg'", "'torso'"]),
    ('friction:world=2', ["'floor'", "'right_foot'"]),
    ('damping:left=2', ["'left_knee'", "'*'"]),
    ('damping:root*=2', ["damping of 'rootz', 'rootx', 'rooty' is 0"]),
  ],
)
def test_unknown_targets_are_answered_with_the_known_ones(text, parts):
  with pytest.raises(ValueError) as info:
    walker(text)
  for part in parts:
    assert part in str(info.value)


def test_environments_without_a_body_are_refused():
  with pytest.raises(ValueError, match="suite 'control'"):
    perturbations.Perturbed(factory.make('grid:open_11'), ['mass:*=2'])


def test_each_kind_scales_its_own_values_and_no_others():
  # MuJoCo derives them: inverse weights and such.
  derived = {
    'body_subtreemass',
    'body_invweight0',
    'dof_invweight0',
    'dof_M0',
    'tendon_invweight0',
    'actuator_acc0',
    # A camera that follows the middle of the mass looks from where it did.
    'cam_poscom0',
    'light_poscom0',
  }
  plain = model_of(unchanged())
  for text, fields in [
    ('motor:right_hip=0.5', {'actuator_gainprm'}),
    ('damping:right_hip=3', {'dof_damping'}),
    ('friction:floor=0.2', {'geom_friction'}),
    ('mass:torso=2', {'body_mass', 'body_inertia'}),
  ]:
    changed = differing(model_of(walker(text)), plain)
    assert fields <= changed
    assert changed <= fields | derived, text


def test_only_values_of_the_target_are_scaled():
  plain = model_of(unchanged())
  model = model_of(
    walker('motor:right_hip=0.5,damping:*_hip=3', 'friction:*=0.2')
  )
  gain = plain.actuator_gainprm[:, 0].copy()
  gain[0] *= 0.5
  np.testing.assert_array_equal(model.actuator_gainprm[:, 0], gain)
  # The joints are rootz, rootx, rooty, and three of each leg, hips first.
  factors = np.ones(9)
  factors[[3, 6]] = 3
  np.testing.assert_allclose(model.dof_damping, factors * plain.dof_damping)
  assert plain.dof_damping[3] > 0
  np.testing.assert_allclose(model.geom_friction, 0.2 * plain.geom_friction)


def test_factors_of_the_same_object_are_multiplied():
  plain = model_of(unchanged()).body('torso').mass[0]
  model = model_of(walker('mass:torso=2', 'mass:*=1.5'))
  np.testing.assert_allclose(model.body('torso').mass[0], 3 * plain)
  # What the rest of the body feels of it.
  np.testing.assert_allclose(
    model.body_subtreemass[0], model.body_mass.sum(), rtol=1e-12
  )


def test_a_motor_is_named_by_itself_or_by_its_joint():
  models = [
    model_of(walker(f'motor:{name}=0.5', name='cartpole_balance'))
    for name in ('slide', 'slider')
  ]
  plain = model_of(unchanged('cartpole_balance'))
  assert plain.actuator(0).name == 'slide' and plain.joint(0).name == 'slider'
  assert differing(models[0], plain) >= {'actuator_gainprm'}
  assert not differing(*models)


def test_a_motor_scaled_by_zero_has_no_force_and_others_keep_theirs():
  environment = walker('motor:right_hip=0')
  environment.reset()
  for _ in range(3):
    environment.step(np.ones(6, np.float32))
    force = environment.physics.data.actuator_force
    assert force[0] == 0
    np.testing.assert_array_equal(force[1:], 1)


def test_scaling_a_motor_is_scaling_its_action():
  weak, plain = walker('motor:left_knee=0.25'), unchanged()
  scale = np.ones(6, np.float32)
  scale[4] = 0.25
  rng = np.random.default_rng(1)
  weak.reset(), plain.reset()
  for action in rng.uniform(-1, 1, (STEPS, 6)).astype(np.float32):
    np.testing.assert_allclose(
      weak.step(action).observation,
      plain.step(scale * action).observation,
      atol=1e-5,
    )


def test_a_scaled_servo_is_weaker_and_keeps_its_target():
  # Its force is gain * (control - length): at a factor of 0 there is none,
  # wherever it is.
  environment = walker('motor:lift_front_left=0', name='quadruped_walk')
  plain = unchanged('quadruped_walk')
  for each in (environment, plain):
    each.reset()
    each.step(np.full(12, 0.7, np.float32))
  assert environment.physics.data.actuator_force[1] == 0
  assert abs(plain.physics.data.actuator_force[1]) > 1e-3


def test_mass_and_damping_follow_newton():
  # A pendulum that is pushed from where it hangs: its acceleration falls with
  # its mass, and a quarter of the speed is left where damping takes four times
  # as much of it.
  def speeds(text, num_steps=5):
    environment = unchanged('pendulum_swingup')
    if text:
      environment = perturbations.Perturbed(environment, [text])
    physics = environment.physics
    environment.reset()
    with physics.reset_context():
      physics.data.qpos[0] = np.pi
    for _ in range(num_steps):
      environment.step(np.ones(1, np.float32))
    return physics.data.qvel[0]

  plain = speeds(None)
  np.testing.assert_allclose(speeds('mass:pole=4'), plain / 4, rtol=0.1)
  assert abs(speeds('damping:hinge=100', 50)) < abs(speeds(None, 50)) / 4


def test_little_friction_lets_the_cheetah_slide():
  # Pushed along the ground it comes to rest, unless that is smooth.
  def distance(*texts):
    environment = walker('motor:*=0', *texts, name='cheetah_run')
    environment.reset()
    physics = environment.physics
    for _ in range(100):
      environment.step(np.zeros(6, np.float32))
    start = physics.data.qpos[0]
    physics.data.qvel[0] = 2.0
    for _ in range(200):
      environment.step(np.zeros(6, np.float32))
    return physics.data.qpos[0] - start

  assert distance('friction:*=0.01') > 2 * distance()


def test_perturbations_hold_in_every_episode_of_one_environment_only():
  environment = walker('damping:*=30')
  before = numbers(model_of(environment))
  first, second = play(environment), play(environment)
  after = numbers(model_of(environment))
  assert all((before[name] == after[name]).all() for name in before)
  plain = unchanged()
  untouched = [play(plain), play(plain)]
  for changed, same in zip((first, second), untouched):
    # Episodes begin alike, and go on otherwise.
    np.testing.assert_array_equal(changed[0], same[0])
    assert np.abs(changed[-1] - same[-1]).max() > 0.1
  again = unchanged()
  np.testing.assert_array_equal(play(again), untouched[0])


def test_a_factor_of_one_changes_nothing():
  texts = [f'{kind}:*=1' for kind in perturbations.KINDS]
  np.testing.assert_allclose(play(walker(*texts)), play(unchanged()), atol=1e-6)


def test_the_seed_draws_factors_from_ranges_once():
  def factors(seed):
    environment = walker('mass:torso=0.5..2', 'damping:*=1..3', seed=seed)
    return [applied.factor for applied in environment.applied]

  assert factors(1) == factors(1)
  assert factors(1) != factors(2)
  drawn = np.array([factors(seed) for seed in range(20)])
  assert ((drawn >= [0.5, 1]) & (drawn <= [2, 3])).all()
  assert (np.ptp(drawn, axis=0) > [0.9, 1.2]).all()
  environment = walker('mass:torso=0.5..2')
  [applied] = environment.applied
  plain = model_of(unchanged()).body('torso').mass[0]
  assert applied.names == ('torso',)
  np.testing.assert_allclose(
    model_of(environment).body('torso').mass[0], applied.factor * plain
  )


def test_a_leg_is_longer_by_its_factor_from_the_knee():
  # Half a leg is 0.25 long: its knee lies 0.25 above its middle, its foot 0.25
  # below.
  plain, model = model_of(unchanged()), model_of(walker('length:right_leg=1.5'))
  leg, foot = (model.body(name).id for name in ('right_leg', 'right_foot'))
  np.testing.assert_allclose(plain.geom('right_leg').size[:2], [0.04, 0.25])
  np.testing.assert_allclose(model.geom('right_leg').size[:2], [0.04, 0.375])
  np.testing.assert_allclose(model.joint('right_knee').pos, [0, 0, 0.25])
  np.testing.assert_allclose(model.geom('right_leg').pos, [0, 0, -0.125])
  np.testing.assert_allclose(model.body_pos[foot], [0.06, 0, -0.5])
  np.testing.assert_allclose(model.body_ipos[leg], [0, 0, -0.125])
  np.testing.assert_allclose(model.body_mass[leg], 1.5 * plain.body_mass[leg])
  # About the leg's own axis 1.5 times the mass turns at the same distance.
  np.testing.assert_allclose(
    model.body_inertia[leg].min(), 1.5 * plain.body_inertia[leg].min()
  )
  # Across, a thin rod's inertia grows with the third power of its length; the
  # leg's thickness, which does not grow, makes it a little less.
  ratio = model.body_inertia[leg].max() / plain.body_inertia[leg].max()
  assert 0.97 * 1.5**3 < ratio < 1.5**3
  # Everything else is as it was.
  others = np.arange(model.nbody) != leg
  np.testing.assert_array_equal(
    model.body_inertia[others], plain.body_inertia[others]
  )


def test_a_bent_body_is_stretched_as_its_mass_is():
  # The masses of a body, as points: from the inertia one knows their second
  # moments, from which any linear map of the points can be followed.
  plain = model_of(unchanged('cheetah_run'))
  model = model_of(walker('length:torso=1.7', name='cheetah_run'))
  torso = plain.body('torso').id

  def inertia(of):
    rotation = np.empty(9)
    mujoco.mju_quat2Mat(rotation, of.body_iquat[torso])
    rotation = rotation.reshape(3, 3)
    return rotation @ np.diag(of.body_inertia[torso]) @ rotation.T

  old = inertia(plain)
  values, vectors = np.linalg.eigh(np.trace(old) / 2 * np.eye(3) - old)
  # Six points with the same second moments.
  points = np.sqrt(3 * np.maximum(values, 0))[:, None] * vectors.T
  points = np.concatenate([points, -points])
  # The torso's long geom lies along x; its head, which is askew, comes along.
  points = points * [1.7, 1, 1]
  mass = 1.7 / 6  # Each one's, in units in which the old moments are per mass.
  squares = np.sum(points**2, axis=1)
  expected = mass * (
    squares.sum() * np.eye(3) - np.einsum('ni,nj->ij', points, points)
  )
  np.testing.assert_allclose(inertia(model), expected, rtol=1e-6, atol=1e-9)


def recompiled(plain, body, factor, model):
  """The walker from its XML with a longer leg, and the inertia of `model`."""
  from dm_control.suite import walker as walker_lib

  xml, assets = walker_lib.get_model_and_assets()
  spec = mujoco.MjSpec.from_string(
    xml.decode() if isinstance(xml, bytes) else xml, include=assets
  )
  leg = spec.body(body)
  [geom] = leg.geoms
  geom.size[1] *= factor
  geom.pos = [0, 0, 0.25 - 0.25 * factor]
  foot = leg.first_body()
  foot.pos = [foot.pos[0], foot.pos[1], 0.25 - 0.5 * factor]
  number = plain.body(body).id
  for each in spec.bodies[1:]:
    i = plain.body(each.name).id
    each.explicitinertial = True
    each.mass = model.body_mass[i]
    each.inertia = model.body_inertia[i]
    each.ipos = model.body_ipos[i]
    each.iquat = model.body_iquat[i]
  assert number
  return spec.compile()


def test_a_longer_leg_equals_the_model_compiled_with_it():
  plain = model_of(unchanged())
  environment = walker('length:right_leg=1.4')
  ours = model_of(environment)
  theirs = recompiled(plain, 'right_leg', 1.4, ours)
  for name in (
    'geom_size',
    'geom_pos',
    'geom_rbound',
    'geom_aabb',
    'body_pos',
    'jnt_pos',
    'dof_M0',
    'body_subtreemass',
    'body_invweight0',
    'dof_invweight0',
  ):
    np.testing.assert_allclose(
      getattr(ours, name), getattr(theirs, name), atol=1e-9, err_msg=name
    )
  # And it falls, lands and moves like that.
  rng = np.random.default_rng(0)
  data, other = mujoco.MjData(ours), mujoco.MjData(theirs)
  num_contacts = 0
  for control_ in rng.uniform(-1, 1, (300, 6)):
    data.ctrl[:] = other.ctrl[:] = control_
    mujoco.mj_step(ours, data), mujoco.mj_step(theirs, other)
    num_contacts += data.ncon
  assert num_contacts > 50
  np.testing.assert_allclose(data.qpos, other.qpos, atol=1e-6)


@pytest.mark.parametrize(
  'name', ['hopper_hop', 'humanoid_walk', 'quadruped_walk', 'fish_swim']
)
def test_bounding_volumes_fit_stretched_bodies_of_all_forms(name):
  # What bounds a geom, of every form that the suite has, is the compiler's.
  model = model_of(unchanged(name))
  before = numbers(model)
  limbs = list(perturbations.KINDS['length'].names(model))
  assert limbs
  for body in limbs:
    for geom in perturbations._geoms_of(model, body):
      perturbations._stretch_geom(model, geom, np.eye(3))
  after = numbers(model)
  for field in ('geom_size', 'geom_rbound', 'geom_aabb'):
    np.testing.assert_allclose(after[field], before[field], atol=1e-9)


def test_a_kind_is_added_by_one_entry(monkeypatch):
  def scale(model, numbers, factor):
    del numbers  # There is but one.
    model.opt.gravity[:] *= factor

  kind = perturbations.Kind(
    names=lambda model: {0: ('gravity',)}, scale=scale, allows_zero=True
  )
  monkeypatch.setitem(perturbations.KINDS, 'world', kind)
  model = model_of(walker('world:gravity=0.5'))
  np.testing.assert_allclose(
    model.opt.gravity, 0.5 * model_of(unchanged()).opt.gravity
  )


def test_the_wrapper_passes_on_capabilities():
  environment = walker('mass:*=2')
  plain = unchanged()
  assert environment.observation_slices == plain.observation_slices
  assert environment.observation_spec() == plain.observation_spec()
  assert repr(environment.action_spec()) == repr(plain.action_spec())
  assert repr(environment.reward_spec()) == repr(plain.reward_spec())
  assert repr(environment.discount_spec()) == repr(plain.discount_spec())
  with pytest.raises(AttributeError):
    environment.nothing  # noqa: B018
  environment.close()
