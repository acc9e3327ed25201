"""Version 1 of an application."""
