// The list of files: name, what has become of it, and a button that closes it.

import { stateText } from "./words.js";

export class List {
  #rows = new Map(); // by item: {row, name, state, bar}

  // act: {select(item), close(item)}
  constructor(list, act) {
    Object.assign(this, { list, act });
  }

  show(items, selected) {
    for (const item of [...this.#rows.keys()]) {
      if (items.includes(item)) continue;
      this.#rows.get(item).row.remove();
      this.#rows.delete(item);
    }
    for (const item of items) {
      if (!this.#rows.has(item)) this.list.append(this.#add(item));
      this.#rows.get(item).name.setAttribute("aria-current", item === selected);
      this.update(item);
    }
  }

  update(item) {
    const found = this.#rows.get(item);
    if (!found) return;
    const said = stateText(item);
    if (found.state.textContent !== said) found.state.textContent = said;
    found.row.dataset.state = item.state;
  }

  // The name's button, to give it the focus.
  button(item) {
    return this.#rows.get(item)?.name;
  }

  #add(item) {
    const row = document.createElement("li");
    const [name, close] = [document.createElement("button"), document.createElement("button")];
    const state = document.createElement("small");
    name.className = "name";
    name.title = item.path;
    const label = document.createElement("span");
    label.textContent = item.name;
    name.append(label, state);
    name.addEventListener("click", () => this.act.select(item));
    close.textContent = "×";
    close.className = "close";
    close.title = `Close ${item.name}`;
    close.setAttribute("aria-label", `Close ${item.name}`);
    close.addEventListener("click", () => this.act.close(item));
    row.append(name, close);
    this.#rows.set(item, { row, name, state });
    return row;
  }
}
