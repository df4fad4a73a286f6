"""The doctor names each fault and its remedy, whatever is broken."""

from importlib import metadata
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from launch import doctor

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run_doctor(*arguments, path='', **environment):
  return subprocess.run(
    [sys.executable, '-m', 'launch.doctor', *arguments],
    cwd=ROOT,
    env={**os.environ, 'PYTHONPATH': str(path), **environment},
    capture_output=True,
    text=True,
    timeout=280,
    check=False,
  )


def findings_of(result):
  report = json.loads(result.stdout)
  return {finding['what']: finding for finding in report['findings']}


@pytest.mark.integration
@pytest.mark.slow
def test_a_healthy_installation_is_usable():
  result = run_doctor('--json')
  assert result.returncode == 0, result.stdout
  assert json.loads(result.stdout)['usable']
  findings = findings_of(result)
  assert set(doctor.LIBRARIES) <= set(findings)
  assert {'python', 'platform', 'libpython', 'versions', 'gpu'} <= set(findings)
  assert {'render egl', 'render osmesa', 'render glfw'} <= set(findings)
  assert findings['reverb']['found'].endswith('an item went through a server')
  assert 'TFRT_CPU_0' in findings['jax']['found']


def test_the_plain_report_has_one_status_per_line_and_no_colors():
  result = run_doctor('--only=python,platform,libpython,versions')
  assert result.returncode == 0, result.stdout + result.stderr
  assert result.stderr == ''
  *lines, summary = result.stdout.splitlines()
  assert all(re.match(r'(ok|warn|FAIL) +\w+ ', line) for line in lines)
  assert summary == 'All is well: 0 to mend, 0 to know of.'
  assert '\x1b' not in result.stdout


def test_each_broken_library_is_contained_and_names_its_remedy(tmp_path):
  for package, code in {
    'reverb': "raise ImportError('libpython3.10.so.1.0: cannot open')",
    'tensorflow': "raise TypeError('Descriptors cannot be created directly.')",
    'courier': 'import a_package_that_is_missing',
    'dm_control': 'import os; os.kill(os.getpid(), 4)',
    'ale_py': 'import time; time.sleep(600)',
    'rich': "raise RuntimeError('broken as well')",
  }.items():
    (tmp_path / f'{package}.py').write_text(code + '\n')
  result = run_doctor(
    '--json', '--only=reverb,tensorflow,launchpad,dm_control', path=tmp_path
  )
  hanging = run_doctor('--json', '--only=ale_py', '--timeout=3', path=tmp_path)
  assert result.returncode == 1
  assert not json.loads(result.stdout)['usable']
  findings = findings_of(result) | findings_of(hanging)
  assert {finding['status'] for finding in findings.values()} == {'FAIL'}
  for what, found, fix in (
    ('reverb', 'libpython3.10.so.1.0', 'apt-get install libpython3.10'),
    ('tensorflow', 'Descriptors cannot', 'protobuf is too new'),
    ('launchpad', "No module named 'a_package", 'make setup'),
    ('dm_control', 'SIGILL', 'AVX'),
    ('ale_py', 'no answer within 3 s', 'make setup'),
  ):
    assert found in findings[what]['found']
    assert fix in findings[what]['fix']
    assert 'PYTHONPATH is set' in findings[what]['fix']


def test_no_renderer_is_a_reservation_and_not_a_failure(tmp_path):
  (tmp_path / 'mujoco.py').write_text("raise ImportError('libEGL.so.1')\n")
  result = run_doctor('--only=rendering', path=tmp_path)
  assert result.returncode == 0
  assert len(re.findall('^warn', result.stdout, re.MULTILINE)) == 3
  assert 'apt-get install libegl1' in result.stdout
  assert 'apt-get install libosmesa6' in result.stdout


def test_a_gpu_that_jax_does_not_use_is_reported(tmp_path):
  tool = tmp_path / 'nvidia-smi'
  tool.write_text('#!/bin/sh\necho Imaginary GPU\n')
  tool.chmod(0o755)
  path = f'{tmp_path}{os.pathsep}{os.environ["PATH"]}'
  code = "default_backend = lambda: 'cpu'"
  (tmp_path / 'jax.py').write_text(code + '\n')
  result = run_doctor('--json', '--only=gpu', path=tmp_path, PATH=path)
  gpu = findings_of(result)['gpu']
  assert gpu['status'] == 'warn'
  assert gpu['found'] == 'Imaginary GPU is there, but JAX uses the cpu'
  assert gpu['fix'] == 'EXTRA=cuda make setup'

  tool.write_text('#!/bin/sh\nexit 9\n')
  result = run_doctor('--json', '--only=gpu', PATH=path)
  assert 'driver' in findings_of(result)['gpu']['fix']


def test_a_wrong_and_a_missing_package_are_named_with_the_tested_version(
  monkeypatch, capsys
):
  real = metadata.version

  def version(package):
    if package == 'protobuf':
      return '4.25.0'
    if package == 'dm-reverb':
      raise metadata.PackageNotFoundError(package)
    if package == 'ruff':
      return '0.0.1'
    return real(package)

  monkeypatch.setattr(metadata, 'version', version)
  assert doctor.main(['--only=versions']) == 1
  report = capsys.readouterr().out
  assert re.search(r'^FAIL +protobuf +4.25.0; 3\.\S+ was tested', report, re.M)
  assert re.search(r'^FAIL +dm-reverb +not installed; 0.7.3', report, re.M)
  # A tool of ours: nothing that a user would miss.
  assert re.search(r'^warn +ruff +0.0.1', report, re.M)
  assert report.count('-> rm -rf .venv && make setup') == 3


def test_an_empty_environment_is_one_finding(monkeypatch):
  def version(package):
    raise metadata.PackageNotFoundError(package)

  monkeypatch.setattr(metadata, 'version', version)
  (finding,) = doctor.examine(['versions'], 1.0)
  assert finding.status == 'FAIL'
  assert 'packages are missing' in finding.found


def test_another_python_and_a_missing_libpython_are_failures(monkeypatch):
  monkeypatch.setattr(doctor, '_libpython_loaded', lambda: False)
  monkeypatch.setattr(doctor, '_libpython_folder', lambda: '')
  monkeypatch.setattr(doctor.platform, 'machine', lambda: 'aarch64')
  findings = list(doctor.examine(['libpython', 'platform'], 1.0))
  assert [finding.status for finding in findings] == ['FAIL', 'FAIL']
  assert 'apt-get install libpython' in findings[0].fix
  assert 'container' in findings[1].fix


def test_a_check_that_fails_itself_is_a_finding(monkeypatch):
  def broken(timeout):
    raise OSError('no processes left')

  monkeypatch.setitem(doctor.CHECKS, 'jax', broken)
  (finding,) = doctor.examine(['jax'], 1.0)
  assert finding.status == 'FAIL'
  assert 'no processes left' in finding.found


def test_an_unknown_check_is_refused(capsys):
  with pytest.raises(SystemExit):
    doctor.main(['--only=jaxx'])
  assert '--only=jaxx is unknown' in capsys.readouterr().err


def test_the_doctor_itself_imports_the_standard_library_only():
  result = subprocess.run(
    [
      sys.executable,
      '-S',  # No site-packages.
      '-c',
      'import launch.doctor',
    ],
    cwd=ROOT,
    env={'PYTHONPATH': str(ROOT)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr
