"""Performed notes to written notes, in quarter lengths. Never imports `hearing`."""
