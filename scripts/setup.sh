#!/usr/bin/env bash
#
# Builds .venv (or, with --newest, .venv-newest) from a lock with hashes.
#
#   scripts/setup.sh             everything, Python 3.10, requirements.lock
#   EXTRA=cuda scripts/setup.sh  the same for NVIDIA GPUs
#   scripts/setup.sh --newest    the pure half on today's JAX, Python >= 3.12
#
# PYTHON names an interpreter to try first. A second run does nothing unless a
# lock or pyproject.toml has changed; a run that was interrupted is repeated.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root="$PWD"

say() { echo "setup: $*"; }

# Ends with one block on stderr: what is wrong, then what to do.
die() {
  {
    echo
    echo "setup: cannot go on: $1"
    shift
    printf '  %s\n' "$@"
  } >&2
  exit 1
}

# --- What is wanted -------------------------------------------------------

newest=''
case "${1:-}" in
  '') ;;
  --newest) newest=1 ;;
  *) die "unknown argument '$1'" 'Usage: scripts/setup.sh [--newest]' ;;
esac

if [[ -n "$newest" ]]; then
  venv=.venv-newest
  lock=requirements-newest.lock
  wanted='Python 3.12, 3.13 or 3.14'
  uv_request='3.12'
  commands=(python3.12 python3.13 python3.14 python3)
  patterns=("${HOME:-/nonexistent}"/.pyenv/versions/3.1[234].*/bin/python)
  # Nothing here embeds Python, so that a static interpreter will do.
  check='assert (3, 12) <= sys.version_info[:2] <= (3, 14)'
  named="${PYTHON_NEWEST:-}"
else
  venv=.venv
  wanted='Python 3.10'
  uv_request='3.10'
  commands=(python3.10 python3 python)
  patterns=("${HOME:-/nonexistent}"/.pyenv/versions/3.10.*/bin/python)
  check='assert sys.version_info[:2] == (3, 10)'
  named="${PYTHON:-}"
  case "${EXTRA:-}" in
    '') lock=requirements.lock ;;
    cuda) lock=requirements-cuda.lock ;;
    *) die "EXTRA=$EXTRA is unknown" \
         'Allowed: EXTRA=cuda, or nothing for a machine without NVIDIA GPU.' ;;
  esac
fi

system="$(uname -s) $(uname -m)"
if [[ "$system" != 'Linux x86_64' ]]; then
  die "this machine is '$system', but Linux on x86_64 is needed" \
    'Reverb and Launchpad are published for it alone. On another machine use' \
    'a container, for example: docker run -it python:3.10 bash'
fi

# --- Is there anything to do? ---------------------------------------------

stamp="$venv/.setup-stamp"
lock_sum="$(sha256sum <"$lock" | cut -d' ' -f1)"
project_sum="$(sha256sum <pyproject.toml | cut -d' ' -f1)"
[[ -z "$newest" ]] || project_sum='-' # The project is not installed there.
# The folder belongs to the key because environments cannot be moved.
key="$root $lock $lock_sum"

if [[ -f "$stamp" && -x "$venv/bin/python" ]]; then
  old="$(cat "$stamp")"
  if [[ "$old" == "$key $project_sum" ]]; then
    exit 0
  fi
else
  old=''
fi

install_project() {
  [[ -z "$newest" ]] || return 0
  "${pip[@]}" install --no-deps --no-build-isolation -e .
}

finish() {
  echo "$key $project_sum" >"$stamp"
  say "done: $venv is ready."
}

export PIP_DISABLE_PIP_VERSION_CHECK=1
export PIP_NO_INPUT=1
export PIP_ROOT_USER_ACTION=ignore
export PIP_NO_WARN_SCRIPT_LOCATION=1
# A user's setting must not send the packages elsewhere.
unset PIP_USER PIP_TARGET PIP_PREFIX PYTHONHOME PYTHONPATH
# Errors only: warnings about indices and deprecations do not help here.
pip=("$root/$venv/bin/python" -m pip --quiet --quiet)

if [[ -n "$old" && "$old" == "$key "* ]]; then
  say 'pyproject.toml changed: installing the project again (seconds).'
  install_project
  finish
  exit 0
fi

# --- An interpreter -------------------------------------------------------

rejected=()

# Whether $1 is an interpreter that will do: then it becomes $python, otherwise
# the reason is noted. A pyenv shim can be on the PATH and fail, hence running
# instead of looking.
usable() {
  local output
  output="$("$1" - 2>&1 <<PYTHON
import os, platform, sys, sysconfig
try:
  $check
except AssertionError:
  sys.exit('is Python ' + platform.python_version())
if platform.python_implementation() != 'CPython':
  sys.exit('is ' + platform.python_implementation() + ', not CPython')
try:
  import ensurepip, venv
except ImportError:
  sys.exit('cannot make environments: apt-get install python%d.%d-venv'
           % sys.version_info[:2])
if not '$newest':
  # Reverb and Launchpad link against it; Debian packages it separately.
  name = 'libpython%d.%d.so.1.0' % sys.version_info[:2]
  folders = [os.path.join(sys.base_prefix, 'lib'),
             sysconfig.get_config_var('LIBDIR') or '',
             '/usr/lib/x86_64-linux-gnu', '/usr/lib64']
  with open('/proc/self/maps') as maps:
    loaded = name in maps.read()
  if not loaded and not any(
      os.path.exists(os.path.join(folder, name)) for folder in folders):
    sys.exit('has no %s: apt-get install libpython%d.%d'
             % ((name,) + sys.version_info[:2]))
print(sys.executable)
PYTHON
)" && python="${output##*$'\n'}" && return 0
  # The last line of a traceback says most.
  rejected+=("$1 ${output##*$'\n'}")
  return 1
}

