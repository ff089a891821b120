"""Tests of what is due and what may go: examples, a model, and proof that the model notices."""
