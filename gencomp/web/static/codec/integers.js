// Integer convolutional networks (gencomp/entropy/intnet.py), in float64, which holds every value exactly.

import { ModelError } from "./errors.js";
import { Conv, MODE } from "./kernel.js";
import { cutPlanes, inTiles, putPlanes, tilesOfSide } from "./tiles.js";

const EXACT = 2 ** 53;

class Layer {
  constructor(kernel, file, name) {
    const shape = file.shape(`${name}.weight`);
    const [lo, hi, groups, shuffle] = file.integers(`${name}.form`);
    const [outputs, inputs, size] = shape;
    Object.assign(this, { lo, hi, shuffle, outputs, size, groups, inputs: inputs * groups });
    this.depthwise = groups > 1 && inputs === 1 && outputs === groups;
    this.weight = file.integers(`${name}.weight`);
    this.bias = file.integers(`${name}.bias`);
    this.multiplier = file.integers(`${name}.multiplier`);
    this.shift = file.integers(`${name}.shift`);
    this.taps = this.weight.length / outputs;
    if ([this.bias, this.multiplier, this.shift].some((vector) => vector.length !== outputs)) {
      throw new ModelError(`${name}: bias, multiplier and shift are not one each for ${outputs} channels`);
    }
    this.kernel = kernel;
  }

  // ModelError unless |acc M| + 2^(s-1) stays below 2^53 for inputs within `bound`, by channel; the outputs' bound.
  prove(bound) {
    for (let o = 0; o < this.outputs; o++) {
      let acc = Math.abs(this.bias[o]);
      for (let t = 0; t < this.taps; t++) {
        const group = Math.floor((o * this.groups) / this.outputs);
        const channel = (group * this.inputs) / this.groups + Math.floor(t / this.size ** 2);
        acc += Math.abs(this.weight[o * this.taps + t]) * bound[bound.length === 1 ? 0 : channel];
      }
      if (!(acc * this.multiplier[o] + 2 ** (this.shift[o] - 1) < EXACT)) {
        throw new ModelError("an integer layer of the model can leave what float64 holds exactly");
      }
    }
    return [Math.max(Math.abs(this.lo), Math.abs(this.hi))];
  }

  // M 2^-s folded into weights and bias, + 1/2 into the bias; the integers are dropped.
  prepare() {
    const weight = new Float64Array(this.weight.length);
    const bias = new Float64Array(this.outputs);
    for (let o = 0; o < this.outputs; o++) {
      const unit = 2 ** -this.shift[o];
      for (let t = o * this.taps; t < (o + 1) * this.taps; t++) weight[t] = this.weight[t] * this.multiplier[o] * unit;
      bias[o] = (this.bias[o] * this.multiplier[o] + 2 ** (this.shift[o] - 1)) * unit;
    }
    if (this.depthwise) {
      this.at = this.kernel.keep(weight);
      this.biasAt = this.kernel.keep(bias);
    } else {
      const [outputs, inputs] = [this.outputs / this.groups, this.inputs / this.groups];
      this.convs = Array.from({ length: this.groups }, (_, g) => {
        const part = weight.subarray(g * outputs * this.taps, (g + 1) * outputs * this.taps);
        return new Conv(this.kernel, part, bias.subarray(g * outputs, (g + 1) * outputs), [outputs, inputs, this.size]);
      });
    }
    this.weight = this.bias = this.multiplier = this.shift = null;
  }

  run(x) {
    const { kernel, lo, hi } = this;
    const y = kernel.tensor(this.outputs, x.height, x.width, 8);
    if (this.depthwise) {
      kernel.call.depthwise_f64(x.at, this.at, this.biasAt, y.at, this.outputs, x.height, x.width, this.size, lo, hi);
    } else {
      const plane = 8 * x.height * x.width;
      for (const [g, conv] of this.convs.entries()) {
        const part = { ...x, at: x.at + g * conv.inputs * plane };
        conv.run(part, { mode: MODE.integer, out: { at: y.at + g * conv.outputs * plane }, lo, hi });
      }
    }
    if (this.shuffle === 1) return y;
    const f = this.shuffle;
    const out = kernel.tensor(this.outputs / f ** 2, x.height * f, x.width * f, 8);
    kernel.call.shuffle_f64(y.at, out.at, out.channels, x.height, x.width, f);
    return out;
  }
}

