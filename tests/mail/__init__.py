"""Tests of the vocabulary: values in, values out."""
