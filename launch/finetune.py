r"""Fine-tunes trained skills for a task, beside learning it from scratch.

  python -m launch.run_local --agent=diayn --env=control:walker_stand
  python -m launch.finetune --skills=runs/diayn-control-walker_stand-0 \
    --env=control:walker_walk

The protocol of Laskin et al., "URLB: Unsupervised reinforcement learning
benchmark", 2021 (arXiv:2110.15191). Skills were learned without a reward. Each
is tried in the task for a few episodes; with the best one the policy then
learns from the task's reward, as the agent 'extrinsic' does. Beside it the same
agent, with the same networks, starts from nothing. Both have the same number of
environment steps, those in which skills were tried included.

The policy is taken over as it is, with that skill for good; the values, which
were of another reward, and the optimizers' states begin anew in both runs. So
the values first learn what the policy is worth, for `--policy_warmup` updates.
Then it learns with `--policy_learning_rate_scale` times the usual step size,
which is smaller. `--set` changes settings of both runs alike.

Leaves in --output_dir: skill_returns.csv (each skill's return before it learns
more), curves.csv, finetune.png, summary.json, and the two runs themselves, in
`finetuned` and `scratch`, with all that `launch.run_local` leaves.

Ctrl-C saves and ends it; the same command with --resume continues.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import csv
import dataclasses
import io
import math
import pathlib
import sys
from typing import Any
from typing import NamedTuple

from absl import flags
import dm_env
import jax
from jaxtyping import Float
from jaxtyping import Int
import numpy as np

from launch.cli import command
from launch.runs import experiment as experiment_lib
from launch.runs import run_files
from launch.runs import run_loggers
from launch.runs import run_record
from launch.training import flags as training_flags
from launch.training import local
from skills import acting
from skills import config_io
from skills import files
from skills import loading
from skills import registry
from skills.agents import hierarchy
from skills.agents import learning
from skills.evaluation import metrics
from skills.evaluation.figures import draw
from skills.evaluation.figures import figure_types
from skills.learners import base

SKILL_RETURNS = 'skill_returns.csv'
CURVES = 'curves.csv'
PICTURE = 'finetune.png'
FINETUNED = 'finetuned'
SCRATCH = 'scratch'

# Flags of training that have no meaning here.
_NOT_HERE = ('agent', 'skills_discount', 'checkpoint_every_s')

_NUM_STEPS = 200_000

# Updates of the values alone where the number of updates is not set.
_UNKNOWN_WARMUP = 1000

flags.adopt_module_key_flags(training_flags)
_EPISODES_PER_SKILL = flags.DEFINE_integer(
  'episodes_per_skill', 2, 'Episodes in which each skill is tried.'
)
_POLICY_WARMUP = flags.DEFINE_integer(
  'policy_warmup',
  None,
  'Updates of the values before those of the policy that is fine-tuned. [a '
  'tenth of all of its updates]',
)
_LEARNING_RATE_SCALE = flags.DEFINE_float(
  'policy_learning_rate_scale',
  0.3,
  'Step size of that policy, in those of the one that begins from nothing.',
)


class Protocol(NamedTuple):
  """How skills are tried in a task, and how the best one learns more.

  Attributes:
    num_episodes: in which each skill is tried.
    policy_warmup: updates of the values alone, at first; None for a tenth of
      those that the run makes.
    policy_learning_rate_scale: factor of the policy's step size.
  """

  num_episodes: int
  policy_warmup: int | None
  policy_learning_rate_scale: float


def prepare(
  trained: loading.TrainedSkills,
  *,
  environment: str,
  environment_options: Mapping[str, Any],
  settings: Mapping[str, str],
  **fields: Any,
) -> experiment_lib.Experiment:
  """The experiment that both runs begin from.

  Args:
    trained: the skills.
    environment: the task.
    environment_options: the suite's options.
    settings: changes to the settings of both runs.
    **fields: the other fields of `Experiment`.

  Raises:
    ValueError: if the skills or settings do not fit the task.
  """
  if trained.agent.learner.take_policy is None:
    raise ValueError(
      'skills must be those of a learner with a policy beside its values, '
      'actor_critic or soft_actor_critic, got '
      f'{registry.name_of(trained.config.learner)}: values are of the reward '
      'that they were learned from. --agent=hierarchy of launch.run_local can '
      'use such skills.'
    )
  fixed = _fixed(trained)
  for name in settings:
    if name in fixed:
      raise ValueError(
        f'{name} cannot be changed: it is that of the skills, {fixed[name]!r}.'
      )
  experiment = experiment_lib.make(
    agent='extrinsic',
    environment=environment,
    environment_options=environment_options,
    settings={**fixed, **settings},
    **fields,
  )
  hierarchy.check(experiment.make_environment(0), trained, primitives=False)
  return experiment


def _fixed(trained: loading.TrainedSkills) -> dict[str, Any]:
  """Settings that decide the shape and meaning of the policy's parameters."""
  learner = trained.config.learner
  return {
    **config_io.flatten(trained.config.network, 'network.'),
    'num_skills': trained.config.num_skills,
    'fixed_skill': 0,
    'learner': registry.name_of(learner),
    'learner.init_stddev': learner.init_stddev,
    'learner.skill_bias_std': learner.skill_bias_std,
  }


