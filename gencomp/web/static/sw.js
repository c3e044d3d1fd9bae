// Keeps the page, of one version, so that it works without a network. precache.js, which `gencomp web` writes, names the
// version and the files: all but the model, which fetch.js keeps, and the AVIF encoder, which is kept here once it was used.

importScripts("precache.js");

const NAME = `gencomp-web-${self.PRECACHE.version}`;

self.addEventListener("install", (event) => {
  const requests = self.PRECACHE.files.map((file) => new Request(file, { cache: "no-cache" }));
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(requests)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const old = (name) => name.startsWith("gencomp-web-") && name !== NAME;
  const cleared = caches.keys().then((names) => Promise.all(names.filter(old).map((name) => caches.delete(name))));
  event.waitUntil(cleared.then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  const cache = await caches.open(NAME);
  const kept = await cache.match(request, { ignoreSearch: true });
  if (kept) return kept;
  const response = await fetch(request);
  if (response.ok && new URL(request.url).pathname.includes("/avif/")) await cache.put(request, response.clone());
  return response;
}
