"""`launch.run_local` in an environment that fails after some steps."""

from envs import factory
from envs import gridworlds
from launch import run_local
from launch.cli import command

STEPS = 500


class FailingEnvironment(gridworlds.GridworldEnvironment):
  """A grid whose evaluations work, and whose training does not."""

  _left = STEPS

  def step(self, action):
    self._left -= 1
    if not self._left:
      raise RuntimeError('the environment broke down')
    return super().step(action)


TASKS = gridworlds.TASKS


def make(task, *, seed):
  return FailingEnvironment(gridworlds.load(task), seed=seed)


factory.SUITES['failing'] = __name__

if __name__ == '__main__':
  command.run(run_local.main)
