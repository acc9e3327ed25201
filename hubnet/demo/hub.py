"""The hub of the render farm; with no Redis set up it brings one of its own. `hubnet hub` does the same by hand."""

from __future__ import annotations

import hubnet
from hubnet.demo.processes import leave_with_parent

if __name__ == "__main__":
    hubnet.configure(is_hub=True)
    leave_with_parent()
    hubnet.serve()
