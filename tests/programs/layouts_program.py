"""An agent in Acme's distributed layout, as a program of its own.

  python -m tests.programs.layouts_program FOLDER

Prints the final counts as JSON.
"""

import json
import sys
import time

from absl import app

from skills.agents import acme_api
from skills.agents import builder as builder_lib
from tests.programs import counting

NUM_STEPS = 400


class Limiter:
  """Stops the program once it has acted enough and learned something."""

  def __init__(self, counter, path):
    self._counter = counter
    self._path = path

  def run(self):
    while not acme_api.launchpad.wait_for_stop(0.1):
      counts = self._counter.get_counts()
      acted = counts.get('actor_steps', 0) >= NUM_STEPS
      if acted and counts.get('learner_steps', 0) >= 20:
        with open(self._path, 'w') as file:
          json.dump(counts, file)
        acme_api.launchpad.stop()
        return


class Layout(acme_api.distributed_layout.DistributedLayout):
  """Acme's, with a limiter that does not sleep for ten seconds."""

  def coordinator(self, counter, max_actor_steps):
    return Limiter(counter, max_actor_steps)


def main(argv):
  folder = argv[1]
  config = counting.make_config(
    replay={'min_size': 8, 'updates_per_environment_step': 0.5}
  )
  program = Layout(
    seed=0,
    environment_factory=lambda seed: counting.CountingEnvironment([4, 6, 9]),
    network_factory=lambda spec: builder_lib.make_agent(config, spec),
    builder=builder_lib.SkillBuilder(config),
    policy_network=lambda agent: agent.policy,
    num_actors=2,
    actor_logger_fn=lambda _: counting.Log(),
    max_number_of_steps=f'{folder}/counts.json',
    checkpointing_config=acme_api.distributed_layout.CheckpointingConfig(
      directory=folder, add_uid=False
    ),
  ).build()
  begin = time.monotonic()
  manager = acme_api.launchpad.launch(
    program, launch_type='local_mt', terminal='current_terminal'
  )
  manager.wait()
  print(f'stopped after {time.monotonic() - begin:.1f} s')


if __name__ == '__main__':
  app.run(main, argv=sys.argv)
