"""The bus: events over Redis pub/sub. Hot code packs RESP itself and reads with ``hiredis.Reader``."""
