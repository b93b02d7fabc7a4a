"""The vocabulary: what every room of chaintrue may speak of. Imports nothing above it."""
