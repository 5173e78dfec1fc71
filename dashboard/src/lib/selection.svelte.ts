import { SvelteSet } from 'svelte/reactivity';

const KEY = 'selected-chargers';

/** The selected chargers. They outlast a change of the page and a reload, and end with the tab. */
class Selection {
  readonly ids = new SvelteSet<string>(stored());

  toggle(id: string, on = !this.ids.has(id)): void {
    this.set([id], on);
  }

  set(ids: string[], on: boolean): void {
    for (const id of ids) {
      if (on) this.ids.add(id);
      else this.ids.delete(id);
    }
    this.#store();
  }

  clear(): void {
    this.ids.clear();
    this.#store();
  }

  #store(): void {
    try {
      sessionStorage.setItem(KEY, JSON.stringify([...this.ids]));
    } catch {
      // The selection lasts as long as the page.
    }
  }
}

function stored(): string[] {
  try {
    const list: unknown = JSON.parse(sessionStorage.getItem(KEY) ?? '[]');
    return Array.isArray(list) ? list.filter((one) => typeof one === 'string') : [];
  } catch {
    return [];
  }
}

export const selection = new Selection();
