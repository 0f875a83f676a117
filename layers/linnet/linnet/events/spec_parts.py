"""What the parts of a model's spec are made of: the frozen base, patterns, and their meaning in words."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MODEL = r"^[a-z][a-z0-9]{0,15}(-[a-z0-9]{1,15}){0,2}$"
NAME = r"^[A-Za-z_][A-Za-z0-9_.]{0,63}$"
INSTANCE_TYPE = r"^ml\.[a-z0-9-]+\.[a-z0-9]+$"
VERSION = r"^[0-9]+\.[0-9]+(-[0-9]+)?$"
SCRIPT = r"^[A-Za-z0-9_][A-Za-z0-9_./-]{0,100}\.py$"
ARCHIVE = r"^code/[A-Za-z0-9_./-]+\.tar\.gz$"
EMAIL = r"^[^@\s]+@[^@\s]+$"
TAG_VALUE = r"^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$"
BASELINE = r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/baselines/[A-Za-z0-9_./=-]{1,500}$"
SEASON = r"^[a-z0-9][a-z0-9-]{0,29}$"
PARAMETER = r"^[A-Za-z_][A-Za-z0-9_.-]{0,255}$"
WORDS = {
    MODEL: "lower case letters, digits and single hyphens, a letter first, such as churn-eu",
    NAME: "a column name: letters, digits, _ and ., at most 64, such as dep_delay",
    INSTANCE_TYPE: "a SageMaker instance type such as ml.m5.xlarge",
    VERSION: "the image's version in quotes, such as '1.7-1'",
    SCRIPT: "the path of a Python file inside the archive, such as train.py",
    ARCHIVE: "a key of the data bucket such as code/<model>/sourcedir.tar.gz",
    EMAIL: "an e-mail address",
    TAG_VALUE: "letters, digits, spaces and _ . : / = + - @",
    BASELINE: "a folder s3://<data bucket>/baselines/<folder> with statistics.json and constraints.json",
    SEASON: "a season's name: lower case letters, digits and hyphens, at most 30, such as christmas",
    PARAMETER: "a hyperparameter's name: letters, digits, _ . and -",
}
"""What the patterns mean, for people."""
COLUMN = Annotated[str, Field(pattern=NAME)]
INSTANCE = Annotated[str, Field(pattern=INSTANCE_TYPE)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Part(BaseModel):
    """A part of the spec: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)
