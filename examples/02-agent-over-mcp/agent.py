"""An agent that works off a list of wishes with tools it has never heard of.

    agent.py PROGRAM ARGUMENT…

The program is an MCP server that speaks over standard input and output. The loop is the one that agent frameworks have: look for
a tool, read what it takes, call it, keep what it said. A planner of rules stands where others have a language model, so
that every run does the same.
"""

import asyncio
import base64
import json
import os
import sys

from mcp import Client, StdioServerParameters

WISHES = [
    ("what kind of file is this", {"bytes": b"\x89PNG\r\n\x1a\n" + bytes(64)}),
    ("sentence embeddings", {"texts": ["a cat", "a kitten", "a tax return"]}),
]


def fill(schema, have):
    """Arguments for a tool, from what is at hand and the tool's schema."""
    arguments = {}
    for name, kind in schema["properties"].items():
        if name not in schema.get("required", []):
            continue
        if kind.get("type") == "array" and kind["items"].get("type") == "string" and "texts" in have:
            arguments[name] = have["texts"]
        elif kind.get("contentEncoding") == "base64" or "bytes" in have:
            arguments[name] = base64.b64encode(have["bytes"]).decode()
    return arguments


def told(result):
    """What a tool said, in a line."""
    text = json.dumps(result.structured_content)
    return text if len(text) <= 160 else text[:157] + "..."


async def work(server):
    async with Client(server) as client:
        listed = await client.list_tools()
        print("tools     ", ", ".join(tool.name for tool in listed.tools))
        spent = 0
        for words, have in WISHES:
            found = await client.call_tool("rialto__search", {"query": words, "limit": 1})
            name = found.structured_content["tools"][0]["name"]
            described = await client.call_tool("rialto__describe", {"name": name})
            schema = described.structured_content["inputSchema"]
            print(f"wish       {words}\n  tool     {name}")
            result = await client.call_tool(name, fill(schema, have))
            charged = int((result.meta or {}).get("rialto/charged", "0"))
            spent += charged
            print(f"  answer   {told(result)}\n  charged  {charged} base units")
            if result.is_error:
                raise SystemExit(f"{name} failed")
        print(f"done       {len(WISHES)} wishes for {spent} base units")


program, *arguments = sys.argv[1:]
asyncio.run(work(StdioServerParameters(command=program, args=arguments, env=dict(os.environ))))
