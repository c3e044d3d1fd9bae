// The page's end of a worker, or of a port to one: tasks as promises, with progress and cancel.

let next = 1; // numbers of tasks, of this thread; made unlike those of other threads below
const origin = Math.random().toString(36).slice(2);

export class Work {
  #end;
  #tasks = new Map();

  constructor(end = new Worker(new URL("worker.js", import.meta.url), { type: "module" })) {
    this.#end = end;
    end.addEventListener("message", ({ data }) => this.#hear(data));
    end.addEventListener("error", (event) => this.#fail(event.message || "the page's worker could not start"));
    end.start?.();
  }

  // Start a task: a promise with `cancel()`; progress(share) and part(part) are called now and then.
  run(task, given = {}, progress = () => {}, part = () => {}, transfer = []) {
    const id = `${origin} ${next++}`;
    const promise = new Promise((resolve, reject) => this.#tasks.set(id, { resolve, reject, progress, part }));
    this.#end.postMessage({ id, task, ...given }, transfer);
    promise.cancel = () => this.#end.postMessage({ cancel: id });
    return promise;
  }

  #fail(message) {
    for (const task of this.#tasks.values()) task.reject(Object.assign(new Error(message), { name: "WorkerError" }));
    this.#tasks.clear();
  }

  #hear({ id, share, part, result, error }) {
    const task = this.#tasks.get(id);
    if (!task) return;
    if (share !== undefined) return task.progress(share);
    if (part !== undefined) return task.part(part);
    this.#tasks.delete(id);
    if (error) task.reject(Object.assign(new Error(error.message), { name: error.name }));
    else task.resolve(result);
  }
}
