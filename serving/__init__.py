"""How the model is reached: every common inference protocol over HTTP and gRPC, small, fast and observable."""
