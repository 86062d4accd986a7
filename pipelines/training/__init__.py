"""How the model is made: ingest, prepare, train, quantize, evaluate."""
