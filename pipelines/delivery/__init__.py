"""How a judged model leaves the repository: as a release."""
