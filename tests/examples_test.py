"""Programs, links and paths in the documents do what they say."""

import importlib
import os
import pathlib
import re
import shlex
import subprocess
import sys

from absl import flags
from absl.testing import flagsaver
import jax
import jax.numpy as jnp
import pytest

import envs
from envs import factory
from skills import checkpoints
from skills import config as config_lib
from skills import learners
from skills import loading
from skills import objectives
from skills import presets
from skills import registry
from skills import types
from skills.objectives import diayn
from tests import problems

ROOT = pathlib.Path(__file__).resolve().parent.parent
EMBED = ROOT / 'examples' / 'embed.py'
# Files of the worked examples.
MADE_BY_THE_READER = ('movement', 'corridor', 'reinforce')


def programs(document):
  """The Python code in a document, block by block."""
  text = (ROOT / document).read_text()
  return re.findall(r'^```python\n(.*?)^```$', text, re.DOTALL | re.MULTILINE)


def test_document_shows_the_embedding_example_as_it_is():
  assert programs('docs/acme.md') == [EMBED.read_text()]


@pytest.mark.integration
@pytest.mark.slow
def test_embedding_example_learns_skills():
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


def test_readme_makes_an_objective_without_acme(capsys):
  [pure] = programs('README.md')
  assert 'agents' not in pure
  exec(compile(pure, 'README.md', 'exec'), {'__name__': 'readme'})
  printed = capsys.readouterr().out
  assert printed == "('skill', 'disdain') (5, 8, 2) [ 1. 20.]\n"


def test_objectives_combine_and_are_learned_from_without_acme(capsys):
  [pure] = programs('docs/pure.md')
  assert 'agents' not in pure
  exec(compile(pure, 'pure.md', 'exec'), {'__name__': 'pure'})
  first, second, third = capsys.readouterr().out.splitlines()
  assert first == "('skill', 'disdain') (5, 8, 2) [ 1. 20.]"
  assert second == "('skill', 'disdain', 'counts') [ 1.  20.   0.5]"
  assert "'loss/skill'" in third


def test_program_for_many_environments_steps_all_of_them(capsys):
  [program] = programs('docs/control.md')
  exec(compile(program, 'control.md', 'exec'), {'__name__': 'control'})
  total, ends = capsys.readouterr().out.split(maxsplit=1)
  # A step of two is paid at most 2. First episodes are 8, 16, 24, ... long.
  assert 0 < float(total) < 40
  assert ends == '[0 1]\n'


def test_program_for_trained_skills_goes_through_all_of_them(
  tmp_path, monkeypatch, capsys
):
  [program] = programs('docs/trained_skills.md')
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
  exec(compile(program, 'trained_skills.md', 'exec'), {'__name__': 'trained'})
  *skills, last = capsys.readouterr().out.splitlines()
  assert len(skills) == 24
  for number, line in enumerate(skills):
    # Nothing was learned: of 24 skills each is about as likely.
    found = re.fullmatch(rf'skill {number} ends in (\d+): (\d+)%', line)
    assert found and int(found[1]) < 24 and 1 <= int(found[2]) <= 12, line
  loss = re.fullmatch(r'a discriminator loss of ([\d.]+) nats', last)
  # log 24 is 3.18.
  assert loss and 2.9 < float(loss[1]) < 3.6


def worked_example(heading, package, folder, monkeypatch):
  """Writes a worked example's module into a package, and runs its tests."""
  text = (ROOT / 'CONTRIBUTING.md').read_text()
  section = text.split(f'\n## {heading}\n')[1].split('\n## ')[0]
  [name] = re.findall(r'\*\*The file\*\*, `[\w/]+/(\w+)\.py`', section)
  code, test = re.findall(r'^```python\n(.*?)^```$', section, re.DOTALL | re.M)
  (folder / f'{name}.py').write_text(code)
  # In the package, as it would be, so that its shapes are checked.
  monkeypatch.setattr(package, '__path__', [*package.__path__, str(folder)])
  module = importlib.import_module(f'{package.__name__}.{name}')
  tests = {}
  exec(compile(test, 'CONTRIBUTING.md', 'exec'), tests)
  claims = [each for each in tests if each.startswith('test_')]
  assert claims
  for claim in claims:
    tests[claim]()
  return module


