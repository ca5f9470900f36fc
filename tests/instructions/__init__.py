"""Instruction counts of the core's hot loops, counted by valgrind and held by a test."""
