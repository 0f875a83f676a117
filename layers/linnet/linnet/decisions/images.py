"""Image URIs of SageMaker's own containers, as `sagemaker.image_uris.retrieve` gives them (looked up at build time).

Source: the SageMaker Python SDK's image_uri_config for xgboost and sklearn. The accounts differ by region.
"""

from __future__ import annotations

from linnet.errors import BadInputError

_ACCOUNTS = {
    "us-east-1": "683313688378",
    "us-east-2": "257758044811",
    "us-west-1": "746614075791",
    "us-west-2": "246618743249",
    "eu-central-1": "492215442770",
    "eu-west-1": "141502667606",
    "eu-west-2": "764974769150",
    "eu-west-3": "659782779980",
    "eu-north-1": "662702820516",
    "ap-northeast-1": "354813040037",
    "ap-northeast-2": "366743142698",
    "ap-south-1": "720646828776",
    "ap-southeast-1": "121021644041",
    "ap-southeast-2": "783357654285",
    "ca-central-1": "341280168497",
    "sa-east-1": "737474898029",
}


def image(algorithm: str, version: str, region: str) -> str:
    """Return the image of `xgboost` or `script` (scikit-learn) in a framework version and a region.

    Raises:
        BadInputError: the region is not in the table.
    """
    if region not in _ACCOUNTS:
        raise BadInputError("region", region, "one of " + ", ".join(sorted(_ACCOUNTS)))
    repository, tag = ("sagemaker-xgboost", version) if algorithm == "xgboost" else (
        "sagemaker-scikit-learn", f"{version}-cpu-py3"
    )  # fmt: skip
    return f"{_ACCOUNTS[region]}.dkr.ecr.{region}.amazonaws.com/{repository}:{tag}"
