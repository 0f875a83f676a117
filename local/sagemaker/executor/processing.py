"""Processing jobs: any program over files that come from S3 and go back there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from local.sagemaker.executor import images, sandbox
from local.sagemaker.executor.channels import ClientError, download, upload
from local.sagemaker.executor.jobs import ContainerJob, text
from local.sagemaker.executor.process import CPUS, environment
from local.sagemaker.ports import JobOutcome


class ProcessingJob(ContainerJob):
    """A processing job with ContainerEntrypoint; `python3` is the local stack's own interpreter."""

    group = "/aws/sagemaker/ProcessingJobs"

    def work(self) -> JobOutcome:
        """Download, run, upload."""
        specification = self.request["AppSpecification"]
        argv = [*specification.get("ContainerEntrypoint", []), *specification.get("ContainerArguments", [])]
        if not specification.get("ContainerEntrypoint"):
            raise ClientError("AppSpecification.ContainerEntrypoint is needed: an image's own cannot run here")
        if note := images.library_note(specification["ImageUri"]):
            self.log.write([f"NOTE: {note}"])
        for name in ("processing", "config", "output"):
            (self.ml / name).mkdir(parents=True)
        for given in self.request.get("ProcessingInputs", []):
            self._input(given)
        outputs = [self._output(given) for given in self.request.get("ProcessingOutputConfig", {}).get("Outputs", [])]
        self._configure()
        if not self.site.isolated:  # the paths in its arguments are all that can be redirected
            argv = [part.replace(f"{sandbox.OPT_ML}/", f"{self.ml}/") for part in argv]
        code = self.run_container(
            argv, self.seen / "processing", self._environment(), self.log.write, offline=self._offline()
        )
        if code == 0 and not self.asked:
            for directory, uri in outputs:
                upload(self.site.aws, directory, uri)
        message = text(self.ml / "output" / "message")
        outcome = self.ended(code, self.ml / "output" / "message")
        return JobOutcome(outcome.status, outcome.failure_reason, message, seconds=outcome.seconds)

    def _input(self, given: dict[str, Any]) -> None:
        name, source = given["InputName"], given.get("S3Input")
        if source is None:
            raise ClientError(f"input {name}: only S3Input is emulated")
        if source.get("S3InputMode", "File") != "File":
            raise ClientError(f"input {name}: S3InputMode {source['S3InputMode']} is not emulated: allowed is File")
        target = self._place(source.get("LocalPath", ""), name)
        download(self.site.aws, source, target, compression=source.get("S3CompressionType", "None"))

    def _output(self, given: dict[str, Any]) -> tuple[Path, str]:
        name, target = given["OutputName"], given.get("S3Output")
        if target is None:
            raise ClientError(f"output {name}: only S3Output is emulated")
        if target.get("S3UploadMode") == "Continuous":
            self.log.write([f"NOTE: output {name}: S3UploadMode Continuous is emulated as EndOfJob"])
        return self._place(target["LocalPath"], name), target["S3Uri"]

    def _place(self, path: str, name: str) -> Path:
        base = sandbox.OPT_ML / "processing"
        if not Path(path).is_relative_to(base) or ".." in Path(path).parts:
            raise ClientError(f"LocalPath of {name}: {path!r} is not below {base}, the only place emulated")
        place = self.ml / Path(path).relative_to(sandbox.OPT_ML)
        place.mkdir(parents=True, exist_ok=True)
        return place

    def _configure(self) -> None:
        files = {
            "processingjobconfig": self.request,
            "resourceconfig": {"current_host": "algo-1", "hosts": ["algo-1"]},
        }
        for name, content in files.items():
            (self.ml / "config" / f"{name}.json").write_text(json.dumps(content, default=str), encoding="utf-8")

    def _environment(self) -> dict[str, str]:
        credentials = {} if self._offline() else self.site.credentials
        found = {"PROCESSING_JOB_NAME": self.name}
        return environment(self.home(), CPUS, credentials, self.request.get("Environment", {}), found)

    def _offline(self) -> bool:
        return bool(self.request.get("NetworkConfig", {}).get("EnableNetworkIsolation"))
