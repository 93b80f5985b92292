// The view of a latent space. `ask(question)` promises the answer: over HTTP in a page, from the kernel in a notebook.

const REST = 400; // milliseconds without a new code, after which the nearest training image is looked for
const PLAY = 3000; // milliseconds of a walk from one image to the other

function add(parent, kind, settings = {}) {
  const node = Object.assign(document.createElement(kind), settings);
  parent.append(node);
  return node;
}

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

// One channel is dark on white, as in the figures.
function paint(canvas, text, [channels, height, width]) {
  const pixels = bytes(text), size = width * height, image = new ImageData(width, height);
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = channels === 3 ? pixels[c * size + i] : 255 - pixels[i];
    image.data[4 * i + 3] = 255;
  }
  Object.assign(canvas, { width, height }).getContext("2d").putImageData(image, 0, 0);
}

// At most two questions are on their way. Of those that come meanwhile only the last is asked; no answer comes after a
// later one.
function latest(ask, show) {
  let open = 0, asked = 0, shown = 0, waiting = null;
  return async function next(question) {
    if (open === 2) { waiting = question; return; }
    const number = ++asked;
    open += 1;
    try {
      const answer = await ask(question);
      if (number > shown) { shown = number; show(answer); }
    } finally { open -= 1; }
    if (waiting) { const last = waiting; waiting = null; next(last); }
  };
}

class Plane {
  constructor(parent, facts, moved) {
    add(parent, "h2", { textContent: facts.points_are });
    const frame = add(parent, "div", { className: "frame" });
    this.canvas = add(frame, "canvas", { className: "plane", width: 1040, height: 1040 });
    this.dot = add(frame, "div", { className: "dot" });
    this.facts = facts;
    this.points = new Float32Array(bytes(facts.points).buffer);
    let reach = 0;
    for (const value of this.points) reach = Math.max(reach, Math.abs(value));
    this.reach = 1.05 * Math.max(reach, 1);
    this.scatter();
    const point = (event) => {
      const box = this.canvas.getBoundingClientRect();
      const x = (2 * (event.clientX - box.left) / box.width - 1) * this.reach;
      const y = (1 - 2 * (event.clientY - box.top) / box.height) * this.reach;
      moved(x, y);
    };
    this.canvas.addEventListener("pointerdown", (event) => { this.canvas.setPointerCapture(event.pointerId); point(event); });
    this.canvas.addEventListener("pointermove", (event) => { if (event.buttons) point(event); });
    const names = add(parent, "div", { className: "names" });
    facts.names.forEach((name, label) => {
      const entry = add(names, "span");
      add(entry, "i").style.background = facts.colours[label];
      entry.append(name);
    });
    add(parent, "div", { className: "note", textContent: `across: ${facts.axes[0]}; up: ${facts.axes[1]}. Click or drag.` });
  }

  place([x, y]) {
    const half = this.canvas.width / 2;
    return [half * (1 + x / this.reach), half * (1 - y / this.reach)];
  }

  scatter() {
    const context = this.canvas.getContext("2d");
    context.globalAlpha = 0.55;
    for (let i = 0; i < this.points.length / 2; i++) {
      const [x, y] = this.place([this.points[2 * i], this.points[2 * i + 1]]);
      context.fillStyle = this.facts.labels ? this.facts.colours[this.facts.labels[i]] : "#777";
      context.fillRect(x - 2, y - 2, 4, 4);
    }
  }

  // a node above the canvas: ten thousand points are painted once
  mark(at) {
    const [x, y] = this.place(at), share = (value) => `${(100 * value) / this.canvas.width}%`;
    Object.assign(this.dot.style, { left: share(x), top: share(y) });
  }
}

function slider(parent, name, { min, max, value, step = (max - min) / 400 }, moved) {
  const row = add(parent, "label", { className: "slider" });
  add(row, "span", { textContent: name });
  const input = add(row, "input", { type: "range", min, max, step });
  const output = add(row, "output");
  const show = (number) => { input.value = number; output.textContent = Number(number).toFixed(2); };
  input.addEventListener("input", () => { output.textContent = Number(input.value).toFixed(2); moved(Number(input.value)); });
  show(value);
  return { show, value: () => Number(input.value) };
}

