"""Callers' keys: what each may do, what it has spent, and whether its next request may pass."""
