// Keeps the whole page, of one version, so that it works without a network after the first visit. precache.js, which
// `gencomp web` writes, names the version and the files.

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

self.addEventListener("fetch", (event) => {
  const kept = caches.open(NAME).then((cache) => cache.match(event.request, { ignoreSearch: true }));
  event.respondWith(kept.then((response) => response ?? fetch(event.request)));
});
