// What LaTeX does by itself and MathML leaves to the writer: the spaces beside log, det and ~.
const THIN = "0.17em", WIDE = "0.28em";

function operator(text, before, after) {
  const made = document.createElementNS("http://www.w3.org/1998/Math/MathML", "mo");
  made.textContent = text;
  made.setAttribute("lspace", before);
  made.setAttribute("rspace", after);
  return made;
}

function marks(node, wanted) {
  return node?.localName === "mo" && wanted.test(node.textContent);
}

for (const node of document.querySelectorAll("math :is(mi, mo)")) {
  const text = node.textContent;
  const whole = /^msu[bp]/.test(node.parentElement.localName) ? node.parentElement : node; // tanh′ as tanh
  const before = whole.previousElementSibling, after = whole.nextElementSibling;
  if (text === "~") node.replaceWith(operator("∼", WIDE, WIDE));
  if (!/^[a-z]{2,}$/.test(text)) continue;
  const begins = !before || marks(before, /[^)\]]/);
  node.replaceWith(operator(text, begins ? "0" : THIN, marks(after, /[([]/) ? "0" : THIN));
}
