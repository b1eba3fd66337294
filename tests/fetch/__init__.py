"""Tests of the fetcher."""
