"""The laptop: starts the emulator, deploys the real template.yaml into it and plays SageMaker."""