class Tried(NamedTuple):
  """Returns of the skills in the task, before they learn more.

  Attributes:
    returns: of each of its episodes.
    num_steps: of the environment that they took.
  """

  returns: Float[np.ndarray, 'K episodes']
  num_steps: Int[np.ndarray, 'K episodes']

  @property
  def best(self) -> int:
    """The skill of the highest mean return."""
    return metrics.k_shot_choice(self.returns)


def check_steps(
  experiment: experiment_lib.Experiment, num_episodes: int
) -> None:
  """Refuses a number of steps that trying the skills would use up.

  Args:
    experiment: the task; one episode of it is run, without any action.
    num_episodes: in which each skill is tried.

  Raises:
    ValueError: naming `num_steps` and what it must be.
  """
  environment = experiment.make_environment(0)
  action = np.zeros(experiment.problem.action_shape, np.float32)
  length = 0
  timestep = environment.reset()
  while not timestep.last():
    timestep = environment.step(action)
    length += 1
  trying = experiment.config.num_skills * num_episodes * length
  try:
    local.check(
      dataclasses.replace(
        experiment, num_steps=max(experiment.num_steps - trying, 1)
      )
    )
  except ValueError as error:
    raise ValueError(
      f'num_steps must leave enough to learn from after {trying:,} steps for '
      f'trying {experiment.config.num_skills} skills in {num_episodes} '
      f'episodes of {length} steps each, got {experiment.num_steps:,}; or '
      f'lower --episodes_per_skill. Of what is left: {error}'
    ) from error


def try_skills(
  trained: loading.TrainedSkills,
  environment: dm_env.Environment,
  num_episodes: int,
  seed: int,
) -> Tried:
  """Runs each skill in the task for whole episodes.

  Args:
    trained: the skills; they act as in an evaluation.
    environment: the task.
    num_episodes: of each skill.
    seed: of what is random in the skills.
  """
  select_action = jax.jit(trained.select_action)
  # A step is too short to wait for another device.
  cpu = jax.local_devices(backend='cpu')[0]
  variables = jax.device_put(trained.variables, cpu)
  shape = trained.config.num_skills, num_episodes
  returns, num_steps = np.zeros(shape), np.zeros(shape, int)
  for skill, episode in np.ndindex(*shape):
    key = jax.random.fold_in(
      jax.random.PRNGKey(seed), skill * num_episodes + episode
    )
    state = jax.device_put(trained.init(key, skill), cpu)
    timestep = environment.reset()
    while not timestep.last():
      action, state = select_action(variables, timestep.observation, state)
      # The same skill again, from the first step of it.
      state = acting.with_skill(state, skill)
      timestep = environment.step(np.asarray(action))
      returns[skill, episode] += timestep.reward
      num_steps[skill, episode] += 1
  return Tried(returns, num_steps)


