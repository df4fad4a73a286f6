"""What a run leaves behind to be looked at: tables, maps and films.

Made when a run ends, of its final policy, and kept in its folder
(`skills.evaluation.figures.figure_types`); a report draws them. Whatever cannot
be made is said to be missing, and why: no run fails for it.
"""

from collections.abc import Callable
from collections.abc import Sequence
import pathlib
from typing import Any

from absl import logging
import jax
import jax.numpy as jnp
from jaxtyping import Int
import numpy as np

from envs import capabilities
from envs import rendering
from launch.reporting import policy_evaluation
from launch.reporting import rollouts
from launch.reporting import run_plots
from launch.runs import experiment as experiment_lib
from launch.runs import final as final_lib
from launch.runs import run_files
from skills.evaluation import feature_maps
from skills.evaluation import measure
from skills.evaluation import metrics
from skills.evaluation.figures import figure_types
from skills.evaluation.figures import policy_plots
from skills.evaluation.figures import skill_figures
from skills.learners import model_value
from skills.networks import models
from skills.objectives import disdain
from skills.objectives import extrinsic
from skills.objectives import ive

# Of films: skills, steps, pictures and their sizes. Pages hold several.
_MAX_FILMED = 16
_MAX_FILMED_GAMES = 8
_MAX_STEPS = 150
_FRAMES = 20
_HEIGHT, _WIDTH = 120, 160
_FRAMES_PER_SECOND = 10
_QUALITY = 60
# Of an episode by which the policies of a set are compared.
_MAX_COMPARED = 1000

# Of IVE's estimates, and rollouts that each is the mean of.
_IMAGINED_STEPS = 5
_IMAGINED_ROLLOUTS = 64

_COVERAGES = {
  'coverage': "share of the world's states that were visited",
  'episode_coverage': 'places in which the avatar was in an episode, mean',
  'lifetime_coverage': 'places in which the avatar was in all evaluations',
}

Figures = list[figure_types.Figure]


def leave(
  experiment: experiment_lib.Experiment,
  final: final_lib.Final,
  is_stopped: Callable[[], bool],
) -> None:
  """Makes the figures of a run and writes them into its folder.

  Never fails: a run that is complete stays so.

  Args:
    experiment: what was run.
    final: what it ended with.
    is_stopped: whether it was interrupted, so that nobody wants to wait.
  """
  try:
    figure_types.save(
      experiment.output_dir, make(experiment, final, is_stopped)
    )
  except Exception as error:
    logging.warning(
      'the figures of %s could not be written: %s',
      experiment.output_dir,
      _in_a_line(error),
    )


def make(
  experiment: experiment_lib.Experiment,
  final: final_lib.Final,
  is_stopped: Callable[[], bool],
) -> Figures:
  """The figures of a run, or for what could not be made the reason.

  Args:
    experiment: what was run.
    final: what it ended with.
    is_stopped: whether it was interrupted: then there are no films.
  """
  makers: tuple[tuple[str, Callable[[], Figures]], ...] = (
    ('Skills', lambda: _of_skills(final)),
    ('Films of the skills', lambda: _films(experiment, final, is_stopped)),
    ('Policies as a set', lambda: _of_set(experiment, final, is_stopped)),
    ('Model and value', lambda: _of_model(final)),
    ('Coverage', lambda: _coverage(experiment)),
  )
  found: Figures = []
  failed = []
  for title, maker in makers:
    try:
      found += maker()
    except Exception as error:
      reason = _in_a_line(error)
      failed.append(f'{title}: {reason}')
      found.append(
        figure_types.Missing(
          title=title, caption=f'This could not be made: {reason}'
        )
      )
  if failed:
    logging.warning(
      'not all figures of %s could be made. %s',
      experiment.output_dir,
      ' '.join(failed),
    )
  return found


def _in_a_line(error: Exception) -> str:
  text = ' '.join(str(error).split()) or 'no reason is given.'
  return f'{type(error).__name__}: {text}'


# What each skill does, and what its discriminators make of it.


