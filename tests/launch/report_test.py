"""Pages of runs, as a browser shows them."""

import csv
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from launch import report
from launch.reporting import report_pages
from launch.reporting import run_folder
from launch.runs import experiment as experiment_lib
from launch.runs import run_files
from launch.runs import run_record
from launch.training import finish
from launch.training import local
from launch.training import on_device_run
from skills import files
from skills.evaluation.figures import figure_types
from tests import browser

pytestmark = pytest.mark.integration


def train(folder, trainer, **fields):
  experiment = experiment_lib.make(output_dir=str(folder), **fields)
  experiment_lib.save(experiment)
  run_record.write(folder)
  trainer.run(experiment)
  return pathlib.Path(folder)


@pytest.fixture(scope='module')
def grid_run(tmp_path_factory):
  return train(
    tmp_path_factory.mktemp('runs') / 'grid',
    on_device_run,
    agent='disdain',
    environment='grid:four_rooms',
    num_steps=960_000,
    evaluation_every=100_000,
  )


@pytest.fixture(scope='module')
def control_run(tmp_path_factory):
  return train(
    tmp_path_factory.mktemp('runs') / 'control',
    local,
    agent='diayn',
    environment='control:point_mass_easy',
    settings={'num_skills': 4, 'updates_per_step': 2},
    num_steps=2000,
    evaluation_episodes=1,
    evaluation_every=1000,
  )


@pytest.fixture(scope='module')
def chromium():
  with browser.start() as started:
    yield started


def write_rows(folder, label, rows):
  path = folder / label / 'metrics.csv'
  path.parent.mkdir(parents=True, exist_ok=True)
  with open(path, 'w', newline='') as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)


def write_run(folder, *, agent, seed, level, num_rows=300, **given):
  """A folder as of a run that learned `level` skills, with many columns."""
  given = {'environment': 'grid:disdain_release', **given}
  experiment_lib.save(
    experiment_lib.make(
      agent=agent, seed=seed, num_steps=30_000, output_dir=str(folder), **given
    )
  )
  noise = np.random.default_rng(seed).normal(size=(num_rows, 20))
  write_rows(
    folder,
    'learner',
    [
      {
        'actor_steps': 100 * i + seed,
        **{f'loss/{k}': value for k, value in enumerate(noise[i])},
      }
      for i in range(num_rows)
    ],
  )
  write_rows(
    folder,
    'evaluator',
    [
      {'actor_steps': 1000 * i, 'skills_learned': level * i / 30}
      for i in range(31)
    ],
  )
  summary = {
    'complete': True,
    'skills_learned': level,
    'environment_steps': 30_000,
    'wall_time_s': 10.0,
  }
  (folder / 'summary.json').write_text(json.dumps(summary))
  return folder


def check_self_contained(opened, path):
  assert opened.complaints == []
  assert opened.requests == [path.resolve().as_uri()]
  # No scrolling sideways.
  width = opened.page.evaluate('document.documentElement.scrollWidth')
  assert width <= opened.page.viewport_size['width']


def check_accessible(opened):
  """What can be checked of a page for those who hear it or use no mouse."""
  html = opened.page.content()
  assert '<html lang="en"' in html
  levels = [int(level) for level in re.findall(r'<h([1-6])[ >]', html)]
  assert levels[0] == 1 and levels.count(1) == 1
  assert all(after <= before + 1 for before, after in zip(levels, levels[1:]))
  told = opened.page.eval_on_selector_all(
    '.chart, .film img, .film video',
    'all => all.map(each => each.alt || each.getAttribute("aria-label"))',
  )
  assert told and all(text and len(text) > 20 for text in told)
  scopes = opened.page.eval_on_selector_all(
    'th', 'all => all.map(x => x.scope)'
  )
  assert set(scopes) == {'col', 'row'}
  opened.page.keyboard.press('Tab')
  assert opened.page.evaluate('document.activeElement.className') == 'skip'


