"""How all of it comes back when a bucket, a forge or a whole site is gone."""
