"""What hubnet costs, measured: ``python -m benchmarks.calls``. Nothing in here decides whether a test passes."""
