"""Secrets that a test looks for where none may be."""

CHAP = "chap-canary-51e0c7"
STORED = "stored-canary-8d2f"
COMPLAINED = "complained-canary-a94b"
CANARIES = (CHAP, STORED, COMPLAINED)
