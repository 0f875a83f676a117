"""The statistics engine: pure functions over files, bytes and arrays; numpy and pyarrow live here and nowhere else."""
