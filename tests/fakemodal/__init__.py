"""A loopback Modal: the real client and real containers, without an account or a network."""

from tests.fakemodal.sandbox import why_not
from tests.fakemodal.server import FakeModal
from tests.fakemodal.views import App, Call, Container

__all__ = ["App", "Call", "Container", "FakeModal", "why_not"]
