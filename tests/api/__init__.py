"""The decorators as a user meets them, across real processes."""
