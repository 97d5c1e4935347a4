"""Files of buckets and of the Hugging Face Hub, by their implementations of fsspec.

Credentials are environment variables, by the names that the libraries give them. Without credentials, files
are read as anonymous.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from edge_runtime.errors import NotFound, Refused, Unreachable

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from edge_runtime.store.receiving import Receiver

_BLOCK: Final = 8 << 20
"""Bytes of one request."""
_DENIED: Final = ("403", "401", "Forbidden", "Unauthorized", "AccessDenied", "Access Denied", "credentials")
_VERSIONS: Final = ("ETag", "etag", "generation", "blob_id")
"""Names of what identifies the content of a file."""

S3_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
GS_KEY: Final = "GOOGLE_APPLICATION_CREDENTIALS"
HF_KEY: Final = "HF_TOKEN"


def read_bucket(scheme: str, path: str, receiver: Receiver, said: str, *, credentials: bool) -> None:
    """Passes a file to `receiver`. Raises NotFound, Refused and Unreachable, beginning with `said`.

    credentials: whether to use those of the environment.
    """
    try:
        files = _file_system(scheme, credentials=credentials)
        details = files.info(path)
        if details["type"] != "file":
            raise NotFound(f"{said} is a folder: write the address of one file")
        version = next((str(details[name]) for name in _VERSIONS if details.get(name)), "")
        offset = receiver.begin(int(details["size"]), version)
        with files.open(path, "rb", block_size=_BLOCK, cache_type="readahead") as file:
            file.seek(offset)
            while chunk := file.read(_BLOCK):
                receiver.write(chunk)
    except FileNotFoundError as error:
        raise NotFound(f"{said} does not exist: {_words(error)}") from error
    except PermissionError as error:
        raise _refused(error, said, credentials=credentials) from error
    except (OSError, TimeoutError) as error:
        raise _failure(error, said, credentials=credentials) from error
    except Exception as error:
        if type(error).__module__.split(".")[0] in _LIBRARIES:
            raise _failure(error, said, credentials=credentials) from error
        raise


_LIBRARIES: Final = frozenset(
    {"aiobotocore", "aiohttp", "botocore", "gcsfs", "google", "httpx", "httpx2", "huggingface_hub", "s3fs"}
)
"""Whose errors say that a file could not be read."""


def _file_system(scheme: str, *, credentials: bool) -> AbstractFileSystem:
    import fsspec

    environment = os.environ if credentials else {}
    match scheme:
        case "s3":
            signed = all(environment.get(name) for name in S3_KEYS)
            retries = {"retries": {"max_attempts": 3}, "connect_timeout": 10, "read_timeout": 60}
            return fsspec.filesystem("s3", anon=not signed, config_kwargs=retries)
        case "gs":
            token = environment.get(GS_KEY) or "anon"
            return fsspec.filesystem("gs", token=token)
        case _:
            return fsspec.filesystem("hf", token=environment.get(HF_KEY) or False)


def _failure(error: Exception, said: str, *, credentials: bool) -> Refused | Unreachable:
    words = _words(error)
    if any(word in words for word in _DENIED):
        return _refused(error, said, credentials=credentials)
    return Unreachable(f"{said} cannot be read ({words})")


def _refused(error: Exception, said: str, *, credentials: bool) -> Refused:
    fix = "check its credentials" if credentials else "name a Secret with credentials in secretName"
    return Refused(f"{said} was refused ({_words(error)}): check the address, and {fix}")


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
