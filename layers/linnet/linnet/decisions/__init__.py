"""Pure decisions: no boto3, no clock, no environment; the same input gives the same answer."""
