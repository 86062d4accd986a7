"""How results are kept: shared through the DVC remote, recorded in dvc.lock."""
