// The Vercel AI SDK's client, which gives a server on stdio one second to answer.
import { experimental_createMCPClient, createMCPClient } from "@ai-sdk/mcp";
import { Experimental_StdioMCPTransport, StdioMCPTransport } from "@ai-sdk/mcp/mcp-stdio";

const job = JSON.parse(process.argv[2]);
const Transport = StdioMCPTransport ?? Experimental_StdioMCPTransport;
const transport = job.url
  ? { type: "http", url: job.url, headers: job.headers }
  : new Transport({ command: job.command[0], args: job.command.slice(1) });
const client = await (createMCPClient ?? experimental_createMCPClient)({ transport });
const tools = await client.tools();
const call = async (name, args) => {
  const result = await tools[name].execute(args, { toolCallId: "1", messages: [] });
  return { failed: Boolean(result.isError), value: JSON.parse(result.content[0].text) };
};
const told = {
  tools: Object.keys(tools),
  created: await call("create_dataset", { name: job.name }),
  missing: await call("get_dataset", { name: "missing" }),
  datasets: (await call("list_datasets", {})).value.count,
};
await client.close();
console.log(JSON.stringify(told));
