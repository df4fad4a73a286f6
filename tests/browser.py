"""Pages in a headless Chromium without a network."""

from collections.abc import Iterator
import contextlib
import os
import pathlib
import shutil
from typing import Any
from typing import NamedTuple

import pytest

# Pictures of pages, to be looked at.
SCREENSHOTS = pathlib.Path(__file__).parent.parent / 'runs' / 'screenshots'


class Opened(NamedTuple):
  """A page, and how it was opened.

  Attributes:
    page: Playwright's.
    complaints: what the console said, errors and refused requests.
    requests: addresses that were asked for.
  """

  page: Any
  complaints: list[str]
  requests: list[str]


@contextlib.contextmanager
def start() -> Iterator[Any]:
  """Starts Chromium; skips the test where there is none."""
  executable = shutil.which('chromium') or shutil.which('google-chrome')
  if executable is None:
    pytest.skip('no browser: apt-get install chromium')
  from playwright import sync_api

  with sync_api.sync_playwright() as playwright:
    # Root cannot have Chromium's sandbox.
    flags = ['--no-sandbox'] if os.geteuid() == 0 else []
    chromium = playwright.chromium.launch(
      executable_path=executable, args=flags
    )
    yield chromium
    chromium.close()


@contextlib.contextmanager
def opened(
  chromium: Any, path: pathlib.Path, *, width: int = 1280
) -> Iterator[Opened]:
  """Opens a file and keeps a picture of it."""
  context = chromium.new_context(
    offline=True,
    viewport={'width': width, 'height': 900},
    has_touch=width < 500,
  )
  page = context.new_page()
  complaints: list[str] = []
  requests: list[str] = []
  page.on('console', lambda message: complaints.append(message.text))
  page.on('pageerror', lambda error: complaints.append(str(error)))
  page.on('requestfailed', lambda request: complaints.append(request.url[:500]))
  page.on('request', lambda request: requests.append(request.url[:500]))
  page.goto(path.resolve().as_uri())
  page.wait_for_selector('.chart svg', state='attached')
  SCREENSHOTS.mkdir(parents=True, exist_ok=True)
  name = f'{path.parent.name}-{width}.png'
  page.screenshot(path=SCREENSHOTS / name, full_page=True)
  yield Opened(page, complaints, requests)
  context.close()


CHARTS = """() => Object.fromEntries(
  [...document.querySelectorAll('.chart')].map((chart) => {
    const figure = chart.closest('figure');
    return [figure.querySelector('.title').textContent, {
      marks: chart.querySelectorAll('svg path, svg use, svg image').length,
      rows: figure.querySelectorAll('details tbody tr').length,
      numbers: [...figure.querySelectorAll('details td')].filter(
        (cell) => /\\d/.test(cell.textContent)).length,
      note: figure.querySelector('details > p')?.textContent ?? '',
    }];
  }))"""
"""Title of each chart -> its marks, and what the table of its values has."""
