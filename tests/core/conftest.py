"""Properties are tried on few examples on a laptop and on many in CI: the whole folder takes seconds."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("laptop", max_examples=15, deadline=None, database=None)
settings.register_profile("ci", max_examples=80, deadline=None, database=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("HUBNET_CI") == "1" else "laptop")
