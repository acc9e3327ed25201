"""The register on a real server."""
