"""Tests of envs/gridworlds.py."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import gridworlds
from envs.tabular import functional as tabular_functional
from tests import oracles

NOOP, UP, DOWN, LEFT, RIGHT = range(5)


@pytest.fixture(params=sorted(gridworlds.MAPS))
def grid(request):
  return gridworlds.load(request.param)


def test_release_grid_has_24_cells_of_which_8_steps_reach_23():
  grid = gridworlds.load('disdain_release')
  assert grid.walls.shape == (8, 7)
  assert grid.mdp.num_states == 24
  assert grid.mdp.num_actions == 5
  assert grid.mdp.horizon == 8
  assert grid.start == 0
  assert oracles.reachable(grid.mdp, 8).sum() == 23
  assert oracles.reachable(grid.mdp, 9).sum() == 24


def test_four_rooms_has_104_cells_and_exactly_20_steps_reach_all():
  grid = gridworlds.load('four_rooms')
  assert grid.walls.shape == (13, 13)
  assert grid.mdp.num_states == 104
  assert grid.mdp.horizon == 20
  assert grid.start == 0
  assert oracles.reachable(grid.mdp, 20).all()
  assert not oracles.reachable(grid.mdp, 19).all()
  # The first room is 5 by 5; its doors are at (3, 6) and (6, 2).
  in_first_room = (grid.positions <= 5).all(axis=1)
  assert in_first_room.sum() == 25
  assert not grid.walls[3, 6] and not grid.walls[6, 2]


@pytest.mark.parametrize('size', [11, 41])
def test_open_grids_are_squares_without_walls_whose_episodes_never_end(size):
  grid = gridworlds.load(f'open_{size}')
  assert grid.walls.shape == (size, size)
  assert not grid.walls.any()
  assert grid.mdp.num_states == size**2
  assert grid.mdp.horizon is None
  assert not grid.mdp.terminal.any()
  assert not grid.mdp.rewards.any()
  # The center, from which the corners are a row and a column walk away.
  assert grid.positions[grid.start].tolist() == [size // 2, size // 2]
  assert oracles.reachable(grid.mdp, size - 1).all()
  assert oracles.reachable(grid.mdp, size - 2).sum() == size**2 - 4


def test_every_step_that_leads_to_the_top_rows_or_stays_there_pays():
  grid = gridworlds.load('top_rows')
  assert grid.walls.shape == (7, 7) and not grid.walls.any()
  assert grid.positions[grid.start].tolist() == [6, 3]
  assert not grid.mdp.terminal.any()
  state = {tuple(cell): s for s, cell in enumerate(grid.positions.tolist())}
  for cell, action, pays in (
    ((3, 5), UP, 1),
    ((3, 5), NOOP, 0),
    ((0, 0), UP, 1),
    ((2, 1), NOOP, 1),
    ((2, 1), DOWN, 0),
  ):
    assert grid.mdp.rewards[state[cell], action] == pays
  # To come there takes four steps, of which the last is paid.
  best = grid.mdp.optimal_values(0.5)[grid.start]
  assert best == pytest.approx(0.5**3 * 2)


def test_a_bump_pays_tenths_by_the_distance_from_its_top():
  grid = gridworlds.load('bump')
  assert grid.positions[grid.start].tolist() == [6, 3]
  paid = grid.mdp.rewards[:, NOOP]
  squares = np.sum((grid.positions - np.array([2, 3])) ** 2, axis=1)
  bump = np.exp(-squares / (2 * 1.5**2))
  # What is less than a tenth is nothing.
  expected = np.where(bump < 0.1, 0.0, np.round(bump, 1))
  np.testing.assert_allclose(paid, expected, atol=1e-9)


def test_goals_are_every_fifth_cell_of_the_border():
  goals = gridworlds.MAPS['open_41'].goals
  assert len(set(goals)) == 32
  assert goals[:3] == ((0, 0), (0, 5), (0, 10))
  assert goals[9:12] == ((5, 0), (5, 40), (10, 0))
  assert goals[-1] == (40, 40)


@pytest.mark.parametrize('goal', [0, 10, 31])
def test_entering_the_goal_pays_one_and_ends_the_episode(goal):
  grid = gridworlds.load('open_41', goal=goal)
  position = gridworlds.MAPS['open_41'].goals[goal]
  assert grid.mdp.horizon == 400
  assert grid.positions[grid.start].tolist() == [20, 20]
  [state] = np.flatnonzero(grid.mdp.terminal)
  assert tuple(grid.positions[state]) == position
  entering = grid.mdp.successors == state
  entering[state] = False
  assert entering.any()
  np.testing.assert_array_equal(grid.mdp.rewards, entering)


def test_observations_do_not_depend_on_the_goal():
  free, aimed = gridworlds.load('open_41'), gridworlds.load('open_41', goal=3)
  for kind in gridworlds.OBSERVATIONS:
    np.testing.assert_array_equal(
      free.observations(kind), aimed.observations(kind)
    )


def test_walking_to_a_goal_ends_with_discount_zero():
  environment = gridworlds.GridworldEnvironment(
    gridworlds.load('open_41', goal=0)
  )
  environment.reset()
  walk = [UP] * 20 + [LEFT] * 20
  timesteps = [environment.step(np.int32(action)) for action in walk]
  assert [t.last() for t in timesteps] == [False] * 39 + [True]
  assert sum(t.reward for t in timesteps) == timesteps[-1].reward == 1
  assert timesteps[-1].discount == 0
  assert environment.step(NOOP).first()
  # An episode that does not arrive is truncated.
  timesteps = [environment.step(NOOP) for _ in range(400)]
  assert timesteps[-1].last()
  assert timesteps[-1].discount == 1
  assert timesteps[-1].reward == 0


def test_a_goal_can_be_drawn_into_a_map():
  grid = gridworlds.from_ascii('mine', 'G S')
  assert grid.start == 2
  assert grid.mdp.terminal.tolist() == [True, False, False]
  assert grid.mdp.rewards[1].tolist() == [0, 0, 0, 1, 0]
  assert gridworlds.from_ascii('mine', 'G  ').start == 1


def test_release_grid_is_the_published_one():
  walls = gridworlds.load('disdain_release').walls
  assert [''.join('# '[not wall] for wall in row) for row in walls] == [
    '#######',
    '#  #  #',
    '#     #',
    '## #  #',
    '#  # ##',
    '#  #  #',
    '#     #',
    '#######',
  ]


def test_every_move_goes_to_the_neighboring_cell_or_stays(grid):
  assert grid.mdp.is_deterministic
  for state, (row, column) in enumerate(grid.positions):
    for action, (down, right) in enumerate(
      [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)]
    ):
      successor = grid.mdp.successors[state, action]
      wanted = (row + down, column + right)
      on_map = all(0 <= i < n for i, n in zip(wanted, grid.walls.shape))
      is_free = on_map and not grid.walls[wanted]
      expected = wanted if is_free else (row, column)
      assert tuple(grid.positions[successor]) == expected
      assert not grid.walls[tuple(grid.positions[successor])]


def test_positions_are_the_free_cells_in_reading_order(grid):
  np.testing.assert_array_equal(grid.positions, np.argwhere(~grid.walls))


def test_moves_in_a_small_map():
  # 0 1        0
  # #   with   and 2 to the right of the wall below 1's left.
  # . 2
  grid = gridworlds.from_ascii('small', '  \n# ', horizon=3)
  assert grid.positions.tolist() == [[0, 0], [0, 1], [1, 1]]
  # noop, up, down, left, right
  assert grid.mdp.successors.tolist() == [
    [0, 0, 0, 0, 1],
    [1, 1, 2, 0, 1],
    [2, 1, 2, 2, 2],
  ]
  assert grid.mdp.horizon == 3
  assert not grid.mdp.rewards.any()
  assert not grid.mdp.terminal.any()


def test_start_is_the_marked_cell_else_the_first_free_one():
  assert gridworlds.from_ascii('a', '###\n# S\n   ').start == 1
  assert gridworlds.from_ascii('a', '###\n#  \n   ').start == 0


def test_an_open_grid_without_horizon_needs_no_walls():
  grid = gridworlds.from_ascii('open', '\n'.join([' ' * 4] * 3))
  assert grid.mdp.num_states == 12
  assert grid.mdp.horizon is None
  # From the top-left corner, 2 rows and 3 columns away from the other one.
  assert oracles.reachable(grid.mdp, 5).all()
  assert not oracles.reachable(grid.mdp, 4).all()


@pytest.mark.parametrize(
  'text, message',
  [
    (
      '###\n# #\n##',
      "map 'mine': rows must have the same length, but row 0 has 3 cells and"
      ' row 2 has 2.',
    ),
    (
      '###\n#x#\n###',
      "map 'mine': unknown symbol 'x' in row 1; allowed are '#' (wall), ' '"
      " (free), 'S' (start), 'G' (goal), '+' (paying 1), '1' to '9' (paying"
      " tenths) and '-' (costing 1).",
    ),
    ('###\n###', "map 'mine': there is no free cell to start in."),
    ('#G#\n###', "map 'mine': there is no free cell to start in."),
    ('', "map 'mine': there is no free cell to start in."),
    ('SS', "map 'mine': at most one cell may be the start 'S', got 2."),
  ],
)
def test_invalid_maps_are_refused(text, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    gridworlds.from_ascii('mine', text)


def test_paying_cells_pay_every_step_and_are_not_terminal():
  mdp = gridworlds.from_ascii('mine', 'S+-').mdp
  # Noop, up, down, left, right; walls are bumped into, so that the cell is
  # entered again.
  np.testing.assert_array_equal(
    mdp.rewards, [[0, 0, 0, 0, 1], [1, 1, 1, 0, -1], [-1, -1, -1, 1, -1]]
  )
  assert not mdp.terminal.any()
  stay = np.eye(5)[[0, 0, 0]]
  np.testing.assert_allclose(mdp.state_values(stay, 0.9), [0, 10, -10])


def test_rewards_11_has_a_reward_in_each_half_and_starts_in_the_left():
  grid = gridworlds.load('rewards_11')
  assert grid.mdp.num_states == 121
  assert grid.positions[grid.start].tolist() == [5, 2]
  paid = {
    tuple(grid.positions[grid.mdp.successors[s, a]]): grid.mdp.rewards[s, a]
    for s, a in np.argwhere(grid.mdp.rewards)
  }
  assert paid == {(2, 2): 1.0, (8, 8): -1.0}


def test_horizon_can_be_set_and_lifted():
  assert gridworlds.load('four_rooms', horizon=7).mdp.horizon == 7
  assert gridworlds.load('four_rooms', horizon=None).mdp.horizon is None
  with pytest.raises(ValueError, match='horizon must be an integer >= 1'):
    gridworlds.load('four_rooms', horizon=0)


def test_an_unknown_map_is_refused_with_the_nearest():
  with pytest.raises(ValueError, match="Did you mean 'four_rooms'"):
    gridworlds.load('four_room')


def test_one_hot_observations_indicate_the_state(grid):
  table = grid.observations('one_hot')
  assert table.dtype == np.float32
  np.testing.assert_array_equal(table, np.eye(grid.mdp.num_states))


def test_row_and_column_are_indicated_one_after_the_other(grid):
  table = grid.observations('row_column')
  height, width = grid.walls.shape
  assert table.dtype == np.float32
  assert table.shape == (grid.mdp.num_states, height + width)
  assert (table.sum(axis=1) == 2).all()
  rows, columns = table[:, :height], table[:, height:]
  np.testing.assert_array_equal(
    np.stack([rows.argmax(axis=1), columns.argmax(axis=1)], axis=1),
    grid.positions,
  )


def test_pixels_distinguish_walls_free_cells_and_the_agent(grid):
  images = grid.observations('pixels')
  height, width = grid.walls.shape
  assert images.shape == (grid.mdp.num_states, height, width, 3)
  assert images.dtype == np.uint8
  colors = {
    gridworlds.WALL_COLOR,
    gridworlds.FREE_COLOR,
    gridworlds.AGENT_COLOR,
  }
  assert len(colors) == 3
  for image, position in zip(images, grid.positions, strict=True):
    agent = (image == gridworlds.AGENT_COLOR).all(-1)
    assert np.argwhere(agent).tolist() == [position.tolist()]
    walls = (image == gridworlds.WALL_COLOR).all(-1)
    np.testing.assert_array_equal(walls, grid.walls)
    free = (image == gridworlds.FREE_COLOR).all(-1)
    np.testing.assert_array_equal(free, ~walls & ~agent)


def test_an_unknown_observation_is_refused_with_the_nearest(grid):
  with pytest.raises(ValueError, match="Did you mean 'pixels'"):
    gridworlds.GridworldEnvironment(grid, observation='pixel')


@pytest.mark.parametrize('kind', gridworlds.OBSERVATIONS)
def test_pure_step_equals_dm_env_step_everywhere(grid, kind):
  environment = gridworlds.GridworldEnvironment(grid, observation=kind)
  functional = environment.functional()
  states, actions = np.divmod(
    np.arange(grid.mdp.num_states * 5, dtype=np.int32), 5
  )
  batch = jax.jit(jax.vmap(functional.step, in_axes=(None, 0, 0)))(
    None, states, actions
  )
  seen = jax.jit(jax.vmap(functional.observe))(batch[0])
  # Taking one element after another from JAX's arrays takes its time.
  batch, seen = jax.tree.map(np.asarray, (batch, seen))
  environment.reset()
  saved = environment.save()
  for i, (state, action) in enumerate(zip(states, actions, strict=True)):
    environment.restore({**saved, 'state': int(state)})
    timestep = environment.step(action)
    assert environment.state == batch[0][i]
    assert timestep.reward == batch[1][i]
    assert timestep.discount == batch[2][i]
    np.testing.assert_array_equal(timestep.observation, seen[i])
    assert timestep.observation.dtype == seen.dtype


def test_an_episode_walks_the_map_and_ends_at_the_horizon():
  environment = gridworlds.GridworldEnvironment(
    gridworlds.load('disdain_release')
  )
  environment.reset()
  walk = [LEFT, RIGHT, DOWN, DOWN, DOWN, DOWN, DOWN, NOOP]
  timesteps = [environment.step(np.int32(action)) for action in walk]
  positions = environment.grid.positions
  # Left bumps; (3, 2) is a door; the fifth row down is the last but one.
  assert [positions[t.observation].tolist() for t in timesteps] == [
    [1, 1],
    [1, 2],
    [2, 2],
    [3, 2],
    [4, 2],
    [5, 2],
    [6, 2],
    [6, 2],
  ]
  assert [t.last() for t in timesteps] == [False] * 7 + [True]
  assert timesteps[-1].discount == 1
  assert environment.step(UP).first()
  assert environment.state == environment.grid.start


def test_pure_view_starts_at_the_start(grid):
  functional = gridworlds.GridworldEnvironment(grid).functional()
  assert functional.is_deterministic
  assert functional.reset(None) == grid.start
  assert functional.horizon == grid.mdp.horizon
  marked = gridworlds.from_ascii('a', ' S')
  assert tabular_functional.make(marked.mdp).reset(None) == 1
  assert tabular_functional.make(marked.mdp).step(
    None, jnp.int32(1), jnp.int32(LEFT)
  ) == (
    0,
    0,
    1,
  )
