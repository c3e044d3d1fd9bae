// What an ICC profile says of itself.

const P3 = { rXYZ: [0.5151, 0.2412, -0.0011], gXYZ: [0.292, 0.6922, 0.0419], bXYZ: [0.1571, 0.0666, 0.7841] };

export const isDisplayP3 = (profile) => {
  const found = primariesOf(profile);
  return Object.entries(P3).every(([tag, xyz]) => xyz.every((v, i) => Math.abs((found[tag]?.[i] ?? 9) - v) < 0.003));
};

export const isRgb = (profile) => new TextDecoder().decode(profile.subarray(16, 20)) === "RGB ";

// Colorants by tag, XYZ of D50; what is not there or broken is left out.
function primariesOf(profile) {
  const view = new DataView(profile.buffer, profile.byteOffset, profile.byteLength);
  const found = {};
  if (profile.length < 132) return found;
  const count = Math.min(view.getUint32(128), 100);
  for (let at = 132; at < 132 + 12 * count && at + 12 <= profile.length; at += 12) {
    const tag = new TextDecoder().decode(profile.subarray(at, at + 4));
    const start = view.getUint32(at + 4) + 8;
    if (!(tag in P3) || start + 12 > profile.length) continue;
    found[tag] = [0, 4, 8].map((offset) => view.getInt32(start + offset) / 65536);
  }
  return found;
}
