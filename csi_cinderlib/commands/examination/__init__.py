"""What `doctor` and `check` look at. Each module yields findings, and changes nothing."""