def curve(folder: pathlib.Path, earlier_steps: int) -> list[tuple[int, float]]:
  """Learning curve of a run: environment steps and the return after them.

  Args:
    folder: of the run.
    earlier_steps: made before it began.
  """
  rows = run_files.read_metrics(folder / 'evaluator' / run_files.METRICS_FILE)
  return [
    (
      round(float(row['actor_steps'])) + earlier_steps,
      float(row['episode_return']),
    )
    for row in rows
  ]


def write_curves(
  folder: pathlib.Path,
  curves: Mapping[str, Sequence[tuple[int, float]]],
  title: str,
) -> None:
  """Writes learning curves as a table and as a picture.

  Args:
    folder: where to.
    curves: name -> environment steps and the return after them.
    title: of the picture.
  """
  with open(folder / CURVES, 'w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(['run', 'environment_steps', 'episode_return'])
    for name, points in curves.items():
      writer.writerows([name, *point] for point in points)
  value = figure_types.Curves(
    title=title,
    caption='',
    xlabel='environment steps in the task',
    ylabel='return of an episode',
    lines={
      name: (np.array(points)[:, 0], np.array(points)[:, 1])
      for name, points in curves.items()
      if points
    },
  )
  draw.save(draw.figure(value, title=title), folder / PICTURE)


_COLUMNS = ('skill', 'episode', 'episode_return', 'episode_length')


def write_tried(folder: pathlib.Path, tried: Tried) -> None:
  """Writes the return and the length of each skill's episodes."""
  text = io.StringIO(newline='')
  writer = csv.writer(text)
  writer.writerow(_COLUMNS)
  for (skill, episode), value in np.ndenumerate(tried.returns):
    writer.writerow([skill, episode, value, tried.num_steps[skill, episode]])
  files.write_text(folder / SKILL_RETURNS, text.getvalue())


def read_tried(folder: pathlib.Path, shape: tuple[int, int]) -> Tried | None:
  """Reads the file of `write_tried`.

  Args:
    folder: where it is.
    shape: number of skills, and of episodes of each.

  Returns:
    It; None if nothing was written.

  Raises:
    ValueError: if other skills or numbers of episodes were tried.
  """
  path = folder / SKILL_RETURNS
  if not path.exists():
    return None
  with open(path, newline='') as file:
    rows = list(csv.DictReader(file))
  if len(rows) != math.prod(shape) or set(rows[0]) != set(_COLUMNS):
    raise ValueError(
      f'{path} must hold {shape[0]} skills in {shape[1]} episodes each to go '
      f'on from, got {len(rows)} rows; give the --episodes_per_skill that it '
      'was begun with.'
    )
  returns, num_steps = np.zeros(shape), np.zeros(shape, int)
  for row in rows:
    place = int(row['skill']), int(row['episode'])
    returns[place] = float(row['episode_return'])
    num_steps[place] = int(row['episode_length'])
  return Tried(returns, num_steps)


def _runs(
  experiment: experiment_lib.Experiment, tried: Tried, protocol: Protocol
) -> dict[str, experiment_lib.Experiment]:
  """The experiments of the two runs, by name."""
  tried_steps = int(tried.num_steps.sum())
  warmup = protocol.policy_warmup
  if warmup is None:
    rate = experiment.config.replay.updates_per_environment_step
    left = experiment.num_steps - tried_steps
    warmup = _UNKNOWN_WARMUP if rate is None else round(0.1 * rate * left)
  size = experiment.config.learner.policy_learning_rate
  finetuned = {
    'learner.policy_warmup': warmup,
    'learner.policy_learning_rate': protocol.policy_learning_rate_scale * size,
  }
  # A run from scratch has no skill to be biased to.
  begins = {
    FINETUNED: (tried_steps, finetuned),
    SCRATCH: (0, {'learner.skill_bias_std': 0.0}),
  }
  return {
    name: experiment_lib.changed(
      experiment,
      settings={'fixed_skill': tried.best, **settings},
      num_steps=experiment.num_steps - earlier,
      output_dir=str(pathlib.Path(experiment.output_dir) / name),
    )
    for name, (earlier, settings) in begins.items()
  }


def tried_before(
  experiment: experiment_lib.Experiment, protocol: Protocol
) -> Tried | None:
  """Reads the returns of skills that an interrupted command tried.

  Args:
    experiment: the task, as `prepare` gives it; its folder is that of all.
    protocol: of the command.

  Returns:
    The returns; None if the skills have not been tried.

  Raises:
    ValueError: if the folder holds the beginning of something else.
  """
  folder = pathlib.Path(experiment.output_dir)
  tried = read_tried(
    folder, (experiment.config.num_skills, protocol.num_episodes)
  )
  if tried is None:
    return None
  for own in _runs(experiment, tried, protocol).values():
    if not (pathlib.Path(own.output_dir) / loading.CONFIG_FILE).exists():
      continue
    before = experiment_lib.load(own.output_dir)
    # Where metrics go is of each start alone.
    before = dataclasses.replace(before, wandb=own.wandb)
    for field in dataclasses.fields(own):
      now, then = getattr(own, field.name), getattr(before, field.name)
      if now != then:
        raise ValueError(
          f'{field.name} cannot change in a run that is continued: '
          f'{own.output_dir} was begun with {then!r}, got {now!r}. Give the '
          'flags that it was begun with, and --resume.'
        )
  return tried


def run(
  trained: loading.TrainedSkills,
  experiment: experiment_lib.Experiment,
  protocol: Protocol,
  tried: Tried | None = None,
) -> tuple[dict[str, Any], int]:
  """Tries the skills, fine-tunes the best one, and learns from scratch.

  Runs that are in the folder already go on.

  Args:
    trained: the skills.
    experiment: the task, as `prepare` gives it; its folder is that of all.
    protocol: how skills are tried and the best one learns more.
    tried: their returns, if they have been tried.

  Returns:
    What `summary.json` holds, and the exit status.
  """
  folder = pathlib.Path(experiment.output_dir)
  run_record.write(folder)
  if tried is None:
    seed = experiment.seed_for('skills')
    tried = try_skills(
      trained, experiment.make_environment(seed), protocol.num_episodes, seed
    )
    write_tried(folder, tried)
  returns, tried_steps = tried.returns, int(tried.num_steps.sum())
  best = tried.best
  print(
    f'skill {best} is the best of {len(returns)}, with a return of '
    f'{returns[best].mean():.1f}; their mean is {returns.mean():.1f} '
    f'({tried_steps:,} steps).',
    flush=True,
  )

  take_policy = trained.agent.learner.take_policy
  assert take_policy is not None  # `prepare` refuses such skills.
  state = learning.to_host(trained.state)

  def begin(fresh: base.LearnerState) -> base.LearnerState:
    return take_policy(fresh, state)

  summary: dict[str, Any] = {
    'best_skill': best,
    'best_skill_return': float(returns[best].mean()),
    'mean_skill_return': float(returns.mean()),
    'steps_of_trying': tried_steps,
  }
  curves = {}
  for name, own in _runs(experiment, tried, protocol).items():
    experiment_lib.save(own)
    run_record.write(own.output_dir)
    print(f'{name}:', flush=True)
    outcome = local.run(own, begin if name == FINETUNED else None)
    summary[name] = outcome.summary
    curves[name] = curve(folder / name, tried_steps if name == FINETUNED else 0)
    if outcome.signal is not None:
      print(
        'Interrupted and saved. To continue: the same command and --resume.',
        file=sys.stderr,
      )
      return summary, outcome.status
  write_curves(
    folder,
    curves,
    f'{experiment.environment} from trained skills, seed {experiment.seed}',
  )
  return summary, 0


def _protocol() -> Protocol:
  """The protocol that the flags describe."""
  for flag, least in ((_EPISODES_PER_SKILL, 1), (_POLICY_WARMUP, 0)):
    if flag.value is not None and flag.value < least:
      raise ValueError(f'--{flag.name} must be >= {least}, got {flag.value}.')
  if _LEARNING_RATE_SCALE.value <= 0:
    raise ValueError(
      '--policy_learning_rate_scale must be > 0, got '
      f'{_LEARNING_RATE_SCALE.value}.'
    )
  return Protocol(
    _EPISODES_PER_SKILL.value, _POLICY_WARMUP.value, _LEARNING_RATE_SCALE.value
  )


def _from_flags(
  argv: Sequence[str], protocol: Protocol
) -> tuple[loading.TrainedSkills, experiment_lib.Experiment]:
  """The trained skills, and the run of the task that the flags describe."""
  given = training_flags.given
  if len(argv) > 1:
    raise ValueError(f'unexpected argument {argv[1]!r}.')
  for name in _NOT_HERE:
    if given(name) is not None:
      raise ValueError(
        f'--{name} is not for this command, which trains the agent '
        "'extrinsic' in two new runs; leave it out."
      )
  if given('wandb'):
    run_loggers.check_wandb()
  skills = given('skills')
  if skills is None:
    raise ValueError('--skills is missing: the folder of a trained run.')
  origin = experiment_lib.load(skills)
  trained = loading.load(skills)
  environment = given('env') or origin.environment
  options = origin.environment_options
  if given('env_option'):
    options = training_flags.environment_options()
  seed = given('seed') or 0
  num_steps = given('num_steps')
  name = f'finetune-{environment}-{seed}'.replace(':', '-')
  experiment = prepare(
    trained,
    environment=environment,
    environment_options=options,
    settings=config_io.parse_assignments(given('set') or []),
    seed=seed,
    num_steps=_NUM_STEPS if num_steps is None else num_steps,
    num_environments=given('num_environments') or 1,
    evaluation_episodes=given('evaluation_episodes'),
    evaluation_every=given('evaluation_every'),
    output_dir=given('output_dir') or f'runs/{name}',
    wandb=bool(given('wandb')),
  )
  local.check(experiment)
  check_steps(experiment, protocol.num_episodes)
  return trained, experiment


def _check_folder(folder: pathlib.Path) -> None:
  """Refuses a folder that is used, or with --resume one that is not."""
  is_used = folder.exists() and any(folder.iterdir())
  resume = bool(training_flags.given('resume'))
  if is_used and not resume:
    raise ValueError(
      f'there is something in {folder}; add --resume to the flags that it '
      'was begun with to continue it, or choose another --output_dir.'
    )
  if resume and not is_used:
    raise ValueError(f'there is nothing to continue in {folder}.')


def main(argv: Sequence[str]) -> int:
  """Reads the flags, fine-tunes and learns from scratch."""
  with command.exit_on_user_error():
    protocol = _protocol()
    trained, experiment = _from_flags(argv, protocol)
    if training_flags.show_settings(
      experiment,
      from_skills=('environment', 'environment_options', *_fixed(trained)),
    ):
      return 0
    folder = pathlib.Path(experiment.output_dir)
    _check_folder(folder)
    tried = tried_before(experiment, protocol)
  summary, status = run(trained, experiment, protocol, tried)
  files.write_json(folder / run_files.SUMMARY_FILE, summary)
  for file in (run_files.SUMMARY_FILE, SKILL_RETURNS, CURVES, PICTURE):
    if (folder / file).exists():
      print(f'  {folder / file}')
  return status


if __name__ == '__main__':
  command.run(main)
