// h_a: the hyper-latents of scaled latents, in float32 on the kernel.

import { Conv, MODE } from "./kernel.js";
import { cutPlanes, putPlanes } from "./tiles.js";
import { weightsOf } from "./weights.js";

const HYPER_ROWS = 16; // rows of hyper-latents made at a time

export class HyperAnalysis {
  constructor(kernel, file) {
    const strides = { 0: 1, 2: 2, 4: 2 };
    const layer = (i) => new Conv(kernel, ...weightsOf(file, `network.prior.hyper_analysis.layers.${i}`), strides[i]);
    this.kernel = kernel;
    this.hyper = [0, 2, 4].map(layer);
  }

  // Scaled latents, Float32Array [M, h, w] -> Float32Array [Z, ceil(h / 4), ceil(w / 4)]; latents beyond the edges count as zero. In strips,
  // as a kernel gives no memory back.
  async run(y, height, width, tick) {
    const { kernel, hyper } = this;
    const [h, w] = [Math.ceil(height / 4), Math.ceil(width / 4)];
    const [a, b, c] = hyper.map(({ size }) => size >> 1);
    const halo = Math.ceil((a + b + 2 * c) / 4);
    const z = new Float32Array(hyper[2].outputs * h * w);
    for (let top = 0; top < h; top += HYPER_ROWS) {
      const mark = kernel.mark();
      const [from, to] = [Math.max(top - halo, 0), Math.min(top + HYPER_ROWS + halo, h)];
      let x = kernel.tensor(hyper[0].inputs, 4 * (to - from), 4 * w);
      const padded = kernel.f32(x.at, x.channels * x.height * x.width).fill(0);
      for (let c = 0; c < x.channels; c++) {
        for (let r = 4 * from; r < Math.min(4 * to, height); r++) {
          padded.set(y.subarray((c * height + r) * width, (c * height + r + 1) * width), (c * x.height + r - 4 * from) * 4 * w);
        }
      }
      try {
        for (const [i, layer] of hyper.entries()) {
          await tick();
          x = layer.run(x, i < 2 ? { mode: MODE.leaky } : {});
        }
        const yields = { top, left: 0, height: Math.min(HYPER_ROWS, h - top), width: w };
        const part = kernel.f32(x.at, x.channels * x.height * w);
        putPlanes(z, cutPlanes(part, x.channels, x.height, w, { ...yields, top: top - from }), x.channels, h, w, yields);
      } finally {
        kernel.release(mark);
      }
    }
    return z;
  }
}
