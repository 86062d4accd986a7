"""The server's speed, beside others."""
