"""Replay servers that a test can kill, each a process of its own.

Imports take seconds, so one process makes them and forks the servers. It reads
lines of JSON, `[port, folder of checkpoints, fields of ReplayConfig]`, and
answers each with the server's process id once that serves.
"""

import ctypes
import json
import os
import signal
import sys

from skills.agents import acme_api
from skills.agents import builder as builder_lib
from tests.programs import counting

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def _serve(port, folder, fields, ready):
  config = counting.make_config(replay=fields)
  server = acme_api.reverb.Server(
    builder_lib.SkillBuilder(config).make_replay_tables(counting.SPEC),
    port=port,
    checkpointer=acme_api.checkpointers.DefaultCheckpointer(folder),
  )
  os.write(ready, b'.')
  server.wait()


def main():
  """Forks servers until the input ends, and takes them along."""
  signal.signal(signal.SIGCHLD, signal.SIG_IGN)
  for line in sys.stdin:
    is_ready, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
      ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
      _serve(*json.loads(line), ready)
    os.close(ready)
    os.read(is_ready, 1)
    os.close(is_ready)
    print(pid, flush=True)


if __name__ == '__main__':
  main()