find_uv() {
  local candidate
  for candidate in uv .uv/venv/bin/uv .uv/packages/bin/uv \
    "${HOME:-/nonexistent}/.local/bin/uv"; do
    if "$candidate" --version >/dev/null 2>&1; then
      uv="$candidate"
      return 0
    fi
  done
  return 1
}

# uv into .uv, in an environment of its own or, where Debian's python3 has no
# venv, as a plain folder.
bootstrap_uv() {
  local base
  for base in python3 /usr/bin/python3 python; do
    "$base" -c 'import sys; assert sys.version_info >= (3, 8)' \
      >/dev/null 2>&1 || continue
    say "no $wanted found; fetching uv, which can download one."
    if "$base" -m venv --clear .uv/venv >/dev/null 2>&1 \
      && .uv/venv/bin/python -m pip install --quiet --quiet uv; then
      return 0
    fi
    rm -rf .uv/venv
    if "$base" -m pip install --quiet --quiet --target .uv/packages uv; then
      return 0
    fi
  done
  return 1
}

choose_python() {
  local candidate attempt
  if [[ -n "$named" ]]; then
    usable "$named" && return 0
    say "PYTHON: ${rejected[-1]}; looking for another."
  fi
  for candidate in "${commands[@]}"; do
    command -v "$candidate" >/dev/null && usable "$candidate" && return 0
  done
  for candidate in "${patterns[@]}"; do
    [[ -x "$candidate" ]] && usable "$candidate" && return 0
  done
  find_uv || { bootstrap_uv && find_uv; } || return 1
  for attempt in installed downloaded; do
    if [[ "$attempt" == downloaded ]]; then
      # Inside the project, so that `make clean` leaves nothing behind.
      export UV_PYTHON_INSTALL_DIR="$root/.uv/python"
      say "downloading Python $uv_request with uv (about 30 MB)."
      "$uv" python install --no-progress --no-bin "$uv_request" || return 1
    fi
    candidate="$(UV_PYTHON_DOWNLOADS=never "$uv" python find --system \
      "$uv_request" 2>/dev/null || true)"
    [[ -n "$candidate" ]] && usable "$candidate" && return 0
  done
  return 1
}

if ! choose_python; then
  lines=('Looked at $PYTHON, the PATH, ~/.pyenv and uv.')
  if ((${#rejected[@]})); then
    lines+=('Not usable:' "${rejected[@]/#/  }")
  fi
  die "no usable $wanted was found, and none could be downloaded" \
    "${lines[@]}" \
    'Do one of these, then run the same command again:' \
    "  - install uv and let it fetch one: pip install uv; uv python install $uv_request" \
    "  - pyenv install $uv_request" \
    '  - name an interpreter: PYTHON=/path/to/python make setup' \
    'A download needs access to the internet; look at the messages above.'
fi

# --- The environment ------------------------------------------------------

count="$(grep -c '^[A-Za-z0-9]' "$lock")"
say "using $python for $venv."
say "installing $count packages from $lock; this takes 1 to 5 minutes."
[[ "$lock" != requirements-cuda.lock ]] \
  || say 'the CUDA libraries alone are a download of about 3 GB.'

fail_install() {
  die "installing from $lock failed" \
    'The reason is in the messages above. Often: no internet access, a full' \
    'disk (3 GB are needed), or a proxy. The same command starts again.'
}

# Everything that an earlier attempt left, finished or not, is replaced.
rm -rf "$venv"
"$python" -m venv "$venv" || die "$python -m venv $venv failed" \
  'Install the venv module (Debian: apt-get install python3.10-venv).'

# dm-acme and gym have no wheels. They are built with the locked setuptools,
# so that a future one cannot break them.
build_tools="$(mktemp)"
trap 'rm -f "$build_tools"' EXIT
awk '/^(setuptools|wheel)==/ {on = 1} on {print} on && !/\\$/ {on = 0}' \
  "$lock" >"$build_tools"
if [[ -s "$build_tools" ]]; then
  "${pip[@]}" install --no-deps --require-hashes -r "$build_tools" \
    || fail_install
fi
"${pip[@]}" install --no-compile --no-deps --require-hashes \
  --no-build-isolation --use-pep517 -r "$lock" || fail_install
install_project || fail_install
# On all cores, where pip would take one. Some packages bring files that are no
# Python of this version.
"$venv/bin/python" -m compileall -qq -j 0 "$root/$venv/lib" || true
finish
