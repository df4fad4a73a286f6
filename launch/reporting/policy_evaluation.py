"""Sets of policies: the skills of runs, played, measured and compared."""

from collections.abc import Sequence
import dataclasses
import functools
from typing import Any
from typing import NamedTuple

import dm_env
from jaxtyping import Float
from jaxtyping import Shaped
import numpy as np

from envs import capabilities
from envs import perturbations
from launch.reporting import observations
from launch.reporting import rollouts
from launch.runs import experiment as experiment_lib
from skills import config_io
from skills import loading
from skills import registry
from skills.evaluation import adaptation
from skills.evaluation import feature_maps
from skills.evaluation import metrics

NEAR_OPTIMAL = 0.9
"""The ratio to policy 0 that is nearly as good, DOMiNO's own alpha."""


class Run(NamedTuple):
  """A run, loaded.

  Attributes:
    folder: where it is.
    experiment: what it was, with the seed of this evaluation.
    trained: what it learned.
    player: of its policies.
    seed: of its training.
  """

  folder: str
  experiment: experiment_lib.Experiment
  trained: loading.TrainedSkills
  player: rollouts.Player
  seed: int

  def make_environment(
    self, part: str, changes: str | None, episode: int
  ) -> dm_env.Environment:
    """The environment of an episode, new.

    Args:
      part: of the evaluation.
      changes: perturbations of the environment; None for none.
      episode: its number.
    """
    seed = self.experiment.seed_for(part, episode)
    environment = self.experiment.make_environment(seed)
    if changes is None:
      return environment
    return perturbations.Perturbed(
      environment, [changes], seed=self.experiment.seed
    )


def load(folder: str, seed: int, *, greedy: bool = False) -> Run:
  """Loads a run.

  Args:
    folder: of the run.
    seed: of the evaluation.
    greedy: how policies act, as `rollouts.Player` takes it.

  Raises:
    ValueError: if there is none that can be used; in one line.
  """
  experiment = experiment_lib.load(folder)
  trained = loading.load(folder)
  return Run(
    folder,
    dataclasses.replace(experiment, seed=seed),
    trained,
    rollouts.Player(trained.agent, trained.variables, seed, greedy=greedy),
    experiment.seed,
  )


def load_all(
  folders: Sequence[str],
  singles: Sequence[str],
  seed: int,
  *,
  greedy: bool = False,
) -> tuple[list[Run], list[Run | None]]:
  """Runs, and for each the single policy that it is compared with.

  Args:
    folders: of the runs.
    singles: of the runs with the single policies: none, one, or one for each.
    seed: of the evaluation.
    greedy: how policies act, as `rollouts.Player` takes it.

  Raises:
    ValueError: if one cannot be loaded, or their environments differ.
  """
  if not folders:
    raise ValueError(
      'RUN_DIR is missing: the folder of a trained run, or more.'
    )
  if len(singles) not in (0, 1, len(folders)):
    raise ValueError(
      f'--single must be given once, or once for each of {len(folders)} runs, '
      f'got {len(singles)}.'
    )
  loaded = {
    folder: load(folder, seed, greedy=greedy) for folder in (*folders, *singles)
  }
  first = loaded[folders[0]].experiment
  for folder, run in loaded.items():
    for what in ('environment', 'environment_options', 'problem'):
      here, there = (getattr(e, what) for e in (run.experiment, first))
      if here != there:
        raise ValueError(
          f'runs must be of one environment, but {what} of {folder!r} is '
          f'{here!r} and of {folders[0]!r} {there!r}.'
        )
  alone: list[Run | None] = [loaded[folder] for folder in singles]
  if len(alone) < len(folders):
    alone = (alone or [None]) * len(folders)
  return [loaded[folder] for folder in folders], alone


class Measured(NamedTuple):
  """What the policies of a run are worth and how they differ.

  Attributes:
    returns: of each policy in each episode.
    episodes: what happened there.
    features: psi of each policy; None where it is not known what they see.
    distances: to the nearest other policy; None for a single one too.
  """

  returns: Float[np.ndarray, 'K E']
  episodes: list[list[rollouts.Episode]]
  features: Float[np.ndarray, 'K D'] | None = None
  distances: Float[np.ndarray, 'K'] | None = None

  @property
  def ratios(self) -> Float[np.ndarray, 'K'] | None:
    """To the return of policy 0; None unless that is positive."""
    values = self.returns.mean(axis=1)
    return metrics.value_ratios(values) if values[0] > 0 else None

  @property
  def mean_ratio(self) -> float | None:
    """Mean ratio of the policies but policy 0, whose own is 1."""
    ratios = self.ratios
    return (
      None if ratios is None or len(ratios) < 2 else float(ratios[1:].mean())
    )

  @property
  def diversity(self) -> float | None:
    """Mean of the distances."""
    return None if self.distances is None else float(self.distances.mean())

  @property
  def near_optimal_diversity(self) -> float | None:
    """The same of those policies alone whose ratio is `NEAR_OPTIMAL` or more.

    None unless there are ratios and distances.
    """
    if self.distances is None or self.features is None or self.ratios is None:
      return None
    return metrics.near_optimal_diversity(
      self.features.astype(np.float32),
      self.returns.mean(axis=1),
      NEAR_OPTIMAL,
    )


