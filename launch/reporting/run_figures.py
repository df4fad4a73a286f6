"""What a run leaves behind to be looked at: tables, maps and films.

Made when a run ends, of its final policy, and kept in its folder
(`skills.evaluation.figures.figure_types`); a report draws them. Whatever cannot
be made is said to be missing, and why: no run fails for it.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import pathlib
from typing import Any

from absl import logging
import jax
import jax.numpy as jnp
from jaxtyping import Float
from jaxtyping import Int
import numpy as np

from envs import capabilities
from envs import rendering
from launch.reporting import observations
from launch.reporting import policy_evaluation
from launch.reporting import rollouts
from launch.runs import experiment as experiment_lib
from launch.runs import final as final_lib
from launch.runs import run_files
from skills import registry
from skills import types
from skills.evaluation import feature_maps
from skills.evaluation import measure
from skills.evaluation import metrics
from skills.evaluation.figures import draw
from skills.evaluation.figures import figure_types
from skills.evaluation.figures import policy_plots
from skills.evaluation.figures import skill_figures
from skills.networks import models
from skills.objectives import disdain
from skills.objectives import extrinsic
from skills.objectives import ive

# Skills, steps, pictures and their sizes in films; pages hold several.
_MAX_FILMED = 16
_MAX_FILMED_GAMES = 8
_MAX_STEPS = 150
_FRAMES = 20
_HEIGHT, _WIDTH = 120, 160
_FRAMES_PER_SECOND = 10
_QUALITY = 60
# Steps of the episode by which the policies of a set are compared.
_MAX_COMPARED = 1000

# Steps in the model of IVE's estimates, and rollouts of each.
_IMAGINED_STEPS = 5
_IMAGINED_ROLLOUTS = 64

_COVERAGES = {
  'coverage': "share of the environment's states that were visited",
  'episode_coverage': 'places in which the avatar was in an episode, mean',
  'lifetime_coverage': 'places in which the avatar was in all evaluations',
}

Figures = list[figure_types.Figure]


def write(
  experiment: experiment_lib.Experiment,
  final: final_lib.Final,
  summary: Mapping[str, Any],
  is_stopped: Callable[[], bool],
) -> None:
  """Makes the figures of a run and writes them into its folder, also as PNG.

  Never fails: a run that is complete stays so.

  Args:
    experiment: what was run.
    final: what it ended with.
    summary: final numbers.
    is_stopped: whether it was interrupted, so that no time is to be taken.
  """
  try:
    figures = make(experiment, final, is_stopped)
    figure_types.save(experiment.output_dir, figures)
    _draw(experiment, final, summary, figures)
  except Exception as error:
    logging.warning(
      'the figures of %s could not be written: %s',
      experiment.output_dir,
      _in_a_line(error),
    )


def _draw(
  experiment: experiment_lib.Experiment,
  final: final_lib.Final,
  summary: Mapping[str, Any],
  figures: Figures,
) -> None:
  """Draws the learning curve, and where skills end, into PNG files."""
  folder = pathlib.Path(experiment.output_dir)
  title = f'{experiment.agent} in {experiment.environment}'
  title += f', seed {experiment.seed}'
  curve = learning_curve(experiment)
  if curve is not None:
    draw.save(
      draw.figure(curve, title=title), folder / run_files.LEARNING_CURVE
    )
  if final.agent.objective.discriminator is None:
    return
  num_skills = experiment.config.num_skills
  caption = f'{summary["skills_learned"]:.1f} of {num_skills} skills learned'
  if 'skills_learned_at_end' in summary:
    caption += f'; {summary["skills_learned_at_end"]:.1f} by where they end'
  by_title: dict[str, Any] = {each.title: each for each in figures}
  plane = observations.plane_of(final.environment, final.agent.problem)
  if skill_figures.ENDING_SKILLS in by_title:
    value = by_title[skill_figures.ENDING_SKILLS]
    small = (skill_figures.DISAGREEMENT, skill_figures.BEST_GUESS)
    drawn = draw.figure(
      value,
      beside=[by_title[each] for each in small if each in by_title],
      title=title,
      caption=f'{value.caption} {caption}.',
    )
    draw.save(drawn, folder / run_files.SKILL_MAP)
  elif plane and not isinstance(final.environment, capabilities.HasGrid):
    runs = _runs(final)
    value = skill_figures.plane_paths(
      np.asarray(final.trajectory.observation)[..., plane.indices],
      runs,
      num_skills,
      plane.labels,
      max_skills=num_skills,
      runs_of_each=len(runs.skill),
    )
    drawn = draw.figure(value, title=title, caption=f'{caption}.')
    draw.save(drawn, folder / run_files.SKILL_ENDS)


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
    ('Skills', lambda: _skills(final)),
    ('Films of the skills', lambda: _films(experiment, final, is_stopped)),
    ('Policies as a set', lambda: _policy_set(experiment, final, is_stopped)),
    ('Model and value', lambda: _model(final)),
    ('Coverage', lambda: _coverage(experiment)),
  )
  figures: Figures = []
  failed = []
  for title, maker in makers:
    try:
      figures += maker()
    except Exception as error:
      reason = _in_a_line(error)
      failed.append(f'{title}: {reason}')
      figures.append(
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
  return figures


def _in_a_line(error: Exception) -> str:
  text = ' '.join(str(error).split()) or 'no reason is given.'
  return f'{type(error).__name__}: {text}'


# What each skill does, and how its discriminators tell it.


def _runs(final: final_lib.Final) -> skill_figures.Runs:
  """Skill, length and return of each run of the final evaluation."""
  trajectory = final.trajectory
  mask = np.asarray(trajectory.mask)
  return skill_figures.Runs(
    np.asarray(trajectory.skill)[0],
    mask.sum(axis=0).astype(int),
    np.sum(np.asarray(trajectory.reward) * mask, axis=0),
  )


def _skills(final: final_lib.Final) -> Figures:
  """The table of skills and, as far as the environment has them, maps."""
  num_skills = final.agent.config.num_skills
  environment = final.environment
  runs = _runs(final)
  observed = np.asarray(final.trajectory.observation)
  discrimination = _discrimination(final)
  ends, maps = None, []
  if isinstance(environment, capabilities.HasTables):
    ends, maps = _tabular_skills(final, runs, observed)
  elif plane := observations.plane_of(environment, final.agent.problem):
    place = observed[runs.length, np.arange(len(runs.length))][:, plane.indices]
    words = skill_figures.mean_ends_in_words(place, runs.skill, num_skills)
    ends = f'ends at {" and ".join(plane.labels)}, mean', words
    maps = [
      skill_figures.plane_ends(place, runs.skill, num_skills, plane.labels),
      skill_figures.plane_paths(
        observed[..., plane.indices], runs, num_skills, plane.labels
      ),
    ]
  table = skill_figures.table(
    runs, num_skills, discrimination=discrimination, ends=ends
  )
  confusions = (
    [] if discrimination is None else [skill_figures.confusion(discrimination)]
  )
  return [table, *maps, *confusions]


def _tabular_skills(
  final: final_lib.Final, runs: skill_figures.Runs, observed: np.ndarray
) -> tuple[tuple[str, list[str | None]], Figures]:
  """Heading and words for where skills end, and maps of it."""
  environment: Any = final.environment
  num_skills = final.agent.config.num_skills
  num_states = len(environment.observations)
  # Padding shows some state, and is not used.
  states = observations.states_of(
    observed.reshape(-1, *observed.shape[2:]), environment.observations
  ).reshape(observed.shape[:2])
  grid = _grid(environment)
  end_counts = observations.end_counts(
    final.trajectory, environment.observations, num_skills
  )
  shares = skill_figures.end_shares(end_counts)
  # Counts the state to which each step led.
  mask = np.asarray(final.trajectory.mask)
  visits = metrics.joint_counts(
    np.asarray(final.trajectory.skill)[mask > 0],
    states[1:][mask > 0],
    num_skills,
    num_states,
  )
  maps: Figures = []
  if grid is not None:
    maps += [
      skill_figures.grid_ends(shares, grid),
      skill_figures.grid_paths(states, runs, num_skills, grid),
    ]
  maps.append(skill_figures.occupancies(visits, grid))
  if final.agent.objective.discriminator is not None and grid is not None:
    maps += _discriminator_maps(final, end_counts, grid)
  heading = 'ends most often in'
  return (heading, skill_figures.ends_in_words(shares, grid)), maps


def _grid(environment: Any) -> skill_figures.Grid | None:
  if not isinstance(environment, capabilities.HasGrid):
    return None
  grid = environment.grid
  start = None if capabilities.is_endless(environment) else grid.start
  return skill_figures.Grid(grid.walls, np.asarray(grid.positions), start)


def _discrimination(final: final_lib.Final) -> metrics.Discrimination | None:
  discriminator = final.agent.objective.discriminator
  if discriminator is None:
    return None
  trajectory = jax.tree.map(jnp.asarray, final.trajectory)
  logits = jax.jit(measure.logits_of, static_argnums=0)(
    discriminator, final.objective_state, trajectory
  )
  selected = discriminator.timesteps.select(trajectory)
  return metrics.discrimination(logits, selected.skill, selected.mask)


def _discriminator_maps(
  final: final_lib.Final,
  end_counts: Int[np.ndarray, 'K S'],
  grid: skill_figures.Grid,
) -> Figures:
  """What the discriminators say of each cell."""
  environment: Any = final.environment
  logits = state_logits(
    final.agent,
    environment.observations,
    final.objective_state,
    environment.grid.start,
  )
  posterior = np.mean(jax.nn.softmax(logits), axis=0)
  maps: Figures = [skill_figures.ending_skills(end_counts, posterior, grid)]
  if len(logits) > 1:
    maps.append(
      skill_figures.disagreement(
        np.asarray(disdain.disagreement(logits)), grid, len(logits)
      )
    )
  return [*maps, skill_figures.confidence(posterior, grid)]


def state_logits(
  agent: registry.Agent,
  table: np.ndarray,
  objective_state: Any,
  start: int,
) -> Float[jax.Array, 'N S K']:
  """Logits of the discriminators for every state of a tabular environment.

  Args:
    agent: whose objective has discriminators.
    table: the observation of each state.
    objective_state: what the objective learned.
    start: the state in which skills began, for discriminators that see it.
  """
  discriminator = agent.objective.discriminator
  if discriminator is None:
    raise ValueError(f'{agent.objective.streams} have no discriminators.')
  ends = jnp.asarray(table)
  begun = jnp.broadcast_to(ends[start], ends.shape)
  return discriminator.logits(objective_state, types.arrival(ends, begun))[:, 0]


# Sets of policies for one task.


def _policy_set(
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


def _model(final: final_lib.Final) -> Figures:
  """Where model and value disagree, and where the value is wrong."""
  model, environment = final.agent.learner.model, final.environment
  if model is None or not isinstance(environment, capabilities.HasTables):
    return []
  mdp: Any = environment.mdp
  discount = final.agent.config.learner.discount
  params = final.variables.params
  states = model.encode(params, jnp.asarray(environment.observations))
  members = ive.estimates(
    models.sampled(model),
    params,
    states,
    ive.rollout_keys(
      jax.random.PRNGKey(0), _IMAGINED_ROLLOUTS, _IMAGINED_STEPS
    ),
    discount=discount,
  )
  # Nothing is learned of states in which nothing is done.
  is_terminal = mdp.terminal
  grid = _grid(environment)
  shown: Figures = []
  if grid is not None:
    spread = np.where(is_terminal, np.nan, ive.spread(members))
    shown.append(skill_figures.inconsistency(spread, _IMAGINED_STEPS, grid))
  if final.agent.objective.streams == (extrinsic.STREAM,):
    if discount < 1:
      logits = model.policy(params, states)
      exact = mdp.state_values(
        np.asarray(jax.nn.softmax(logits), np.float64), discount
      )
      learned = np.where(is_terminal, np.nan, members[0])
      shown.append(
        skill_figures.values_beside(learned, exact)
        if grid is None
        else skill_figures.value_error(learned, exact, grid)
      )
  return shown


# The course of training.


def _evaluated(
  experiment: experiment_lib.Experiment, columns: Iterable[str]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Environment steps and values of those columns that the evaluator logged."""
  rows = run_files.read_metrics(
    pathlib.Path(experiment.output_dir) / 'evaluator' / run_files.METRICS_FILE
  )
  curves = {}
  for column in columns:
    points = [
      (float(row['actor_steps']), float(row[column]))
      for row in rows
      if row.get(column)
    ]
    if points:
      steps, values = np.array(points).T
      curves[column] = steps, values
  return curves