@pytest.mark.parametrize(
  'width', [390, pytest.param(1280, marks=pytest.mark.slow)]
)
def test_the_page_of_a_four_rooms_run_shows_curves_and_skills(
  grid_run, chromium, width
):
  # The run wrote it by itself.
  path = grid_run / run_files.REPORT_FILE
  with browser.opened(chromium, path, width=width) as opened:
    check_self_contained(opened, path)
    check_accessible(opened)
    charts = opened.page.evaluate(browser.CHARTS)
    assert all(chart['marks'] > 10 for chart in charts.values())
    # An evaluation after every 320,000 steps.
    for title in (
      'skills learned',
      'disagreement',
      'loss/skill',
      'loss/disdain',
      'reward/skill',
    ):
      assert charts[title]['rows'] == 3, title
    confusion = charts['For which skill each is taken']
    assert confusion['note'] == 'The 60 largest of 16,384 values.'
    # Free cells of the environment, and not its walls.
    assert charts["Discriminators' disagreement"]['numbers'] == 104
    assert charts['Paths of the skills']['rows'] > 8
    # A table opens by keyboard, and shows its values.
    summary = opened.page.locator('details summary').first
    summary.focus()
    opened.page.keyboard.press('Enter')
    assert opened.page.locator('details[open] td').count() > 0
    # Charts are drawn without scripts, and ids are unique.
    assert opened.page.locator('script').count() == 0
    ids = opened.page.eval_on_selector_all('[id]', 'all => all.map(x => x.id)')
    assert len(ids) == len(set(ids))
    assert path.stat().st_size < 1_000_000
    text = opened.page.inner_text('body')
    assert 'What is missing' not in text
    for said in (
      'skills learned in 960,000 environment steps',
      'jax=',
      # The command: this process made the run.
      sys.orig_argv[-1],
    ):
      assert said in text
    rows = opened.page.locator('[aria-label=Skills] tbody tr').count()
    assert rows == 128


@pytest.mark.slow
def test_the_page_of_a_control_run_has_films_that_move(control_run, chromium):
  path = control_run / run_files.REPORT_FILE
  with browser.opened(chromium, path) as opened:
    check_self_contained(opened, path)
    check_accessible(opened)
    charts = opened.page.evaluate(browser.CHARTS)
    assert charts['skills learned']['rows'] >= 2
    assert charts['steps per second']['rows'] >= 1
    films = [
      each
      for each in figure_types.load(control_run)
      if isinstance(each, figure_types.Film)
    ]
    assert films and all(film.num_frames > 1 for film in films)
    # What the browser makes of them.
    counts = opened.page.evaluate("""async () => Promise.all(
      [...document.querySelectorAll('.film img')].map(async (image) => {
        const [, type, data] = image.src.match(/^data:([^;]+);base64,(.*)$/);
        const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
        const decoder = new ImageDecoder({data: bytes, type});
        await decoder.tracks.ready;
        return [decoder.tracks.selectedTrack.frameCount,
                Number(image.dataset.frames), image.naturalWidth];
      }))""")
    assert len(counts) == len(films)
    for frames, said, width in counts:
      assert frames == said > 1
      assert width > 50
    opened.page.click('button.stop')
    assert opened.page.locator('.film canvas').count() == 1
    assert opened.page.inner_text('button.stop') == 'Play'
    opened.page.click('button.stop')
    assert opened.page.locator('.film canvas').count() == 0


