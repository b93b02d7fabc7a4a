"""The demonstration: an application database that drifts from its chain, found and repaired."""
