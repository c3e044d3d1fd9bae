// The transforms' arithmetic on a GPU, in WGSL: what conv.h and kernel.c do, in float32. gpu.js says what the numbers are.

const repeat = (count, line) => Array.from({ length: count }, (_, i) => line(i)).join("");

// A 'same' convolution as a matrix product. A workgroup of 256 makes 4 GROUPS output channels at 4 rows x ACROSS columns of
// the output, each thread 4 x 4 of them. DEPTH input channels at a time, what of them these positions see (`window`) and
// their weights (`kernel`) lie in the workgroup's memory; a value that a thread of 3x3 has read serves three rows. Unrolled
// here, as some compilers keep arrays that are not in slow memory. size: 1 or 3; shuffle: the output by 2, unshuffle: the
// input by 2.
export const convolution = ({ size, groups, depth, shuffle, unshuffle }) => `
struct Numbers { inputs: u32, outputs: u32, height: u32, width: u32, mode: u32 }
@group(0) @binding(0) var<uniform> n: Numbers;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<vec4f>; // bias [O / 4], then [I SIZE SIZE, O / 4]
@group(0) @binding(3) var<storage, read> gain: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

const SIZE = ${size}u;
const GROUPS = ${groups}u;
const DEPTH = ${depth}u;
const ACROSS = 256u / GROUPS;
const TAPS = SIZE * SIZE;
const TALL = SIZE + 3u;
const WIDE = ACROSS + SIZE - 1u;
var<workgroup> window: array<f32, DEPTH * TALL * WIDE>;
var<workgroup> kernel: array<vec4f, DEPTH * TAPS * GROUPS>;

// Where channel c of height x width positions lies, or would lie if pixels were not shuffled.
fn place(c: u32, row: u32, column: u32, shuffled: bool) -> u32 {
  if (!shuffled) { return (c * n.height + row) * n.width + column; }
  return ((c / 4u * n.height + row) * 2u + c / 2u % 2u) * n.width * 2u + 2u * column + c % 2u;
}

fn finish(sum: vec4f, group: u32, row: u32, column: u32) {
  if (row >= n.height) { return; }
  let values = sum + weights[group];
  for (var j = 0u; j < min(4u, n.outputs - 4u * group); j++) {
    let o = 4u * group + j;
    let at = place(o, row, column, ${shuffle});
    switch (n.mode) {
      case 1u: { out[at] = max(values[j], values[j] * 0.01); }
      case 2u: { out[at] += gain[o] * values[j]; }
      default: { out[at] = values[j]; }
    }
  }
}

@compute @workgroup_size(ACROSS, GROUPS)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_id) me: vec3u,
        @builtin(local_invocation_index) index: u32) {
  let columns = (n.outputs + 3u) / 4u;
  let top = 4u * tile.y;
  let left = ACROSS * tile.x;
  let first = GROUPS * tile.z;
  ${repeat(4, (r) => `var sum${r}: vec4f;`)}
  for (var i = 0u; i < n.inputs; i += DEPTH) {
    for (var k = index; k < DEPTH * TALL * WIDE; k += 256u) {
      let c = i + k / (TALL * WIDE);
      let row = top + k / WIDE % TALL - SIZE / 2u; // huge where it would be negative
      let column = left + k % WIDE - SIZE / 2u;
      window[k] = 0.0;
      if (c < n.inputs && row < n.height && column < n.width) { window[k] = x[place(c, row, column, ${unshuffle})]; }
    }
    for (var k = index; k < DEPTH * TAPS * GROUPS; k += 256u) {
      let row = i * TAPS + k / GROUPS;
      let column = first + k % GROUPS;
      kernel[k] = vec4f();
      if (row < n.inputs * TAPS && column < columns) { kernel[k] = weights[(row + 1u) * columns + column]; }
    }
    workgroupBarrier();
    for (var c = 0u; c < DEPTH; c++) {
      for (var dx = 0u; dx < SIZE; dx++) {
        let at = c * TALL * WIDE + me.x + dx;
        let tap = (c * TAPS + dx) * GROUPS + me.y;
        ${repeat(size + 3, (r) => `let seen${r} = window[at + ${r}u * WIDE];`)}
        ${repeat(size, (dy) => `{
          let weight = kernel[tap + ${dy}u * SIZE * GROUPS];
          ${repeat(4, (r) => `sum${r} += seen${r + dy} * weight;`)}
        }`)}
      }
    }
    workgroupBarrier();
  }
  let group = first + me.y;
  let column = left + me.x;
  if (group >= columns || column >= n.width) { return; }
  ${repeat(4, (r) => `finish(sum${r}, group, top + ${r}u, column);`)}
}`;

