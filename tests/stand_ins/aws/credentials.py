"""Access keys of the simulated account: who is calling is told by the key. Signatures are not checked."""

from __future__ import annotations

from tests.stand_ins.aws.api import ApiError

KEYS = {"job": "ASIADEPLOYROLE000000", "owner": "AKIAOWNER00000000000"}
_INSTANCE_KEY = "ASIAINSTANCE"


def make_access_key(caller: str) -> str:
    """Give the access key of "job", "owner" or an instance."""
    return KEYS.get(caller) or f"{_INSTANCE_KEY}{int(caller.removeprefix('i-'), 16):08}"


def find_caller(access_key: str) -> str:
    """Say whose key it is.

    Raises:
        ApiError: nobody's.
    """
    for caller, key in KEYS.items():
        if key == access_key:
            return caller
    if access_key.startswith(_INSTANCE_KEY):
        return f"i-{int(access_key.removeprefix(_INSTANCE_KEY)):017x}"
    raise ApiError("InvalidClientTokenId", "The security token included in the request is invalid.", status=403)
