"""What holds for every test: no credentials, no hub, no network beyond this machine."""

import os
import signal
import socket
from collections.abc import Iterator, MutableMapping

import pytest
from hypothesis import settings

# A loaded machine must not fail a test, and the same commit must give the same result twice.
settings.register_profile("ghostpen", deadline=None, derandomize=True)
settings.load_profile("ghostpen")

PRIVATE_PREFIXES = ("AWS_", "HF_", "WANDB_", "GHOSTPEN_")
OFFLINE = {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline"}
LOOPBACK_NAMES = {"", "localhost", "::1"}


class NetworkUsedError(AssertionError):
    """A test reached for the network. No test needs it: pass a stand-in, or use embedded files."""


def isolate_environment(environ: MutableMapping[str, str]) -> None:
    """Take the developer's accounts out of the environment, and the hub out of reach."""
    for name in [name for name in environ if name.startswith(PRIVATE_PREFIXES)]:
        del environ[name]
    environ.update(OFFLINE)


def is_loopback(address: object) -> bool:
    """Tell whether a socket address stays on this machine; a path is a Unix socket's."""
    if isinstance(address, tuple):
        address = address[0]
    if isinstance(address, bytes):
        address = os.fsdecode(address)
    if address is None or not isinstance(address, str):
        return address is None
    return address in LOOPBACK_NAMES or address.startswith(("127.", "/", "\0"))


def heed_signals() -> None:
    """Undo what nohup, or a shell's background job, lets every process below it ignore."""
    defaults = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    for number, default in defaults.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, default)


def pytest_configure() -> None:
    # Before collection too: libraries read HF_HUB_OFFLINE once, when a test module imports them.
    isolate_environment(os.environ)
    heed_signals()


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what an earlier test, or a library that it imported, left in the environment."""
    for name in [name for name in os.environ if name.startswith(PRIVATE_PREFIXES)]:
        monkeypatch.delenv(name)
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[None]:
    """Refuse every connection and name look-up that would leave this machine.

    For the whole session, because a session's fixtures (a trained model) must not reach out either.
    """
    connect, connect_ex, sendto = socket.socket.connect, socket.socket.connect_ex, socket.socket.sendto
    getaddrinfo = socket.getaddrinfo

    def refuse_remote(address: object) -> None:
        if not is_loopback(address):
            raise NetworkUsedError(f"a test tried to reach {address!r}")

    def guarded_connect(self: socket.socket, address: object) -> None:
        refuse_remote(address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: object) -> int:
        refuse_remote(address)
        return connect_ex(self, address)

    def guarded_sendto(self: socket.socket, *args: object) -> int:
        refuse_remote(args[-1])
        return sendto(self, *args)

    def guarded_getaddrinfo(host: object, *args: object, **kwargs: object) -> list[tuple[object, ...]]:
        refuse_remote(host)
        return getaddrinfo(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket.socket, "sendto", guarded_sendto)
        patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
        yield