def _of_skills(final: final_lib.Final) -> Figures:
  """The table of skills and, as far as the world has them, maps."""
  config, trajectory = final.agent.config, final.trajectory
  world: Any = final.environment
  num_skills = config.num_skills
  mask = np.asarray(trajectory.mask)
  length = mask.sum(axis=0).astype(int)
  runs = skill_figures.Runs(
    np.asarray(trajectory.skill)[0],
    length,
    np.sum(np.asarray(trajectory.reward) * mask, axis=0),
  )
  observation = np.asarray(trajectory.observation)
  last = observation[length, np.arange(len(length))]
  told_apart = _discrimination(final)

  ends, shown = None, []
  if isinstance(world, capabilities.HasTables):
    states = _states(observation, world.observations)
    grid = _grid(world)
    num_states = len(world.observations)
    shares = skill_figures.end_shares(
      states[length, np.arange(len(length))],
      runs.skill,
      num_skills,
      num_states,
    )
    words = skill_figures.ends_in_words(shares, grid)
    ends = 'ends most often in', words
    # Whose steps led there, one for each step that was made.
    visits = metrics.joint_counts(
      np.asarray(trajectory.skill)[mask > 0],
      states[1:][mask > 0],
      num_skills,
      num_states,
    )
    if grid is not None and isinstance(world, capabilities.HasGrid):
      start = None if capabilities.is_endless(world) else world.grid.start
      shown += [
        skill_figures.grid_ends(shares, grid, start),
        skill_figures.grid_paths(states, runs, num_skills, grid),
      ]
    shown.append(skill_figures.occupancies(visits, grid))
    shown += _of_states(final, grid)
  elif plane := run_plots.plane_of(world, final.agent.problem):
    place = last[:, plane.indices]
    words = skill_figures.mean_ends_in_words(place, runs.skill, num_skills)
    ends = f'ends at {" and ".join(plane.labels)}, mean', words
    shown += [
      skill_figures.plane_ends(place, runs.skill, num_skills, plane.labels),
      skill_figures.plane_paths(
        observation[..., plane.indices], runs, num_skills, plane.labels
      ),
    ]
  table = skill_figures.table(
    runs, num_skills, discrimination=told_apart, ends=ends
  )
  confusions = (
    [] if told_apart is None else [skill_figures.confusion(told_apart)]
  )
  return [table, *shown, *confusions]


def _grid(world: Any) -> skill_figures.Grid | None:
  if not isinstance(world, capabilities.HasGrid):
    return None
  return skill_figures.Grid(world.grid.walls, world.grid.positions)


def _states(
  observation: np.ndarray, observations: np.ndarray
) -> Int[np.ndarray, 'T_plus_1 n']:
  """Which states of a tabular world were seen; what padding shows is one."""
  shape = observation.shape[:2]
  flat = observation.reshape(-1, *observation.shape[2:])
  return run_plots.states_of(flat, observations).reshape(shape)


def _discrimination(final: final_lib.Final) -> metrics.Discrimination | None:
  discriminator = final.agent.objective.discriminator
  if discriminator is None:
    return None
  trajectory = jax.tree.map(jnp.asarray, final.trajectory)
  logits = jax.jit(measure.logits_of, static_argnums=0)(
    discriminator, final.objective_state, trajectory
  )
  moments = discriminator.timesteps.select(trajectory)
  return metrics.discrimination(logits, moments.skill, moments.mask)


def _of_states(
  final: final_lib.Final, grid: skill_figures.Grid | None
) -> Figures:
  """What the discriminators make of each cell."""
  if final.agent.objective.discriminator is None or grid is None:
    return []
  world: Any = final.environment
  logits = run_plots.state_logits(
    final.agent, world.observations, final.objective_state, world.grid.start
  )
  posterior = np.mean(jax.nn.softmax(logits), axis=0)
  shown: Figures = []
  if len(logits) > 1:
    shown.append(
      skill_figures.disagreement(
        np.asarray(disdain.disagreement(logits)), grid, len(logits)
      )
    )
  return [*shown, skill_figures.confidence(posterior, grid)]


# Sets of policies for one task.


def _of_set(
  experiment: experiment_lib.Experiment,
  final: final_lib.Final,
  is_stopped: Callable[[], bool],
) -> Figures:
  """Distances and values of policies that are all to solve a task."""
  config = final.agent.config
  objective = final.agent.objective
  if objective.features is None or config.num_skills < 2:
    return []
  if is_stopped():
    return [_interrupted('Policies as a set')]
  # The last evaluation draws policies, and may have left some out.
  played = _play(
    experiment,
    final,
    range(config.num_skills),
    None,
    _MAX_COMPARED,
    is_stopped,
  )
  if is_stopped():
    return [_interrupted('Policies as a set')]
  if played[0].observation is None:  # Large pictures.
    return []
  visited = [own.visited for own in played]
  feature_map = policy_evaluation.feature_map_of(
    final.agent, final.objective_state, final.environment, visited
  )
  if feature_map is None:
    return []
  features = np.stack(
    [feature_maps.expected(feature_map, [own]) for own in visited]
  )
  returns = np.array([own.total for own in played])
  shown: Figures = [
    skill_figures.distances(features, feature_map.what),
    skill_figures.policies(returns, features),
  ]
  if returns[0] > 0:
    shown.append(
      skill_figures.quality_and_diversity(
        returns, features, objective.min_value_ratio
      )
    )
  return shown


# Models and values.


