"""What a call of AWS can raise: which of it is worth another try, and what it means to a person.

Translates botocore's and s3transfer's errors once, for all of `ghostpen.aws`. Must not call AWS.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from ghostpen.errors import CloudError

# Around calls that botocore itself has tried up to ATTEMPTS times: for answers that break off in the middle.
TRIES = 4
BACKOFF_S = 0.5  # doubled after every try
BACKOFF_LIMIT_S = 8.0
RETRY_LIMIT_S = 120.0
NOT_THERE = {"404", "NoSuchKey", "NotFound"}
TAKEN = {"412", "PreconditionFailed"}
_SIGN_IN = "sign in (aws sso login, aws configure), set AWS_PROFILE, or run where a role gives them"
_REFUSED = {
    "403", "AccessDenied", "AccessDeniedException", "Forbidden", "AllAccessDisabled", "UnauthorizedOperation",
}  # fmt: skip
_WRONG_CREDENTIALS = {
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "RequestExpired",
    # as the services beside S3 say it
    "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException", "InvalidSignatureException",
    "AuthFailure",
}  # fmt: skip
_PASSING = {
    "SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling", "ThrottlingException",
    "ConditionalRequestConflict", "OperationAborted",  # two writers of one key at the same moment
    "BadDigest", "XAmzContentChecksumMismatch", "IncompleteBody",  # what came was not what was sent
    "NoSuchUpload",  # an upload that ended while the answer was lost
}  # fmt: skip
# Answers below 500 of the services beside S3 that another try may change.
_CONTENTION = {
    "ResourceContention", "ScalingActivityInProgress", "TooManyRequestsException", "TooManyUpdates",
    "RequestLimitExceeded", "EC2ThrottledException",
}  # fmt: skip
_WRITES = {"PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload"}
_LISTS = {"ListObjectsV2"}
Result = TypeVar("Result")


def list_failures() -> tuple[type[Exception], ...]:
    """Name the classes of what botocore and s3transfer raise; asked for late, because it loads them."""
    from botocore.exceptions import BotoCoreError, ClientError
    from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError, S3ValidationError

    transfer = (RetriesExceededError, S3DownloadFailedError, S3ValidationError)
    return (BotoCoreError, ClientError, *transfer, ConnectionError, TimeoutError)


def get_code(error: Any) -> str | None:
    """Give AWS's code of a refusal; None where AWS did not answer."""
    from botocore.exceptions import ClientError

    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else None


