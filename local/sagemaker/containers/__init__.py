"""The programs that run inside a container: each in a process of its own, started by `local.sagemaker.executor`."""
