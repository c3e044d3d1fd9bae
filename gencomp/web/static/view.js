// Two images over each other with a wipe between them; zoomed and moved together, by mouse, touch and keys.

const MAX_SCALE = 32; // screen pixels an image pixel

export class View {
  #stage;
  #layers;
  #divider;
  #shown = { left: null, right: null }; // pictures
  #both = false; // the right one stands on both sides
  #size = { width: 1, height: 1 };
  #scale = 1; // CSS pixels an image pixel
  #at = { x: 0, y: 0 }; // of the image's upper left corner, CSS pixels in the stage
  #split = 0.5;
  #pointers = new Map();
  #fitted = true;

  constructor(stage, changed) {
    this.#stage = stage;
    this.#layers = stage.querySelector("#layers");
    this.#divider = stage.querySelector("#divider");
    this.changed = changed;
    this.#listen();
    new ResizeObserver(() => (this.#fitted ? this.start() : this.#draw())).observe(stage);
  }

  // Pictures (picture.js) on either side; null leaves a side empty. One for both is one image without a wipe.
  set(left, right) {
    for (const [side, picture] of Object.entries({ left: left === right ? null : left, right })) {
      if (picture === this.#shown[side]) continue;
      this.#shown[side] = picture;
      this.#layers.querySelector(`#${side}`).replaceChildren(...(picture ? [picture.canvas] : []));
    }
    this.#both = left === right;
    this.#draw();
  }

  // The size of the images from now on.
  resize({ width, height }) {
    if (width === this.#size.width && height === this.#size.height) return;
    this.#size = { width, height };
    this.start();
  }

  // The part of the image that is on the screen, in its pixels.
  get visible() {
    const { clientWidth, clientHeight } = this.#stage;
    const [left, top] = [-this.#at.x / this.#scale, -this.#at.y / this.#scale];
    return { left, top, width: clientWidth / this.#scale, height: clientHeight / this.#scale };
  }

  // One to one, or smaller where the whole would not be seen.
  start() {
    this.#place(Math.min(this.#whole(), 1 / devicePixelRatio));
    this.#fitted = true;
  }

  fit() {
    this.#place(this.#whole());
    this.#fitted = true;
  }

  oneToOne() {
    this.zoom(1 / devicePixelRatio / this.#scale);
  }

  // Larger by a factor, around a point of the stage (its middle, if none is given).
  zoom(factor, around = { x: this.#stage.clientWidth / 2, y: this.#stage.clientHeight / 2 }) {
    const least = Math.min(this.#whole(), 1 / devicePixelRatio) / 2;
    const scale = Math.min(Math.max(this.#scale * factor, least), MAX_SCALE / devicePixelRatio);
    this.#at.x = around.x - ((around.x - this.#at.x) * scale) / this.#scale;
    this.#at.y = around.y - ((around.y - this.#at.y) * scale) / this.#scale;
    this.#scale = scale;
    this.#fitted = false;
    this.#draw();
  }

  // The place of the wipe, 0 .. 1 of the stage's width.
  get split() {
    return this.#split;
  }

  set split(value) {
    this.#split = Math.min(Math.max(value, 0), 1);
    this.#draw();
  }

  // Screen pixels an image pixel.
  get scale() {
    return this.#scale * devicePixelRatio;
  }

  #whole() {
    const room = (length, margin) => Math.max(length - margin, 40);
    const { clientWidth, clientHeight } = this.#stage;
    return Math.min(room(clientWidth, 32) / this.#size.width, room(clientHeight, 112) / this.#size.height);
  }

  #place(scale) {
    this.#scale = scale;
    this.#at.x = (this.#stage.clientWidth - this.#size.width * scale) / 2;
    this.#at.y = (this.#stage.clientHeight - this.#size.height * scale) / 2;
    this.#draw();
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.#stage;
    const shown = { width: this.#size.width * this.#scale, height: this.#size.height * this.#scale };
    const inside = (at, room, length) => Math.min(Math.max(at, 48 - length), room - 48);
    this.#at.x = inside(this.#at.x, width, shown.width);
    this.#at.y = inside(this.#at.y, height, shown.height);
    const dense = devicePixelRatio;
    const pixels = (length) => Math.round(length * dense);
    const snap = (length) => pixels(length) / dense; // whole screen pixels
    const box = this.#stage.getBoundingClientRect(); // may begin within one
    this.#layers.style.left = `${snap(box.left) - box.left}px`;
    this.#layers.style.top = `${snap(box.top) - box.top}px`;
    const place = { x: pixels(this.#at.x), y: pixels(this.#at.y), scale: this.scale, dense };
    const room = { width: pixels(width), height: pixels(height) };
    for (const picture of Object.values(this.#shown)) picture?.draw({ ...place, room });
    const x = this.#split * width;
    this.#layers.querySelector("#left").style.clipPath = `inset(0 ${width - x}px 0 0)`;
    this.#layers.querySelector("#right").style.clipPath = this.#both ? "none" : `inset(0 0 0 ${x}px)`;
    this.#divider.style.transform = `translateX(${x}px)`;
    this.#stage.style.setProperty("--split", `${x}px`);
    this.#divider.setAttribute("aria-valuenow", Math.round(this.#split * 100));
    this.changed?.();
  }

  #listen() {
    const stage = this.#stage;
    const place = (event) => {
      const box = stage.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      const pixels = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
      this.zoom(2 ** (-pixels / (event.ctrlKey ? 100 : 300)), place(event));
    }, { passive: false });
    stage.addEventListener("dblclick", (event) => {
      if (!event.target.closest("#layers, #stage") || event.target.closest("button, select")) return;
      if (Math.abs(this.scale - 1) < 0.01) this.fit();
      else this.zoom(1 / this.scale, place(event));
    });
    this.#divider.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      this.#divider.setPointerCapture(event.pointerId);
    });
    this.#divider.addEventListener("pointermove", (event) => {
      if (this.#divider.hasPointerCapture(event.pointerId)) this.split = place(event).x / stage.clientWidth;
    });
    stage.addEventListener("pointerdown", (event) => {
      if (event.target.closest("button, select, #landing")) return;
      stage.setPointerCapture(event.pointerId);
      this.#pointers.set(event.pointerId, place(event));
    });
    stage.addEventListener("pointermove", (event) => this.#drag(event, place(event)));
    for (const end of ["pointerup", "pointercancel"]) {
      stage.addEventListener(end, (event) => this.#pointers.delete(event.pointerId));
    }
  }

  // One pointer moves the image, two zoom it around their middle.
  #drag(event, now) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    this.#pointers.set(event.pointerId, now);
    const others = [...this.#pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    if (others.length) {
      const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);
      const middle = { x: (now.x + others[0].x) / 2, y: (now.y + others[0].y) / 2 };
      this.#at.x += (now.x - before.x) / 2;
      this.#at.y += (now.y - before.y) / 2;
      this.zoom(distance(now, others[0]) / Math.max(distance(before, others[0]), 1), middle);
    } else {
      this.#at.x += now.x - before.x;
      this.#at.y += now.y - before.y;
      this.#fitted = false;
      this.#draw();
    }
  }
}