@pytest.mark.slow
def test_a_comparison_of_five_seeds_is_small(tmp_path, chromium):
  levels = {'disdain': [20, 18, 19, 21, 17], 'vic': [8, 9, 7, 6, 12]}
  folders = [
    write_run(tmp_path / f'{agent}-{seed}', agent=agent, seed=seed, level=level)
    for agent, own in levels.items()
    for seed, level in enumerate(own)
  ]
  (tmp_path / 'comparison').mkdir()
  path = tmp_path / 'comparison' / 'report.html'
  files.write_text(
    path,
    report_pages.comparison_page([run_folder.read(each) for each in folders]),
  )
  assert path.stat().st_size < 2_000_000
  with browser.opened(chromium, path) as opened:
    check_self_contained(opened, path)
    check_accessible(opened)
    learned = opened.page.evaluate(browser.CHARTS)['skills learned']
    # For each agent 30 of 31 points, with mean, and both ends of an interval.
    assert learned['rows'] == 2 * 30
    assert learned['numbers'] == 2 * 30 * 4
    assert '30 of 31 points of vic.' in learned['note']
    rows = opened.page.eval_on_selector_all(
      '[aria-label="Paired differences"] tbody tr',
      'all => all.map(row => [...row.cells].map(cell => cell.textContent))',
    )
    # -12, -9, -12, -15 and -5: the middle three have a mean of -11.
    assert rows[0][:4] == ['skills_learned', 'vic − disdain', '5', '−11']
    assert rows[0][6] == '0 of 5'


def test_runs_are_grouped_by_settings_that_differ(tmp_path):
  wide = {'objective.bonus_weight': 5.0}
  folders = [
    write_run(tmp_path / 'a', agent='disdain', seed=0, level=9),
    write_run(tmp_path / 'b', agent='disdain', seed=0, level=9, settings=wide),
    write_run(tmp_path / 'c', agent='disdain', seed=1, level=9),
  ]
  groups = report_pages.grouped([run_folder.read(each) for each in folders])
  assert {
    name: [run.folder.name for run in own] for name, own in groups.items()
  } == {
    'objective.bonus_weight=20': ['a', 'c'],
    'objective.bonus_weight=5': ['b'],
  }


def test_runs_that_cannot_be_compared_are_refused(tmp_path):
  first = write_run(tmp_path / 'a', agent='vic', seed=0, level=9)
  other = write_run(
    tmp_path / 'b', agent='vic', seed=0, level=9, environment='grid:four_rooms'
  )
  again = write_run(tmp_path / 'c', agent='vic', seed=0, level=9)
  with pytest.raises(ValueError, match="'grid:disdain_release', .*four_rooms"):
    report_pages.comparison_page(
      [run_folder.read(first), run_folder.read(other)]
    )
  with pytest.raises(ValueError, match='same seed, 0: give one'):
    report_pages.comparison_page(
      [run_folder.read(first), run_folder.read(again)]
    )


def test_a_file_that_is_cut_short_is_said_to_be(tmp_path):
  folder = write_run(tmp_path / 'run', agent='vic', seed=0, level=9)
  path = folder / 'evaluator' / 'metrics.csv'
  path.write_bytes(path.read_bytes()[:-7])
  run = run_folder.read(folder)
  steps, _ = run.curves['skills_learned', 'evaluator']
  assert len(steps) == 30
  assert '1 of 31 rows of evaluator/metrics.csv: cut short.' in run.missing
  assert 'cut short' in report_pages.run_page(run)
  path.write_text('actor_st')
  run = run_folder.read(folder)
  assert ('skills_learned', 'evaluator') not in run.curves
  assert 'evaluator/metrics.csv: it has no rows yet.' in ' '.join(run.missing)


def test_an_unfinished_run_shows_what_there_is(tmp_path):
  folder = write_run(tmp_path / 'run', agent='vic', seed=0, level=9)
  (folder / 'summary.json').unlink()
  run = run_folder.read(folder)
  assert not run.is_complete
  text = report_pages.run_page(run, refresh_s=10)
  assert 'it has not ended, or was killed, after 30,000 of 30,000' in text
  assert 'summary.json: final numbers are measured when a run ends.' in text
  assert '<meta http-equiv="refresh" content="10">' in text
  assert '>skills learned</h4>' in text