def is_passing(error: Exception) -> bool:
    """Tell whether the same call may go well a moment later, although botocore has tried it often enough."""
    from botocore import exceptions
    from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError, S3ValidationError

    if isinstance(error, exceptions.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or error.response["Error"]["Code"] in _PASSING
    if isinstance(error, (exceptions.EndpointConnectionError, exceptions.ConnectTimeoutError, exceptions.SSLError)):
        return False  # nobody was there at ATTEMPTS tries
    connection = (exceptions.HTTPClientError, exceptions.ConnectionError, ConnectionError, TimeoutError)
    torn = (exceptions.IncompleteReadError, exceptions.FlexibleChecksumError)
    return isinstance(error, (*connection, *torn, RetriesExceededError, S3DownloadFailedError, S3ValidationError))


def retry_passing(
    call: Callable[[], Result], *, sleep: Callable[[float], None], limit_s: float = RETRY_LIMIT_S
) -> Result:
    """Call again after a failure that may pass, with growing pauses: TRIES times, none after `limit_s` seconds.

    Raises:
        Exception: what the last try raised, or the first failure that will not pass.
    """
    failures = list_failures()
    end = time.monotonic() + limit_s
    for number in range(TRIES - 1):
        try:
            return call()
        except failures as error:
            if not is_passing(error) or time.monotonic() > end:
                raise
        sleep(min(BACKOFF_S * 2**number, BACKOFF_LIMIT_S))
    return call()


def translate_failure(error: Any, *, bucket: str, key: str) -> CloudError:
    """Say what an error of a call means: a refusal of S3, or that it was not asked or did not answer."""
    from botocore.exceptions import ClientError
    from s3transfer.exceptions import RetriesExceededError

    if isinstance(error, RetriesExceededError):
        error = error.last_exception
    if isinstance(error, ClientError):
        return _translate_refusal(error, bucket=bucket, key=key)
    return _translate_silence(error, bucket=bucket)


def _translate_refusal(error: Any, *, bucket: str, key: str) -> CloudError:
    code, operation = error.response["Error"]["Code"], error.operation_name
    if code == "NoSuchBucket":
        return CloudError(f"s3://{bucket}: there is no such bucket; correct its name, or the account (AWS_PROFILE)")
    if code in _REFUSED:
        return CloudError(f"s3://{bucket}/{key}: access denied; {_name_right(operation)}")
    if code in _WRONG_CREDENTIALS:
        return CloudError(
            f"AWS does not accept the credentials in use ({code}); sign in again (aws sso login), or set "
            "AWS_PROFILE to another profile"
        )
    done = "written" if operation in _WRITES else "listed" if operation in _LISTS else "read"
    text = f"s3://{bucket}/{key} could not be {done}: S3 answered {code}; try again later"
    return CloudError(text, passing=is_passing(error))


def _name_right(operation: str) -> str:
    if operation in _WRITES:
        return (
            "the credentials in use need s3:PutObject and s3:AbortMultipartUpload on it, and for a checkpoint "
            "s3:PutObjectTagging"
        )
    if operation in _LISTS:
        return "the credentials in use need s3:ListBucket on the bucket, at least for this prefix"
    return (
        "the credentials in use need s3:GetObject on it, and s3:ListBucket on the bucket, without which S3 says "
        "the same of an object that is not there"
    )


def _translate_silence(error: Any, *, bucket: str) -> CloudError:
    if isinstance(error, _list_missing_credentials()):
        return CloudError(f"s3://{bucket} needs credentials of AWS, and none can be used ({error}); {_SIGN_IN}")
    advice = "check the network, the region and AWS_ENDPOINT_URL"
    return CloudError(f"s3://{bucket} did not answer: {error}; {advice}", passing=True)


def _list_missing_credentials() -> tuple[type[Exception], ...]:
    from botocore import exceptions

    sso = (exceptions.SSOError, exceptions.TokenRetrievalError, exceptions.UnauthorizedSSOTokenError)
    return (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, *sso)


def translate_session_failure(error: Exception) -> CloudError:
    """Say that a client could not even be made."""
    return CloudError(f"credentials of AWS can't be used ({error}); {_SIGN_IN}")


@contextmanager
def translated(subject: str, *, service: str) -> Iterator[None]:
    """Turn what a call of a service beside S3 raises into one line about `subject`.

    Args:
        service: as rights name it, such as autoscaling.

    Raises:
        CloudError: for whatever botocore raises.
    """
    try:
        yield
    except list_failures() as error:
        raise _translate_call(error, subject=subject, service=service) from error


def _translate_call(error: Any, *, subject: str, service: str) -> CloudError:
    from botocore.exceptions import ClientError

    if not isinstance(error, ClientError):
        if isinstance(error, _list_missing_credentials()):
            return CloudError(f"{subject}: credentials of AWS are needed, and none can be used ({error}); {_SIGN_IN}")
        advice = "check the network, the region and AWS_ENDPOINT_URL"
        return CloudError(f"{subject}: {service} did not answer: {error}; {advice}", passing=True)
    code, operation = error.response["Error"]["Code"], error.operation_name
    if code in _REFUSED:
        return CloudError(f"{subject}: access denied; the credentials in use need {service}:{operation} on it")
    if code in _WRONG_CREDENTIALS:
        return CloudError(f"{subject}: AWS does not accept the credentials in use ({code}); sign in again")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    passing = status >= 500 or code in _PASSING | _CONTENTION
    text = error.response["Error"].get("Message") or "no reason given"
    return CloudError(f"{subject}: {operation} was refused: {code}: {text}", passing=passing)