def test_objective_of_contributing_passes_its_own_test(tmp_path, monkeypatch):
  movement = worked_example(
    'Adding an objective', objectives, tmp_path, monkeypatch
  )

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


def test_environment_of_contributing_passes_its_own_test(tmp_path, monkeypatch):
  worked_example('Adding an environment', envs, tmp_path, monkeypatch)
  suites = {**factory.SUITES, 'corridor': 'envs.corridor'}
  monkeypatch.setattr(factory, 'SUITES', suites)
  environment = factory.make('corridor:long', horizon=3)
  environment.reset()
  assert [environment.step(0).last() for _ in range(3)] == [False, False, True]


def test_learner_of_contributing_passes_its_own_test(tmp_path, monkeypatch):
  reinforce = worked_example(
    'Adding a learner', learners, tmp_path, monkeypatch
  )
  entry = registry.Algorithm(
    reinforce.ReinforceConfig, reinforce.make_agent_functions
  )
  monkeypatch.setattr(
    registry, 'LEARNERS', {**registry.LEARNERS, 'reinforce': entry}
  )
  agent = registry.make_agent(
    config_lib.SkillAgentConfig(
      objective=diayn.DiaynConfig(),
      num_skills=problems.NUM_SKILLS,
      skill_length=problems.NUM_STEPS,
      learner=reinforce.ReinforceConfig(),
    ),
    problems.TABLE,
  )
  key = jax.random.PRNGKey(0)
  state, metrics = jax.jit(agent.learner.update)(
    agent.learner.init(key), problems.trajectory(problems.TABLE)
  )
  assert {'policy_loss', 'discriminator_loss'} <= set(metrics)
  action, _ = agent.policy.select_action(
    agent.learner.variables(state), jnp.int32(3), agent.policy.init(key)
  )
  assert 0 <= int(action) < problems.TABLE.num_actions


def test_metric_of_contributing_passes_its_own_test():
  text = (ROOT / 'CONTRIBUTING.md').read_text()
  section = text.split('\n## Adding a metric or figure\n')[1]
  section = section.split('\n## ')[0]
  code, test = re.findall(r'^```python\n(.*?)^```$', section, re.DOTALL | re.M)
  variables = {}
  exec(compile(code + test, 'CONTRIBUTING.md', 'exec'), variables)
  variables['test_revisits_count_states_seen_before']()


DOCUMENTS = sorted(
  str(path.relative_to(ROOT))
  for path in (*ROOT.glob('*.md'), *(ROOT / 'docs').rglob('*.md'))
)


@pytest.mark.parametrize('document', DOCUMENTS)
def test_links_and_paths_in_documents_exist(document):
  text = (ROOT / document).read_text()
  folder = (ROOT / document).parent
  for link in re.findall(r'\]\(([\w./-]+)(?:#[\w-]+)?\)', text):
    assert (folder / link).exists(), link
  named = re.findall(
    r'`((?:docs|envs|examples|launch|skills|tests)/[\w./]*)`', text
  )
  for path in named:
    if not any(word in path for word in MADE_BY_THE_READER):
      assert (ROOT / path).exists(), path
  for module in re.findall(r'python -m (launch\.\w+)', text):
    assert (ROOT / module.replace('.', os.sep)).with_suffix('.py').exists()


@pytest.mark.parametrize('document', DOCUMENTS)
def test_anchors_in_documents_are_headings(document):
  text = (ROOT / document).read_text()
  folder = (ROOT / document).parent
  for link, anchor in re.findall(r'\]\(([\w./-]*)#([\w-]+)\)', text):
    there = (folder / link).read_text() if link else text
    headings = re.findall(r'^#+ (.*)$', there, re.MULTILINE)
    slugs = [
      re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-')
      for heading in headings
    ]
    assert anchor in slugs, f'{link}#{anchor}'


