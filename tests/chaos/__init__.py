"""The chaos run: a net of real processes under load, struck by a seeded schedule, and a checker of what they noted down.

``python -m tests.chaos --minutes 2 --seed 1`` storms; ``--calls 100000`` goes on until so many calls have an outcome; ``--soak
--minutes 30`` storms not, and watches memory at half of full speed. Broken promises are printed, and the run ends with 1; then,
or with ``--keep FOLDER``, the ledgers and logs stay. A seed deals the same blows at the same moments; what they meet differs.

``schedule`` deals blows, ``stage`` has the processes and carries blows out, ``relay`` is the network that can be cut, ``actors``
are the processes, ``eye`` listens for presence, ``ledger`` is what each notes, ``checker`` reads it, and ``accounts`` what is
there of events.
"""