def test_a_run_that_was_lengthened_is_not_complete_any_more(tmp_path):
  folder = write_run(tmp_path / 'run', agent='vic', seed=0, level=9)
  assert run_folder.read(folder).is_complete
  path = folder / 'config.json'
  # An update on device is of 16 skills of 8 steps: 127 more make none.
  for num_steps, is_complete in ((30_127, True), (30_128, False)):
    content = {**json.loads(path.read_text()), 'num_steps': num_steps}
    path.write_text(json.dumps(content))
    run = run_folder.read(folder)
    assert run.is_complete == is_complete
  assert 'it goes on, after 30,000 of 30,128' in run.missing[0]


@pytest.mark.parametrize(
  ('name', 'content', 'message'),
  [
    ('config.json', '{"format_version": 99}', 'has format version 99; this'),
    ('config.json', '{"format', 'is broken'),
  ],
)
def test_broken_runs_end_in_one_line(tmp_path, name, content, message):
  folder = tmp_path / 'run'
  folder.mkdir()
  (folder / name).write_text(content)
  with pytest.raises(ValueError, match=message) as caught:
    run_folder.read(folder)
  assert '\n' not in str(caught.value)


def test_a_folder_with_figures_alone_has_a_page(tmp_path):
  table = figure_types.Table(
    title='A <result>', caption='Ours.', columns=('it',), rows=[(0.25,)]
  )
  figure_types.save(tmp_path, [table])
  run_record.write(tmp_path)
  text = report_pages.figures_page(tmp_path)
  assert 'A &lt;result&gt;' in text and '>0.25</th>' in text
  assert run_record.read(tmp_path)['started_at'].replace('T', ' ') in text


@pytest.mark.parametrize('name', ['run.json', 'figures.json'])
def test_files_of_a_newer_version_are_named_as_missing(tmp_path, name):
  folder = write_run(tmp_path / 'run', agent='vic', seed=0, level=9)
  (folder / name).write_text('{"format_version": 99}')
  [said] = [each for each in run_folder.read(folder).missing if name in each]
  assert 'has format version 99; this program reads' in said


def test_the_command_ends_in_one_line_where_there_is_no_run(tmp_path):
  done = subprocess.run(
    [sys.executable, '-m', 'launch.report', str(tmp_path)],
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert done.returncode == 2
  assert done.stderr == (
    f"error: there is no run in '{tmp_path}' (config.json is missing).\n"
  )


@pytest.mark.parametrize(
  'how', ['interrupted', pytest.param('complete', marks=pytest.mark.slow)]
)
def test_a_watched_run_is_drawn_until_it_ends_or_the_user_has_enough(
  tmp_path, monkeypatch, how
):
  folder = write_run(tmp_path / 'run', agent='vic', seed=0, level=9)
  summary = folder / 'summary.json'
  content = summary.read_text()
  summary.unlink()
  path = tmp_path / 'report.html'
  waits = []

  def wait(duration_s, received):
    assert '<meta http-equiv="refresh" content="2">' in path.read_text()
    waits.append(duration_s)
    if len(waits) < 2:
      return
    if how == 'complete':
      summary.write_text(content)
    else:
      os.kill(os.getpid(), signal.SIGINT)

  monkeypatch.setattr(report, '_wait', wait)
  report.watch(str(folder), path, 2.0)
  assert waits == [2.0, 2.0]
  # The last page is not read again and again.
  assert 'http-equiv="refresh"' not in path.read_text()
  is_unfinished = 'has not ended, or was killed' in path.read_text()
  assert is_unfinished == (how == 'interrupted')


def test_a_page_that_cannot_be_made_spoils_no_run(tmp_path, monkeypatch):
  said = []
  monkeypatch.setattr(
    finish.logging, 'warning', lambda text, *rest: said.append(text % rest)
  )
  finish.write_page(tmp_path / 'nothing')
  [line] = said
  assert 'there is no run in' in line
  assert f'python -m launch.report {tmp_path}/nothing' in line
