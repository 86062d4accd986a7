"""Keeps a model well once it serves."""
