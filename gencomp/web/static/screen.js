// What is on the screen: one file, brought up to the settings step by step, and a picture on either side of the wipe.

import { readHeader } from "./codec/bitstream.js";
import { isDisplayP3 } from "./icc.js";
import { cancelled, makingKey } from "./item.js";
import { Picture } from "./picture.js";
import { RIVALS, besideText, bytesText } from "./words.js";

const KEPT = 60e6; // pixels of all pictures

export class Screen {
  #crew;
  #turn = 0;
  #running = null;
  #loaded = null; // {item, raw}: whose pixels the first worker has
  #files = new Map(); // what the first worker has coded or opened: makingKey by key
  #pictures = new Map(); // Picture by wish
  item = null;
  panes = { left: { picture: null, says: "" }, right: { picture: null, says: "" } };
  seconds = {};
  engine = null; // what the last picture was decoded on

  // visible(): the part of the image that is seen; changed() after each step, progress(doing, share) during one.
  constructor(crew, { start, visible, changed, progress }) {
    Object.assign(this, { start, visible, changed, progress });
    this.#crew = crew;
  }

  // Another file, or none.
  select(item) {
    this.cancel();
    if (item === this.item) return;
    if (this.item) this.#crew.first.run("forget", { keys: [this.item.key, this.#other(this.item)] });
    this.item = item;
    this.#loaded = null;
    this.#files.clear();
    for (const picture of this.#pictures.values()) picture.close();
    this.#pictures.clear();
    this.seconds = {};
    for (const side of ["left", "right"]) this.panes[side] = { picture: null, says: "" };
  }

  cancel() {
    this.#turn++;
    this.#running?.cancel();
    this.#running = null;
  }

  // Panes that do not show what was asked for show nothing, and say why.
  blank(settings, says) {
    for (const [side, pane] of Object.entries(this.panes)) {
      if (pane.picture && pane.wish === this.#wish(settings[side], settings)) continue;
      this.panes[side] = { picture: null, says };
    }
  }

  // What was made of the file is not to be gone by.
  drop() {
    this.#files.clear();
  }

  // The decoded image as it is now, if it is whole and can be saved as it stands.
  decoded(settings) {
    const picture = this.#pictures.get(this.#wish("gencomp", settings));
    return picture?.whole && !this.item.facts?.profile ? picture : null;
  }

  // Bring everything up to the settings; what is under way for older ones stops, and throws Cancelled.
  async update(settings) {
    this.cancel();
    const { item } = this;
    const turn = this.#turn;
    const check = () => {
      if (turn !== this.#turn) throw cancelled();
    };
    const step = async (doing, task, given = {}, onPart) => {
      check();
      const before = performance.now();
      this.progress(doing, 0);
      const tell = (share) => turn === this.#turn && this.progress(doing, share);
      this.#running = this.#crew.first.run(task, { key: item.key, ...given }, tell, (p) => turn === this.#turn && onPart(p));
      const result = await this.#running;
      check();
      this.seconds[task] = (performance.now() - before) / 1000;
      return result;
    };
    const asked = item.coded ? null : await item.asked(settings);
    check();
    if (asked) await this.#load(step, asked);
    if ([settings.left, settings.right].includes("original")) await this.#side(step, settings, "original");
    await this.start();
    check();
    const bytes = item.coded ? new Uint8Array(await item.blob.arrayBuffer()) : null;
    const { width, height } = item.coded ? readHeader(bytes).header : item.size;
    if (width * height > 1.5e6) await this.#crew.grow();
    await this.#make(step, settings, asked, bytes);
    for (const kind of new Set([settings.right, settings.left])) {
      try {
        await this.#side(step, settings, kind);
      } catch (error) {
        if (error.name === "Cancelled" || !(kind in RIVALS)) throw error;
        const pane = { picture: null, says: `${RIVALS[kind]}: ${error.message}` }; // the file itself is as good as ever
        for (const side of ["left", "right"]) if (settings[side] === kind) this.panes[side] = pane;
        this.changed();
      }
    }
  }

  async #load(step, { raw, wanted: { flat } }) {
    if (this.#loaded === this.item && this.#loaded.raw === raw) {
      if (this.item.transparent) this.item.noteTransparent(flat);
      return;
    }
    const { width, height, transparent } = await step("Reading", "load", { blob: this.item.blob, raw });
    Object.assign(this.item, { size: { width, height }, transparent, raw });
    if (transparent) this.item.noteTransparent(flat);
    this.#loaded = Object.assign(this.item, { raw });
    this.changed();
  }

  // The .gnc file of the settings, in the first worker, too.
  async #make(step, settings, asked, given) {
    const { item } = this;
    const key = makingKey(item, settings);
    if (this.#files.get(item.key) === (item.coded ? "given" : key)) return;
    if (item.coded || (item.file && item.madeAs === key)) {
      const bytes = given ?? item.file;
      const facts = await step("Decoding", "open", { bytes });
      if (facts.lost) item.notes = [facts.lost];
      Object.assign(item, { file: bytes, facts, size: { width: facts.width, height: facts.height } });
    } else {
      const { wanted, perMegapixel } = asked;
      const { width, height } = item.size;
      if (perMegapixel) wanted.bytes = Math.floor((perMegapixel * width * height) / 1e6);
      const { file, facts } = await step("Coding", "code", { as: item.key, wanted });
      Object.assign(item, { file, facts, madeAs: key, saved: false });
    }
    this.#files.set(item.key, item.coded ? "given" : key);
    this.changed();
  }

  // A picture, and the panes that wish for it.
  async #side(step, settings, kind) {
    const wish = this.#wish(kind, settings);
    const place = (picture) => {
      for (const side of ["left", "right"]) {
        if (settings[side] === kind) this.panes[side] = { picture, wish, says: "" };
      }
      this.changed();
    };
    const picture = this.#pictures.get(wish) ?? new Picture();
    this.#pictures.delete(wish);
    this.#trim(settings);
    this.#pictures.set(wish, picture);
    if (!picture.whole) {
      if (kind === "original") await this.#drawOriginal(picture);
      else if (kind in RIVALS) await this.#drawRival(step, picture, kind);
      else await this.#drawDecoded(step, picture, kind, settings, () => place(picture));
    }
    place(picture);
  }

  async #drawOriginal(picture) {
    const { item } = this;
    const bitmap = await createImageBitmap(item.blob, { imageOrientation: "from-image" });
    const { icc } = await item.contents();
    picture.open(item.size, icc && isDisplayP3(icc) ? "p3" : null); // browsers keep whole images that they convert
    picture.fill(bitmap);
    bitmap.close();
    picture.text = bytesText(item.blob.size);
  }

