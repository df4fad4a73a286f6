"""A Courier server that a test can kill, as a program.

  python -m tests.programs.courier_program PORT FOLDER

Prints a line once it serves. FOLDER/calls gets a line for each call.
"""

import os
import pathlib
import sys
import threading
import time

import courier


def main():
  port, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])

  def note(name):
    with open(folder / 'calls', 'a') as file:
      file.write(f'{name} {os.getpid()}\n')

  def who():
    note('who')
    return os.getpid()

  def slow(seconds):
    note('slow')
    time.sleep(seconds)
    return os.getpid()

  def fail(what):
    note('fail')
    raise ValueError(f'the server cannot {what}')

  server = courier.Server(port=port)
  for method in (who, slow, fail):
    server.Bind(method.__name__, method)
  server.Start()
  print('serves', flush=True)
  threading.Event().wait()


if __name__ == '__main__':
  main()
