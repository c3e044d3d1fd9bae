// The weights of a convolution in a model file, in float16 or, with a scale a channel, in eight bits.

const inInt8 = (name) => `${name.replace("network.", "int8.")}.weight`;
export const hasConv = (file, name) => file.has(`${name}.weight`) || file.has(inInt8(name));

// [weight [O, I, k, k], bias [O], their shape]: Float32Arrays.
export function weightsOf(file, name) {
  const eightBits = file.has(inInt8(name));
  const shape = file.shape(eightBits ? inInt8(name) : `${name}.weight`);
  const weight = eightBits ? dequantised(file, inInt8(name), shape[0]) : file.floats(`${name}.weight`);
  const bias = file.has(`${name}.bias`) ? file.floats(`${name}.bias`) : new Float32Array(shape[0]);
  return [weight, bias, shape];
}

// A weight in eight bits times the scales of its output channels, Float32Array.
function dequantised(file, name, outputs) {
  const [values, scale] = [file.integers(name), file.floats(`${name}.scale`)];
  return Float32Array.from(values, (value, i) => value * scale[Math.floor((i * outputs) / values.length)]);
}
