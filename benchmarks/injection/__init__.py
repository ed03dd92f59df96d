"""Fault injection: what ``benchmarks/faults.py`` kills, mutates and counts."""
