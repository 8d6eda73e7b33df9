"""Parts of screens, one a file. They get a View and keep nothing else."""
