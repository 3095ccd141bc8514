"""Speaks with a Rialto gateway's agents by the unmodified PyPI package `a2a-sdk`, pays with PyPI `x402`, and tells what
it saw.

    a2a_client.py PLAN

PLAN is JSON: `url` of the agent (its card is below it), `binding` ("JSONRPC" or "HTTP+JSON"), `streaming`, `key` (hex) of
an account that has tokens, `rpc` and `chain_id`, the `schemes` to pay by, and `calls`, a list of data parts or texts to
send and pay for. With `leaves` it pays for the first call and waits for nothing.
"""

import asyncio
import json
import sys

import httpx
from a2a.client import A2ACardResolver, ClientCallContext, ClientConfig, ClientFactory
from a2a.client.service_parameters import ServiceParametersFactory, with_a2a_extensions
from a2a.helpers import new_data_part, new_message, new_text_part
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    TaskState,
)
from a2a.utils.errors import A2AError
from eth_account import Account
from google.protobuf.json_format import MessageToDict, ParseDict
from x402 import x402Client
from x402.mechanisms.evm.batch_settlement.client import BatchSettlementEvmScheme
from x402.mechanisms.evm.exact.client import ExactEvmScheme
from x402.mechanisms.evm.signers import EthAccountSignerWithRPC
from x402.schemas import PaymentRequired

EXTENSION = "https://github.com/google-agentic-commerce/a2a-x402/blob/main/spec/v0.2"
TIMEOUT_S = 60


def payer(plan):
    """A client of x402 that pays as the plan says."""
    signer = EthAccountSignerWithRPC(Account.from_key(plan["key"]), plan["rpc"])
    client = x402Client()
    for scheme in plan["schemes"]:
        made = ExactEvmScheme(signer) if scheme == "exact" else BatchSettlementEvmScheme(signer)
        client.register(f"eip155:{plan['chain_id']}", made)
    return client


def whole(value):
    """Numbers as they were before protobuf, which has floating point alone."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: whole(field) for name, field in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return value


class Agent:
    def __init__(self, client):
        self.client = client
        extensions = ServiceParametersFactory.create([with_a2a_extensions([EXTENSION])])
        self.context = ClientCallContext(timeout=TIMEOUT_S, service_parameters=extensions)

    async def send(self, parts, task=None, metadata=None, at_once=False):
        """Sends a message; the task in the end, the states that it was in, and how many pieces came."""
        message = new_message(parts, task_id=task, role=Role.ROLE_USER)
        if metadata:
            ParseDict(metadata, message.metadata)
        request = SendMessageRequest(message=message, configuration=SendMessageConfiguration(return_immediately=at_once))
        states, pieces, found = [], 0, None
        async for event in self.client.send_message(request, context=self.context):
            if event.HasField("message"):
                return {"message": MessageToDict(event.message)}, states, pieces
            if event.HasField("artifact_update"):
                pieces += 1
                continue
            told = event.task if event.HasField("task") else event.status_update
            found = told.id if event.HasField("task") else told.task_id
            states.append(TaskState.Name(told.status.state))
        return await self.task(found), states, pieces

    async def task(self, name):
        got = await self.client.get_task(GetTaskRequest(id=name), context=self.context)
        return whole(MessageToDict(got))

    async def call(self, content, paying):
        part = new_text_part(content) if isinstance(content, str) else new_data_part(content)
        task, states, pieces = await self.send([part])
        if "message" in task:
            return {"message": task["message"]["parts"][0]["text"]}
        said = task["status"].get("message", {}).get("metadata", {})
        paid = said.get("x402.payment.status") == "payment-required"
        if paid:
            metadata = await payment(said, paying)
            words = [new_text_part("Here is the payment.")]
            task, more, pieces = await self.send(words, task["id"], metadata)
            states += more
            again, _, _ = await self.send(words, task["id"], metadata)
            assert again == task, f"{again} is not {task}"
        return {"paid": paid, "states": states, "pieces": pieces, "task": task}


    async def leave(self, content, paying):
        """Pays for a call and looks no further: its task."""
        task, _, _ = await self.send([new_data_part(content)])
        metadata = await payment(task["status"]["message"]["metadata"], paying)
        task, _, _ = await self.send([new_text_part("Go on.")], task["id"], metadata, at_once=True)
        return task


async def payment(said, paying):
    """What pays for a task that says what it costs."""
    required = PaymentRequired.model_validate(said["x402.payment.required"])
    payload = await paying.create_payment_payload(required)
    return {
        "x402.payment.status": "payment-submitted",
        "x402.payment.payload": payload.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


async def refusal(call):
    """What a request is refused with."""
    try:
        await call
    except A2AError as error:
        return type(error).__name__
    return None


async def run(plan):
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as http:
        card = await A2ACardResolver(http, plan["url"]).get_agent_card()
        config = ClientConfig(
            streaming=plan["streaming"],
            httpx_client=http,
            supported_protocol_bindings=[plan["binding"]],
            use_client_preference=True,
        )
        client = ClientFactory(config).create(card)
        agent, paying = Agent(client), payer(plan)
        if plan.get("leaves"):
            return {"task": await agent.leave(plan["calls"][0], paying)}
        calls = [await agent.call(content, paying) for content in plan["calls"]]
        tasks = [call["task"] for call in calls if "task" in call]
        listed = await client.list_tasks(ListTasksRequest(context_id=tasks[0]["contextId"]), context=agent.context)
        over = CancelTaskRequest(id=tasks[0]["id"])
        return {
            "name": card.name,
            "skills": [skill.id for skill in card.skills],
            "calls": calls,
            "listed": [task.id for task in listed.tasks],
            "over": await refusal(client.cancel_task(over, context=agent.context)),
            "unknown": await refusal(agent.task("0" * 32)),
            "wrong": await refusal(agent.send([new_data_part({"method": "no_method"})])),
        }


def main():
    json.dump(asyncio.run(run(json.loads(sys.argv[1]))), sys.stdout)
    print()


if __name__ == "__main__":
    main()
