"""The composition root: settings become objects here, once, and nowhere else."""
