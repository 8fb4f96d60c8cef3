// The TypeScript SDK's first generation: https://www.npmjs.com/package/@modelcontextprotocol/sdk
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";

const job = JSON.parse(process.argv[2]);
let protocol;
const transport = job.url
  ? new StreamableHTTPClientTransport(new URL(job.url), { requestInit: { headers: job.headers } })
  : new StdioClientTransport({ command: job.command[0], args: job.command.slice(1) });
const client = new Client({ name: "judge", version: "1" }, { capabilities: { elicitation: {} } });
client.setRequestHandler(ElicitRequestSchema, async () => ({ action: "accept", content: { yes: true } }));
const setVersion = transport.setProtocolVersion?.bind(transport);
transport.setProtocolVersion = (version) => {
  protocol = version;
  setVersion?.(version);
};
await client.connect(transport);
const call = async (name, args) => {
  const result = await client.callTool({ name, arguments: args });
  return { failed: Boolean(result.isError), value: JSON.parse(result.content[0].text) };
};
const told = {
  protocol,
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
