"""mailbridge: joins ordinary mail programs to things that do not speak mail, or do it badly."""

__version__ = "0.1.0"
