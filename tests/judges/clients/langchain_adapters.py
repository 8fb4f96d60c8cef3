"""LangChain's adapters over the MCP client of the first generation."""

import asyncio
import json
import sys

from langchain_mcp_adapters.client import MultiServerMCPClient

job = json.loads(sys.argv[1])
if "url" in job:
    connection = {"transport": "streamable_http", "url": job["url"], "headers": job["headers"]}
else:
    connection = {"transport": "stdio", "command": job["command"][0], "args": job["command"][1:]}


async def main():
    client = MultiServerMCPClient({"tintype": connection})
    async with client.session("tintype") as session:
        from langchain_mcp_adapters.tools import load_mcp_tools

        tools = {tool.name: tool for tool in await load_mcp_tools(session)}

        async def call(tool, **arguments):
            message = await tools[tool].ainvoke(
                {"type": "tool_call", "id": "1", "name": tool, "args": arguments}
            )
            content = message.content
            text = content if isinstance(content, str) else content[0]["text"]
            return {"failed": message.status == "error", "value": json.loads(text)}

        prompt = (await client.get_prompt("tintype", "house_rules"))[0].content
        return {
            "tools": list(tools),
            "role": tools["create_export"].metadata["_meta"]["dev.tintype/requiredRole"],
            "created": await call("create_dataset", name=job["name"]),
            "missing": await call("get_dataset", name="missing"),
            "datasets": (await call("list_datasets"))["value"]["count"],
            "prompt": prompt,
        }


print(json.dumps(asyncio.run(main())))