  async #drawRival(step, picture, kind) {
    const { item } = this;
    const { width, height } = item.size;
    const rival = await step(RIVALS[kind], "rival", { type: `image/${kind}`, bytes: item.file.length });
    picture.open(item.size, null);
    picture.fill(new ImageData(rival.data, width, height));
    picture.text = besideText(rival);
  }

  async #drawDecoded(step, picture, kind, settings, begun) {
    const { item } = this;
    const { quality, realism } = kind === "other" ? settings.other : settings;
    const key = kind === "other" && !item.coded ? this.#other(item) : item.key;
    const madeAs = `${quality} ${settings.keep} ${settings.flat}`;
    if (kind === "other" && !item.coded && this.#files.get(key) !== madeAs) {
      const { wanted } = await item.asked({ ...settings, mode: "quality", quality });
      if (item.transparent) item.noteTransparent(settings.flat);
      const { file, facts } = await step("Coding the other setting", "code", { as: key, wanted });
      this.#files.set(key, madeAs);
      this.#otherFile = { bytes: file.length, facts };
    }
    const own = kind === "other" && !item.coded;
    const { bytes, facts } = own ? this.#otherFile : { bytes: item.file.length, facts: item.facts };
    const shown = [bytesText(bytes), `quality ${qualityText(facts.step)}`];
    picture.text = [...shown, ...(this.knowsRealism ? [`realism ${realism}`] : [])].join(", ");
    picture.open(item.size, facts.profile);
    if (facts.profile === "other") {
      const blob = await step("Decoding", "png", { key, realism });
      const bitmap = await createImageBitmap(blob);
      picture.fill(bitmap);
      bitmap.close();
    } else {
      const colorSpace = facts.profile === "p3" ? "display-p3" : "srgb";
      const given = { key, realism, visible: this.visible(), skip: [...picture.done] };
      this.engine = await step("Decoding", "show", given, ({ index, data, ...at }) => {
        picture.put(new ImageData(data, at.width, at.height, { colorSpace }), at);
        picture.done.add(index);
        if (picture.done.size === 1) begun();
      });
    }
    picture.whole = true;
  }

  #otherFile = null;
  #other = (item) => `${item.key} other`;

  // What a side shows, by name: as long as it is the same, so is the picture.
  #wish(kind, settings) {
    const { item } = this;
    if (!item || kind === "original") return kind;
    if (kind === "other") return `other ${item.coded ? "" : settings.other.quality} ${settings.other.realism} ${settings.keep} ${settings.flat}`;
    const made = item.coded ? "" : makingKey(item, settings);
    return kind === "gencomp" ? `gencomp ${made} ${settings.realism}` : `${kind} ${made}`;
  }

  // Pictures that were not wanted for longest go, where one more would be too many.
  #trim(settings) {
    const wanted = [settings.left, settings.right].map((kind) => this.#wish(kind, settings));
    const { width, height } = this.item.size;
    for (const [wish, picture] of this.#pictures) {
      if ((this.#pictures.size + 1) * width * height <= KEPT) break;
      if (wanted.includes(wish)) continue;
      for (const side of ["left", "right"]) if (this.panes[side].picture === picture) this.panes[side] = { picture: null, says: "" };
      picture.close();
      this.#pictures.delete(wish);
    }
  }
}

const qualityText = (step) => Number((1 + (99 * step) / 1024).toFixed(1)).toString();
