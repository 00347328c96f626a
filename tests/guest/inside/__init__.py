"""Real storage inside of a guest: each module sets one thing up and takes it down again. Imported by tests in guests only."""
