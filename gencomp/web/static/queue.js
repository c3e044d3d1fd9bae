// The files that are not on the screen, coded (or decoded) one after another by the workers that are free.

import { makingKey } from "./item.js";

const LARGE = 6e6; // pixels: the first worker's alone, whom the others help; each at once would take too much memory

export class Queue {
  #crew;
  #running = new Map(); // by worker: {item, task}
  #held = false;

  // settings(): those for all; skip(item): is it on the screen? changed(item) after each step.
  constructor(crew, items, { settings, skip, start, changed }) {
    Object.assign(this, { items, settings, skip, start, changed });
    this.#crew = crew;
  }

  // Is there something left for the queue to do with a file?
  waits(item) {
    return ["waiting", "working"].includes(item.state) && !this.skip(item);
  }

  // The first worker is needed for the screen, or is free again.
  hold() {
    this.#held = true;
    this.#stop(this.#crew.first);
  }

  release() {
    this.#held = false;
    this.run();
  }

  // Settings or files are others: what was made by other settings waits again.
  refresh() {
    for (const [worker, { item, key }] of this.#running) {
      if (!this.items.includes(item) || this.skip(item) || key !== makingKey(item, this.settings())) this.#stop(worker);
    }
    for (const item of this.items) {
      if (["working", "waiting", "cancelled"].includes(item.state) || this.skip(item)) continue;
      const whole = !item.coded || item.png || item.state === "error";
      if (whole && item.madeAs === makingKey(item, this.settings())) continue;
      item.state = "waiting";
      this.changed(item);
    }
    this.run();
  }

  cancel() {
    for (const worker of this.#running.keys()) this.#stop(worker, "cancelled");
    for (const item of this.items) if (item.state === "waiting" && !this.skip(item)) item.state = "cancelled";
    this.changed();
  }

  goOn() {
    for (const item of this.items) if (item.state === "cancelled") item.state = "waiting";
    this.refresh();
    this.changed();
  }

  async run() {
    if (!this.items.some((item) => item.state === "waiting" && !this.skip(item))) return;
    try {
      await this.start();
      await this.#crew.grow();
    } catch (error) {
      for (const item of this.items) if (item.state === "waiting" && !this.skip(item)) item.fail(error);
      return this.changed();
    }
    const workers = [...this.#crew.others, ...(this.#held ? [] : [this.#crew.first])];
    for (const worker of workers) {
      if (this.#running.has(worker)) continue;
      const first = worker === this.#crew.first;
      const item = this.items.find((one) => one.state === "waiting" && !this.skip(one) && (first || !one.large));
      if (item) this.#make(worker, item, first);
    }
  }

  #stop(worker, state = "waiting") {
    const running = this.#running.get(worker);
    if (!running) return;
    this.#running.delete(worker);
    running.stopped = true;
    running.task?.cancel();
    if (running.item.state === "working") running.item.end(state);
    this.changed(running.item);
  }

  async #make(worker, item, first) {
    const settings = this.settings();
    const running = { item, task: null, stopped: false, key: makingKey(item, settings) };
    this.#running.set(worker, running);
    item.begin(item.coded ? "Decoding" : "Coding");
    this.changed(item);
    try {
      const given = item.coded
        ? { bytes: new Uint8Array(await item.blob.arrayBuffer()), realism: settings.realism }
        : { blob: item.blob, most: first ? Infinity : LARGE, ...(await item.asked(settings)) };
      if (running.stopped) return;
      running.task = worker.run("whole", given, (share) => {
        if (running.stopped) return;
        item.share = share;
        this.changed(item);
      });
      const made = await running.task;
      if (running.stopped) return;
      if (made.tooLarge) {
        item.large = true;
        item.end("waiting");
      } else {
        this.#keep(item, made, given, settings.flat);
        item.madeAs = running.key;
        item.end("done");
      }
    } catch (error) {
      if (running.stopped) return;
      item.fail(error, running.key);
    }
    this.#running.delete(worker);
    this.changed(item);
    this.run();
  }

  #keep(item, { file, facts, png, transparent }, { bytes }, flat) {
    Object.assign(item, { facts, size: { width: facts.width, height: facts.height }, saved: false });
    if (item.coded) Object.assign(item, { file: bytes, png });
    else item.file = file;
    if (transparent) item.noteTransparent(flat);
    if (facts.lost) item.notes = [facts.lost];
  }
}
