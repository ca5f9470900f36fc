"""Fuzzing of the compiled core's C headers: targets, seeds, and what runs them."""
