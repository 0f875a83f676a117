"""The only code that calls AWS, one module a service or a kind of record."""
