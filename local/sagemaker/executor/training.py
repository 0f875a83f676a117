"""Training jobs: the container contract of /opt/ml, checkpoints, metrics out of the log, model.tar.gz."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.sagemaker.executor import archives, images, sandbox
from local.sagemaker.executor.channels import Checkpoints, ClientError, download
from local.sagemaker.executor.jobs import ContainerJob
from local.sagemaker.executor.process import CPUS, environment, program
from local.sagemaker.ports import JobOutcome

_XGBOOST_LINE = re.compile(r"^\[\d+\](?=#011)")
_XGBOOST_METRIC = re.compile(r"#011(train|validation)-([^:\s#]+):(\S+?)(?=#011|\s|$)")


class TrainingJob(ContainerJob):
    """A training job: the built-in XGBoost algorithm, or a user's script."""

    group = "/aws/sagemaker/TrainingJobs"

    def work(self) -> JobOutcome:
        """Download, train, upload."""
        given: Mapping[str, str] = self.request.get("HyperParameters", {})
        scripted = "sagemaker_submit_directory" in given
        argv = self._command(scripted=scripted)
        self.report.secondary("Downloading", "Downloading input data")
        for name in ("model", "code", "output/data", "input/config", "input/data"):
            (self.ml / name).mkdir(parents=True, exist_ok=True)
        channels = self._channels()
        if scripted:
            self._code(given)
        self._configure(given, channels)
        checkpoints = self._checkpoints()
        self.report.secondary("Training", "Training image download completed. Training in progress.")
        if checkpoints:
            checkpoints.start()
        try:
            code = self.run_container(
                argv,
                self.seen / "code",
                self._environment(channels),
                self._lines,
                offline=self.request.get("EnableNetworkIsolation", False),
            )
        finally:
            if checkpoints:
                checkpoints.close()
        return self._uploaded(code)

    def _command(self, *, scripted: bool) -> list[str]:
        """Return what stands for the image's entry point; refuse what has no stand-in."""
        algorithm = self.request["AlgorithmSpecification"]
        for definition in algorithm.get("MetricDefinitions", []):
            try:
                re.compile(definition["Regex"])
            except re.error as error:
                reason = f"{definition['Regex']!r} is not a regular expression: {error}"
                raise ClientError(f"MetricDefinitions: {reason}") from error
        if note := images.library_note(algorithm["TrainingImage"]):
            self.log.write([f"NOTE: {note}"])
        if entry := algorithm.get("ContainerEntrypoint"):
            return [*entry, *algorithm.get("ContainerArguments", [])]
        try:
            image = images.resolve(algorithm["TrainingImage"])
        except ValueError as error:
            raise ClientError(str(error)) from error
        if image.framework == "scikit-learn" and not scripted:
            raise ClientError("HyperParameters: script mode needs sagemaker_program and sagemaker_submit_directory")
        return program("script_mode" if scripted else "xgboost_algorithm")

    # -- before -------------------------------------------------------------------------------------------------------

    def _channels(self) -> dict[str, dict[str, str]]:
        """Download the channels; return what inputdataconfig.json says of them."""
        found: dict[str, dict[str, str]] = {}
        default = self.request["AlgorithmSpecification"].get("TrainingInputMode", "File")
        for channel in self.request.get("InputDataConfig", []):
            name, mode = channel["ChannelName"], channel.get("InputMode", default)
            source = channel["DataSource"].get("S3DataSource")
            if source is None:
                raise ClientError(f"channel {name}: of DataSource only S3DataSource is emulated")
            if mode == "Pipe":
                raise ClientError(f"channel {name}: InputMode Pipe is not emulated: allowed are File and FastFile")
            if mode == "FastFile":
                self.log.write([f"NOTE: channel {name}: FastFile is emulated as File, all data is copied first"])
            if channel.get("RecordWrapperType", "None") != "None":
                raise ClientError(f"channel {name}: RecordWrapperType RecordIO is not emulated: allowed is None")
            if self.request["ResourceConfig"].get("InstanceCount", 1) > 1 and not found:
                self.log.write(["NOTE: several instances are emulated by one host, algo-1, which gets all data"])
            target = self.ml / "input" / "data" / name
            target.mkdir()
            download(self.site.aws, source, target, compression=channel.get("CompressionType", "None"))
            found[name] = {
                "TrainingInputMode": "File",
                "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
                "RecordWrapperType": "None",
            } | ({"ContentType": channel["ContentType"]} if "ContentType" in channel else {})
        return found

    def _code(self, given: Mapping[str, str]) -> None:
        uri = str(_decoded(given.get("sagemaker_submit_directory", "")))
        if uri.startswith("s3://"):
            try:
                archives.unpack(self.site.aws.get_object(uri), self.ml / "code")
            except FileNotFoundError as error:
                raise ClientError(f"sagemaker_submit_directory: there is no object {uri}") from error
        elif not uri.startswith(f"{sandbox.OPT_ML}/"):
            raise ClientError(f"sagemaker_submit_directory: {uri!r} is neither an s3:// URI nor below /opt/ml")
        if (self.ml / "code" / "requirements.txt").exists():
            self.log.write(["NOTE: requirements.txt is not installed: the local stack has its own libraries"])

    def _configure(self, given: Mapping[str, str], channels: Mapping[str, Any]) -> None:
        instance = self.request["ResourceConfig"].get("InstanceType", "ml.m5.large")
        group = {"instance_group_name": "homogeneousCluster", "instance_type": instance, "hosts": ["algo-1"]}
        resources = {
            "current_host": "algo-1",
            "current_instance_type": instance,
            "current_group_name": "homogeneousCluster",
            "hosts": ["algo-1"],
            "instance_groups": [group],
            "network_interface_name": "lo",
        }
        files = {"hyperparameters": dict(given), "inputdataconfig": channels, "resourceconfig": resources}
        if "CheckpointConfig" in self.request:
            files["checkpointconfig"] = {"LocalPath": str(self.seen / self._checkpoint_path())}
        for name, content in files.items():
            (self.ml / "input" / "config" / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")

    def _checkpoint_path(self) -> Path:
        path = Path(self.request["CheckpointConfig"].get("LocalPath", "/opt/ml/checkpoints"))
        if ".." in path.parts or not path.is_relative_to(sandbox.OPT_ML) or path == sandbox.OPT_ML:
            raise ClientError(f"CheckpointConfig.LocalPath: {str(path)!r} is not below /opt/ml, as it must be here")
        return path.relative_to(sandbox.OPT_ML)

    def _checkpoints(self) -> Checkpoints | None:
        if "CheckpointConfig" not in self.request:
            return None
        return Checkpoints(self.site.aws, self.request["CheckpointConfig"]["S3Uri"], self.ml / self._checkpoint_path())

    def _environment(self, channels: Mapping[str, Any]) -> dict[str, str]:
        name = self.name
        seen = {
            "SM_INPUT_DIR": "input",
            "SM_INPUT_CONFIG_DIR": "input/config",
            "SM_OUTPUT_DIR": "output",
            "SM_OUTPUT_DATA_DIR": "output/data",
            "SM_OUTPUT_INTERMEDIATE_DIR": "output/intermediate",
            "SM_MODEL_DIR": "model",
            "SM_MODULE_DIR": "code",
            **{f"SM_CHANNEL_{channel.upper()}": f"input/data/{channel}" for channel in channels},
        }
        found = {
            "TRAINING_JOB_NAME": name,
            "SM_CURRENT_HOST": "algo-1",
            "SM_HOSTS": '["algo-1"]',
            "SM_NETWORK_INTERFACE_NAME": "lo",
            "SM_CHANNELS": json.dumps(sorted(channels)),
            "SM_INPUT_DATA_CONFIG": json.dumps(channels),
            "SM_RESOURCE_CONFIG": (self.ml / "input" / "config" / "resourceconfig.json").read_text(encoding="utf-8"),
            "SM_CURRENT_INSTANCE_TYPE": self.request["ResourceConfig"].get("InstanceType", "ml.m5.large"),
            "SM_NUM_CPUS": str(CPUS),
            "SM_NUM_GPUS": "0",
            "SM_LOG_LEVEL": "20",
            **{variable: str(self.seen / path) for variable, path in seen.items()},
        }
        credentials = {} if self.request.get("EnableNetworkIsolation") else self.site.credentials
        return environment(self.home(), CPUS, credentials, self.request.get("Environment", {}), found)

    # -- while --------------------------------------------------------------------------------------------------------

    def _lines(self, lines: list[str]) -> None:
        # SageMaker's log agent writes a tab as #011; MetricDefinitions are matched against such lines.
        lines = [line.replace("\t", "#011") for line in lines]
        self.log.write(lines)
        latest: dict[str, float] = {}
        for line in lines:
            for name, value in self._measured(line):
                try:
                    latest[name] = float(value)
                except ValueError:
                    continue
        for name, number in latest.items():
            if math.isfinite(number):
                self.report.metric(name, number)

    def _measured(self, line: str) -> list[tuple[str, str]]:
        found = []
        if _XGBOOST_LINE.match(line):
            found = [(f"{data}:{metric}", value) for data, metric, value in _XGBOOST_METRIC.findall(line)]
        for definition in self.request["AlgorithmSpecification"].get("MetricDefinitions", []):
            if match := re.search(definition["Regex"], line):
                found.append((definition["Name"], match[1] if match.re.groups else match[0]))
        return found

    # -- after --------------------------------------------------------------------------------------------------------

    def _uploaded(self, code: int | None) -> JobOutcome:
        """Upload what the container left: always after a good end, after a stop whatever there is of a model."""
        good = code == 0 and not self.asked
        left = any((self.ml / "model").iterdir())
        artifacts = ""
        if good or (left and self.asked in ("Stopped", "MaxRuntimeExceeded")):
            self.report.secondary("Uploading", "Uploading generated training model")
            base = f"{self.request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{self.name}/output"
            artifacts = f"{base}/model.tar.gz"
            self.site.aws.put_object(artifacts, archives.pack(self.ml / "model"))
            if any((self.ml / "output" / "data").iterdir()):
                self.site.aws.put_object(f"{base}/output.tar.gz", archives.pack(self.ml / "output" / "data"))
        return self.ended(code, self.ml / "output" / "failure", model_artifacts=artifacts)


def _decoded(value: str) -> Any:
    """Return a hyperparameter as the SageMaker SDK means it: JSON where it is JSON."""
    try:
        return json.loads(value)
    except ValueError:
        return value
