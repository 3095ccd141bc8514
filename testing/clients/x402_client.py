"""Pays a Rialto gateway with the unmodified PyPI client (x402 with httpx) and tells what it saw.

    x402_client.py PLAN

PLAN and the answer are those of x402.mjs beside this file, which describes them; `version: 1` has
the package speak version 1 (`exact` only). Every run starts without any state: a second run is a
cold client.
"""

import asyncio
import base64
import json
import sys

import httpx
from eth_account import Account
from x402 import x402Client
from x402.http.clients.httpx import x402AsyncTransport
from x402.http.utils import decode_payment_response_header
from x402.mechanisms.evm.batch_settlement.client import BatchSettlementEvmScheme, RefundOptions
from x402.mechanisms.evm.exact.client import ExactEvmScheme
from x402.mechanisms.evm.exact.v1.client import ExactEvmSchemeV1
from x402.mechanisms.evm.signers import EthAccountSignerWithRPC

TIMEOUT_S = 60


class Watching(httpx.AsyncBaseTransport):
    """Notes what the wire shows: corrective answers, how many paid requests overlap, and deposits
    whose call was refused (they may be on the chain all the same)."""

    def __init__(self):
        self.inner = httpx.AsyncHTTPTransport()
        self.corrections = 0
        self.deposits_unsure = 0
        self.in_flight = 0
        self.in_flight_max = 0

    async def handle_async_request(self, request):
        header = request.headers.get("payment-signature") or request.headers.get("x-payment")
        if header is None:
            return await self.inner.handle_async_request(request)
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            response = await self.inner.handle_async_request(request)
        finally:
            self.in_flight -= 1
        if response.status_code != 200:
            self.corrections += response.status_code == 402
            payload = json.loads(base64.b64decode(header))["payload"]
            if payload.get("type") == "deposit":
                self.deposits_unsure += int(payload["deposit"]["amount"])
        return response

    async def aclose(self):
        await self.inner.aclose()


class BodyOnly(httpx.AsyncBaseTransport):
    """Hides version 2's header, as a proxy does that lets through only what it knows: the client
    reads that header first, and speaks version 1 without it."""

    def __init__(self, inner):
        self.inner = inner

    async def handle_async_request(self, request):
        response = await self.inner.handle_async_request(request)
        response.headers.pop("payment-required", None)
        return response

    async def aclose(self):
        await self.inner.aclose()


class Run:
    """One client and its account of what it paid."""

    def __init__(self, plan):
        self.plan = plan
        account = Account.from_key(plan["key"])
        signer = EthAccountSignerWithRPC(account, plan["rpc"])
        self.batch = BatchSettlementEvmScheme(signer)
        client = x402Client()
        self.wire = Watching()
        beneath = self.wire
        if plan.get("version") == 1:
            client.register_v1("base-sepolia", ExactEvmSchemeV1(signer))
            beneath = BodyOnly(self.wire)
        else:
            for scheme in plan["schemes"]:
                made = ExactEvmScheme(signer) if scheme == "exact" else self.batch
                client.register(f"eip155:{plan['chain_id']}", made)
        transport = x402AsyncTransport(client, beneath)
        self.http = httpx.AsyncClient(transport=transport, timeout=TIMEOUT_S)
        self.payer = account.address
        self.channel = None
        self.calls_made = []
        self.charged = self.deposited = self.deposits = self.paid_at_once = self.refunded = 0

    async def call(self, number):
        """One paid call with a body of its own."""
        content = body(number)
        headers = {"content-type": "application/octet-stream"}
        response = await self.http.post(self.plan["url"], content=content, headers=headers)
        if response.status_code != 200:
            raise RuntimeError(f"call {number} was answered {response.status_code}: {response.text}")
        version = self.plan.get("version", 2)
        header = "X-PAYMENT-RESPONSE" if version == 1 else "PAYMENT-RESPONSE"
        settled = decode_payment_response_header(response.headers[header])
        receipt = json.loads(base64.b64decode(response.headers["RIALTO-RECEIPT"]))
        if settled.amount is None:  # Version 1 tells no amount: the receipt does.
            settled.amount = receipt["charged"]
        self.note(settled)
        self.calls_made.append(
            {
                "number": number,
                "bytes": len(content),
                "answer": response.json(),
                "charged": (settled.extra or {}).get("chargedAmount", settled.amount),
                "receipt": receipt["id"],
                "receipt_charged": receipt["charged"],
            }
        )

    def note(self, settled):
        """Adds one successful payment to the account."""
        if not settled.success:
            raise RuntimeError(f"a paid answer says: {settled}")
        state = (settled.extra or {}).get("channelState")
        if state is None:
            self.paid_at_once += int(settled.amount)
            return
        self.channel = self.channel or state["channelId"]
        if self.channel != state["channelId"]:
            raise RuntimeError("the channel changed between calls")
        self.charged += int(settled.extra["chargedAmount"])
        if settled.transaction:
            self.deposited += int(settled.amount)
            self.deposits += 1

    async def calls(self, step):
        """Runs the calls, at most `at_once` at a time."""
        numbers = iter(range(step["first"], step["first"] + step["calls"]))

        async def worker():
            for number in numbers:
                await self.call(number)

        await asyncio.gather(*(worker() for _ in range(step["at_once"])))

    def refund(self, amount):
        """Asks for unspent money back."""
        options = RefundOptions(amount=None if amount == "all" else amount)
        settled = self.batch.refund(self.plan["url"], options)
        if not settled.success:
            raise RuntimeError(f"no refund: {settled}")
        self.channel = self.channel or settled.extra["channelState"]["channelId"]
        self.refunded += int(settled.amount)

    async def steps(self):
        """Takes every step of the plan."""
        async with self.http:
            for step in self.plan["steps"]:
                if "refund" in step:
                    self.refund(step["refund"])
                else:
                    await self.calls(step)

    def account(self):
        """What this client saw."""
        return {
            "payer": self.payer,
            "channel": self.channel,
            "calls": self.calls_made,
            "charged": str(self.charged),
            "deposited": str(self.deposited),
            "deposits": self.deposits,
            "deposits_unsure": str(self.wire.deposits_unsure),
            "paid_at_once": str(self.paid_at_once),
            "refunded": str(self.refunded),
            "corrections": self.wire.corrections,
            "in_flight_max": self.wire.in_flight_max,
        }


def body(number):
    """A text of its own for every number, of one to four KiB."""
    line = f"Note {number}: the tide keeps the accounts of the harbour.\n"
    return (line * (number % 4 * 1024 // len(line) + 1)).encode()


def main():
    run = Run(json.loads(sys.argv[1]))
    asyncio.run(run.steps())
    json.dump(run.account(), sys.stdout)
    print()


if __name__ == "__main__":
    main()