def _of_model(final: final_lib.Final) -> Figures:
  """Where model and value disagree, and where the value is wrong."""
  config, world = final.agent.config, final.environment
  learner = config.learner
  if not isinstance(learner, model_value.ModelValueConfig) or not isinstance(
    world, capabilities.HasTables
  ):
    return []
  mdp: Any = world.mdp
  model = model_value.make_model(
    learner, config.network, final.agent.problem, final.agent.objective
  )
  params = final.variables.params
  states = model.encode(params, jnp.asarray(world.observations))
  members = ive.estimates(
    models.sampled(model),
    params,
    states,
    jax.random.PRNGKey(0),
    num_steps=_IMAGINED_STEPS,
    num_rollouts=_IMAGINED_ROLLOUTS,
    discount=learner.discount,
  )
  # Nothing is learned of states in which nothing is done.
  is_terminal = mdp.terminal
  grid = _grid(world)
  shown: Figures = []
  if grid is not None:
    spread = np.where(is_terminal, np.nan, ive.spread(members))
    shown.append(skill_figures.inconsistency(spread, _IMAGINED_STEPS, grid))
  if final.agent.objective.streams == (extrinsic.STREAM,):
    if learner.discount < 1:
      logits = model.policy(params, states)
      exact = mdp.state_values(
        np.asarray(jax.nn.softmax(logits), np.float64), learner.discount
      )
      learned = np.where(is_terminal, np.nan, members[0])
      shown.append(
        skill_figures.values_beside(learned, exact)
        if grid is None
        else skill_figures.value_error(learned, exact, grid)
      )
  return shown


# The course of training.


def _coverage(experiment: experiment_lib.Experiment) -> Figures:
  folder = pathlib.Path(experiment.output_dir)
  rows = run_files.read_metrics(folder / 'evaluator' / run_files.METRICS_FILE)
  shown: Figures = []
  for column, what in _COVERAGES.items():
    points = [
      (float(row['actor_steps']), float(row[column]))
      for row in rows
      if row.get(column)
    ]
    if points:
      steps, values = np.array(points).T
      shown.append(
        skill_figures.coverage({experiment.agent: (steps, values)}, what)
      )
  return shown


# Films.


def _films(
  experiment: experiment_lib.Experiment,
  final: final_lib.Final,
  is_stopped: Callable[[], bool],
) -> Figures:
  """Skills side by side, from the same start."""
  world: Any = final.environment
  if not capabilities.can_film(world):
    return []
  title = 'Films of the skills'
  if is_stopped():
    return [_interrupted(title)]
  is_game = not isinstance(world, capabilities.HasPhysics)
  if not is_game and not rendering.is_possible():
    return [
      figure_types.Missing(
        title=title,
        caption=(
          'MuJoCo cannot draw here: neither EGL nor OSMesa was found, or '
          "MUJOCO_GL is 'disable'. Install libegl1 or libosmesa6 (and unset "
          'MUJOCO_GL); `python -m launch.evaluate RUN_DIR --pictures` then '
          'films the skills of this run.'
        ),
      )
    ]
  config = final.agent.config
  chosen = skill_figures.some(
    config.num_skills, _MAX_FILMED_GAMES if is_game else _MAX_FILMED
  )
  # Skills as they were learned, and policies for some of an episode.
  lasts = config.keeps_skill or config.num_skills == 1
  num_steps = _MAX_STEPS if lasts else min(config.skill_length, _MAX_STEPS)
  played = _play(
    experiment,
    final,
    chosen,
    rollouts.Camera(_FRAMES, _HEIGHT, _WIDTH, is_plain=True),
    num_steps,
    is_stopped,
  )
  if is_stopped():
    return [_interrupted(title)]
  films = [own.film for own in played if own.film is not None]
  what = 'score' if is_game else 'reward'
  content = policy_plots.encode_film(
    [film.frames for film in films],
    labels=[
      [f'skill {k}: {what} {score:.4g}' for score in film.score]
      for k, film in zip(chosen, films, strict=True)
    ],
    steps_per_frame=films[0].every,
    frames_per_second=_FRAMES_PER_SECOND,
    quality=_QUALITY,
  )
  caption = (
    f'The first {max(len(own.reward) for own in played)} steps of each from '
    f'the same start, by the final policy, and the {what} so far.'
  )
  if len(chosen) < config.num_skills:
    caption += (
      f' {len(chosen)} of {config.num_skills} skills, at equal distances by '
      'number.'
    )
  return [
    figure_types.Film(
      title='The skills side by side',
      caption=caption,
      mime='image/webp',
      content=content,
      num_frames=max(len(film.frames) for film in films),
    )
  ]


def _play(
  experiment: experiment_lib.Experiment,
  final: final_lib.Final,
  policies: Sequence[int],
  camera: rollouts.Camera | None,
  num_steps: int,
  is_stopped: Callable[[], bool],
) -> list[rollouts.Episode]:
  """An episode of each policy, all from the same start."""
  player = rollouts.Player(
    final.agent, final.variables, experiment.seed, greedy=True
  )
  played = player.play(
    lambda episode: experiment.make_environment(
      experiment.seed_for('figures', episode)
    ),
    policies,
    [0],
    camera,
    num_steps=num_steps,
    is_stopped=is_stopped,
  )
  return [own for [own] in played]


def _interrupted(title: str) -> figure_types.Missing:
  return figure_types.Missing(
    title=title,
    caption=(
      'The run was interrupted, and nobody was to wait for more episodes. This '
      'is made when the run is continued to its end, with --resume.'
    ),
  )
