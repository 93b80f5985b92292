// The view of a latent space. `ask(question)` promises the answer: over HTTP in a page, from the kernel in a notebook.

const REST = 400; // milliseconds without a new code, after which the nearest training image is looked for
const PLAY = 3000; // milliseconds of a walk from one image to the other, at least
const STEPS = 12; // images of a walk, at least
const SLOW = 0.05; // seconds of one image, from which on the page says how long it takes

function add(parent, kind, settings = {}) {
  const node = Object.assign(document.createElement(kind), settings);
  parent.append(node);
  return node;
}

function button(parent, textContent, pressed) {
  add(parent, "button", { type: "button", textContent }).addEventListener("click", pressed);
}

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

// what rounds to zero has no sign
function written(number) {
  return number.toFixed(2).replace(/^-(?=[0.]+$)/, "").replace("-", "−");
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

// At most `most` questions are on their way. Of those that come meanwhile only the last is asked; no answer comes after
// a later one.
function latest(ask, show, most = 2) {
  let open = 0, asked = 0, shown = 0, waiting = null;
  return async function next(question) {
    if (open === most) { waiting = question; return; }
    const number = ++asked;
    open += 1;
    const answer = await ask(question);
    open -= 1;
    if (number > shown && !answer.error) { shown = number; show(answer, number === asked && !waiting); }
    if (waiting) { const last = waiting; waiting = null; next(last); }
  };
}

function slider(parent, name, { min, max, value, step = (max - min) / 400 }, moved) {
  const row = add(parent, "label", { className: "slider" });
  add(row, "span", { textContent: name });
  const input = add(row, "input", { type: "range", min, max, step });
  const output = add(row, "output");
  const show = (number) => { input.value = number; output.textContent = written(number); };
  input.addEventListener("input", () => {
    output.textContent = written(Number(input.value));
    moved(Number(input.value));
  });
  show(value);
  return { show, value: () => Number(input.value) };
}

// Sliders of all dimensions, the most active first.
function sliders(parent, facts, moved) {
  const box = add(parent, "div", { className: "sliders", tabIndex: -1 }), made = [];
  for (const i of facts.order) {
    const activity = facts.activity ? ` · ${facts.activity[i].toFixed(2)}` : "", name = facts.dimensions[i];
    const range = { min: facts.low[i], max: facts.high[i], value: facts.code[i] };
    made[i] = slider(box, name + activity, range, (value) => moved(i, value));
  }
  return made;
}

function walk(parent, facts, ask, decode) {
  const ends = [null, null], box = add(parent, "div", { className: "row walk" });
  const pick = async (end, index) => {
    const found = await ask({ ask: "image", index: Math.max(0, Math.min(facts.count - 1, Math.round(index) || 0)) });
    if (found.error) return;
    ends[end] = found.z;
    inputs[end].value = found.index;
    paint(pictures[end], found.image, facts.shape);
    told[end].textContent = found.label === null ? "" : `label ${found.label}`;
  };
  const inputs = [], pictures = [], told = [];
  for (const end of [0, 1]) {
    const side = add(box, "div", { className: "end" });
    pictures.push(add(side, "canvas", { className: "image small", title: "take the code of this image" }));
    const ariaLabel = `index of test image ${end + 1}`;
    inputs.push(add(side, "input", { type: "number", min: 0, max: facts.count - 1, ariaLabel }));
    told.push(add(side, "div", { className: "note" }));
    inputs[end].addEventListener("change", () => pick(end, Number(inputs[end].value)));
    pictures[end].addEventListener("click", () => { alpha.show(end); between(end); });
  }
  const between = (share) => {
    if (ends[0] && ends[1]) decode(ends[0].map((value, i) => (1 - share) * value + share * ends[1][i]));
  };
  let walks = 0; // a new walk, or a hand at the slider, ends the one before
  const right = add(box, "div", { className: "end" });
  const alpha = slider(right, "α", { min: 0, max: 1, value: 0 }, (share) => { walks += 1; between(share); });
  const go = (now, from, mine) => {
    if (mine !== walks) return;
    const share = Math.min(1, (now - from) / Math.max(PLAY, 1000 * STEPS * facts.seconds));
    alpha.show(share);
    between(share);
    if (share < 1) requestAnimationFrame((later) => go(later, from, mine));
  };
  const buttons = add(right, "div");
  button(buttons, "walk", () => {
    const mine = ++walks;
    requestAnimationFrame((now) => go(now, now, mine));
  });
  button(buttons, "other images", () => [0, 1].forEach((end) => pick(end, Math.floor(Math.random() * facts.count))));
  pick(0, 0);
  pick(1, 1);
  return () => { walks += 1; };
}

function samples(parent, facts, ask, decode) {
  let seed = 0;
  const show = latest(ask, (found) => {
    grid.replaceChildren();
    found.images.forEach((image, i) => {
      const ariaLabel = `take the code of sample ${i + 1}`;
      const cell = add(grid, "button", { type: "button", className: "sample", title: "take this code", ariaLabel });
      paint(add(cell, "canvas", { className: "image" }), image, facts.shape);
      cell.addEventListener("click", () => decode(found.codes[i]));
    });
  }, 1);
  const row = add(parent, "div", { className: "row walk" });
  const draw = () => show({ ask: "sample", n: 24, seed, temperature: heat.value() });
  const heat = slider(row, "T", { min: 0, max: 2, value: 1, step: 0.01 }, draw);
  button(row, "draw again", () => { seed += 1; draw(); });
  const grid = add(parent, "div", { className: "samples" });
  draw();
}

function headOfCode(parent, facts, decode) {
  const n = facts.code.length, order = facts.activity && n > 1 ? `, the most active first (${facts.activity_is})` : "";
  const head = add(parent, "div", { className: "head" });
  add(head, "h2", { textContent: `code: ${n} ${n === 1 ? "dimension" : "dimensions"}${order}` });
  button(head, "to the mean", () => decode(facts.code));
}

function picture(parent, heading) {
  const box = add(parent, "div", { className: "picture" });
  add(box, "h2", { textContent: heading });
  return [add(box, "canvas", { className: "image large" }), add(box, "div", { className: "note" })];
}

// The decoded image and the training image nearest to it; what it gives shows the code that it is called with.
function decoded(parent, facts, ask) {
  let code = null, sought = null, timer = null;
  const [image, note] = picture(parent, facts.images_are === "draws" ? "decoded image (a draw)" : "decoded image");
  if (facts.seconds >= SLOW) note.textContent = `this model takes ${facts.seconds.toFixed(1)} s for an image`;
  const [nearest, distance] = facts.has_training ? picture(parent, "nearest in training") : [];
  const near = latest(ask, (found) => {
    paint(nearest, found.image, facts.shape);
    distance.textContent = `image ${found.index}, L² distance ${found.distance.toFixed(2)}`;
    for (const each of [nearest, distance]) each.classList.toggle("waiting", sought !== code);
  }, 1);
  const next = latest(ask, (found, isLast) => {
    paint(image, found.image, facts.shape);
    image.classList.toggle("waiting", !isLast);
    if (!isLast || !facts.has_training) return;
    clearTimeout(timer);
    timer = setTimeout(() => { sought = code; near({ ask: "nearest", z: code }); }, REST);
  }, facts.seconds < SLOW ? 2 : 1);
  return (z) => {
    code = z;
    clearTimeout(timer);
    for (const each of [image, nearest, distance]) each?.classList.add("waiting");
    next({ ask: "decode", z });
  };
}

async function start(parent, ask) {
  const root = add(parent, "div", { className: "vae-explorer" });
  const error = add(root, "div", { className: "error", role: "alert" });
  const facts = await ask({ ask: "overview" });
  if (facts.error) { error.textContent = facts.error; return; }
  const told = async (question) => {
    const found = await ask(question);
    error.textContent = found.error ?? "";
    return found;
  };
  if (facts.title) add(root, "h1", { textContent: `latent space of ${facts.title}` });
  const columns = add(root, "div", { className: "columns" });
  const section = (className) => add(columns, "section", { className });
  const [left, pictures, dimensions, path, below] = ["left", "pictures", "dimensions", "path", "below"].map(section);
  let code = facts.code, stop = () => {};
  const show = decoded(pictures, facts, told);
  const decode = (z) => {
    code = z;
    made.forEach((each, i) => each.show(z[i]));
    plane.mark(z);
    show(z);
  };
  const take = (z) => { stop(); decode(z); };
  const plane = new Plane(left, facts, take);
  headOfCode(dimensions, facts, take);
  const made = sliders(dimensions, facts, (i, value) => take(code.map((old, j) => (j === i ? value : old))));
  if (facts.count > 1) {
    add(path, "h2", { textContent: "from one test image to another" });
    stop = walk(path, facts, told, decode);
  }
  add(below, "h2", { textContent: "samples; T scales the distance of their codes from the prior's mean" });
  samples(below, facts, told, take);
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
