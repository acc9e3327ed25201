"""Links on loopback: real sockets, no register, no Redis."""