export class IntNet {
  // From the tensors `prefix`.* of a model file.
  constructor(kernel, file, prefix) {
    this.kernel = kernel;
    this.name = prefix;
    const count = file.names(`${prefix}.`).filter((name) => name.endsWith(".form")).length;
    this.layers = Array.from({ length: count }, (_, i) => new Layer(kernel, file, `${prefix}.${i}`));
    this.bound = file.integers(`${prefix}.input_bound`);
    let bound = this.bound;
    for (const layer of this.layers) {
      bound = layer.prove(bound);
      layer.prepare();
    }
    const last = this.layers.at(-1);
    this.Integers = Math.max(-last.lo, last.hi) < 32768 ? Int16Array : Int32Array;
    this.inputs = this.layers[0].inputs;
    this.outputs = last.outputs / last.shuffle ** 2;
    this.scale = this.layers.reduce((scale, layer) => scale * layer.shuffle, 1);
    this.halo = halo(this.layers, this.scale);
  }

  // groups: the input channels, one after another, as {data: integers, channels, height, width} -> integers
  // [outputs, height scale, width scale], or none where take(integers, {top, left, height, width}) is given, for each tile.
  // In tiles of `side` input positions; `tick` is awaited at each.
  async run(groups, height, width, side, getHelpers, tick, take = null) {
    const { halo, scale, outputs } = this;
    const out = take ? null : new this.Integers(outputs * height * width * scale ** 2);
    const cut = ({ yields, sees }) => {
      const parts = groups.map(({ data, channels, height: h, width: w }) => cutPlanes(data, channels, h, w, sees));
      return { task: "integers", net: this.name, parts, yields, sees };
    };
    const scaled = ({ top, left, height: h, width: w }) =>
      ({ top: top * scale, left: left * scale, height: h * scale, width: w * scale });
    take ??= (part, at) => putPlanes(out, part, outputs, height * scale, width * scale, at);
    const put = (part, { yields }) => take(part, scaled(yields));
    await inTiles(tilesOfSide(height, width, halo, side), { cut, here: this.perform, put }, getHelpers, tick);
    return out;
  }

  // A job of `run`: what a tile yields.
  perform = async ({ parts, yields, sees }, tick) => {
    const { kernel, scale } = this;
    await tick(0);
    const mark = kernel.mark();
    try {
      const y = this.#evaluate(parts, sees);
      const values = kernel.f64(y.at, y.channels * y.height * y.width);
      const [rows, columns] = [yields.height * scale, yields.width * scale];
      const out = new this.Integers(this.outputs * rows * columns);
      for (let c = 0, to = 0; c < this.outputs; c++) {
        for (let r = 0; r < rows; r++, to += columns) {
          const from = (c * y.height + (yields.top - sees.top) * scale + r) * y.width + (yields.left - sees.left) * scale;
          for (let q = 0; q < columns; q++) out[to + q] = values[from + q];
        }
      }
      return out;
    } finally {
      kernel.release(mark);
    }
  };

  // The network on the positions seen; inputs are clamped to its bound.
  #evaluate(parts, { height, width }) {
    let x = this.kernel.tensor(this.inputs, height, width, 8);
    const values = this.kernel.f64(x.at, this.inputs * height * width);
    const plane = height * width;
    let to = 0;
    for (const data of parts) {
      for (let from = 0; from < data.length; from += plane) {
        const bound = this.bound[this.bound.length === 1 ? 0 : to / plane];
        for (let i = 0; i < plane; i++, to++) {
          const value = data[from + i];
          values[to] = value > bound ? bound : value < -bound ? -bound : value;
        }
      }
    }
    for (const layer of this.layers) x = layer.run(x);
    return x;
  }
}

// How many input positions beyond a position act on its outputs.
function halo(layers, scale) {
  let left = 0;
  let right = scale; // the outputs of position 0 need inputs left .. right - 1
  for (const { size, shuffle } of [...layers].reverse()) {
    const pad = Math.floor(size / 2);
    left = Math.floor(left / shuffle) - pad;
    right = Math.ceil(right / shuffle) + pad;
  }
  return Math.max(-left, right - 1);
}
