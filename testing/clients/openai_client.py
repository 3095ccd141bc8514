"""Uses a Rialto gateway with the unmodified PyPI package openai, whose requests x402's transport pays for, and tells
what it saw.

    openai_client.py PLAN

PLAN and the answer are those of openai_client.mjs beside this file, which describes them.
"""

import asyncio
import json
import sys

from openai import APIStatusError, AsyncOpenAI

TIMEOUT_S = 60


def paying(plan):
    """HTTP that pays as the plan says."""
    import httpx
    from eth_account import Account
    from x402 import x402Client
    from x402.http.clients.httpx import x402AsyncTransport
    from x402.mechanisms.evm.batch_settlement.client import BatchSettlementEvmScheme
    from x402.mechanisms.evm.exact.client import ExactEvmScheme
    from x402.mechanisms.evm.signers import EthAccountSignerWithRPC

    signer = EthAccountSignerWithRPC(Account.from_key(plan["key"]), plan["rpc"])
    client = x402Client()
    for scheme in plan["schemes"]:
        made = ExactEvmScheme(signer) if scheme == "exact" else BatchSettlementEvmScheme(signer)
        client.register(f"eip155:{plan['chain_id']}", made)
    transport = x402AsyncTransport(client, httpx.AsyncHTTPTransport())
    return httpx.AsyncClient(transport=transport, timeout=TIMEOUT_S)


async def refusal(call):
    """What a call is refused with."""
    try:
        await call
    except APIStatusError as error:
        body = error.body if isinstance(error.body, dict) else {}
        return {"status": error.status_code, "param": body.get("param"), "code": body.get("code")}
    return None


async def run(plan):
    beneath = {"http_client": paying(plan)} if "schemes" in plan else {}
    key = plan.get("api_key", "none")
    client = AsyncOpenAI(base_url=plan["url"], api_key=key, max_retries=0, **beneath)
    models = [model.id async for model in client.models.list()]
    asked = {
        "model": plan["chat"],
        "messages": [
            {"role": "developer", "content": "You are helpful."},
            {"role": "user", "content": [{"type": "text", "text": plan["question"]}]},
        ],
        "max_completion_tokens": 12,
        "temperature": 0,
        "seed": 1,
    }
    whole = await client.chat.completions.create(**asked)
    streamed, usage, reason = "", None, None
    options = {"include_usage": True}
    async for piece in await client.chat.completions.create(**asked, stream=True, stream_options=options):
        for choice in piece.choices:
            streamed += choice.delta.content or ""
            reason = choice.finish_reason or reason
        usage = piece.usage or usage
    response = await client.responses.create(
        model=plan["chat"],
        instructions="You are helpful.",
        input=plan["question"],
        max_output_tokens=12,
        temperature=0,
    )
    events, final = [], None
    following = {"model": plan["chat"], "input": plan["question"], "max_output_tokens": 12, "stream": True}
    async for event in await client.responses.create(**following):
        if not events or events[-1] != event.type:
            events.append(event.type)
        final = getattr(event, "response", None) or final
    vectors = await client.embeddings.create(model=plan["embed"], input=["a cat", "a kitten"])
    return {
        "models": models,
        "text": whole.choices[0].message.content,
        "finish_reason": whole.choices[0].finish_reason,
        "usage": whole.usage.model_dump(),
        "streamed": streamed,
        "streamed_usage": usage.model_dump() if usage else None,
        "streamed_reason": reason,
        "response": response.output_text,
        "response_status": response.status,
        "events": events,
        "final": final.output_text,
        "dimensions": [len(it.embedding) for it in vectors.data],
        "refused": await refusal(client.chat.completions.create(**asked, n=2)),
        "unknown": await refusal(client.embeddings.create(model=plan["chat"], input="x")),
    }


def main():
    json.dump(asyncio.run(run(json.loads(sys.argv[1]))), sys.stdout)
    print()


if __name__ == "__main__":
    main()
