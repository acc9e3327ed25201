"""The bus on a real server."""
