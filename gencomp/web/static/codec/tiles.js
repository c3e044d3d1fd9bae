// An image in tiles, done here and by helpers at once.

export const STRIDE = 16; // pixels a latent, both ways
const WHOLE = 6144; // latents a channel up to which an image is coded in one piece: 1.5 megapixels
const SIDE = 64; // side of a tile of a larger image, in latents

export const latentSize = (height, width) => [Math.ceil(height / STRIDE), Math.ceil(width / STRIDE)];

// Cover height x width latents with tiles as even as can be; each says what it yields and, with its halo, what it must see.
export function tilesOf(height, width, halo) {
  const whole = height * width <= WHOLE;
  const part = (length) => (whole ? length : Math.ceil(length / Math.ceil(length / SIDE)));
  return tilesOfSide(height, width, halo, part(height), part(width));
}

export function tilesOfSide(height, width, halo, rows, columns = rows) {
  const all = [];
  for (let top = 0; top < height; top += rows) {
    for (let left = 0; left < width; left += columns) {
      const [bottom, right] = [Math.min(top + rows, height), Math.min(left + columns, width)];
      const [seeTop, seeLeft] = [Math.max(top - halo, 0), Math.max(left - halo, 0)];
      const [seeBottom, seeRight] = [Math.min(bottom + halo, height), Math.min(right + halo, width)];
      const sees = { top: seeTop, left: seeLeft, height: seeBottom - seeTop, width: seeRight - seeLeft };
      all.push({ index: all.length, yields: { top, left, height: bottom - top, width: right - left }, sees });
    }
  }
  return all;
}

// The part of planes [channels, height, width] at a rectangle, and back into them.
export function cutPlanes(planes, channels, height, width, at) {
  const part = new planes.constructor(channels * at.height * at.width);
  for (let c = 0, to = 0; c < channels; c++) {
    for (let r = 0; r < at.height; r++, to += at.width) {
      const from = (c * height + at.top + r) * width + at.left;
      part.set(planes.subarray(from, from + at.width), to);
    }
  }
  return part;
}

export function putPlanes(planes, part, channels, height, width, at) {
  for (let c = 0, from = 0; c < channels; c++) {
    for (let r = 0; r < at.height; r++, from += at.width) {
      planes.set(part.subarray(from, from + at.width), (c * height + at.top + r) * width + at.left);
    }
  }
}

// First the tiles that a rectangle {left, top, width, height} of pixels touches, from its middle outwards.
export function sortByDistance(tiles, { left, top, width, height }) {
  const [x, y] = [(left + width / 2) / STRIDE, (top + height / 2) / STRIDE];
  const beyond = (at, from, length) => Math.max(from - at, at - from - length, 0);
  const far = ({ yields: t }) => Math.hypot(beyond(x, t.left, t.width), beyond(y, t.top, t.height));
  tiles.sort((a, b) => far(a) - far(b));
}

// Every tile: `cut` makes a job of it, `here` or a helper performs the job, `put` takes the result. here(job, tick) is
// awaited, as helpers' perform(job, progress) are; whoever is free takes the next tile. `tick(share)` may throw, and
// then the helpers' `cancel` is called. getHelpers is asked where there are several tiles.
export async function inTiles(all, { cut, here, put }, getHelpers, tick) {
  const helpers = all.length > 1 ? await getHelpers() : [];
  const done = new Float64Array(all.length);
  const share = () => done.reduce((a, b) => a + b, 0) / all.length;
  let next = 0;
  let failed = false;
  const take = async (perform) => {
    while (next < all.length && !failed) {
      const index = next++;
      put(await perform(cut(all[index]), (part) => (done[index] = part)), all[index]);
      done[index] = 1;
    }
  };
  const others = Promise.all(helpers.map((helper) => take((job, progress) => helper.perform(job, progress))));
  let waiting = true;
  const finished = others.finally(() => (waiting = false));
  finished.catch(() => {}); // it is awaited below
  try {
    await take((job, progress) => here(job, (part) => tick((progress(part), share()))));
    while (waiting) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      await tick(share());
    }
    await finished;
  } catch (error) {
    failed = true;
    for (const helper of helpers) helper.cancel();
    throw error;
  }
}
