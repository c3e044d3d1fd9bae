// The page's end of the worker: tasks as promises, with progress and cancel.

export class Work {
  #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  #tasks = new Map();
  #next = 1;

  constructor() {
    this.#worker.addEventListener("message", ({ data }) => this.#hear(data));
    this.#worker.addEventListener("error", (event) => {
      for (const task of this.#tasks.values()) task.reject(new Error(event.message || "the worker could not start"));
      this.#tasks.clear();
    });
  }

  // Start a task: a promise with `cancel()`; progress(share) is called now and then.
  run(task, given = {}, progress = () => {}) {
    const id = this.#next++;
    const promise = new Promise((resolve, reject) => this.#tasks.set(id, { resolve, reject, progress }));
    this.#worker.postMessage({ id, task, ...given });
    promise.cancel = () => this.#worker.postMessage({ cancel: id });
    return promise;
  }

  #hear({ id, share, result, error }) {
    const task = this.#tasks.get(id);
    if (!task) return;
    if (share !== undefined) return task.progress(share);
    this.#tasks.delete(id);
    if (error) task.reject(Object.assign(new Error(error.message), { name: error.name }));
    else task.resolve(result);
  }
}
