"""A world in this process's memory: streams, a network and a broker without sockets or Redis."""
