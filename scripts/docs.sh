#!/usr/bin/env bash
#
# Builds the site of README.md, CONTRIBUTING.md, BUILD_NOTES.md and docs/, with
# an API reference; warnings are errors. The pages are copied as they lie in the
# repository, so that the links between them hold in both places.
#
#   scripts/docs.sh [FOLDER]    # build/site if none is given.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

site="${1:-build/site}"
rm -rf build/pages
mkdir -p build/pages
cp -r README.md CONTRIBUTING.md BUILD_NOTES.md LICENSE docs examples build/pages
# MkDocs is pinned below 2, of which Material would warn.
NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet \
  --site-dir "$(realpath "$site")"
echo "Wrote $site/index.html."
