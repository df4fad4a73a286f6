#!/usr/bin/env bash
#
# Resolves pyproject.toml and requirements-*.in again and writes the four hashed
# locks. uv.lock stays behind for the next time but is not committed: it
# holds the addresses of whichever registry was used here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

uv="${UV:-}"
for candidate in "$uv" uv .uv/bin/uv .uv/venv/bin/uv "$HOME/.local/bin/uv"; do
  if [[ -n "$candidate" ]] && "$candidate" --version >/dev/null 2>&1; then
    uv="$candidate"
    break
  fi
  uv=''
done
if [[ -z "$uv" ]]; then
  echo 'make lock: uv is missing. Install it (pip install uv) or name it:' >&2
  echo '  UV=/path/to/uv make lock' >&2
  exit 1
fi

# uv wants a Python 3.10 for the packages that have to be built to be read.
python="${PYTHON:-.venv/bin/python}"
"$uv" lock --quiet --python "$python"

export_lock() {
  "$uv" export --quiet --frozen --all-groups --no-emit-project \
    --no-header "$@"
}
export_lock -o requirements.lock >/dev/null
export_lock --extra cuda -o requirements-cuda.lock >/dev/null
"$uv" pip compile --quiet --universal --upgrade --python-version 3.12 \
  --generate-hashes --no-header --no-emit-index-url --no-emit-find-links \
  -o requirements-newest.lock requirements-newest.in >/dev/null
"$uv" pip compile --quiet --upgrade --python-version 3.10 \
  --generate-hashes --no-header --no-emit-index-url --no-emit-find-links \
  -o requirements-docs.lock requirements-docs.in >/dev/null
echo 'Wrote requirements.lock, requirements-cuda.lock, requirements-newest.lock'
echo 'and requirements-docs.lock.'
