// Kernel and model, fetched with progress. The model is kept by the browser, where it keeps anything for pages, so that
// it is fetched once: under its address, which names its content.

const KEPT = "gencomp-model";

// kernels, model.url: addresses; model.bytes: its size -> {kernel: WebAssembly.Module, bytes: ArrayBuffer of the model}.
// The first kernel is for browsers that have relaxed SIMD, with which it is half as fast again.
export async function fetchKept([relaxed, plain], model, progress) {
  let kernel = await (await fetched(relaxed)).arrayBuffer();
  if (!WebAssembly.validate(kernel)) kernel = await (await fetched(plain)).arrayBuffer();
  const module = await WebAssembly.compile(kernel);
  const cache = await globalThis.caches?.open(KEPT).catch(() => null); // not there without TLS, nor in some modes
  const found = await cache?.match(model.url);
  if (found) return { kernel: module, bytes: await found.arrayBuffer() };
  const response = await fetched(model.url);
  const kept = cache?.put(model.url, response.clone()).catch(() => {}); // a full disk: fetched again next time
  const bytes = await counted(response, model.bytes, progress);
  await kept;
  for (const { url } of (await cache?.keys()) ?? []) if (url !== model.url) await cache.delete(url);
  return { kernel: module, bytes };
}

async function fetched(url) {
  let response;
  try {
    response = await fetch(url);
  } catch {
    throw new Error(`${new URL(url).pathname} could not be loaded: is the server, or the network, there?`);
  }
  if (!response.ok) throw new Error(`${new URL(url).pathname} could not be loaded (${response.status})`);
  return response;
}

async function counted(response, length, progress) {
  const bytes = new Uint8Array(length);
  let read = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    bytes.set(value, read);
    read += value.length;
    progress(Math.min(read / length, 1));
  }
  return bytes.buffer;
}
