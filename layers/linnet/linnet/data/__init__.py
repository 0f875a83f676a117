"""What a run does with its data: the same code in a function and, where the data is too large for one, in a job."""
