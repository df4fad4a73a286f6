"""Servers and actors of the tests of replay."""

from concurrent import futures

import pytest

from skills.agents import acme_api
from skills.agents import builder as builder_lib
from tests import replaying
from tests.programs import counting


@pytest.fixture(scope='module')
def serve():
  """Starts servers, and stops them after the last test."""
  servers = []

  def start(config):
    builder = builder_lib.SkillBuilder(config)
    server = acme_api.reverb.Server(builder.make_replay_tables(counting.SPEC))
    servers.append(server)
    return acme_api.reverb.Client(f'localhost:{server.port}')

  yield start
  # Each may wait for seconds until its last client has gone.
  with futures.ThreadPoolExecutor(len(servers)) as executor:
    list(executor.map(lambda server: server.stop(), servers))


@pytest.fixture(scope='module')
def actor():
  """One compiled actor for all tests, which writes wherever it is told to."""
  config = counting.make_config()
  environment = counting.CountingEnvironment([1])
  loop = counting.make_actor(config, environment, None)
  inner = loop._actor

  class Actor:
    def write(self, adder, lengths):
      """Acts for one episode of each length; what was done, by a witness."""
      witness = counting.Witness(adder)
      inner._adder = witness
      acme_api.environment_loop.EnvironmentLoop(
        counting.CountingEnvironment(lengths),
        inner,
        logger=acme_api.loggers.NoOpLogger(),
      ).run(num_episodes=len(lengths))
      return witness

  return Actor()


@pytest.fixture(scope='module')
def program():
  """What forks servers."""
  process = replaying.start_python('-m', 'tests.programs.replay_program')
  yield process
  process.kill()
  process.communicate()


@pytest.fixture
def server(program, tmp_path):
  """One that serves."""
  server = replaying.KillableServer(program, tmp_path)
  server.start()
  yield server
  server.kill()
