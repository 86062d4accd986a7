"""A release as it is published: a folder of three files, each named once, here."""

BUNDLE = "bundle.tar"
"""All that a release is made of, in one archive that can be made again to the byte."""
PROVENANCE = "provenance.json"
"""Of which commit, data and settings it was made, and by whom."""
SIGNATURE = "model.sig"
"""Who vouches for both: OpenSSF Model Signing of the folder."""
