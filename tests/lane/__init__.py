"""Tests of delivery: how connections are made, and what is said on them."""
