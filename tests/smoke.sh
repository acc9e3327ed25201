#!/usr/bin/env bash
# Installs the wheel, and once the sdist, out of $1/dist on each Python 3.10 to 3.13 that is here, and lets two peers call.
set -euo pipefail
work=$1
cd "$work"
cat >smoke.py <<'PY'
import os, subprocess, sys
import hubnet

def double(x):
    return 2 * x

remote = hubnet.connect("double")(double)
if "hub" in sys.argv:
    hubnet.serve()
    sys.exit()
hub = subprocess.Popen([sys.executable, __file__, "hub"], env={**os.environ, "HUBNET_IS_HUB": "1"})
try:
    assert remote(21, peer=hubnet.wait_for(1, hubs_only=True)[0]) == 42
    print("hubnet", hubnet.__version__, "works on Python", sys.version.split()[0])
finally:
    hub.terminate()
    hub.wait()
PY
found=0
for version in 3.10 3.11 3.12 3.13; do
  python=$(command -v "python$version" || true)
  if ! "${python:-false}" -c '' 2>/dev/null && command -v pyenv >/dev/null; then
    python=$(ls -d "$(pyenv root)/versions/$version".*/bin/python 2>/dev/null | tail -n 1)
  fi
  if ! "${python:-false}" -c 'import venv' 2>/dev/null; then echo "no Python $version here"; continue; fi
  for package in dist/*.whl dist/*.tar.gz; do
    case $package in *.tar.gz) [ "$found" = 0 ] || continue ;; esac
    "$python" -m venv --clear "env$version"
    "env$version/bin/pip" -q install "$package[embedded,cli]"
    mkdir -p "tmp$version"
    TMPDIR="$work/tmp$version" HUBNET_PORT=0 timeout 60 "env$version/bin/python" smoke.py
    "env$version/bin/hubnet" --help >/dev/null
  done
  found=$((found + 1))
done
[ "$found" -gt 0 ]
