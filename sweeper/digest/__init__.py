"""Two whole tables compared by hashes that each database makes of its own rows."""
