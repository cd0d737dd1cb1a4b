"""Watching the raw folders: take in, compute and report whatever has arrived whole."""
