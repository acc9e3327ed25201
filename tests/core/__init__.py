"""The rules, one file per room of hubnet/core: no thread, no sleep, no socket."""
