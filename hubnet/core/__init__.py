"""The rules: pure functions and small state machines that are told time, bytes and records.

Nothing in here opens a socket, starts a thread, reads a clock, Redis or the environment.
"""
