"""The chaos run: a net of real processes under load, struck by a seeded schedule, and a checker of what they noted down."""
