"""What README.md and CONTRIBUTING.md show does what they say."""

import importlib
import os
import pathlib
import re
import subprocess
import sys

import jax
import pytest

from skills import checkpoints
from skills import loading
from skills import objectives
from skills import presets
from skills import registry
from skills import types
from tests import problems

ROOT = pathlib.Path(__file__).resolve().parent.parent
EMBED = ROOT / 'examples' / 'embed.py'


def programs(document):
  """The Python code in a document, block by block."""
  text = (ROOT / document).read_text()
  return re.findall(r'^```python\n(.*?)^```$', text, re.DOTALL | re.MULTILINE)


def test_readme_shows_the_example_as_it_is():
  shown, *_ = programs('README.md')
  assert shown == EMBED.read_text()


@pytest.mark.integration
def test_the_example_learns_skills_in_a_world_of_its_own():
  result = subprocess.run(
    [sys.executable, str(EMBED)],
    capture_output=True,
    text=True,
    timeout=240,
    check=False,
  )
  assert result.returncode == 0, result.stderr[-4000:]
  assert 'Traceback' not in result.stderr
  learned = re.search(r'^([\d.]+) of 4 skills learned$', result.stdout, re.M)
  # Not below 3.7 at any of 15 moments of each of four runs; 1 is chance.
  assert learned and float(learned[1]) > 2, result.stdout


def test_the_readme_s_pure_program_does_what_it_says(capsys):
  _, pure, _ = programs('README.md')
  assert 'agents' not in pure
  exec(compile(pure, 'README.md', 'exec'), {'__name__': 'readme'})
  first, second, third = capsys.readouterr().out.splitlines()
  assert first == "('skill', 'disdain') (5, 8, 2) [ 1. 20.]"
  assert second == "('skill', 'disdain', 'counts') [ 1.  20.   0.5]"
  assert "'loss/skill'" in third


def test_the_readme_s_program_for_trained_skills_goes_through_all(
  tmp_path, monkeypatch, capsys
):
  *_, program = programs('README.md')
  assert 'agents' not in program and 'launch' not in program
  monkeypatch.chdir(tmp_path)
  problem = types.ProblemSpec(
    observation_shape=(),
    observation_dtype='int32',
    num_states=24,
    num_actions=5,
  )
  config = presets.make('disdain', 'grid:disdain_release', problem)
  agent = registry.make_agent(config, problem)
  folder = pathlib.Path('runs/demo')
  loading.write_description(folder, loading.Description(config, problem, {}))
  state = agent.learner.init(jax.random.PRNGKey(0))
  checkpoints.save(folder / checkpoints.FOLDER, 1, {'learner': state}, {})
  exec(compile(program, 'README.md', 'exec'), {'__name__': 'readme'})
  *skills, last = capsys.readouterr().out.splitlines()
  assert len(skills) == 24
  for number, line in enumerate(skills):
    # Nothing was learned: of 24 skills each is about as likely.
    found = re.fullmatch(rf'skill {number} ends in (\d+): (\d+)%', line)
    assert found and int(found[1]) < 24 and 1 <= int(found[2]) <= 12, line
  loss = re.fullmatch(r'a discriminator loss of ([\d.]+) nats', last)
  # log 24 is 3.18.
  assert loss and 2.9 < float(loss[1]) < 3.6


def test_the_objective_of_contributing_passes_its_own_test(
  tmp_path, monkeypatch
):
  code, test = programs('CONTRIBUTING.md')
  (tmp_path / 'movement.py').write_text(code)
  # In the package, as it would be, so that its shapes are checked.
  monkeypatch.setattr(
    objectives, '__path__', [*objectives.__path__, str(tmp_path)]
  )
  movement = importlib.import_module('skills.objectives.movement')
  tests = {}
  exec(compile(test, 'CONTRIBUTING.md', 'exec'), tests)
  [claim] = [name for name in tests if name.startswith('test_')]
  tests[claim]()

  # The line in the registry is all that is missing.
  entry = registry.Objective(movement.MovementConfig, movement.make)
  monkeypatch.setattr(
    registry, 'OBJECTIVES', {**registry.OBJECTIVES, 'movement': entry}
  )
  objective = registry.make_objective(
    movement.MovementConfig(), problems.TABLE, problems.NUM_SKILLS
  )
  assert objective.streams == ('skill', 'movement')
  key = jax.random.PRNGKey(0)
  batch = problems.trajectory(problems.TABLE)
  state, metrics = objective.update(objective.init(key), batch, key)
  assert {'discriminator_loss', 'movement'} <= set(metrics)
  assert objective.reward(state, batch).shape == (*batch.mask.shape, 2)


@pytest.mark.parametrize('document', ['README.md', 'CONTRIBUTING.md'])
def test_what_documents_name_exists(document):
  text = (ROOT / document).read_text()
  linked = re.findall(r'\]\(([\w./]+)\)', text)
  named = re.findall(r'`((?:docs|envs|launch|skills|tests)/[\w./]*)`', text)
  made_by_the_reader = ('movement', 'my_suite')
  for path in linked + named:
    if not any(word in path for word in made_by_the_reader):
      assert (ROOT / path).exists(), path
  for module in re.findall(r'python -m (launch\.\w+)', text):
    assert (ROOT / module.replace('.', os.sep)).with_suffix('.py').exists()
