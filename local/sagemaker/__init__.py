"""SageMaker on a laptop: control plane, jobs, endpoints and runtime with real training and real serving."""
