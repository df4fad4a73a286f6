"""What there is to see of a set of skills, as figures.

Functions of what the skills did and of what their discriminators make of it;
`launch.reporting.run_figures` gives them what a run ended with. Of many skills
some are shown, at equal distances by number, and the captions say so.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import math
from typing import NamedTuple

from jaxtyping import Bool
from jaxtyping import Float
from jaxtyping import Int
from jaxtyping import Num
import numpy as np

from skills.evaluation import metrics
from skills.evaluation.figures import figure_types

ENDING_SKILLS = 'Skill that ends here most often'
DISAGREEMENT = "Discriminators' disagreement"
BEST_GUESS = "Discriminators' best guess"
"""Titles of the maps that `skill_map.png` shows."""

MAX_TILES = 24
"""Skills that have a small map of their own."""

MAX_PATHS = 16
"""Skills whose ways are drawn, of each `PATHS_OF_EACH` at most."""

PATHS_OF_EACH = 3
ENDS_OF_EACH = 20


class Runs(NamedTuple):
  """Skills that were run, one after another.

  Attributes:
    skill: of each.
    length: its steps.
    reward: the environment's, summed over them.
  """

  skill: Int[np.ndarray, 'n']
  length: Int[np.ndarray, 'n']
  reward: Float[np.ndarray, 'n']


class Grid(NamedTuple):
  """The map of a grid world.

  Attributes:
    walls: whether each cell is a wall.
    positions: row and column of each state.
    start: the state in which skills begin, which maps frame; None for many.
  """

  walls: Bool[np.ndarray, 'H W']
  positions: Int[np.ndarray, 'S 2']
  start: int | None = None

  def fill(self, values: Num[np.ndarray, 'S']) -> Float[np.ndarray, 'H W']:
    """The values in their cells; no numbers in walls."""
    filled = np.full(self.walls.shape, np.nan)
    filled[tuple(np.asarray(self.positions).T)] = values
    return filled

  def map(
    self,
    *,
    title: str,
    caption: str,
    values: Num[np.ndarray, 'S'],
    unit: str,
    text: np.ndarray | None = None,
    groups: np.ndarray | None = None,
  ) -> figure_types.Map:
    """A figure of values in their cells, with the start framed.

    Args:
      title: of the figure.
      caption: under it.
      values: of each state.
      unit: of the values.
      text: for each cell, `[H, W]`, walls included.
      groups: for each cell, `[H, W]`, walls included.
    """
    marked = None
    if self.start is not None:
      row, column = self.positions[self.start]
      marked = int(row), int(column)
      caption += ' Framed: where skills begin.'
    return figure_types.Map(
      title=title,
      caption=caption,
      values=self.fill(values),
      unit=unit,
      xlabel='column',
      ylabel='row',
      text=text,
      groups=groups,
      marked=marked,
    )

  def cell(self, state: int) -> str:
    """Where a state lies, in words."""
    row, column = self.positions[state]
    return f'row {row}, column {column}'


def some(num_skills: int, limit: int) -> list[int]:
  """Numbers of the skills that are shown: all, or some at equal distances."""
  if num_skills <= limit:
    return list(range(num_skills))
  return np.linspace(0, num_skills - 1, limit).round().astype(int).tolist()


def _of_some(num_shown: int, num_skills: int) -> str:
  if num_shown == num_skills:
    return ''
  return f' {num_shown} of {num_skills} skills, at equal distances by number.'


def end_shares(
  end_counts: Int[np.ndarray, 'K S'],
) -> Float[np.ndarray, 'K S']:
  """Which share of the runs of each skill ended in each state."""
  return end_counts / np.maximum(end_counts.sum(axis=1, keepdims=True), 1)


def ends_in_words(shares: Float[np.ndarray, 'K S'], grid: Grid | None) -> list:
  """Where each skill ends most often; None of one that never ran."""
  words = []
  for own in shares:
    state = int(own.argmax())
    place = f'state {state}' if grid is None else grid.cell(state)
    words.append(f'{place} ({own[state]:.0%})' if own[state] > 0 else None)
  return words


def mean_ends_in_words(
  end: Float[np.ndarray, 'n 2'],
  skill: Int[np.ndarray, 'n'],
  num_skills: int,
) -> list:
  """The mean of the places in which each skill ends; None without any."""
  words = []
  for k in range(num_skills):
    own = end[skill == k]
    words.append(
      ', '.join(f'{x:.3g}' for x in own.mean(axis=0)) if len(own) else None
    )
  return words


def table(
  runs: Runs,
  num_skills: int,
  *,
  discrimination: metrics.Discrimination | None,
  ends: tuple[str, Sequence[str | None]] | None,
) -> figure_types.Table:
  """What is known of each skill.

  Args:
    runs: of the skills.
    num_skills: K.
    discrimination: how well they are told apart; None without discriminators.
    ends: what is said of where each ends, and the heading above it.
  """
  columns: dict[str, list] = {'skill': list(range(num_skills))}
  caption = 'Means over runs of each skill by the final policy.'
  if discrimination is not None:
    columns['told apart [bits]'] = _rounded(discrimination.bits, 3)
    columns['named rightly [%]'] = _rounded(100 * discrimination.accuracy, 1)
    caption += (
      ' Told apart: what the discriminators know of the skill, of '
      f'{math.log2(num_skills):.2f} bits that there are; 0 at chance. Named '
      'rightly: how often it is the skill that they hold for the most probable.'
    )
  if ends is not None:
    columns[ends[0]] = list(ends[1])
  count = np.bincount(runs.skill, minlength=num_skills)
  for name, values, digits in (
    ("environment's reward in a run", runs.reward, 4),
    ('steps of a run', runs.length, 2),
  ):
    sums = np.bincount(runs.skill, values, minlength=num_skills)
    with np.errstate(invalid='ignore', divide='ignore'):
      columns[name] = _rounded(sums / count, digits)
  columns['runs'] = count.tolist()
  return figure_types.Table(
    title='Skills',
    caption=caption,
    columns=list(columns),
    rows=[list(row) for row in zip(*columns.values(), strict=True)],
  )


def _rounded(values: Num[np.ndarray, 'n'], digits: int) -> list[float | None]:
  return [
    round(float(value), digits) if np.isfinite(value) else None
    for value in values
  ]


def confusion(discrimination: metrics.Discrimination) -> figure_types.Map:
  """For which skill the discriminators hold each."""
  counts = discrimination.confusion
  total = counts.sum(axis=1, keepdims=True)
  accuracy = float(np.diag(counts).sum() / max(counts.sum(), 1))
  return figure_types.Map(
    title='For which skill each is taken',
    caption=(
      'Share of what a skill led to in which the discriminators hold another '
      'skill, or the right one, for the most probable. All is told apart where '
      f'the diagonal alone is 1; {accuracy:.0%} is named rightly, and '
      f'{1 / len(counts):.0%} would be at chance.'
    ),
    # Without a run there is no share.
    values=np.where(total > 0, counts / np.maximum(total, 1), np.nan),
    unit='share',
    xlabel='skill named',
    ylabel='skill run',
  )


def ending_skills(
  end_counts: Int[np.ndarray, 'K S'],
  posterior: Float[np.ndarray, 'S K'],
  grid: Grid,
) -> figure_types.Map:
  """The skill that ends most often in each cell.

  Among skills that end in a cell equally often, it is the one that the
  discriminators hold to be the most probable.

  Args:
    end_counts: how often each skill ended in each state.
    posterior: mean probability q(z|s) that the discriminators give each skill.
    grid: the map.
  """
  most = end_counts.max(axis=0)
  skill = np.where(end_counts == most, posterior.T, -1.0).argmax(axis=0)
  skill = np.where(most > 0, skill, -1)
  confidence = posterior[np.arange(len(posterior)), skill]
  groups = np.full(grid.walls.shape, -1)
  groups[tuple(grid.positions.T)] = skill
  return grid.map(
    title=ENDING_SKILLS,
    caption=(
      f'Skills end in {np.sum(skill >= 0)} of {len(skill)} cells. Pale: the '
      'discriminators give this skill a small probability. Dot: no skill ends '
      'there.'
    ),
    values=np.where(skill >= 0, confidence, 0.0),
    unit='probability of that skill',
    text=np.where(groups >= 0, groups.astype('<U12'), ''),
    groups=groups,
  )


def grid_ends(shares: Float[np.ndarray, 'K S'], grid: Grid) -> figure_types.Map:
  """How many skills end in each cell, and which.

  Args:
    shares: as `end_shares` gives them.
    grid: the map.
  """
  ending = shares.sum(axis=0)
  # Where each that was run ends most often.
  usual = np.where(shares.any(axis=1), shares.argmax(axis=1), -1)
  text = np.full(grid.walls.shape, '', dtype='<U12')
  for state in range(len(ending)):
    text[tuple(grid.positions[state])] = _listed(
      np.flatnonzero(usual == state).tolist()
    )
  where = ''
  if grid.start is not None:
    where = f' Skills begin in {grid.cell(grid.start)}.'
  return grid.map(
    title='Where skills end',
    caption=(
      'How many skills end in a cell, in runs as parts of all runs of a skill, '
      'and the numbers of those that end there most often. Skills end in '
      f'{np.sum(ending > 0)} of {len(ending)} cells.{where}'
    ),
    values=ending,
    unit='skills',
    text=text,
  )


def _listed(skills: Sequence[int]) -> str:
  """Some numbers, in little room."""
  shown = ' '.join(map(str, skills[:2]))
  return shown if len(skills) <= 2 else f'{shown} +{len(skills) - 2}'


def occupancies(
  visits: Int[np.ndarray, 'K S'], grid: Grid | None
) -> figure_types.Map:
  """How often each skill is where: a small map for each, or a row.

  Args:
    visits: how many steps of each skill led to each state.
    grid: the map; None for environments without one, whose states are in a row.
  """
  shares = visits / np.maximum(visits.sum(axis=1, keepdims=True), 1)
  caption = "Share of a skill's steps that lead to each"
  effective = [
    metrics.effective_states(own) if own.any() else 0.0 for own in visits
  ]
  spread = (
    f' A skill is in as many states as {np.mean(effective):.1f} that it would '
    'visit equally often, on average.'
  )
  if grid is None:
    return figure_types.Map(
      title='Where skills are',
      caption=f'{caption} state.{spread}',
      values=shares,
      unit='share of steps',
      xlabel='state',
      ylabel='skill',
    )
  chosen = some(len(shares), MAX_TILES)
  values, text = tiles(
    [grid.fill(shares[k]) for k in chosen], [str(k) for k in chosen]
  )
  return figure_types.Map(
    title='Where skills are',
    caption=(
      f'{caption} cell, in a small map for each skill, whose number stands '
      f'above it.{_of_some(len(chosen), len(shares))}{spread}'
    ),
    values=values,
    unit='share of steps',
    text=text,
  )


def tiles(
  maps: Sequence[Float[np.ndarray, 'H W']], labels: Sequence[str]
) -> tuple[Float[np.ndarray, 'A B'], np.ndarray]:
  """Small maps beside and below each other, about as wide as high.

  Args:
    maps: all of one size.
    labels: one each.

  Returns:
    Values, with no numbers between the maps, and text: each map's label above
    the middle of its first row.
  """
  height, width = maps[0].shape
  columns = math.ceil(math.sqrt(len(maps) * (height + 1) / (width + 1)))
  columns = min(columns, len(maps))
  rows = math.ceil(len(maps) / columns)
  values = np.full((rows * (height + 1), columns * (width + 1) - 1), np.nan)
  text = np.full(values.shape, '', dtype='<U12')
  for i, (each, label) in enumerate(zip(maps, labels)):
    top, left = i // columns * (height + 1), i % columns * (width + 1)
    text[top, left + width // 2] = label
    values[top + 1 : top + 1 + height, left : left + width] = each
  return values, text


def grid_paths(
  states: Int[np.ndarray, 'T_plus_1 n'],
  runs: Runs,
  num_skills: int,
  grid: Grid,
) -> figure_types.Points:
  """The ways of some skills through a grid.

  Args:
    states: of each run, over time; what stands after its end is not drawn.
    runs: of the skills.
    num_skills: K.
    grid: the map.
  """
  height = len(grid.walls)
  chosen = some(num_skills, MAX_PATHS)
  paths, groups = [], []
  for i, k in enumerate(chosen):
    # Lines side by side: each skill passes a cell at a place of its own.
    angle = 2 * math.pi * i / len(chosen)
    aside = 0.3 * np.array([math.cos(angle), math.sin(angle)])
    for run in np.flatnonzero(runs.skill == k)[:PATHS_OF_EACH]:
      row, column = grid.positions[states[: runs.length[run] + 1, run]].T
      paths.append(np.stack([column, height - 1 - row], axis=1) + aside)
      groups.append(str(k))
  return figure_types.Points(
    title='Paths of the skills',
    caption=(
      f'Up to {PATHS_OF_EACH} runs of each skill; walls are not drawn. Lines '
      'are drawn a little beside each other where skills pass the same cells.'
      + _of_some(len(chosen), num_skills)
    ),
    xlabel='column',
    ylabel='row, counted from below',
    paths=paths,
    groups=groups,
    is_plane=True,
  )


def plane_paths(
  positions: Float[np.ndarray, 'T_plus_1 n 2'],
  runs: Runs,
  num_skills: int,
  labels: tuple[str, str],
  *,
  max_skills: int = MAX_PATHS,
  runs_of_each: int = PATHS_OF_EACH,
) -> figure_types.Points:
  """The paths of some skills through a plane.

  Args:
    positions: of each run, over time.
    runs: of the skills.
    num_skills: K.
    labels: of the two coordinates.
    max_skills: how many skills are shown at most.
    runs_of_each: how many runs of each.
  """
  chosen = some(num_skills, max_skills)
  paths, groups = [], []
  for k in chosen:
    for run in np.flatnonzero(runs.skill == k)[:runs_of_each]:
      paths.append(positions[: runs.length[run] + 1, run])
      groups.append(str(k))
  return figure_types.Points(
    title='Paths of the skills',
    caption=(
      f'Up to {runs_of_each} runs of each skill, from first step to last.'
      + _of_some(len(chosen), num_skills)
    ),
    xlabel=labels[0],
    ylabel=labels[1],
    paths=paths,
    groups=groups,
    is_plane=True,
  )


def plane_ends(
  end: Float[np.ndarray, 'n 2'],
  skill: Int[np.ndarray, 'n'],
  num_skills: int,
  labels: tuple[str, str],
) -> figure_types.Points:
  """Where skills end in a plane, a point for each of their runs.

  Args:
    end: of each run.
    skill: of each.
    num_skills: K.
    labels: of the two coordinates.
  """
  shown = np.concatenate(
    [np.flatnonzero(skill == k)[:ENDS_OF_EACH] for k in range(num_skills)]
  )
  return figure_types.Points(
    title='Where skills end',
    caption=f'A point for each run, at most {ENDS_OF_EACH} of each skill.',
    xlabel=labels[0],
    ylabel=labels[1],
    paths=[end[run][None] for run in shown],
    groups=[str(skill[run]) for run in shown],
    is_plane=True,
  )


def disagreement(
  values: Float[np.ndarray, 'S'], grid: Grid, num_members: int
) -> figure_types.Map:
  """How much the discriminators disagree about the skills that end in a cell.

  Args:
    values: in nats.
    grid: the map.
    num_members: of the ensemble.
  """
  return grid.map(
    title=DISAGREEMENT,
    caption=(
      f'What naming one of the {num_members} discriminators would tell of the '
      'skill that ends in a cell: large where they have seen little.'
    ),
    # Rounding makes it a little negative.
    values=np.maximum(values, 0.0),
    unit='nats',
  )


def confidence(
  posterior: Float[np.ndarray, 'S K'], grid: Grid
) -> figure_types.Map:
  """How sure the discriminators are of the skill that ends in a cell.

  Args:
    posterior: the mean probability that they give each skill.
    grid: the map.
  """
  text = np.full(grid.walls.shape, '', dtype='<U12')
  for state, skill in enumerate(posterior.argmax(axis=1)):
    text[tuple(grid.positions[state])] = str(skill)
  return grid.map(
    title=BEST_GUESS,
    caption=(
      'The skill that they hold for the most probable if one ends in a cell, '
      f'and its probability; {1 / posterior.shape[1]:.0%} is chance.'
    ),
    values=posterior.max(axis=1),
    unit='probability',
    text=text,
  )


def distances(
  features: Float[np.ndarray, 'K D'], what: str
) -> figure_types.Map:
  """How far policies are from each other.

  Args:
    features: psi of each, two policies or more.
    what: features they are, in words.
  """
  return figure_types.Map(
    title='Distances of the policies',
    caption=(
      f'Between mean features of policies: {what}. The mean distance to the '
      'nearest other policy, the diversity, is '
      f'{metrics.diversity_score(features.astype(np.float32)):.3g}.'
    ),
    values=metrics.distance_matrix(features),
    unit='distance',
    xlabel='policy',
    ylabel='policy',
  )


def policies(
  returns: Float[np.ndarray, 'K'], features: Float[np.ndarray, 'K D']
) -> figure_types.Table:
  """What policies are worth beside policy 0, and how far they are from others.

  Args:
    returns: of an episode of each, all from the same start.
    features: psi of each.
  """
  nearest = metrics.neighbour_distances(features.astype(np.float32))
  has_ratios = returns[0] > 0
  found = metrics.value_ratios(returns) if has_ratios else None
  caption = (
    'The return of an episode of each policy, all from the same start; its '
    "ratio to that of policy 0, which the task's reward alone trained; and the "
    'distance to the nearest other policy.'
  )
  if not has_ratios:
    caption += (
      ' The return of policy 0 is not positive, so there are no ratios.'
    )
  return figure_types.Table(
    title='Values of the policies',
    caption=caption,
    columns=['policy', 'return', 'ratio to policy 0', 'nearest other'],
    rows=[
      [
        k,
        round(float(value), 4),
        None if found is None else round(float(found[k]), 4),
        round(float(nearest[k]), 4),
      ]
      for k, value in enumerate(returns)
    ],
  )


def quality_and_diversity(
  returns: Float[np.ndarray, 'K'],
  features: Float[np.ndarray, 'K D'],
  alpha: float | None,
) -> figure_types.Points:
  """Policies by what they are worth and how far they are from others.

  Args:
    returns: of an episode of each; that of policy 0 is above 0.
    features: psi of each.
    alpha: the ratio that was asked for; None for none.
  """
  found = metrics.value_ratios(returns)
  nearest = metrics.neighbour_distances(features.astype(np.float32))
  levels: dict[str, float] = {}
  caption = 'A point for each policy.'
  if alpha is not None:
    levels[f'alpha = {alpha:g}'] = alpha
    good = metrics.near_optimal_diversity(
      features.astype(np.float32), returns, alpha
    )
    caption += (
      f' Policies to the right of alpha = {alpha:g} are as good as was asked '
      f'for; the diversity of these alone is {good:.3g}.'
    )
  return figure_types.Points(
    title='Quality and diversity',
    caption=caption,
    xlabel='ratio of the return to that of policy 0',
    ylabel='distance to the nearest policy',
    paths=[np.array([[x, y]]) for x, y in zip(found, nearest)],
    groups=[f'policy {k}' for k in range(len(found))],
    levels=levels,
  )


def runs_mean(
  values: Float[np.ndarray, 'runs n'],
) -> tuple[Float[np.ndarray, 'n'], tuple[np.ndarray, np.ndarray] | None]:
  """Mean over runs; band of two standard errors, None for a single run."""
  mean = np.mean(values, axis=0)
  if len(values) < 2:
    return mean, None
  error = np.std(values, axis=0, ddof=1) / len(values) ** 0.5
  return mean, (mean - 2 * error, mean + 2 * error)


def coverage(
  lines: Mapping[str, tuple[np.ndarray, np.ndarray]], what: str
) -> figure_types.Curves:
  """How much of the environment evaluations visited, over training.

  Args:
    lines: name -> environment steps and the coverage after them.
    what: it is, with its unit.
  """
  return figure_types.Curves(
    title='Coverage',
    caption=f'{what[0].upper()}{what[1:]}, in each evaluation.',
    xlabel='environment steps',
    ylabel=what,
    lines=lines,
  )


def inconsistency(
  spread: Float[np.ndarray, 'S'], num_steps: int, grid: Grid
) -> figure_types.Map:
  """sigma-IVE(n): how much model and value disagree, by cell.

  Args:
    spread: of the estimates, in units of reward.
    num_steps: n.
    grid: the map.
  """
  return grid.map(
    title='Disagreement of model and value',
    caption=(
      f'sigma-IVE({num_steps}): standard deviation of the estimates of what a '
      f'cell is worth by 0 to {num_steps} steps in the model. Large where data '
      'are missing.'
    ),
    values=spread,
    unit='units of reward',
  )


def value_error(
  learned: Float[np.ndarray, 'S'], exact: Float[np.ndarray, 'S'], grid: Grid
) -> figure_types.Map:
  """By how much learned values are wrong, by cell.

  Args:
    learned: values; no numbers for states of which none is learned.
    exact: the same policy's.
    grid: the map.
  """
  error = learned - exact
  return grid.map(
    title='Error of the value',
    caption=(
      'Learned value less the exact one of the same policy; their root mean '
      f'square is {math.sqrt(np.nanmean(np.square(error))):.3g}, and values '
      f'lie between {np.nanmin(exact):.3g} and {np.nanmax(exact):.3g}.'
    ),
    values=error,
    unit='units of reward',
  )


def values_beside(
  learned: Float[np.ndarray, 'S'], exact: Float[np.ndarray, 'S']
) -> figure_types.Points:
  """Learned values beside exact ones, in environments without a map.

  Args:
    learned: values; no numbers for states of which none is learned.
    exact: the same policy's.
  """
  is_learned = np.isfinite(learned)
  low, high = float(exact.min()), float(exact.max())
  error = math.sqrt(np.mean(np.square((learned - exact)[is_learned])))
  return figure_types.Points(
    title='Learned and exact values',
    caption=(
      'A point for each state, by the exact value of the policy and the one '
      'that was learned; on the line they agree. The root mean square of the '
      f'errors is {error:.3g}.'
    ),
    xlabel='exact value [units of reward]',
    ylabel='learned value [units of reward]',
    paths=[
      np.array([[low, low], [high, high]]),
      *np.stack([exact, learned], axis=1)[is_learned][:, None],
    ],
    groups=['equal', *['state'] * int(is_learned.sum())],
  )
