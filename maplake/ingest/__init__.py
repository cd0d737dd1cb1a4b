"""The one way through: discover, read, align, stage, commit."""
