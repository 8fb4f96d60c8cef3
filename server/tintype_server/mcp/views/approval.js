const at = (id) => document.getElementById(id);
let question = null;
let lapse = 0;

const say = (text, bad = false) => {
  at("state").textContent = text;
  at("state").className = bad ? "danger" : "faint";
};
const words = (error) => [error?.message, error?.fix].filter(Boolean).join(" ") || "The call failed.";
// A name in the question must not turn its words around.
const straight = (text) => String(text).replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
const fact = (name, value) => at("facts").append(make("dt", {}, name), make("dd", {}, value));
const close = () => {
  clearTimeout(lapse);
  at("answer").hidden = true;
};

const put = ({ message, details }) => {
  question = details;
  at("title").textContent = "May this call go on?";
  at("summary").textContent = straight(details.summary || message);
  const credits = Number(details.credits) || 0;
  at("facts").replaceChildren();
  fact("Cost", credits ? `${credits} ${credits === 1 ? "credit" : "credits"}` : "free");
  const ends = new Date(details.expires_at);
  const left = ends - Date.now();
  if (!Number.isNaN(left)) fact("Stands until", ends.toLocaleString(document.documentElement.lang || undefined));
  for (const id of ["title", "summary", "facts"]) at(id).hidden = false;
  if (typeof details.confirm_token !== "string") {
    say(`A person approves it elsewhere: tintype approvals approve ${details.approval_id}`);
    return;
  }
  if (!host.can("serverTools")) {
    say("Answer in the conversation: this host takes no answer here.");
    return;
  }
  if (left <= 0) {
    say("The question has lapsed. Ask for the call again.", true);
    return;
  }
  say("Nothing has been done yet.");
  at("answer").hidden = false;
  if (!Number.isNaN(left))
    lapse = setTimeout(() => {
      close();
      say("The question has lapsed. Ask for the call again.", true);
    }, Math.min(left, 2 ** 31 - 1));
};

host.on("tool-result", (result) => {
  const { failed, error, value } = host.read(result);
  close();
  if (failed && error?.code === "confirmation_required" && error.details) put(error);
  else if (failed) say(words(error), true);
  else say(typeof value?.summary === "string" ? value.summary : "Done.");
});
host.on("tool-cancelled", () => {
  close();
  say("The call was cancelled.");
});

const decide = async (refuse) => {
  const { approval_id, confirm_token, summary } = question;
  // One answer per question: a second click, or a key held down, sends nothing.
  at("yes").disabled = at("no").disabled = true;
  say(refuse ? "Refusing …" : "Working …");
  try {
    const args = refuse ? { approval_id, confirm_token, refuse: true } : { approval_id, confirm_token };
    const { failed, error, value } = await host.call("confirm_call", args);
    close();
    if (failed) {
      say(words(error), true);
      await host.tell(
        `The user answered the question about "${summary}", but the call failed: ${words(error)}`,
        `I answered the question ${approval_id}, but the call failed.`,
      );
    } else if (refuse) {
      say("Refused. Nothing was changed.");
      await host.tell(
        `The user refused this call; nothing was changed, and it must not be repeated unasked: ${summary}`,
        `I refused the call of ${approval_id}; nothing was changed. Do not repeat it unasked.`,
      );
    } else {
      const spent = value.credits ? ` ${value.credits} credits were spent.` : "";
      say(`Done.${spent}`);
      await host.tell(
        `The user approved, and the call has been made, do not repeat it: ${summary}` +
          `${spent} call_id ${value.call_id}. Result: ${JSON.stringify(value.result).slice(0, 4000)}`,
        `I approved the call of ${approval_id}; it has been made (call_id ${value.call_id}). Do not repeat it.`,
      );
    }
  } catch (error) {
    say(`The host did not pass the answer on. ${error.message}`, true);
    at("yes").disabled = at("no").disabled = false;
  }
};
at("yes").addEventListener("click", () => decide(false));
at("no").addEventListener("click", () => decide(true));
host.start("tintype-approval");
