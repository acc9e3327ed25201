"""``python -m hubnet``, and the console script: the command line, or one line that says what to install for it."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        import click  # noqa: F401
        import rich  # noqa: F401
    except ImportError:
        sys.exit("hubnet: the command line needs click and rich: pip install 'hubnet[cli]'")
    from hubnet.cli import command

    command()


if __name__ == "__main__":
    main()
