"""A learner and an actor that neither close nor stop what they made.

  python -m tests.programs.careless_program ADDRESS

Prints a line once both have worked, and goes on when it reads one.
"""

import sys

from skills.agents import acme_api
from skills.agents.replay import reader as replay_reader
from skills.agents.replay import stalls
from skills.agents.replay import writer as replay_writer
from tests import replaying
from tests.programs import counting


def main():
  # Long enough for the first items on a busy machine.
  fields = {
    'min_size': 2,
    'updates_per_environment_step': None,
    'timeout_s': 3.0,
  }
  config = counting.make_config(replay=fields)
  client = acme_api.reverb.Client(sys.argv[1])
  adder = replay_writer.make_adder(config, client)
  iterator = replay_reader.SampleIterator(config, [client])
  replaying.write_items(adder, 3)
  next(iterator)
  print('ready', flush=True)
  input()
  for call in (
    lambda: next(iterator),
    lambda: replaying.write_items(adder, 9),
  ):
    try:
      while True:
        call()
    except stalls.ReplayStalledError:
      pass


if __name__ == '__main__':
  main()
