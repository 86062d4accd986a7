"""How the model is made, judged, shipped and kept well."""
