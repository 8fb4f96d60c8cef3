// A model in place of a provider's, for `model: "provider/name"` of the AI SDK: it asks for the datasets, then says them.
import { MockLanguageModelV4 } from "ai/test";

const spent = { inputTokens: { total: 1 }, outputTokens: { total: 1 } };
const tellingModel = new MockLanguageModelV4({
  doGenerate: async ({ prompt, tools }) => {
    const last = prompt.at(-1);
    const heard = last.role === "tool" ? JSON.stringify(last.content) : null;
    if (!tools.some((tool) => tool.name === "list_datasets")) throw new Error("list_datasets is not offered");
    return {
      content: heard
        ? [{ type: "text", text: heard }]
        : [{ type: "tool-call", toolCallId: "1", toolName: "list_datasets", input: "{}" }],
      finishReason: { unified: heard ? "stop" : "tool-calls", raw: undefined },
      usage: spent,
      warnings: [],
    };
  },
});
globalThis.AI_SDK_DEFAULT_PROVIDER = { specificationVersion: "v4", languageModel: () => tellingModel };
