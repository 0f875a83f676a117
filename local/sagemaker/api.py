"""SageMaker's requests, answers and errors, as botocore's own service model states them.

botocore checks types, required and unknown members and lower bounds on the client's side; the service also checks
enumerations, patterns and upper bounds, so both are done here and worded as the service words them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape
from botocore.validate import ParamValidator

# Java's Unicode classes, which Python's `re` lacks, as ranges for the inside of a character class. Marks, separators,
# symbols and punctuation are cut to the common blocks.
_JAVA_CLASSES = {
    r"\p{Alnum}": "a-zA-Z0-9",
    r"\p{L}": r"\w",
    r"\p{N}": r"\w",
    r"\p{M}": r"\u0300-\u036f",
    r"\p{Z}": r" \u00a0\u2000-\u200a\u2028\u2029\u202f\u3000",
    r"\p{S}": r"$+<=>^`|~\u00a2-\u00a9\u00ac-\u00b1\u00b4\u00d7\u00f7\u20a0-\u20bf\u2100-\u2bff",
    r"\p{P}": r"!-#%-*,-/:;?@\[-\]_{}\u00a1\u00a7\u00ab\u00b6\u00b7\u00bb\u00bf\u2010-\u205e\u3001-\u3011",
}


class ApiError(Exception):
    """An error answer of the service.

    Attributes:
        code: the error code that clients match on, such as `ValidationException` or `ResourceInUse`.
        message: the text.
        status: the HTTP status.
        fields: further members of the error's shape (ModelError has OriginalStatusCode and others).
    """

    def __init__(self, code: str, message: str, status: int = 400, **fields: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.fields = fields


def invalid(message: str) -> ApiError:
    """Return the ValidationException with which SageMaker answers almost everything it refuses."""
    return ApiError("ValidationException", message)


def not_emulated(what: str) -> ApiError:
    """Return the error for what SageMaker has and this emulation has not; no answer is better than a wrong one."""
    return ApiError("NotEmulatedException", f"The local SageMaker does not emulate {what}", 501)


@cache
def service_model() -> ServiceModel:
    """Return botocore's model of SageMaker; loaded once, because it is 5 MB of JSON."""
    return ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")


@cache
def _pattern(java: str) -> re.Pattern[str]:
    for name, ranges in _JAVA_CLASSES.items():
        java = java.replace(name, ranges)
    java = java.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010ffff")
    java = re.sub(
        r"\$\{[\d,]+\}$", "", java
    )  # CustomerMetadataKey's has a count behind its end; the length says it too
    return re.compile(java, re.DOTALL)


def operation_model(operation: str) -> OperationModel:
    """Return an operation's model. Raises ApiError(UnknownOperationException) for a name that SageMaker lacks."""
    model = service_model()
    if operation not in model.operation_names:
        raise ApiError("UnknownOperationException", f"SageMaker has no operation {operation!r}")
    return model.operation_model(operation)


def check_request(operation: str, params: Mapping[str, Any]) -> None:
    """Refuse what the service refuses about a request's form.

    Raises:
        ApiError: UnknownOperationException, or ValidationException naming each field, its value and what is allowed.
    """
    shape = operation_model(operation).input_shape
    if shape is None:
        return
    if misshapen := _misshapen(params, shape):
        raise invalid(misshapen)
    if errors := list(_violations(params, shape, "")):
        plural = "s" if len(errors) > 1 else ""
        raise invalid(f"{len(errors)} validation error{plural} detected: {'; '.join(errors)}")


def check_response(operation: str, answer: Mapping[str, Any]) -> None:
    """Raise AssertionError when an answer does not fit the operation's output shape.

    SageMaker itself leaves out `ModelArtifacts` of a training job that has none yet, and `ModelPackageName` of a
    version, although its model requires them.
    """
    shape = operation_model(operation).output_shape
    if shape is None:
        if answer:
            raise AssertionError(f"{operation} answers nothing, not {answer}")
        return
    if operation == "DescribeTrainingJob":
        answer = {"ModelArtifacts": {"S3ModelArtifacts": "s3://none/yet"}, **answer}
    if operation == "DescribeModelPackage":
        answer = {"ModelPackageName": "none", **answer}
    if misshapen := _misshapen(answer, shape):
        raise AssertionError(f"{operation}: {misshapen}")
    if errors := list(_violations(answer, shape, "")):
        raise AssertionError(f"{operation}: {'; '.join(errors)}")


def _misshapen(params: Mapping[str, Any], shape: Shape) -> str:
    """Return botocore's report on types, required and unknown members; its bounds name no value, ours below do."""
    report: Any = ParamValidator().validate(dict(params), shape)
    report._errors = [error for error in report._errors if error[0] not in {"invalid length", "invalid range"}]
    return str(report.generate_report())


def _violations(value: Any, shape: Shape, path: str) -> Iterator[str]:
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            if name in value:
                told = name[0].lower() + name[1:]  # as in 'productionVariants.1.member.instanceType'
                yield from _violations(value[name], member, f"{path}.{told}" if path else told)
    elif isinstance(shape, ListShape):
        yield from _size(value, shape, path)
        for number, item in enumerate(value, 1):
            yield from _violations(item, shape.member, f"{path}.{number}.member")
    elif isinstance(shape, MapShape):
        yield from _size(value, shape, path)
        for key, item in value.items():
            yield from _violations(key, shape.key, f"{path}.key")
            yield from _violations(item, shape.value, f"{path}.{key}.value")
    elif shape.type_name == "string":
        yield from _string(value, shape, path)
    elif shape.type_name in {"integer", "long", "float", "double"}:
        yield from _number(value, shape, path)


def _constraint(value: Any, path: str, allowed: str) -> str:
    return f"Value {value!r} at '{path}' failed to satisfy constraint: Member must {allowed}"


def _size(value: Any, shape: Shape, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min", 0), shape.metadata.get("max")
    if len(value) < least:
        yield _constraint(value, path, f"have length greater than or equal to {least}")
    if most is not None and len(value) > most:
        yield _constraint(value, path, f"have length less than or equal to {most}")


def _string(value: str, shape: Any, path: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield _constraint(value, path, f"satisfy enum value set: [{', '.join(shape.enum)}]")
    yield from _size(value, shape, path)
    pattern = shape.metadata.get("pattern")
    if pattern and not _pattern(pattern).fullmatch(value):
        yield _constraint(value, path, f"satisfy regular expression pattern: {pattern}")


def _number(value: float, shape: Shape, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and value < least:
        yield _constraint(value, path, f"have value greater than or equal to {least}")
    if most is not None and value > most:
        yield _constraint(value, path, f"have value less than or equal to {most}")


def shaped(shape: StructureShape | str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return those entries of a record that the shape has; a string names the operation whose answer it is."""
    if isinstance(shape, str):
        shape = output_shape(shape)
    return {name: record[name] for name in shape.members if record.get(name) is not None}


def output_shape(operation: str) -> StructureShape:
    """Return the shape of an operation's answer. Raises ApiError for an operation that answers nothing."""
    shape = operation_model(operation).output_shape
    if shape is None:
        raise ApiError("InternalFailure", f"{operation} has no answer", 500)
    return shape
