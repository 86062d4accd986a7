<<<<<<< HEAD
"""How a model is kept well once it serves."""
=======
"""Keeps a model well once it serves."""
>>>>>>> f4b4fed6d8c96e40fae0a0c008ba5524845b1390
