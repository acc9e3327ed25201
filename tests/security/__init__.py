"""Attacks: each of the plan's attack list is a test here, by its number."""