function walk(parent, facts, ask, decode) {
  const ends = [null, null], box = add(parent, "div", { className: "row walk" });
  const pick = async (end, index) => {
    const found = await ask({ ask: "image", index });
    if (found.error) return;
    ends[end] = found.z;
    inputs[end].value = index;
    paint(pictures[end], found.image, facts.shape);
    pictures[end].title = found.label ?? "";
  };
  const inputs = [], pictures = [];
  for (const end of [0, 1]) {
    const side = add(box, "label");
    pictures.push(add(side, "canvas", { className: "image small" }));
    add(side, "br");
    inputs.push(add(side, "input", { type: "number", min: 0, max: facts.count - 1, ariaLabel: `test image ${end + 1}` }));
    inputs[end].addEventListener("change", () => pick(end, Math.round(Number(inputs[end].value))));
  }
  const between = (share) => {
    if (ends[0] && ends[1]) decode(ends[0].map((value, i) => (1 - share) * value + share * ends[1][i]));
  };
  const right = add(box, "div");
  const alpha = slider(right, "α", { min: 0, max: 1, value: 0 }, between);
  const go = (now, from) => {
    const share = Math.min(1, (now - from) / PLAY);
    alpha.show(share);
    between(share);
    if (share < 1) requestAnimationFrame((later) => go(later, from));
  };
  add(right, "button", { textContent: "walk" }).addEventListener("click", () => requestAnimationFrame((now) => go(now, now)));
  add(right, "button", { textContent: "other images" }).addEventListener("click", () => {
    for (const end of [0, 1]) pick(end, Math.floor(Math.random() * facts.count));
  });
  pick(0, 0);
  pick(1, Math.min(1, facts.count - 1));
}

function samples(parent, facts, ask, decode) {
  let seed = 0;
  const grid = document.createElement("div");
  grid.className = "samples";
  const show = latest(ask, (found) => {
    grid.replaceChildren();
    found.images.forEach((image, i) => {
      const cell = add(grid, "canvas", { className: "image sample", title: "take this code" });
      paint(cell, image, facts.shape);
      cell.addEventListener("click", () => decode(found.codes[i]));
    });
  });
  const row = add(parent, "div", { className: "row walk" });
  const draw = () => show({ ask: "sample", n: 24, seed, temperature: heat.value() });
  const heat = slider(row, "T", { min: 0, max: 2, value: 1, step: 0.01 }, draw);
  add(row, "button", { textContent: "draw again" }).addEventListener("click", () => { seed += 1; draw(); });
  parent.append(grid);
  draw();
}

async function start(parent, ask) {
  const root = add(parent, "div", { className: "vae-explorer" });
  const facts = await ask({ ask: "overview" });
  if (facts.error) { add(root, "div", { className: "error", textContent: facts.error }); return; }
  const left = add(root, "section"), right = add(root, "section");
  let timer = null;
  const near = latest(ask, (found) => {
    paint(nearest, found.image, facts.shape);
    other.classList.remove("old");
    told.textContent = `training image ${found.index}, at a distance of ${found.distance.toFixed(2)} over pixels`;
  });
  const show = (found) => {
    if (found.error) return;
    paint(image, found.image, facts.shape);
    plane.mark(found.at);
    found.z.forEach((value, i) => sliders[i].show(value));
    if (facts.has_training) {
      clearTimeout(timer);
      other.classList.add("old");
      timer = setTimeout(() => near({ ask: "nearest", z: found.z }), REST);
    }
  };
  const next = latest(ask, show), decode = (z) => next({ ask: "decode", z });
  const plane = new Plane(left, facts, (x, y) => next({ ask: "plane", x, y }));
  const pictures = add(right, "div", { className: "row" });
  const one = add(pictures, "div"), other = add(pictures, "div");
  add(one, "h2", { textContent: `decoded (${facts.images_are})` });
  const image = add(one, "canvas", { className: "image large" });
  add(other, "h2", { textContent: facts.has_training ? "nearest training image" : "" });
  const nearest = add(other, "canvas", { className: "image large", hidden: !facts.has_training });
  const told = add(other, "div", { className: "note" });
  const head = add(right, "div", { className: "row walk" });
  add(head, "h2", { textContent: `code: ${facts.code.length} numbers` });
  add(head, "button", { textContent: "to the mean" }).addEventListener("click", () => decode(facts.code));
  const box = add(right, "div", { className: "sliders" });
  const sliders = facts.code.map((value, i) =>
    slider(box, `z${String(i + 1).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit])}`, { min: facts.low[i], max: facts.high[i], value }, () => decode(sliders.map((each) => each.value()))));
  if (facts.count > 1) {
    add(right, "h2", { textContent: "from one test image to another" });
    walk(right, facts, ask, decode);
  }
  add(left, "h2", { textContent: "samples; T scales their distance from the prior's mean" });
  samples(left, facts, ask, decode);
  decode(facts.code);
}

// a notebook's widget: questions and answers are messages with a number
export default {
  render({ model, el }) {
    const open = new Map();
    let count = 0;
    model.on("msg:custom", ({ number, answer }) => { open.get(number)?.(answer); open.delete(number); });
    start(el, (question) => new Promise((found) => {
      open.set(++count, found);
      model.send({ number: count, question });
    }));
  },
};
