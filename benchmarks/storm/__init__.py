"""The storm: peers, hubs and Redis die, freeze and come back, and an observer takes the time until hubnet has healed.

    python -m benchmarks.storm ROW --trials N      measure one row of docs/reliability.md
    python -m benchmarks.storm --table             the table of all that was measured, as Markdown

Every peer is a process of its own, and so is Redis, which a row starts, kills, freezes and restarts itself. The observer is this
process: it does the harm, reads the register in Redis, and compares what all of them noted by the machine's monotonic clock.
The short tests in tests/storm run the same rows for their outcomes alone.
"""
