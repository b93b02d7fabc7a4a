"""StepFi's vocabulary: its events, entries, keys, statuses, amounts, settings and tables."""