// The rest: a thread for each value of height x width in each channel, or for each pixel.
export const OTHERS = `
struct Numbers { height: u32, width: u32, top: u32, left: u32, rows: u32, columns: u32, factor: u32, channel: u32, realism: f32 }
@group(0) @binding(0) var<uniform> n: Numbers;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> pixels: array<u32>;
@group(0) @binding(2) var<storage, read> project: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<storage, read_write> shown: array<u32>;

fn place(at: vec3u) -> u32 { return (at.z * n.height + at.y) * n.width + at.x; }
fn outside(at: vec3u) -> bool { return at.x >= n.width || at.y >= n.height; }

// out [C, height, width] = the part of x [C, rows, columns] from top and left on
@compute @workgroup_size(16, 16) fn crop(@builtin(global_invocation_id) at: vec3u) {
  if (outside(at)) { return; }
  out[place(at)] = x[(at.z * n.rows + n.top + at.y) * n.columns + n.left + at.x];
}

@compute @workgroup_size(16, 16) fn add(@builtin(global_invocation_id) at: vec3u) {
  if (outside(at)) { return; }
  out[place(at)] += x[place(at)];
}

fn mix32(value: u32) -> u32 {
  var v = value;
  for (var i = 0; i < 2; i++) {
    v = (v ^ (v >> 16u)) * 0x2C1B3C6Du;
    v = (v ^ (v >> 13u)) + 0x9E3779B9u;
  }
  return v ^ (v >> 15u);
}

// out += realism (P noise) (1 + x): grain_f32 of kernel.c
@compute @workgroup_size(16, 16) fn grain(@builtin(global_invocation_id) at: vec3u) {
  if (outside(at)) { return; }
  let position = mix32(mix32(n.top + at.y / n.factor) + n.left + at.x / n.factor);
  let first = position + n.channel + at.y % n.factor * n.factor + at.x % n.factor;
  var noise: vec4f;
  for (var i = 0u; i < 4u; i++) { noise[i] = f32(mix32(first + i * n.factor * n.factor)) / 4294967296.0 - 0.5; }
  out[place(at)] += n.realism * dot(project[at.z], noise) * (1.0 + x[place(at)]);
}

// RGBA, rows x columns, its last ones repeated -> out [192, height, width]: unshuffled by 8
@compute @workgroup_size(16, 16) fn from_pixels(@builtin(global_invocation_id) at: vec3u) {
  if (outside(at)) { return; }
  let row = min(8u * at.y + at.z / 8u % 8u, n.rows - 1u);
  let column = min(8u * at.x + at.z % 8u, n.columns - 1u);
  out[place(at)] = f32(extractBits(pixels[row * n.columns + column], at.z / 64u * 8u, 8u)) / 255.0 - 0.5;
}

// x [12, rows, columns], to be shuffled by 2 -> RGBA, height x width, from top and left on
@compute @workgroup_size(16, 16) fn to_pixels(@builtin(global_invocation_id) at: vec3u) {
  if (outside(at)) { return; }
  let row = n.top + at.y;
  let column = n.left + at.x;
  var rgba = 255u << 24u;
  for (var c = 0u; c < 3u; c++) {
    let channel = 4u * c + 2u * (row % 2u) + column % 2u;
    let value = x[(channel * n.rows + row / 2u) * n.columns + column / 2u] + 0.5;
    rgba |= u32(round(clamp(value, 0.0, 1.0) * 255.0)) << (8u * c);
  }
  shown[at.y * n.width + at.x] = rgba;
}`;
