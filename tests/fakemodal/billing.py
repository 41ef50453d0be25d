"""The workspace's name and its prices, for `Workspace.from_context().billing.rates()`.

Modal documents that the rates are decimals, not how they are named; the names are those that
`modal billing rates --json` was seen to print. Dollars per hour: a physical core, a GiB, a GPU.
"""

from typing import Any

from grpclib import GRPCError, Status
from modal_proto import api_pb2

PUBLISHED_RATES = {
    "cpu_hour_cost": "0.04730",
    "mem_gib_hour_cost": "0.00800",
    "cpu_hour_cost_sandbox": "0.141900",
    "mem_gib_hour_cost_sandbox": "0.024000",
    "gpu_hour_cost_t4": "0.59",
    "gpu_hour_cost_l4": "0.80",
    "gpu_hour_cost_a10g": "1.10",
    "gpu_hour_cost_l40s": "1.95",
    "gpu_hour_cost_a100_40gb": "2.10",
    "gpu_hour_cost_a100_80gb": "2.50",
    "gpu_hour_cost_rtx6000": "3.03",
    "gpu_hour_cost_h100": "3.95",
    "gpu_hour_cost_h200": "4.54",
    "gpu_hour_cost_b200": "6.25",
    "gpu_hour_cost_b300": "7.10",
}


class BillingRpcs:
    """WorkspaceNameLookup and WorkspaceBillingRates (`stores.rates = None` makes it fail)."""

    async def WorkspaceNameLookup(self: Any, stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(api_pb2.WorkspaceNameLookupResponse(username="loopback"))

    async def WorkspaceBillingRates(self: Any, stream: Any) -> None:
        await stream.recv_message()
        rates = self.stores.rates
        if rates is None:
            raise GRPCError(Status.PERMISSION_DENIED, "This token may not read billing rates")
        lines = "\n".join(f"{name}: ${rate} per hour" for name, rate in rates.items())
        reply = api_pb2.WorkspaceBillingRatesResponse(rates=rates, formatted=lines)
        await stream.send_message(reply)