def play(
  run: Run, num_episodes: int, camera: rollouts.Camera | None
) -> Measured:
  """Plays all policies of a run; the first episode of each is filmed."""
  make_environment = functools.partial(run.make_environment, 'evaluation', None)
  policies = range(run.player.num_policies)
  episodes = run.player.play(make_environment, policies, [0], camera)
  if num_episodes > 1:
    more = run.player.play(make_environment, policies, range(1, num_episodes))
    episodes = [first + rest for first, rest in zip(episodes, more)]
  returns = [[episode.total for episode in own] for own in episodes]
  return Measured(np.array(returns), episodes)


def choose_feature_map(
  runs: Sequence[Run], measured: Sequence[Measured]
) -> feature_maps.FeatureMap | None:
  """What all runs are measured by; None where large pictures are all there is.

  In grids how often each state is visited; elsewhere the features of the first
  run's objective, or, if it has none, normalized observations.
  """
  if measured[0].episodes[0][0].observation is None:
    return None
  run = runs[0]
  return feature_map_of(
    run.trained.agent,
    run.trained.objective_state,
    run.experiment.make_environment(0),
    [
      episode.visited
      for each in measured
      for own in each.episodes
      for episode in own
    ],
  )


def feature_map_of(
  agent: registry.Agent,
  objective_state: Any,
  environment: Any,
  visited: Sequence[Shaped[np.ndarray, 'n *shape']],
) -> feature_maps.FeatureMap | None:
  """The feature map that suits an agent in an environment; None for pictures.

  Args:
    agent: whose objective may have features.
    objective_state: what the objective learned.
    environment: in which it acts.
    visited: what was seen, by which observations are normalized.
  """
  if isinstance(environment, capabilities.HasGrid):
    table = environment.observations
    return feature_maps.occupancy(
      lambda observation: observations.states_of(observation, table), len(table)
    )
  if len(agent.problem.observation_shape) != 1:
    return None
  names = observations.entry_names(environment, agent.problem)
  learned = feature_maps.learned_with(agent.objective, objective_state, names)
  return feature_maps.normalized(visited, names) if learned is None else learned


def compare(
  measured: Measured, feature_map: feature_maps.FeatureMap | None
) -> Measured:
  """Adds features and distances."""
  if feature_map is None:
    return measured
  features = np.stack(
    [
      feature_maps.expected(feature_map, [episode.visited for episode in own])
      for own in measured.episodes
    ]
  )
  if len(features) < 2:
    return measured._replace(features=features)
  return measured._replace(
    features=features,
    distances=np.asarray(
      metrics.neighbour_distances(features.astype(np.float32))
    ),
  )


def adapt(
  run: Run, single: Run | None, changes: str, shots: int, num_fresh: int
) -> tuple[adaptation.Adaptation, Float[np.ndarray, 'M'] | None]:
  """K-shot adaptation of a run, and the returns of a single policy beside it.

  Args:
    run: whose policies are tried.
    single: whose policy 0 is played in the fresh episodes; None for no such.
    changes: to the environment.
    shots: episodes in which each policy is tried.
    num_fresh: episodes that tell what the chosen one is worth.
  """

  def returns_of(run: Run, policies, episodes):
    played = run.player.play(
      functools.partial(run.make_environment, 'adaptation', changes),
      policies,
      episodes,
    )
    return np.array([[episode.total for episode in own] for own in played])

  adapted = adaptation.adapt(
    functools.partial(returns_of, run),
    run.player.num_policies,
    shots,
    num_fresh,
  )
  if single is None:
    return adapted, None
  fresh = range(shots, shots + num_fresh)
  return adapted, returns_of(single, [0], fresh)[0]


def labels_of(runs: Sequence[Run]) -> list[str]:
  """For each run, in what its configuration differs from others."""
  described = [
    {
      'agent': run.experiment.agent,
      **config_io.flatten(run.experiment.config),
    }
    for run in runs
  ]
  # What only some agents have goes with the agent's name, as the name of the
  # objective does.
  shared = [
    key
    for key in described[0]
    if key != 'objective' and all(key in each for each in described)
  ]
  differing = [
    key for key in shared if len({repr(each[key]) for each in described}) > 1
  ]
  if not differing:
    return [run.experiment.agent for run in runs]
  # The last part of a setting's path, if that is clear.
  ends = [key.rpartition('.')[2] for key in differing]
  short = {
    key: end if ends.count(end) == 1 else key
    for key, end in zip(differing, ends)
  }
  return [
    ', '.join(
      str(each[key]) if key == 'agent' else f'{short[key]}={each[key]}'
      for key in differing
    )
    for each in described
  ]
