"""Print the requirements in pyproject.toml beside this file, for an image layer that outlives code changes.

Usage: dependencies.py [--build | EXTRA ...]
"""

import pathlib
import sys

try:
    import tomllib
except ImportError:  # Python 3.10
    from pip._vendor import tomli as tomllib

PYPROJECT = tomllib.loads(pathlib.Path(__file__).with_name("pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]

if sys.argv[1:] == ["--build"]:
    requirements = PYPROJECT["build-system"]["requires"]
else:
    extras = PROJECT.get("optional-dependencies", {})
    requirements = [*PROJECT["dependencies"], *(line for extra in sys.argv[1:] for line in extras[extra])]
print("\n".join(requirements))
