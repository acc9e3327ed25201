"""Properties are tried on few examples on a laptop and on many in CI: the whole folder takes seconds."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_patient = settings(
    deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)  # a busy machine is no failure
settings.register_profile("laptop", _patient, max_examples=15)
settings.register_profile("ci", _patient, max_examples=80, print_blob=True)
settings.load_profile("ci" if os.environ.get("HUBNET_CI") == "1" else "laptop")
