from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.sagemaker.executor import images, library_note
from local.sagemaker.executor.channels import Checkpoints, ClientError, download
from tests.executor.doubles import ACCOUNT, DictAws


@pytest.mark.parametrize(
    ("uri", "framework", "version"),
    [
        (f"{ACCOUNT}/sagemaker-xgboost:1.7-1", "xgboost", "1.7-1"),
        (f"{ACCOUNT}/sagemaker-xgboost:1.7-1-cpu-py3", "xgboost", "1.7-1"),
        (f"{ACCOUNT}/sagemaker-scikit-learn:1.4-2-cpu-py3", "scikit-learn", "1.4-2"),
        ("sagemaker-xgboost", "xgboost", "latest"),
        (f"{ACCOUNT}/sagemaker-xgboost@sha256:{'a' * 64}", "xgboost", "latest"),
    ],
)
def test_an_image_names_its_framework_and_version(uri: str, framework: str, version: str) -> None:
    assert images.resolve(uri) == images.Image(framework, version)  # type: ignore[arg-type]


def test_an_image_without_a_stand_in_is_refused_with_those_allowed() -> None:
    with pytest.raises(
        ValueError, match=r"'mine:1' cannot run here; allowed are .*sagemaker-xgboost.*sagemaker-scikit"
    ):
        images.resolve("mine:1")


def test_a_library_that_differs_from_the_images_is_said_and_one_that_does_not_is_not() -> None:
    here = images.installed("xgboost")
    major, minor, *_ = here.split(".")
    note = library_note(f"{ACCOUNT}/sagemaker-xgboost:1.2-1")
    assert note
    assert "xgboost 1.2-1" in note
    assert here in note
    assert library_note(f"{ACCOUNT}/sagemaker-xgboost:{major}.{minor}-1") is None
    assert library_note(f"{ACCOUNT}/sagemaker-xgboost:latest") is None
    assert library_note("mine:1.0") is None


def _downloaded(aws: DictAws, source: dict[str, str], target: Path) -> list[str]:
    download(aws, source, target)
    return sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://b/data/train/", ["a.csv", "deep/b.csv"]),
        ("s3://b/data/train", ["a.csv", "deep/b.csv", "train2/c.csv"]),
        ("s3://b/data/train/a.csv", ["a.csv"]),
        ("s3://b/data/tr", ["train/a.csv", "train/deep/b.csv", "train2/c.csv"]),
    ],
)
def test_a_prefix_is_matched_as_a_prefix(tmp_path: Path, uri: str, expected: list[str]) -> None:
    keys = ("train/", "train/a.csv", "train/deep/b.csv", "train2/c.csv", "other.csv")
    aws = DictAws({f"s3://b/data/{key}": b"1" for key in keys})
    assert _downloaded(aws, {"S3Uri": uri}, tmp_path) == expected


def test_a_manifest_lists_its_objects_exactly(tmp_path: Path) -> None:
    aws = DictAws({f"s3://b/data/{name}": b"1" for name in ("a", "b", "c")})
    aws.objects["s3://b/m"] = json.dumps([{"prefix": "s3://b/data/"}, "a", "c"]).encode()
    assert _downloaded(aws, {"S3DataType": "ManifestFile", "S3Uri": "s3://b/m"}, tmp_path) == ["a", "c"]


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (b"{", "is not a list"),
        (b"[]", "is not a list"),
        (b'["a"]', "is not a list"),
        (b'[{"prefix": "s3://b/"}]', "at least one"),
        (b'[{"prefix": "s3://b/"}, 5]', "only names"),
        (b'[{"prefix": "s3://b/"}, "missing"]', "there is no object s3://b/missing"),
        (b'[{"prefix": "s3://b/"}, "../b"]', r"only relative paths without '\.\.'"),
    ],
)
def test_a_wrong_manifest_is_refused(tmp_path: Path, manifest: bytes, reason: str) -> None:
    aws = DictAws({"s3://b/m": manifest, "s3://b/../b": b""})
    with pytest.raises(ClientError, match=reason):
        download(aws, {"S3DataType": "ManifestFile", "S3Uri": "s3://b/m"}, tmp_path)


def test_a_key_cannot_lead_out_of_the_channel(tmp_path: Path) -> None:
    aws = DictAws({"s3://b/in/../../escape": b"1"})
    with pytest.raises(ClientError, match="only relative paths"):
        download(aws, {"S3Uri": "s3://b/in/"}, tmp_path / "channel")
    assert not list(tmp_path.rglob("escape"))


def test_checkpoints_are_restored_and_only_what_is_new_and_whole_is_copied(tmp_path: Path) -> None:
    aws = DictAws({"s3://b/c/old.1": b"1", "s3://b/c/deep/old.2": b"2"})
    checkpoints = Checkpoints(aws, "s3://b/c/", tmp_path)
    assert (tmp_path / "deep" / "old.2").read_bytes() == b"2"
    aws.objects.clear()
    (tmp_path / "new.3").write_bytes(b"3")
    (tmp_path / "half.4.sagemaker-ignore").write_bytes(b"4")
    (tmp_path / "link").symlink_to("/etc/passwd")
    checkpoints.close()
    assert aws.objects == {"s3://b/c/new.3": b"3"}
