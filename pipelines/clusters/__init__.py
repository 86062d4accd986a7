"""Kubernetes: what overlays render to, whether it holds, and how a cluster gets it."""
