// The view's side of MCP Apps (revision 2026-01-26): JSON-RPC with the host over postMessage, nothing else.
const host = (() => {
  const parent = window.parent;
  const waiting = new Map();
  const listeners = {};
  let last = 0;
  let capabilities = {};
  let context = {};

  const post = (message) => parent.postMessage({ jsonrpc: "2.0", ...message }, "*");
  const notify = (method, params = {}) => post({ method, params });
  const ask = (method, params) =>
    new Promise((resolve, reject) => {
      last += 1;
      waiting.set(last, { resolve, reject });
      post({ id: last, method, params });
    });

  const settle = ({ id, result, error }) => {
    const asked = waiting.get(id);
    if (!asked) return;
    waiting.delete(id);
    if (error) asked.reject(new Error(String(error.message || "The host refused.")));
    else asked.resolve(result || {});
  };

  const look = (changed) => {
    context = { ...context, ...changed };
    const root = document.documentElement;
    if (context.theme === "light" || context.theme === "dark") root.style.colorScheme = context.theme;
    if (context.locale) root.lang = context.locale;
    if (context.displayMode) root.dataset.mode = context.displayMode;
    for (const [name, value] of Object.entries(context.styles?.variables || {}))
      if (/^--[\w-]+$/.test(name) && typeof value === "string") root.style.setProperty(name, value);
    const inset = context.safeAreaInsets;
    if (inset) root.style.padding = [inset.top, inset.right, inset.bottom, inset.left].map((n) => `${Number(n) || 0}px`).join(" ");
    listeners.context?.(context);
  };

  const hear = ({ id, method, params }) => {
    if (id !== undefined) {
      if (method === "ui/resource-teardown" || method === "ping") post({ id, result: {} });
      else post({ id, error: { code: -32601, message: "Method not found" } });
      return;
    }
    if (method === "ui/notifications/host-context-changed") look(params || {});
    else listeners[(method || "").replace("ui/notifications/", "")]?.(params || {});
  };

  window.addEventListener("message", ({ source, data }) => {
    // Only the host speaks to a view; another window that knows our frame must not.
    if (source !== parent || !data || data.jsonrpc !== "2.0") return;
    if (data.method === undefined) settle(data);
    else hear(data);
  });

  // What a tool answered: its value, or the error that it refused with, and its first picture.
  const read = (result) => {
    const blocks = Array.isArray(result?.content) ? result.content : [];
    const text = blocks.find((block) => block.type === "text")?.text;
    let value;
    try {
      value = JSON.parse(text);
    } catch {
      value = { message: text || "" };
    }
    const picture = blocks.find((block) => block.type === "image" && /^image\/[\w.+-]+$/.test(block.mimeType));
    return { failed: Boolean(result?.isError), error: value?.error, value, picture };
  };

  return {
    on: (name, listener) => (listeners[name] = listener),
    read,
    get context() {
      return context;
    },
    can: (name) => capabilities[name] !== undefined,
    call: async (name, args) => read(await ask("tools/call", { name, arguments: args })),
    show: (mode) => ask("ui/request-display-mode", { mode }),
    // The model was not there when the user decided in a view: tell it, by what the host offers.
    // A message counts as the user's own words, so names and results, which others wrote, stay out of it.
    tell: async (text, inUsersName) => {
      const content = (words) => [{ type: "text", text: words }];
      if (capabilities.updateModelContext) await ask("ui/update-model-context", { content: content(text) });
      else if (capabilities.message) await ask("ui/message", { role: "user", content: content(inUsersName) });
    },
    start: async (name) => {
      const hello = await ask("ui/initialize", {
        protocolVersion: "2026-01-26",
        appInfo: { name, version: "1" },
        appCapabilities: { availableDisplayModes: ["inline", "fullscreen"] },
      });
      capabilities = hello.hostCapabilities || {};
      look(hello.hostContext || {});
      notify("ui/notifications/initialized");
      const size = () => {
        const { width, height } = document.documentElement.getBoundingClientRect();
        notify("ui/notifications/size-changed", { width: Math.ceil(width), height: Math.ceil(height) });
      };
      new ResizeObserver(size).observe(document.documentElement);
    },
  };
})();

// Elements are made, never written as HTML: names of classes and files are other people's text.
const make = (tag, properties = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties))
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  element.append(...children);
  return element;
};