READING_ORDERS = {'Adding an objective': 1_400, 'Adding a learner': 1_600}


@pytest.mark.parametrize(('heading', 'most'), READING_ORDERS.items())
def test_reading_orders_of_contributing_are_short(heading, most):
  text = (ROOT / 'CONTRIBUTING.md').read_text()
  section = text.split(f'\n## {heading}\n')[1].split('\n## ')[0]
  [order] = re.findall(r'Read, in this order: (.*?)\.\n\n', section, re.DOTALL)
  files = re.findall(r'`([\w./]+\.py)`', order)
  assert len(files) >= 5
  lines = sum(len((ROOT / f).read_text().splitlines()) for f in files)
  assert lines <= most, lines


COMMAND = re.compile(r'python -m launch\.(\w+)([^#;|&>]*)')


def documented_commands():
  """Command and arguments of each `python -m launch.X` in the documents."""
  for document in DOCUMENTS:
    text = (ROOT / document).read_text()
    blocks = re.findall(r'^```sh\n(.*?)^```$', text, re.DOTALL | re.M)
    lines = '\n'.join(blocks).replace('\\\n', ' ').splitlines()
    prose = re.sub(r'^```.*?^```$', '', text, flags=re.DOTALL | re.M)
    lines += [
      code.replace('\n', ' ') for code in re.findall(r'`([^`]*)`', prose)
    ]
    for line in lines:
      # Names in capitals and a shell's variables stand for the reader's own.
      if (found := COMMAND.search(line)) and '$' not in line:
        yield found[1], ' '.join(found[2].split())


def training_commands():
  """Those that train, whose settings are not in a folder of the reader's."""
  for command, arguments in documented_commands():
    skipped = ('--resume', '--skills=', '--hosts')
    if command in ('run_local', 'run_on_device', 'run_distributed') and not any(
      part in arguments for part in skipped
    ):
      yield command, arguments


def parameters(commands):
  """Each command once, named by what a user types."""
  return [
    pytest.param(*pair, id=' '.join(pair)[:60])
    for pair in sorted(set(commands))
  ]


@pytest.mark.integration
@pytest.mark.parametrize(
  ('command', 'arguments'), parameters(documented_commands())
)
def test_flags_of_documented_commands_are_the_command_s(command, arguments):
  module = importlib.import_module(f'launch.{command}')
  words = shlex.split(arguments)
  if command == 'doctor':  # Without absl's flags.
    assert not words
    return
  with flagsaver.flagsaver():
    flags.FLAGS.unparse_flags()
    _, *rest = flags.FLAGS([command, *words])
  names = {flag.name for flag in flags.FLAGS.get_key_flags_for_module(module)}
  for name in re.findall(r'(?<!\S)--(\w+)', arguments):
    assert name in names or name.removeprefix('no') in names, name
  takes_names = command in ('evaluate', 'report', 'reproduce', 'sweep')
  assert takes_names or not rest
  if command == 'reproduce':
    known = {*module.REPRODUCTIONS, 'NAME'}
    assert set(rest) <= known


@pytest.mark.integration
@pytest.mark.parametrize(
  ('command', 'arguments'), parameters(training_commands())
)
def test_settings_of_documented_commands_are_accepted(command, arguments):
  module = importlib.import_module(f'launch.{command}')
  with flagsaver.flagsaver():
    flags.FLAGS.unparse_flags()
    flags.FLAGS([command, *shlex.split(arguments), '--show_settings=json'])
    assert not module.main([command])


def test_site_lists_every_page():
  listed = re.findall(r'([\w/]+\.md)', (ROOT / 'mkdocs.yml').read_text())
  assert sorted(listed) == DOCUMENTS


@pytest.mark.slow
def test_site_builds_without_warnings(tmp_path):
  mkdocs = ROOT / '.venv-docs' / 'bin' / 'mkdocs'
  if not mkdocs.exists():
    pytest.skip('`make docs` installs the tools of the site')
  result = subprocess.run(
    ['bash', 'scripts/docs.sh', str(tmp_path)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr[-4000:]
