"""Serve `functions.machine`. In a terminal: HUBNET_GROUP=servers python server.py"""

import functions  # noqa: F401 - importing it is what serves it

import hubnet

if __name__ == "__main__":
    hubnet.serve()
