const MOST_LISTED = 500;
const MOST_PAGES = 20;
const at = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
let shown = null;

// The colour that the server draws a class in, where the class has none of its own.
const color = (name) => {
  let sum = -1;
  for (const byte of new TextEncoder().encode(name)) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return PALETTE[(~sum >>> 0) % PALETTE.length];
};

const complain = (error) => {
  at("problem").textContent = [error?.message, error?.fix].filter(Boolean).join(" ") || "The call failed.";
  at("problem").hidden = false;
};

const draw = (picture) => {
  at("picture").src = `data:${picture.mimeType};base64,${picture.data}`;
  at("stage").hidden = false;
};

host.on("tool-result", (result) => {
  const { failed, error, value, picture } = host.read(result);
  if (failed || !picture) {
    at("facts").textContent = "";
    complain(error);
    return;
  }
  shown = value;
  at("problem").hidden = true;
  at("name").textContent = value.filename;
  const count = value.annotation_count;
  at("facts").textContent = `${value.width} × ${value.height} pixels, ${count} ${count === 1 ? "annotation" : "annotations"}`;
  at("picture").alt = `${value.filename}, with its annotations drawn`;
  draw(picture);
  at("load").hidden = !count || !host.can("serverTools");
  at("tools").hidden = at("load").hidden && at("wide").hidden;
});
host.on("tool-cancelled", () => (at("facts").textContent = "The call was cancelled."));
host.on("context", (context) => {
  at("wide").hidden = !context.availableDisplayModes?.includes("fullscreen") || context.displayMode === "fullscreen";
  at("tools").hidden = !shown || (at("load").hidden && at("wide").hidden);
});
at("wide").addEventListener("click", () => host.show("fullscreen").catch(complain));

const points = (path) => path.map(({ x, y }) => `${x},${y}`).join(" ");
const pieces = ({ bounding_box: box, polygon, polyline, keypoint, type }) => {
  if (type === "polygon") {
    const d = polygon.paths.map((ring) => `M${ring.map(({ x, y }) => `${x} ${y}`).join("L")}Z`).join("");
    return ["path", { d, "fill-rule": "evenodd" }];
  }
  if (type === "polyline") return ["polyline", { points: points(polyline.path), class: "path" }];
  if (type === "keypoint") return ["circle", { cx: keypoint.x, cy: keypoint.y, r: Math.max(shown.width, shown.height) / 150 }];
  // Tags, and what is only a box in space, have no place in the picture.
  if (!box) return ["g", {}];
  return ["rect", { x: box.x, y: box.y, width: box.w, height: box.h }];
};

const shape = (annotation) => {
  const [tag, attributes] = pieces(annotation);
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.classList.add("shape");
  element.style.setProperty("--hue", color(annotation.name));
  element.append(document.createElementNS(SVG, "title"));
  element.firstChild.textContent = annotation.name;
  return element;
};

// All annotations: an answer that was cut to the response budget is read on.
const everything = async () => {
  let { failed, error, value } = await host.call("get_annotations", { image_uuid: shown.image_uuid });
  if (failed) throw error;
  const found = value.annotations || [];
  let cut = value._truncated?.cuts;
  for (let page = 0; cut?.length === 1 && page < MOST_PAGES; page += 1) {
    const { path, cursor } = cut[0];
    if (path !== "annotations" && path !== "items") break;
    ({ failed, error, value } = await host.call("read_more", { cursor }));
    if (failed) throw error;
    found.push(...(value.items || []));
    cut = value._truncated?.cuts;
  }
  return { found, whole: !cut };
};

const list = ({ found, whole }) => {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${shown.width} ${shown.height}`);
  svg.setAttribute("aria-hidden", "true");
  const classes = new Map();
  const rows = [];
  for (const annotation of found) {
    const drawn = shape(annotation);
    svg.append(drawn);
    const members = classes.get(annotation.name) || [];
    classes.set(annotation.name, members);
    const member = { drawn };
    members.push(member);
    if (rows.length === MOST_LISTED) continue;
    const swatch = make("span", { className: "swatch" });
    swatch.style.setProperty("--hue", color(annotation.name));
    const sure = annotation.confidence < 1 ? `${Math.round(annotation.confidence * 100)} %` : "";
    const facts = make("span", { className: "faint" }, [annotation.type, sure].filter(Boolean).join(", "));
    const button = make("button", { type: "button" }, swatch, annotation.name, facts);
    const choose = (on) => () => drawn.classList.toggle("chosen", on);
    button.addEventListener("focus", choose(true));
    button.addEventListener("blur", choose(false));
    button.addEventListener("pointerenter", choose(true));
    button.addEventListener("pointerleave", choose(false));
    member.row = make("li", {}, button);
    rows.push(member.row);
  }
  const fieldset = document.querySelector("fieldset");
  for (const [name, members] of [...classes].sort(([a], [b]) => a.localeCompare(b))) {
    const box = make("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      for (const { drawn, row } of members) {
        drawn.style.display = box.checked ? "" : "none";
        if (row) row.hidden = !box.checked;
      }
    });
    const swatch = make("span", { className: "swatch" });
    swatch.style.setProperty("--hue", color(name));
    fieldset.append(make("label", {}, box, swatch, `${name} (${members.length})`));
  }
  document.querySelector("ol").replaceChildren(...rows);
  at("stage").append(svg);
  at("annotations").hidden = false;
  const notes = [];
  if (found.length > rows.length) notes.push(`The list shows the first ${rows.length} of ${found.length}.`);
  if (!whole) notes.push("There are more annotations than are shown.");
  at("cut").textContent = notes.join(" ");
  at("cut").hidden = !notes.length;
};

at("load").addEventListener("click", async () => {
  at("load").disabled = true;
  try {
    const plain = await host.call("preview_image", {
      image_uuid: shown.image_uuid,
      max_side: Math.min(2048, Math.max(64, shown.preview_width, shown.preview_height)),
      show_annotations: false,
    });
    if (plain.failed) throw plain.error;
    const all = await everything();
    draw(plain.picture);
    at("picture").alt = shown.filename;
    list(all);
    at("load").hidden = true;
    at("problem").hidden = true;
  } catch (error) {
    complain(error);
    at("load").disabled = false;
  }
});
host.start("tintype-preview");
