// The TypeScript SDK's second generation: https://www.npmjs.com/package/@modelcontextprotocol/client
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const job = JSON.parse(process.argv[2]);
const transport = job.url
  ? new StreamableHTTPClientTransport(new URL(job.url), { requestInit: { headers: job.headers } })
  : new StdioClientTransport({ command: job.command[0], args: job.command.slice(1) });
const client = new Client(
  { name: "judge", version: "2" },
  { capabilities: { elicitation: { form: {} } }, ...(job.options ?? {}) },
);
client.setRequestHandler("elicitation/create", async () => ({ action: "accept", content: { yes: true } }));
await client.connect(transport);
const call = async (name, args) => {
  const result = await client.callTool({ name, arguments: args });
  return { failed: Boolean(result.isError), value: JSON.parse(result.content[0].text) };
};
const told = {
  protocol: client.getNegotiatedProtocolVersion(),
  server: client.getServerVersion(),
  instructions: client.getInstructions(),
  tools: (await client.listTools()).tools.map((tool) => tool.name),
  prompts: (await client.listPrompts()).prompts.map((prompt) => prompt.name),
  templates: (await client.listResourceTemplates()).resourceTemplates.map((found) => found.name),
  created: await call("create_dataset", { name: job.name }),
  missing: await call("get_dataset", { name: "missing" }),
  deleted: await call("delete_dataset", { name: job.name }),
  datasets: (await call("list_datasets", {})).value.count,
};
await client.close();
console.log(JSON.stringify(told));
