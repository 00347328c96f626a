"""Checks of `doctor` and `check`. Each module yields findings and changes nothing."""
