"""What the project promises about speed and memory, measured: `make bench`."""
