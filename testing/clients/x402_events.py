"""Pays with the unmodified PyPI client (x402 with httpx) for answers that come as events, and tells what came
when.

    x402_events.py PLAN

PLAN and the answer are those of x402_events.mjs beside this file, which describes them.
"""

import asyncio
import json
import sys
import time

import httpx
from eth_account import Account
from x402 import x402Client
from x402.http.clients.httpx import x402AsyncTransport
from x402.mechanisms.evm.batch_settlement.client import BatchSettlementEvmScheme
from x402.mechanisms.evm.signers import EthAccountSignerWithRPC

TIMEOUT_S = 60


class Watching(httpx.AsyncBaseTransport):
    """Counts the 402s that answer a payment."""

    def __init__(self):
        self.inner = httpx.AsyncHTTPTransport()
        self.demands = 0

    async def handle_async_request(self, request):
        response = await self.inner.handle_async_request(request)
        if "payment-signature" in request.headers and response.status_code == 402:
            self.demands += 1
        return response

    async def aclose(self):
        await self.inner.aclose()


async def call(http, wanted):
    """One paid call, read as it comes."""
    headers = {"accept": "text/event-stream"}
    asked = http.stream(
        wanted["method"], wanted["url"], headers=headers, json=wanted.get("body")
    )
    async with asked as response:
        pieces = [
            {"at_ms": round(time.monotonic() * 1000), "text": text}
            async for text in response.aiter_text()
        ]
        return {"status": response.status_code, "pieces": pieces}


async def run(plan):
    """All calls, one after the other."""
    signer = EthAccountSignerWithRPC(Account.from_key(plan["key"]), plan["rpc"])
    client = x402Client()
    client.register(f"eip155:{plan['chain_id']}", BatchSettlementEvmScheme(signer))
    wire = Watching()
    transport = x402AsyncTransport(client, wire)
    async with httpx.AsyncClient(transport=transport, timeout=TIMEOUT_S) as http:
        calls = [await call(http, wanted) for wanted in plan["calls"]]
    return {"calls": calls, "demands": wire.demands}


if __name__ == "__main__":
    json.dump(asyncio.run(run(json.loads(sys.argv[1]))), sys.stdout)
    print()
