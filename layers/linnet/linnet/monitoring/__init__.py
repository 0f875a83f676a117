"""The statistics engine: pure functions over files, bytes and arrays; numpy and pyarrow are imported here and nowhere else."""
