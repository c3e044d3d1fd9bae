// One file on the page: an image or a .gnc file, what was made of it, and the work that is still to do.

const NAMES = { webp: "WebP", jpeg: "JPEG" };

const stale = () => Object.assign(new Error("cancelled"), { name: "Cancelled" });

export class Item {
  #work;
  #turn = 0;
  #running = null;
  #decoded = new Map(); // bitmaps by realism
  #codedAs = null; // the settings that `file` was coded with
  original = null; // a bitmap, of an image alone
  size = null; // {width, height}
  file = null; // bytes of the .gnc file
  facts = null;
  shown = null; // {bitmap, realism}
  beside = null; // {name, bitmap, bytes, quality, scale}: what stands left of the wipe
  seconds = {};

  // start() makes the codec ready, changed() is called after every step, progress(doing, share) during one.
  constructor(work, key, blob, coded, { start, changed, progress }) {
    Object.assign(this, { key, blob, coded, name: blob.name || "pasted image", start, changed, progress });
    this.#work = work;
  }

  get stem() {
    return this.name.replace(/\.[^.]*$/, "") || "image";
  }

  // Bring everything up to the settings {mode, quality, bytes, realism, side}; what is under way for older ones stops.
  async update(settings) {
    this.cancel();
    const turn = this.#turn;
    const step = async (doing, task, given = {}) => {
      const before = performance.now();
      this.progress(doing, 0);
      this.#running = this.#work.run(task, { key: this.key, ...given }, (share) => {
        if (turn === this.#turn) this.progress(doing, share);
      });
      const result = await this.#running;
      if (turn !== this.#turn) throw stale();
      this.seconds[task] = (performance.now() - before) / 1000;
      return result;
    };
    if (!this.coded) await this.#load(step);
    await this.start();
    if (turn !== this.#turn) throw stale();
    if (this.coded) await this.#open(step);
    else await this.#code(step, settings);
    await this.#show(step, settings.realism);
    await this.#besides(step, settings);
    this.progress(null);
  }

  cancel() {
    this.#turn++;
    this.#running?.cancel();
    this.#running = null;
  }

  // Drop what can be made again.
  rest() {
    this.cancel();
    this.original?.close();
    this.original = this.shown = this.beside = this.#codedAs = null;
    if (this.coded) this.facts = null;
    this.#decoded.clear();
    this.#work.run("forget", { key: this.key });
  }

  async #open(step) {
    if (this.facts) return;
    this.file = new Uint8Array(await this.blob.arrayBuffer());
    this.facts = await step("Decoding", "open", { bytes: this.file });
    this.size = { width: this.facts.width, height: this.facts.height };
    this.changed();
  }

  async #load(step) {
    if (this.original) return;
    const { bitmap, width, height } = await step("Reading", "load", { blob: this.blob });
    this.original = bitmap;
    this.size = { width, height };
    this.changed();
  }

  async #code(step, { mode, quality, bytes }) {
    const wanted = mode === "size" ? { bytes } : { quality };
    const codedAs = JSON.stringify(wanted);
    if (codedAs === this.#codedAs) return;
    const { file, facts } = await step("Coding", "code", wanted);
    Object.assign(this, { file, facts });
    this.#codedAs = codedAs;
    this.#decoded.clear();
    this.changed();
  }

  async #bitmap(step, realism) {
    if (!this.#decoded.has(realism)) {
      const { bitmap } = await step("Decoding", "show", { realism });
      if (this.#decoded.size > 6) this.#decoded.delete(this.#decoded.keys().next().value);
      this.#decoded.set(realism, bitmap);
    }
    return this.#decoded.get(realism);
  }

  async #show(step, realism) {
    this.shown = { bitmap: await this.#bitmap(step, realism), realism };
    this.changed();
  }

  async #besides(step, { side }) {
    if (side in NAMES) {
      const bytes = this.file.length;
      if (this.beside?.side === side && this.beside.budget === bytes) return;
      const rival = await step(NAMES[side], "rival", { type: `image/${side}`, bytes });
      this.beside = { ...rival, side, budget: bytes, name: NAMES[side] };
    } else if (side === "original" && this.original) {
      this.beside = { side, bitmap: this.original, name: "Original", bytes: this.blob.size };
    } else {
      this.beside = { side: "even", bitmap: await this.#bitmap(step, 0), name: "Realism 0" };
    }
    this.changed();
  }
}
