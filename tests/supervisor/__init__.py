"""Tests of the supervisor's decisions, under time that the test makes."""
