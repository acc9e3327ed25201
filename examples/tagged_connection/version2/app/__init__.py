"""Version 2 of the same application, in which modules and functions were renamed."""
