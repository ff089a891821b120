"""Tests of where mail goes."""
