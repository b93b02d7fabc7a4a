"""StepFi's part of the stream: which facts its events tell, and how each kind of them is folded."""