def learning_curve(
  experiment: experiment_lib.Experiment,
) -> figure_types.Curves | None:
  """Skills learned, or the return of an episode where there are no skills.

  Args:
    experiment: whose evaluator logged them.

  Returns:
    The curve; None if there are no evaluations.
  """
  curves = _evaluated(experiment, ('skills_learned', 'episode_return'))
  if not curves:
    return None
  column, curve = next(iter(curves.items()))
  num_skills = experiment.config.num_skills
  levels = {f'all: {num_skills}': float(num_skills), 'chance: 1': 1.0}
  return figure_types.Curves(
    title='Learning curve',
    caption='In each evaluation.',
    xlabel='environment steps',
    ylabel=column.replace('_', ' '),
    lines={experiment.agent: curve},
    levels=levels if column == 'skills_learned' else {},
  )


def _coverage(experiment: experiment_lib.Experiment) -> Figures:
  return [
    skill_figures.coverage({experiment.agent: curve}, _COVERAGES[column])
    for column, curve in _evaluated(experiment, _COVERAGES).items()
  ]


# Films.


def _films(
  experiment: experiment_lib.Experiment,
  final: final_lib.Final,
  is_stopped: Callable[[], bool],
) -> Figures:
  """Skills side by side, from the same start."""
  environment: Any = final.environment
  if not capabilities.can_film(environment):
    return []
  title = 'Films of the skills'
  if is_stopped():
    return [_interrupted(title)]
  is_game = not isinstance(environment, capabilities.HasPhysics)
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
      'The run was interrupted, and no more episodes were played. This '
      'is made when the run is continued to its end, with --resume.'
    ),
  )
