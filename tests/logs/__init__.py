"""Tests of mailbridge/logs."""
