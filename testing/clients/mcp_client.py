"""Uses a Rialto gateway's tools with the unmodified PyPI packages `mcp` and `x402` and tells what it saw.

    mcp_client.py PLAN

PLAN is JSON: `url` of the MCP endpoint, `mode` ("auto", "legacy" or a revision; npm's package knows no mode), `key`
(hex) of an account that has tokens, `rpc` and `chain_id`, the `schemes` to pay by, `words` to search for, and `calls`, a
list of {name, arguments} to make and pay for. Without a `key` somebody else pays. With `command` (and `env`) instead of
a URL it starts a program that speaks MCP over standard input and output.
"""

import asyncio
import json
import sys
from types import SimpleNamespace

from eth_account import Account
from mcp import Client, StdioServerParameters
from x402 import x402Client
from x402.mcp import x402MCPClient
from x402.mechanisms.evm.batch_settlement.client import BatchSettlementEvmScheme
from x402.mechanisms.evm.exact.client import ExactEvmScheme
from x402.mechanisms.evm.signers import EthAccountSignerWithRPC


class Caller:
    """What x402's client asks of an MCP client: one call by the message's own parameters, and a result whose
    fields have the names that they had in `mcp` 1."""

    def __init__(self, client):
        self.client = client

    async def call_tool(self, params, **_):
        made = await self.client.call_tool(
            params["name"], params["arguments"], meta=params.get("_meta")
        )
        return SimpleNamespace(
            content=made.content,
            isError=made.is_error,
            structuredContent=made.structured_content,
            _meta=made.meta,
        )


def payer(plan):
    """A client of x402 that pays as the plan says."""
    signer = EthAccountSignerWithRPC(Account.from_key(plan["key"]), plan["rpc"])
    client = x402Client()
    for scheme in plan["schemes"]:
        made = ExactEvmScheme(signer) if scheme == "exact" else BatchSettlementEvmScheme(signer)
        client.register(f"eip155:{plan['chain_id']}", made)
    return client


async def run(plan):
    if "command" in plan:
        program, *arguments = plan["command"]
        where = StdioServerParameters(command=program, args=arguments, env=plan["env"])
    else:
        where = plan["url"]
    async with Client(where, mode=plan["mode"]) as client:
        listed = await client.list_tools()
        found = await client.call_tool("rialto__search", {"query": plan["words"]})
        paying = x402MCPClient(Caller(client), payer(plan)) if "key" in plan else None
        answers = []
        for call in plan["calls"]:
            if paying is None:
                made = await client.call_tool(call["name"], call["arguments"])
                answers.append({"text": made.content[0].text, "is_error": made.is_error, "meta": made.meta})
                continue
            made = await paying.call_tool(call["name"], call["arguments"])
            settled = made.payment_response
            answers.append(
                {
                    "text": made.content[0].text if made.content else None,
                    "is_error": made.is_error,
                    "paid": made.payment_made,
                    "settled": settled.model_dump(mode="json") if settled else None,
                }
            )
        return {
            "revision": client.protocol_version,
            "tools": [tool.name for tool in listed.tools],
            "found": found.structured_content,
            "calls": answers,
        }


def main():
    json.dump(asyncio.run(run(json.loads(sys.argv[1]))), sys.stdout)
    print()


if __name__ == "__main__":
    main()
