const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

// The plane through the codes, centre + x · axes[0] + y · axes[1], with a point for each code.
class Plane {
  constructor(parent, facts, moved) {
    this.facts = facts;
    this.at = [0, 0];
    this.isLine = facts.axes[1].every((value) => value === 0);
    this.points = new Float32Array(bytes(facts.points).buffer);
    let reach = 0;
    for (const value of this.points) reach = Math.max(reach, Math.abs(value));
    this.reach = 1.05 * Math.max(reach, 1);
    add(parent, "h2", { textContent: facts.points_are });
    const ariaLabel = "plane of codes; the arrow keys move the point";
    this.frame = add(parent, "div", { className: "frame", tabIndex: 0, role: "application", ariaLabel });
    this.canvas = add(this.frame, "canvas", { className: "plane", width: 1040, height: this.isLine ? 260 : 1040 });
    this.scatter();
    this.ticks();
    this.dot = add(this.frame, "div", { className: "dot" });
    this.listen(moved);
    const names = add(parent, "div", { className: "names" });
    facts.names.forEach((name, label) => {
      const entry = add(names, "span");
      add(entry, "i").style.background = facts.colours[label];
      entry.append(name);
    });
    const up = this.isLine ? "nothing, points are spread so that they can be seen" : facts.axis_names[1];
    const rest = facts.code.length > 2 ? " In all other directions a point here has the mean of the codes; the circle is a code's place seen from here." : "";
    const textContent = `across: ${facts.axis_names[0]}; up: ${up}. Click or drag to decode a point.${rest}`;
    add(parent, "div", { className: "note", textContent });
  }

  listen(moved) {
    const inside = (value) => Math.max(-this.reach, Math.min(this.reach, value));
    const go = (x, y) => moved(this.codeAt([inside(x), this.isLine ? 0 : inside(y)]));
    const point = (event) => {
      const box = this.canvas.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
      go((2 * x - 1) * this.reach, (1 - 2 * y) * this.reach);
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      point(event);
    });
    this.canvas.addEventListener("pointermove", (event) => { if (event.buttons) point(event); });
    this.frame.addEventListener("keydown", (event) => {
      const step = KEYS[event.key];
      if (!step) return;
      event.preventDefault(); // the page would scroll
      go(...this.at.map((value, i) => value + (step[i] * this.reach) / (event.shiftKey ? 10 : 50)));
    });
  }

  codeAt([x, y]) {
    const [right, up] = this.facts.axes;
    return this.facts.centre.map((value, i) => value + x * right[i] + y * up[i]);
  }

  // where in the canvas coordinates lie, as shares of its width and height
  place([x, y]) {
    return [(1 + x / this.reach) / 2, (1 - y / this.reach) / 2];
  }

  scatter() {
    const context = this.canvas.getContext("2d"), { width, height } = this.canvas;
    const count = this.points.length / 2, size = count > 3000 ? 4 : count > 500 ? 6 : 10;
    context.globalAlpha = 0.55;
    for (let i = 0; i < count; i++) {
      const spread = this.reach * (1.6 * ((i * 0.618034) % 1) - 0.8);
      const [x, y] = this.place([this.points[2 * i], this.isLine ? spread : this.points[2 * i + 1]]);
      context.fillStyle = this.facts.labels ? this.facts.colours[this.facts.labels[i]] : "#777";
      context.fillRect(width * x - size / 2, height * y - size / 2, size, size);
    }
  }

  ticks() {
    const step = [0.5, 1, 2, 5, 10, 20, 50].find((value) => this.reach / value < 4) ?? this.reach / 2;
    const last = Math.floor((0.97 * this.reach) / step);
    for (let i = -last; i <= last; i++) {
      const textContent = String(Number((i * step).toPrecision(3))).replace("-", "−");
      const [x, y] = this.place([i * step, i * step]);
      add(this.frame, "span", { className: "tick across", textContent }).style.left = `${100 * x}%`;
      if (!this.isLine) add(this.frame, "span", { className: "tick up", textContent }).style.top = `${100 * y}%`;
    }
  }

  // a node above the canvas: ten thousand points are painted once
  mark(code) {
    this.at = this.facts.axes.map((axis) => {
      let along = 0, square = 0;
      axis.forEach((value, i) => { along += value * (code[i] - this.facts.centre[i]); square += value * value; });
      return square ? along / square : 0;
    });
    const [left, top] = this.place(this.at).map((share) => `${100 * share}%`);
    Object.assign(this.dot.style, { left, top });
  }
}
