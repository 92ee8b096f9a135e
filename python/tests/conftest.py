import faulthandler

import pytest


@pytest.fixture(autouse=True)
def watchdog():
    """Ends a test that hangs, and shows where."""
    faulthandler.dump_traceback_later(60, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(params=["shm", "kernel"])
def backend(request, monkeypatch):
    """Each backend, for this process and those that it starts."""
    monkeypatch.setenv("SHMPIPE_BACKEND", request.param)
    return request.param
