"""The render farm of `hubnet demo`: a real animation, each frame rendered by whoever has joined the net.

`renderer`, `mitsuba_renderer`, `mitsuba_scene` and `film` know nothing of hubnet: they turn a job into a
picture and pictures into a film, in one process, and are tested that way. The farm above them decides who
renders what.
"""
