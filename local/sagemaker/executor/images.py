"""What an image stands for on a laptop: there are no containers here, only the libraries that they carry."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

Framework = Literal["xgboost", "scikit-learn"]

_FRAMEWORKS: dict[str, Framework] = {"sagemaker-xgboost": "xgboost", "sagemaker-scikit-learn": "scikit-learn"}
_DISTRIBUTIONS = {"xgboost": ("xgboost-cpu", "xgboost"), "scikit-learn": ("scikit-learn",)}
_VERSION = re.compile(r"^(\d+)\.(\d+)(?:[.-](\d+))?(?:-|$)")


@dataclass(frozen=True)
class Image:
    """An image that the local stack can stand in for."""

    framework: Framework
    version: str
    """The framework version of the tag, such as `1.7-1`; other tags (`latest`, a digest) as they are."""


def resolve(uri: str) -> Image:
    """Return what an ECR image URI stands for.

    Raises:
        ValueError: for an image of which the local stack has no library; names those that are allowed.
    """
    repository, _, tag = re.split(r"@", uri, maxsplit=1)[0].rsplit("/", 1)[-1].partition(":")
    for name, framework in _FRAMEWORKS.items():
        if name in repository:
            return Image(framework, re.sub(r"-(cpu|gpu)(-py3)?$", "", tag) or "latest")
    raise ValueError(f"image {uri!r} cannot run here; allowed are images whose repository name contains {_allowed()}")


def _allowed() -> str:
    return " or ".join(repr(name) for name in _FRAMEWORKS)


@functools.cache
def installed(framework: Framework) -> str:
    """Return the version of the framework's library that runs here."""
    for name in _DISTRIBUTIONS[framework]:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    raise ValueError(f"{framework} is not installed: allowed are the distributions {_DISTRIBUTIONS[framework]}")


def library_note(uri: str) -> str | None:
    """Say how the library that runs here differs from the image's; None when major and minor version are the same.

    An image without a version in its tag, or one that cannot run here, has nothing to compare: also None.
    """
    try:
        image = resolve(uri)
    except ValueError:
        return None
    wanted, here = _VERSION.match(image.version), installed(image.framework)
    found = _VERSION.match(here)
    if wanted is None or found is None or wanted.groups()[:2] == found.groups()[:2]:
        return None
    return (
        f"the image carries {image.framework} {image.version}, the local stack runs {image.framework} {here}: "
        "results and model files may differ from those on AWS"
    )
