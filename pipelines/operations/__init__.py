"""How a model is kept well once it serves."""
