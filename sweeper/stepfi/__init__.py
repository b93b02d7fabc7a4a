"""StepFi's part of the sweep: what each of its tables ought to hold, its rules, its links, its questions to the chain."""
