"""Tests of the checks of settings."""

import dataclasses
import math

import pytest

from skills import checks


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  rate: float = 0.5
  limit: float | None = None
  kind: str = 'fast'


def error(check, *arguments):
  """The message with which a check fails."""
  with pytest.raises(ValueError) as refused:
    check(*arguments)
  return str(refused.value)


def test_values_in_range_are_accepted():
  settings = Settings(limit=1)
  checks.positive(settings, 'rate', 'limit')
  checks.at_least(settings, 0.5, 'rate', 'limit')
  checks.in_range(settings, 0, 1, 'rate', 'limit')
  checks.in_half_open_range(settings, 0.5, 1, 'rate')
  checks.choice(settings, ['slow', 'fast'], 'kind')
  checks.equal(settings, 1, 'limit', 'for a test')


@pytest.mark.parametrize(
  ('check', 'arguments', 'allowed'),
  [
    (checks.positive, (), 'positive'),
    (checks.at_least, (1,), '>= 1'),
    (checks.in_range, (0, 1), 'in [0, 1]'),
    (checks.in_half_open_range, (0, 1), 'in [0, 1)'),
  ],
)
def test_messages_name_field_range_and_value(check, arguments, allowed):
  settings = Settings(rate=-3.0, limit=-2.0)
  assert error(check, settings, *arguments, 'rate') == (
    f'rate must be {allowed}, got -3.0.'
  )
  assert error(check, settings, *arguments, 'limit') == (
    f'limit must be {allowed} or None, got -2.0.'
  )
  assert 'got nan' in error(check, Settings(rate=math.nan), *arguments, 'rate')


def test_upper_end_of_a_half_open_range_is_excluded():
  settings = Settings(rate=1.0)
  checks.in_range(settings, 0, 1, 'rate')
  assert error(checks.in_half_open_range, settings, 0, 1, 'rate') == (
    'rate must be in [0, 1), got 1.0.'
  )


def test_none_is_accepted_where_the_annotation_has_it():
  checks.positive(Settings(), 'limit')
  with pytest.raises(TypeError):
    checks.positive(Settings(rate=None), 'rate')


def test_choice_lists_what_is_allowed():
  assert error(checks.choice, Settings(), ('a', 'b'), 'kind') == (
    "kind must be one of a, b; got 'fast'."
  )


def test_equal_says_why():
  assert error(checks.equal, Settings(), 'slow', 'kind', 'for a test') == (
    "kind must be 'slow' for a test, got 'fast'."
  )


def test_one_of_suggests_the_nearest_name():
  assert error(checks.one_of, 'map', 'halls', ['hall', 'open']) == (
    "map 'halls' is unknown. Did you mean 'hall'? Allowed: 'hall', 'open'."
  )


@pytest.mark.parametrize(
  ('value', 'maximum', 'allowed'),
  [
    (0, None, 'an integer >= 1'),
    (True, None, 'an integer >= 1'),
    (1.0, 4, 'an integer in 1..4'),
    (5, 4, 'an integer in 1..4'),
  ],
)
def test_integer_names_its_range(value, maximum, allowed):
  assert error(checks.integer, 'size', value, 1, maximum) == (
    f'size must be {allowed}, got {value!r}.'
  )
