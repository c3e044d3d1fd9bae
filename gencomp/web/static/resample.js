// Images made smaller or larger by Lanczos' windowed sinc of three lobes, as Pillow does: browsers' own ways differ, and
// cost other codecs up to 1 dB.

const LOBES = 3;

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

// For every place of `to`: the first place of `from` that it takes from, and the weights of those from there on.
function taps(from, to) {
  const scale = Math.max(from / to, 1);
  return Array.from({ length: to }, (_, i) => {
    const middle = ((i + 0.5) * from) / to;
    const first = Math.max(0, Math.round(middle - LOBES * scale));
    const last = Math.min(from, Math.round(middle + LOBES * scale));
    const weights = Float32Array.from({ length: last - first }, (_, j) => {
      const x = (first + j + 0.5 - middle) / scale;
      return Math.abs(x) < LOBES ? sinc(x) * sinc(x / LOBES) : 0;
    });
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

// {data: RGBA, opaque, width, height} -> the same of another size.
export function resample({ data, width, height }, toWidth, toHeight) {
  const out = new Uint8ClampedArray(4 * toWidth * toHeight).fill(255);
  const across = taps(width, toWidth);
  const row = new Float32Array(4 * width);
  for (const [r, { first, weights }] of taps(height, toHeight).entries()) {
    row.fill(0);
    for (let k = 0; k < weights.length; k++) {
      const weight = weights[k];
      const from = 4 * (first + k) * width;
      for (let i = 0; i < row.length; i++) row[i] += weight * data[from + i];
    }
    for (let q = 0, to = 4 * r * toWidth; q < toWidth; q++, to += 4) {
      const { first: left, weights: w } = across[q];
      let [red, green, blue] = [0, 0, 0];
      for (let k = 0, at = 4 * left; k < w.length; k++, at += 4) {
        red += w[k] * row[at];
        green += w[k] * row[at + 1];
        blue += w[k] * row[at + 2];
      }
      out[to] = red;
      out[to + 1] = green;
      out[to + 2] = blue;
    }
  }
  return { data: out, width: toWidth, height: toHeight };
}
