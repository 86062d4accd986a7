"""How a change is judged and shown."""
