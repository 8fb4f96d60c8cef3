// A host of MCP Apps: the extension's own bridge and a client of its SDK, with our page in a document without a browser.
// https://www.npmjs.com/package/@modelcontextprotocol/ext-apps
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { AppBridge, getToolUiResourceUri, RESOURCE_MIME_TYPE } from "@modelcontextprotocol/ext-apps/app-bridge";
import { JSDOM, VirtualConsole } from "jsdom";

const job = JSON.parse(process.argv[2]);
const HOST = { name: "judge", version: "1" };
const client = new Client(HOST, {
  capabilities: { extensions: { "io.modelcontextprotocol/ui": { mimeTypes: [RESOURCE_MIME_TYPE] } } },
  ...job.options,
});
await client.connect(new StreamableHTTPClientTransport(new URL(job.url), { requestInit: { headers: job.headers } }));
const tools = Object.fromEntries((await client.listTools()).tools.map((tool) => [tool.name, tool]));
const complaints = [];

const until = async (ready) => {
  for (let n = 0; n < 500; n += 1) {
    const found = ready();
    if (found) return found;
    await new Promise((done) => setTimeout(done, 10));
  }
  throw new Error(`never: ${ready}; ${complaints}`);
};

// What carries messages between the bridge and the page; the page finds it as its parent window.
class Wire {
  sent = [];
  start = async () => {};
  close = async () => {};
  send = async (message) => this.toPage(structuredClone(message));
  fromPage = (message) => {
    this.sent.push(message.method);
    this.onmessage?.(structuredClone(message));
  };
}

const show = async (tool, args) => {
  const uri = getToolUiResourceUri(tools[tool]);
  const { contents } = await client.readResource({ uri });
  if (contents[0].mimeType !== RESOURCE_MIME_TYPE) throw new Error(contents[0].mimeType);
  const bridge = new AppBridge(client, HOST, { serverTools: {}, updateModelContext: { text: {} } }, { hostContext: { theme: "dark" } });
  bridge.onerror = (error) => complaints.push(String(error));
  const told = [];
  bridge.onupdatemodelcontext = async ({ content }) => {
    told.push(content[0].text);
    return {};
  };
  const ready = new Promise((resolve) => (bridge.oninitialized = resolve));
  const wire = new Wire();
  const quiet = new VirtualConsole();
  quiet.on("jsdomError", (error) => complaints.push(String(error)));
  let page;
  wire.toPage = (data) => page.dispatchEvent(Object.assign(new page.Event("message"), { data, source: page.parent }));
  await bridge.connect(wire);
  const dom = new JSDOM(contents[0].text, {
    runScripts: "dangerously",
    pretendToBeVisual: true,
    virtualConsole: quiet,
    beforeParse(window) {
      page = window;
      Object.defineProperty(window, "parent", { value: { postMessage: wire.fromPage } });
      window.ResizeObserver = class {
        observe() {}
      };
      window.TextEncoder = TextEncoder;
    },
  });
  await ready;
  await bridge.sendToolInput({ arguments: args });
  await bridge.sendToolResult(await client.callTool({ name: tool, arguments: args }));
  const at = (id) => dom.window.document.getElementById(id);
  return { at, told, sent: wire.sent, document: dom.window.document, end: () => bridge.teardownResource({}) };
};

const decide = async (name, button) => {
  await client.callTool({ name: "create_dataset", arguments: { name } });
  const shown = await show("delete_dataset", { name });
  await until(() => !shown.at("answer").hidden);
  const before = shown.at("state").textContent;
  shown.at(button).click();
  await until(() => shown.told.length);
  const left = JSON.parse((await client.callTool({ name: "list_datasets", arguments: {} })).content[0].text);
  await shown.end();
  return {
    theme: shown.document.documentElement.style.colorScheme,
    question: shown.at("summary").textContent,
    before,
    after: shown.at("state").textContent,
    told: shown.told,
    sent: shown.sent.filter(Boolean),
    there: left.datasets.some((found) => found.name === name),
  };
};

const look = async () => {
  const shown = await show("preview_image", { image_uuid: job.image });
  await until(() => !shown.at("load").hidden);
  shown.at("load").click();
  await until(() => !shown.at("annotations").hidden);
  return {
    name: shown.at("name").textContent,
    picture: shown.at("picture").src.slice(0, 11),
    shapes: shown.document.querySelectorAll(".shape").length,
    list: [...shown.document.querySelectorAll("ol button")].map((button) => button.textContent),
  };
};

const told = {
  protocol: client.getNegotiatedProtocolVersion(),
  approved: await decide(`${job.name} 1`, "yes"),
  refused: await decide(`${job.name} 2`, "no"),
  preview: await look(),
  complaints,
};
await client.close();
console.log(JSON.stringify(told));
process.exit(0);
