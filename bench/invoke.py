"""InvokeEndpoint on the local runtime against calling the same model in process."""

from __future__ import annotations

import io
import statistics
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb

from local.stack import Stack

ROOT = Path(__file__).parents[1]
CALLS = 300
ROLE = "arn:aws:iam::000000000000:role/bench"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"


def _model() -> tuple[xgb.Booster, bytes]:
    generator = np.random.default_rng(7)
    rows = generator.normal(size=(5000, 12))
    labels = (rows[:, 0] + rows[:, 1] * rows[:, 2] > 0).astype(int)
    booster = xgb.train({"objective": "binary:logistic", "max_depth": 5}, xgb.DMatrix(rows, labels), 100)
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "xgboost-model"
        path.write_bytes(bytes(booster.save_raw("ubj")))
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            archive.add(path, "xgboost-model")
    return booster, packed.getvalue()


def run() -> dict[str, Any]:
    """Ask both the same rows in turn; the endpoint's answer goes through boto3, HTTP, routing, metrics and capture."""
    booster, packed = _model()
    rows = np.random.default_rng(8).normal(size=(CALLS + 20, 12))
    lines = [",".join(f"{v:.6f}" for v in row) for row in rows]
    stack = Stack.start(rate=60, state=ROOT / "build" / "bench" / "stack.json")
    try:
        s3, sagemaker, runtime = (stack.client(name) for name in ("s3", "sagemaker", "sagemaker-runtime"))
        s3.create_bucket(Bucket="bench")
        s3.put_object(Bucket="bench", Key="model.tar.gz", Body=packed)
        sagemaker.create_model(
            ModelName="bench", ExecutionRoleArn=ROLE,
            PrimaryContainer={"Image": IMAGE, "ModelDataUrl": "s3://bench/model.tar.gz"},
        )  # fmt: skip
        sagemaker.create_endpoint_config(
            EndpointConfigName="bench",
            ProductionVariants=[
                {"VariantName": "blue", "ModelName": "bench", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
            ],
        )
        sagemaker.create_endpoint(EndpointName="bench", EndpointConfigName="bench")
        while sagemaker.describe_endpoint(EndpointName="bench")["EndpointStatus"] == "Creating":
            time.sleep(0.2)
        taken: dict[str, list[float]] = {"endpoint": [], "in_process": []}
        for turn, line in enumerate(lines):
            began = time.perf_counter()
            answer = runtime.invoke_endpoint(EndpointName="bench", ContentType="text/csv", Body=line)["Body"].read()
            middle = time.perf_counter()
            values = np.array([[float(v) for v in line.split(",")]])
            direct = float(booster.predict(xgb.DMatrix(values))[0])
            end = time.perf_counter()
            if abs(float(answer) - direct) > 1e-5:
                raise AssertionError((answer, direct))
            if turn >= 20:
                taken["endpoint"].append(middle - began)
                taken["in_process"].append(end - middle)
    finally:
        stack.stop()
    median = {name: statistics.median(times) for name, times in taken.items()}
    p99 = {name: sorted(times)[int(0.99 * len(times))] for name, times in taken.items()}
    overhead = 1000 * (median["endpoint"] - median["in_process"])
    ratio = round(median["endpoint"] / median["in_process"], 2)
    print(f"   endpoint {1000 * median['endpoint']:.2f} ms (p99 {1000 * p99['endpoint']:.2f}), in process "
          f"{1000 * median['in_process']:.2f} ms: {ratio}x, overhead {overhead:.2f} ms")  # fmt: skip
    return {
        "peer": "the same booster called in this process", "median_seconds": median, "p99_seconds": p99,
        "overhead_milliseconds": round(overhead, 2), "ratio": ratio, "goal": "reported, no limit set", "within_goal": True,
    }  # fmt: skip
