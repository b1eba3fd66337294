"""Tests of the embedded OCE."""
